"""Digits on the shortest path from the data's spectrum to white noise (arXiv 2306.00501).

    python train.py --config=configs/digits_shortest_path.py --workdir=runs/digits_shortest_path

All else is configs/digits.py. To expect: a loss of 0.207 over the last 250 steps, and a Frechet distance
in the features of a classifier of .36, .20, .12 and .09 in 4, 8, 16 and 50 steps, where white noise
has .30, .14, .10 and .09 (three seeds; results/digits_family.json).
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "shortest_path"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
