"""CIFAR-10 on the shortest path from the data's spectrum to white noise (arXiv 2306.00501).

    python train.py --config=configs/cifar10_shortest_path.py --workdir=runs/cifar10_shortest_path

All else is configs/cifar10.py, with v for the prediction. Not trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("cifar10.py")))["get_config"]()
    config.model.prediction = "v"
    config.schedule.kind = "shortest_path"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
