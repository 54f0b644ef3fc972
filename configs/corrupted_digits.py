"""Digits with noise in the band [0.4, 0.6) of nine examples in ten: learned from at capped levels.

    python train.py --config=configs/corrupted_digits.py --workdir=runs/corrupted_digits
    python -m sagd_jax.restore --workdir=runs/corrupted_digits --input=IN --out=OUT --draws=4

All else is configs/digits.py. The corruption is planted, to study it: of your own data say instead which
examples are corrupted (config.data.corrupted_flags, corrupted_folders or corrupted_all) and give its variance
as a file. docs/corrupted_data.md says how, and what else can be done. Without a clean example:
--config.data.corrupted_fraction=1 --config.schedule.restoring_share=0. Not trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.data.corruption = "band"
    config.data.corruption_band = (0.4, 0.6)
    config.data.corrupted_fraction = 0.9
    config.schedule.kind = "capped"
    config.schedule.corruption = ("band_pass:bands=((0.4,0.6),)",)
    config.schedule.restoring_share = 0.15
    return config
