"""Digits on the shortest path from the data's spectrum to white noise (arXiv 2306.00501).

    python train.py --config=configs/digits_shortest_path.py --workdir=runs/digits_shortest_path

All else is configs/digits.py. Not trained in full here; with --config.train.num_steps=300
--config.train.batch_size=32 the loss was 0.290 over the last 100 steps.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "shortest_path"  # the spectrum is estimated from the data
    config.schedule.basis = "cosine"
    return config
