"""The family of processes in colour, on CIFAR-10 at 16x16: the arms of experiments/digits_family.py.

python -m sagd_jax.experiment experiments/cifar16_family.py --jobs=2
"""

import runpy
from pathlib import Path

import sagd_jax as sagd


def get_experiment():
    digits = runpy.run_path(str(Path(__file__).with_name("digits_family.py")))
    # The widest blur is as wide for the picture as with digits.
    arms = {**digits["ARMS"], "blurring": {"schedule.kind": "blurring", "schedule.blur_max": 8.0}}
    return sagd.Experiment(
        config="../configs/cifar16.py",
        arms=arms,
        evaluate={"num_steps": digits["STEPS"], "num_samples": 512},
        about="the family of processes on CIFAR-10 at 16x16, 1,200 steps of 32",
    )
