"""How soon the explorer answers a slider, at 32x32 and 256x256: what the page asks for, without browser.

    python -m benchmarks.explorer --out=results/explorer.json

For each process of the page the answer is timed several times, with another t, and another number where the
process has one, each time: all pictures and lines, as HTML and text. The first answer, which compiles, is apart.
Beside the time on the clock stands that of the processor, which other programs on the machine make no longer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data.source import ArraySource
from sagd_jax.programs import explored_lines as lines
from sagd_jax.programs import explored_pictures as drawn
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import PROCESSES, SECTIONS, own_fields, read
from sagd_jax.run.config import RunConfig
from sagd_jax.run.provenance import provenance

MOVED = {
    "tilted": "noise.alpha",
    "blurring": "schedule.blur_max",
    "hierarchical": "schedule.softness",
}


def values(process: str) -> dict[str, Any]:
    """The values of a page that begins with a process."""
    found: dict[str, Any] = {
        "band": "off", "low": 0.1, "high": 0.2, "holes": [], "margin": 1, "t": 0.5, "example": 0, "seed": 0,
        "of_data": True,
    }  # fmt: skip
    for section, table in SECTIONS.items():
        for kind, entry in table.items():
            for name in own_fields(section, kind):
                found[f"{section}.{name}"] = entry.fields[name].default
    chosen = dict(PROCESSES[process])
    found["basis"] = chosen.pop("basis")
    for section, fields in chosen.items():
        found |= {f"{section}.{name}": value for name, value in fields.items()}
    return found


def answer(explorer: Explorer, now: dict[str, Any]) -> tuple[float, float]:
    """Seconds on the clock and of the processor for one answer."""
    clock, processor = time.perf_counter(), time.process_time()
    choice = read(now, explorer.config)
    drawn.page(explorer, choice)
    for made in (lines.config_lines, lines.python_lines, lines.flags):
        made(explorer, choice)
    return time.perf_counter() - clock, time.process_time() - processor


def measure(side: int, names: list[str], repeats: int) -> dict[str, Any]:
    """Milliseconds of the first answer, and of the others: their median and largest."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(16, side, side, 3)).astype(np.uint8)
    explorer = Explorer(RunConfig(), ArraySource(x, value_range=(0, 255)))
    found = {}
    for name in names:
        now, times = values(name), []
        for i in range(repeats + 1):
            now["t"] = 0.2 + 0.6 * i / repeats
            if name in MOVED:
                now[MOVED[name]] = 0.5 + 0.1 * i
            times.append(answer(explorer, now))
        clock, processor = (1000 * np.array(t) for t in zip(*times, strict=True))
        found[name] = {
            "first": round(float(clock[0])),
            "median": round(float(np.median(clock[1:]))),
            "largest": round(float(clock[1:].max())),
            "median of the processor": round(float(np.median(processor[1:]))),
        }
        print(side, name, found[name], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="results/explorer.json")
    parser.add_argument("--sides", default="32,256")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--processes", default=",".join(PROCESSES))
    flags = parser.parse_args()
    names = flags.processes.split(",")
    origin = provenance(["-m", "benchmarks.explorer", *sys.argv[1:]])
    load = {"other programs (load average over a minute)": round(os.getloadavg()[0], 1)}
    result: dict[str, Any] = {}
    for side in flags.sides.split(","):
        result[f"{side}x{side}x3"] = measure(int(side), names, flags.repeats)
        content = {**origin, **load, "milliseconds": result}
        Path(flags.out).write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
