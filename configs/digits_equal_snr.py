"""Digits with all frequencies at one signal-to-noise ratio (equal-SNR, arXiv 2505.11278).

    python train.py --config=configs/digits_equal_snr.py --workdir=runs/digits_equal_snr

All else is configs/digits.py. Not trained in full here; with --config.train.num_steps=300
--config.train.batch_size=32 the loss was 0.364 over the last 100 steps.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "equal_snr"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
