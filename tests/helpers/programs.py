"""Runs the real programs on a network small enough to compile in seconds."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = """
import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
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
    """Of a file of this repository or a module."""
    start = [str(ROOT / program)] if program.endswith(".py") else ["-m", program]
    return [sys.executable, *start, *flags]


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


def start_two(program: str, *flags: str, cache: Path, devices: int) -> list[subprocess.Popen[str]]:
    """Two processes of one program over loopback, with this many devices each."""
    port = free_port()
    return [
        subprocess.Popen(
            command(
                program,
                *flags,
                f"--coordinator=127.0.0.1:{port}",
                "--num_processes=2",
                f"--process_id={i}",
            ),
            env=environment(cache, devices),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def finish(processes: list[subprocess.Popen[str]], seconds: float = 300) -> list[tuple[str, str]]:
    """What each has printed to stdout and stderr; none is left running."""
    try:
        return [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, *processes: subprocess.Popen[str], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        for process in processes:
            assert process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)
