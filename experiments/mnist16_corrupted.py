"""Learning from corrupted MNIST at 16x16: the arms of experiments/digits_corrupted.py.

    python -m sagd_jax.experiment experiments/mnist16_corrupted.py --jobs=2

Draws of EM take 16 steps, not 50: a round restores some 11,500 examples.
"""

import runpy
from pathlib import Path

import sagd_jax as sagd


def get_experiment():
    digits = runpy.run_path(str(Path(__file__).with_name("digits_corrupted.py")))
    arms_of = digits["arms_of"]
    return sagd.Experiment(
        config="../configs/mnist16.py",
        arms={
            "clean": {},
            **arms_of("band", digits["BAND"], (0.4, 0.6), 1_200, 16),
            **arms_of("moire", digits["MOIRE"], (0.45, 0.55), 1_200, 16, margin=10.0),
        },
        evaluate={"num_steps": (16, 50), "num_samples": 512, "clip": False},
        about="learning from corrupted MNIST at 16x16, 1,200 steps of 32",
    )
