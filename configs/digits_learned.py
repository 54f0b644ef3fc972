"""Digits under a schedule whose path of the log-SNR per frequency is learned for samples in 8 steps.

    python train.py --config=configs/digits_learned.py --workdir=runs/digits_learned

Rivals with the same levels at both ends: --config.objective.path=frozen is one line for all
frequencies, and --config.schedule.kind=learned_slope a power law whose slope is learned, or, with
--config.objective.path=frozen --config.schedule.slope=-0.1, chosen. To expect after 1,400 steps: a bound of
8 steps of 473 nats on held-out digits, where the line has 868, and no better samples (docs/learned_spectrum.md).
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.schedule.kind = "learned"
    config.schedule.basis = "cosine"
    config.objective.path = "steps"
    config.objective.path_steps = 8
    config.objective.path_learning_rate = 1e-2
    return config
