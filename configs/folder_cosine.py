"""Your own images under tilted noise in cosine coordinates, whose borders reflect.

    python train.py --config=configs/folder_cosine.py --workdir=runs/mine --config.data.dir=PATH

All else is configs/folder.py, with v for the prediction. Not trained in full here.
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("folder.py")))["get_config"]()
    config.model.prediction = "v"
    config.noise.kind = "power_law"
    config.noise.alpha = -0.04
    config.noise.basis = "cosine"
    return config
