"""CIFAR-10 with all frequencies at one signal-to-noise ratio (equal-SNR, arXiv 2505.11278).

    python train.py --config=configs/cifar10_equal_snr.py --workdir=runs/cifar10_equal_snr

All else is configs/cifar10.py, with v for the prediction. Not trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("cifar10.py")))["get_config"]()
    config.model.prediction = "v"
    config.schedule.kind = "equal_snr"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
