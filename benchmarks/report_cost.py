"""How much of a training its report takes: digits, with previews, spectra and a report every so many steps.

    python -m benchmarks.report_cost --out=results/report_cost.json

Reports are written between two steps, so the seconds that they take are those that a run without them has
not. They are measured within one run and laid beside its seconds from the first turn of the report to the
end, without what is compiled before: two runs, one with and one without, would differ by more than a hundredth
on any shared machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagd_jax.programs import train
from sagd_jax.run.provenance import provenance
from sagd_jax.training.report.action import Report


def clocked(name: str, ends: list[tuple[float, float]]) -> None:
    """Notes when each call of a method of the report begins and ends."""
    method: Callable[..., None] = getattr(Report, name)

    def timed(*args: Any, **options: Any) -> None:
        start = time.monotonic()
        method(*args, **options)
        ends.append((start, time.monotonic()))

    setattr(Report, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_cost")
    parser.add_argument("--num_steps", type=int, default=1_400)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("results/report_cost.json"))
    flags = parser.parse_args()
    turns: list[tuple[float, float]] = []
    written: list[tuple[float, float]] = []
    clocked("__call__", turns)
    clocked("_write", written)
    with tempfile.TemporaryDirectory() as folder:
        status = train.main(
            [
                "--config=digits",
                f"--workdir={folder}",
                f"--config.train.num_steps={flags.num_steps}",
                f"--config.report.every={flags.every}",
                f"--config.preview.every={flags.num_steps // 4}",
            ]
        )
    if status:
        raise SystemExit(f"train ended with status {status}")
    seconds = time.monotonic() - turns[0][0]
    taken = [end - start for start, end in written]
    found = {
        **provenance(["-m", "benchmarks.report_cost", *sys.argv[1:]]),
        "num_steps": flags.num_steps,
        "every": flags.every,
        "turns": len(turns),
        "seconds": round(seconds, 2),
        "reports": [round(one, 3) for one in taken],
        "share": round(sum(taken) / seconds, 4),
    }
    flags.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
