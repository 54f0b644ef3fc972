"""Speed and memory beside PyTorch with diffusers, in turns, and what only this project has.

    python -m benchmarks.peers --peers_python=PYTHON --json=results/bench-cpu.json --docs=docs/performance.md

PYTHON has torch and diffusers (`pip install -e '.[bench]'`, or an environment of its own, which its
memory is then measured without ours). Each side of a case is a process of its own; they work in turns, and
what counts are medians and the ratios of turns that followed each other. The file is written after each
case; what it has is not measured again, so the same command goes on (`--again=REGEX` measures those anew).
On a shared machine the ratio of CPU times says more than that of the wall clock, and only with
`--cores=1`: PyTorch's threads wait for each other at work. `--device=gpu` runs the
cases of a GPU: bfloat16, theirs compiled and channels last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import cases, own, schedules, starts, tables
from benchmarks.peers.turns import WorkerError, compare
from sagd_jax.system import cores


def commands(case: cases.Case, python: str) -> dict[str, list[str]]:
    """How the two sides are started."""
    name = f"gpu {case.name}" if case.device == "gpu" else case.name
    theirs = str(Path(__file__).parent / "theirs.py")
    return {
        "ours": [sys.executable, "-m", "benchmarks.peers.ours", name],
        "theirs": [python, theirs, name],
    }


def main() -> None:
    """Measures what the file lacks, and draws the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--peers_python", default=sys.executable, help="a Python with torch")
    parser.add_argument("--json", type=Path, default=Path("results/bench-cpu.json"))
    parser.add_argument("--docs", type=Path, help="Markdown file whose tables are drawn again")
    parser.add_argument("--only_tables", action="store_true", help="measure nothing")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", default="", help="regular expression: only these measurements")
    parser.add_argument("--again", help="regular expression: measure these anew")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3, help="of a turn, about")
    parser.add_argument("--cores", type=int, help="only so many; a spinning thread counts as work")
    flags = parser.parse_args()
    if flags.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: flags.cores])
    if flags.device == "cpu":
        cores.as_devices(16)  # before `provenance` asks for the devices
    result = json.loads(flags.json.read_text()) if flags.json.exists() else {"measured": {}}
    measured: dict[str, Any] = result["measured"]

    def wanted(name: str) -> bool:
        anew = bool(flags.again and re.search(flags.again, name))
        return bool(re.search(flags.only, name)) and (anew or name not in measured)

    def keep(name: str, value: dict[str, Any]) -> None:
        from sagd_jax.run.provenance import provenance

        of = {"cores": len(os.sched_getaffinity(0))}
        of |= provenance(["-m", "benchmarks.peers", *sys.argv[1:]])
        measured[name] = {**value, "of": of}
        flags.json.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name}: done", flush=True)

    if not flags.only_tables:
        for case in cases.GPU if flags.device == "gpu" else cases.CPU:
            if wanted(case.name):
                try:
                    found = compare(commands(case, flags.peers_python), flags.rounds, flags.seconds)
                except WorkerError as error:
                    print(f"{case.name}: {error}", file=sys.stderr, flush=True)
                    continue
                keep(case.name, {**found, "bar": case.bar})
        for name, measure in {
            "cost of a schedule": lambda: schedules.costs(flags.rounds),
            "shares": lambda: own.shares(flags.rounds),
            "starts": lambda: starts.seconds(flags.peers_python),
        }.items():
            if wanted(name):
                keep(name, measure())
    if flags.docs:
        tables.write(measured, flags.docs)


if __name__ == "__main__":
    main()
