"""Gaussian fields under a schedule whose path is learned: where what is best is known.

    python train.py --config=configs/synthetic_learned.py --workdir=runs/falling
    python train.py --config=configs/synthetic_learned.py --workdir=runs/rising --config.data.field_alpha=0.5

Two spectra that want different paths. What else can be compared is as in configs/digits_learned.py. Not
trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))["get_config"]()
    config.data.field_alpha = -1.5
    config.noise.kind = "white"
    config.noise.alpha = 0.0
    config.schedule.kind = "learned"
    config.model.prediction = "v"
    config.objective.path = "steps"
    config.objective.path_steps = 8
    return config
