"""CIFAR-10 at 16x16: colour, with the network and the budget of configs/mnist16.py.

    python train.py --config=configs/cifar16.py --workdir=runs/cifar16

Half of its sides (averages of 2x2). For comparing arms that differ in their noise, not for pictures that
anybody would show.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("mnist16.py")))["get_config"]()
    config.data.name = "cifar10"
    return config
