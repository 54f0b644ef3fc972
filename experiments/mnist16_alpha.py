"""The paper's sweep of alpha (its Tables F.1 and F.2), on MNIST at 16x16, over a wide range.

    python -m sagd_jax.experiment experiments/mnist16_alpha.py --jobs=2

The paper trains at 32x32 with alpha from -0.08 to 0.08; +-0.3 shows what lies beyond.
"""

import sagd_jax as sagd

ALPHAS = (-0.3, -0.08, -0.04, -0.02, 0.02, 0.04, 0.3)


def get_experiment():
    tilts = {
        f"alpha {alpha:+g}": {"noise.kind": "power_law", "noise.alpha": alpha} for alpha in ALPHAS
    }
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms={"white": {}, **tilts},
        evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 512},
        about="the paper's sweep of alpha on MNIST at 16x16, 1,200 steps of 32",
    )
