"""Runs the real programs on a network small enough to compile in seconds."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TINY = """
from sagd_jax.training.config import default


def get_config():
    config = default()
    config.noise.kind, config.noise.alpha = "power_law", -0.5
    config.model.unet.block_out_channels = (8,)
    config.model.unet.layers_per_block = 1
    config.model.unet.mid_attention = False
    config.model.unet.norm_num_groups = 4
    config.train.num_steps, config.train.batch_size = 12, 16
    config.optimizer.warmup_steps = 2
    config.log.every, config.log.tensorboard = 4, False
    config.checkpoint.every = 4
    config.preview.every = None
    return config
"""


def environment(cache: Path, devices: int = 1) -> dict[str, str]:
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} "
        f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(ROOT),
    }


def command(program: str, *flags: str) -> list[str]:
    return [sys.executable, str(ROOT / program), *flags]


def run(
    program: str, *flags: str, cache: Path, devices: int = 1
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(program, *flags),
        env=environment(cache, devices),
        capture_output=True,
        text=True,
        timeout=300,
    )
