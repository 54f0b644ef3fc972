"""From a command to its first result: the digits by train.py and sample.py, the paper's network; cold and warm; and theirs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.turns import ROOT, Worker

_STEPS = 40
# The defaults are the paper's network; fields take the place of pictures, which need no preparing.
_PAPER = """import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.data.name, config.data.field_shape = "synthetic", (32, 32)
    config.train.batch_size, config.train.num_steps = 16, 10
    config.optimizer.warmup_steps = 5
    config.log.every, config.preview.every = 1, None
    return config
"""


def seconds(peers_python: str) -> dict[str, Any]:
    """Wall and CPU seconds from the start of each program to its first step, or to its end.

    Cold: with an empty cache of compiled programs; warm: the same command once more, elsewhere. The step
    of theirs is the first one of the same network, imports included.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "cache")
        for heat in ("cold", "warm"):
            run = str(Path(folder) / heat)
            train = [
                "train.py",
                "--config=configs/digits.py",
                f"--workdir={run}",
                f"--config.train.num_steps={_STEPS}",
                "--config.optimizer.warmup_steps=10",
                "--config.log.every=1",
                "--config.preview.every=None",
            ]
            found[f"first step, {heat}"] = _until(train, "step 1", cache)
            sample = ["sample.py", f"--workdir={run}", "--num_samples=64", f"--out={run}-samples"]
            found[f"first grid, {heat}"] = _until(sample, None, cache)
            judge = [
                "-m",
                "sagd_jax.evaluate",
                f"--workdir={run}",
                "--num_samples=500",
                f"--out={run}-judged",
            ]
            found[f"500 samples drawn and judged, {heat}"] = _until(judge, None, cache)
            config = Path(folder) / "paper.py"
            config.write_text(_PAPER)
            paper = ["train.py", f"--config={config}", f"--workdir={run}-paper"]
            name = f"first step of the paper's network, {heat}"
            found[name] = _until(paper, "step 1", cache)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    theirs = Worker(
        [peers_python, str(Path(__file__).parent / "theirs.py"), "step digits 64x8x8x1"]
    )
    wall = time.perf_counter() - start
    theirs.end()
    found["first step, theirs"] = {"wall": wall, "cpu": _cpu(before)}
    return found


def _until(program: list[str], words: str | None, cache: str) -> dict[str, float]:
    """Seconds until a program says `words`, or ends; CPU seconds and peak MiB to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "SAGD_JAX_COMPILATION_CACHE": cache, "PYTHONPATH": str(ROOT)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *program],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    wall, said = None, []
    for line in process.stdout:
        said.append(line)
        if words and wall is None and line.startswith(words):
            wall = time.perf_counter() - start
    if process.wait():
        raise SystemExit(f"{' '.join(program)}: {''.join(said)[-1500:]}")
    return {"wall": wall or time.perf_counter() - start, "cpu to the end": _cpu(before)}


def _cpu(before: Any) -> float:
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
