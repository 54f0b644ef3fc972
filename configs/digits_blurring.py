"""Digits under blur and noise: blurring diffusion (arXiv 2209.05557).

    python train.py --config=configs/digits_blurring.py --workdir=runs/digits_blurring

All else is configs/digits.py. To expect: a loss of 0.170 over the last 250 steps, and a Frechet distance
in the features of a classifier of .70, .30, .16 and .15 in 4, 8, 16 and 50 steps, where white noise
has .30, .14, .10 and .09 (three seeds; results/digits_family.json).
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "blurring"
    config.schedule.blur_max = 4.0  # in pixels: digits are 8 wide
    return config
