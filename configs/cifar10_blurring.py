"""CIFAR-10 under blur and noise: blurring diffusion (arXiv 2209.05557).

    python train.py --config=configs/cifar10_blurring.py --workdir=runs/cifar10_blurring

All else is configs/cifar10.py, with v for the prediction. Not trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("cifar10.py")))["get_config"]()
    config.model.prediction = "v"
    config.schedule.kind = "blurring"
    config.schedule.blur_max = 20.0
    return config
