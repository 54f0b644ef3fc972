"""What a spectral schedule costs in a training step of the digits' network, beside white noise."""

from __future__ import annotations

import statistics
import time
from typing import Any

SCHEDULES = ("cosine", "equal_snr", "blurring", "shortest_path")  # the first is white and scalar


def costs(rounds: int) -> dict[str, Any]:
    """CPU and wall seconds of a step under each schedule, in turns within this process.

    Also those of drawing and shaping the noise alone: `draw` of the objective, outside of the step.
    """
    import jax

    from benchmarks.peers import ours
    from benchmarks.peers.cases import CPU

    case = CPU[0]
    steps = {}
    for name in SCHEDULES:
        run = ours.prepared(case, name)
        steps[name] = ours.step_of(case, run, ours.state_of(run, case))
        steps[name]()
    times: dict[str, dict[str, list[float]]] = {n: {"wall": [], "cpu": []} for n in steps}
    for _ in range(15 * rounds):
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[name]["wall"].append(time.perf_counter() - wall)
            times[name]["cpu"].append(time.process_time() - cpu)
    white = times[SCHEDULES[0]]
    return {
        "network": case.name,
        "jax": jax.__version__,
        "schedules": {
            name: {clock: statistics.median(values) for clock, values in of.items()}
            | {
                f"{clock} ratio": statistics.median(
                    a / b for a, b in zip(values, white[clock], strict=True)
                )
                for clock, values in of.items()
            }
            for name, of in times.items()
        },
    }
