"""Digits, each class under noise with a spectrum of its own: that of the class, tempered.

    python train.py --config=configs/digits_per_class.py --workdir=runs/digits_per_class

All else is configs/digits.py. The ten spectra are estimated from the data before the run and kept in
its checkpoints; sampling takes each label's own. Not trained in full here; with
--config.train.num_steps=300 --config.train.batch_size=32 the loss was 0.319 over the last 100 steps.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.noise.kind = "from_data"
    config.noise.per_class = True
    config.noise.exponent = 0.5  # of the power; 1: equal signal-to-noise ratios in each class
    return config
