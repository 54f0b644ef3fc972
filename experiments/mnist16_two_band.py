"""The two-band mixture of the paper's predecessor (its Table 1), on MNIST at 16x16.

    python -m sagd_jax.experiment experiments/mnist16_two_band.py --jobs=2

A weight of 0.5 is white noise, the baseline.
"""

import sagd_jax as sagd


def get_experiment():
    mixtures = {
        f"low {weight:g}": {"noise.kind": "two_band", "noise.gamma_low": weight}
        for weight in (0.1, 0.4, 0.6)
    }
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms={"white": {}, **mixtures},
        evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 512},
        about="the two-band mixture on MNIST at 16x16, 1,200 steps of 32",
    )
