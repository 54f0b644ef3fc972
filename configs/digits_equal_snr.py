"""Digits with all frequencies at one signal-to-noise ratio (equal-SNR, arXiv 2505.11278).

    python train.py --config=configs/digits_equal_snr.py --workdir=runs/digits_equal_snr

All else is configs/digits.py. To expect: a loss of 0.260 over the last 250 steps, and a Frechet distance
in the features of a classifier of .30, .16, .11 and .10 in 4, 8, 16 and 50 steps, where white noise
has .30, .14, .10 and .09 (three seeds; results/digits_family.json).
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "equal_snr"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
