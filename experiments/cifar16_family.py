"""The family of processes in colour, on CIFAR-10 at 16x16: the arms of experiments/mnist16_family.py.

python -m sagd_jax.experiment experiments/cifar16_family.py --jobs=2
"""

import dataclasses
import runpy
from pathlib import Path


def get_experiment():
    mnist = runpy.run_path(str(Path(__file__).with_name("mnist16_family.py")))
    return dataclasses.replace(
        mnist["get_experiment"](),
        config="../configs/cifar16.py",
        about="the family of processes on CIFAR-10 at 16x16, 1,200 steps of 32",
    )
