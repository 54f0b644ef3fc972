"""A digits model tuned to make samples in 1 to 4 steps: easy consistency tuning (arXiv 2406.14548).

    python train.py --config=configs/digits.py --workdir=runs/digits
    python train.py --config=configs/digits_consistency.py --init_from=runs/digits --workdir=runs/digits_few
    python sample.py --workdir=runs/digits_few --num_steps=2 --num_samples=64 --out=samples

Network, data and process are those of configs/digits.py, and have to be: under other noise or another
schedule give both runs the same flags. A step is two evaluations of the network, one of them
differentiated. To expect of one step: between 4 and 8 of DDIM (docs/few_steps.md).
"""

import runpy
from pathlib import Path


def get_config():
    config = runpy.run_path(str(Path(__file__).with_name("digits.py")))["get_config"]()
    config.objective.kind = "consistency"
    config.objective.q = 4.0
    config.objective.stages = 4
    config.objective.stage_steps = 500

    config.train.num_steps = 2_000
    config.optimizer.learning_rate = 5e-4
    config.checkpoint.every = 500
    config.preview.every = 500
    return config
