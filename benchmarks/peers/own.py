"""What only this project has: shares of a step and of a run that are not the network's."""

from __future__ import annotations

import contextlib
import io
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SAVES = 5
_A_MINUTE = 60.0


def shares(rounds: int) -> dict[str, Any]:
    """Of the paper's U-Net, batch 16 at 32x32x3 under a power law, and of the digits' network.

    Shaping: the noise with its spectrum less the same white draws, over a training step, in turns. Saving: how
    long `Checkpoints.save` holds up the loop, over a minute, the network's whole state at a time. Input: what
    `train.py` says that it waited, on digits. Collectives: those of the compiled program that shapes a
    batch split over all devices.
    """
    import jax
    import jax.numpy as jnp

    import sagd_jax as sagd
    from benchmarks.peers import cases, ours
    from sagd_jax.run.layout import batch_sharding

    case = cases.by_name("step paper 16x32x32x3")
    run = ours.prepared(case)
    state = ours.state_of(run, case)
    step = ours.step_of(case, run, jax.tree.map(jnp.copy, state))
    noise = sagd.power_law((case.side, case.side), -0.1)
    split = batch_sharding(run.mesh)
    shape = (case.batch, case.side, case.side, case.channels)
    white = jax.jit(lambda key: jax.random.normal(key, shape), out_shardings=split)
    shaped = jax.jit(noise.sqrt, in_shardings=split, out_shardings=split)
    text = shaped.lower(jax.ShapeDtypeStruct(shape, jnp.float32)).compile().as_text()
    draws = white(jax.random.key(0))
    times: dict[str, list[float]] = {"step": [], "shaping": []}
    works: dict[str, Callable[[], Any]] = {
        "step": step,
        "shaping": lambda: jax.block_until_ready(shaped(draws)),
    }
    for work in works.values():
        work()
    for _ in range(3 * rounds):
        for name, work in works.items():
            count = 1 if name == "step" else 20
            start = time.perf_counter()
            for _ in range(count):
                work()
            times[name].append((time.perf_counter() - start) / count)
    seconds = {name: statistics.median(of) for name, of in times.items()}
    return {
        "devices": jax.device_count(),
        "jax": jax.__version__,
        "seconds": seconds,
        "shaping, share of the paper's step": seconds["shaping"] / seconds["step"],
        "collectives in shaping": len(
            re.findall(r"(?:all-|collective-|reduce-scatter)\S*\(", text)
        ),
        "saving, share of a minute": _stall(state) / _A_MINUTE,
        "waiting for data, share of digits' training": _waiting(),
    }


def _stall(state: Any) -> float:
    """Median seconds for which a save holds up its caller."""
    from sagd_jax.run.checkpoints import Checkpoints

    seconds = []
    with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
        for number in range(1, _SAVES + 1):
            start = time.perf_counter()
            checkpoints.save(number, {"state": state}, record={})
            seconds.append(time.perf_counter() - start)
            checkpoints.wait()
    return statistics.median(seconds)


def _waiting() -> float:
    """What `train.py` prints at the end of 300 steps of the digits."""
    from sagd_jax.programs.train import main

    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(out):
        main(
            [
                f"--config={Path(__file__).parents[2] / 'configs' / 'digits.py'}",
                f"--workdir={folder}/run",
                "--config.train.num_steps=300",
                "--config.log.every=100",
                "--config.preview.every=None",
            ]
        )
    return float(re.findall(r"waiting for data ([\d.]+)%", out.getvalue())[-1]) / 100
