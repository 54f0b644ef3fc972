"""The configurations that are trained and timed: the paper's U-Net in bfloat16, for each arm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ARMS: dict[str, dict[str, Any]] = {
    "white": {},
    "power_law": {"kind": "power_law", "alpha": -0.02},
}
TINY_MODEL = {
    "dtype": "bfloat16",
    "unet": {
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "attention": (False,),
        "norm_num_groups": 4,
        "mid_attention": False,
    },
}
CONFIG_FILE = '''"""Written by benchmarks.gpu."""

from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema


def get_config():
    return schema.build(RunConfig, {values!r})
'''


def run_values(flags: argparse.Namespace, arm: str) -> dict[str, Any]:
    """The fields of an arm's RunConfig: configs/cifar10.py in bfloat16, without a planned end.

    The learning rate stays constant, since nobody knows how many steps the time allows.
    """
    tiny = flags.tiny
    return {
        "data": {"name": "array", "dir": str(Path(flags.data).resolve()), "flip": True},
        "noise": ARMS[arm],
        "schedule": {"kind": "linear_beta"},
        "model": {"prediction": "epsilon", **(TINY_MODEL if tiny else {"dtype": "bfloat16"})},
        "optimizer": {"learning_rate": 1e-3 if tiny else 2e-4, "warmup_steps": 20 if tiny else 500},
        "train": {
            "batch_size": 32 if tiny else flags.batch_size,
            "num_steps": 10_000_000,
            "steps_per_call": flags.steps_per_call,
        },
        "log": {"every": 10 if tiny else 200, "tensorboard": False},
        "checkpoint": {"every": 10_000_000, "keep": 1},
        "preview": {"every": None},
    }
