"""Selective omission on MNIST as in the paper's Table 2: eight bands, with the rivals that it lacks.

python -m sagd_jax.experiment experiments/paper_omission.py

For an accelerator. The arms of experiments/mnist16_omission.py.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd

BANDS = tuple((k / 10, (k + 1) / 10) for k in range(1, 9))


def get_experiment():
    small = runpy.run_path(str(Path(__file__).with_name("mnist16_omission.py")))
    arms = {"clean": {}}
    for band in BANDS:
        arms |= small["arms_of"](band)
    return sagd.Experiment(
        config="../configs/mnist.py",
        arms=arms,
        evaluate={"num_steps": (16, 50), "num_samples": 10_000, "clip": False},
        about="selective omission on MNIST at 32x32, eight bands, 100,000 steps of 128",
    )
