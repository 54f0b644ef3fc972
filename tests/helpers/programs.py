"""Runs the real programs on a network small enough to compile in seconds.

`run` starts a process, of which half the time is its start; `call` does the same work in this one, for
what is not about processes, devices or signals.
"""

import contextlib
import importlib
import io
import logging
import os
import socket
import subprocess
import sys
import time
import warnings
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


def call(program: str, *flags: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Like `run`, by the program's `main`; what it sets for the whole process is put back."""
    name = program.removesuffix(".py").removeprefix("sagd_jax.")
    main = importlib.import_module(f"sagd_jax.programs.{name}").main
    out, err = io.StringIO(), io.StringIO()
    with (
        as_in_a_fresh_process(cache),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = main(flags)
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess([program, *flags], status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def as_in_a_fresh_process(cache: Path):
    """No handlers of logs, all filters of warnings as they were, and this compilation cache."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(cache),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {setting: getattr(jax.config, setting) for setting in settings}
    loggers = {name: logging.getLogger(name) for name in ("root", "absl", "asyncio")}
    levels = {name: logger.level for name, logger in loggers.items()}
    handlers, hook = logging.root.handlers[:], sys.unraisablehook
    logging.root.handlers[:] = []
    for setting, value in settings.items():
        jax.config.update(setting, value)
    compilation_cache.reset_cache()  # JAX keeps the one that it opened first
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for setting, value in before.items():
            jax.config.update(setting, value)
        compilation_cache.reset_cache()
        for name, level in levels.items():
            loggers[name].setLevel(level)
        logging.root.handlers[:], sys.unraisablehook = handlers, hook


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
