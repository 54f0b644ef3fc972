"""Learned levels on Gaussian fields whose amplitude rises as r^0.5: experiments/falling_learned.py, reversed.

python -m sagd_jax.experiment experiments/rising_learned.py --jobs=2
"""

import runpy
from pathlib import Path


def get_experiment():
    falling = runpy.run_path(str(Path(__file__).with_name("falling_learned.py")))
    return falling["get_experiment"](0.5)
