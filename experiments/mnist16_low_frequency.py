"""Data with a corruption of low frequency (the paper's Figure 3), on MNIST at 16x16.

    python -m sagd_jax.experiment experiments/mnist16_low_frequency.py --jobs=2

All training examples have noise of unit variance in the band [0, 0.3); samples are judged against clean
pictures. The paper finds that alpha > 0, less noise where the corruption is, does better.
"""

import sagd_jax as sagd


def get_experiment():
    tilts = {
        f"alpha {alpha:+g}": {"noise.kind": "power_law", "noise.alpha": alpha}
        for alpha in (-0.08, 0.08, 0.3)
    }
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms={"white": {}, **tilts},
        fields={
            "data.corruption": "band",
            "data.corruption_band": (0.0, 0.3),
            "data.corruption_frozen": False,
        },
        evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 512, "clip": False},
        about="low-frequency corruption of MNIST at 16x16, 1,200 steps of 32",
    )
