"""A plan on paper for scaling: what a training step moves over the links, on 8 to 4,096 devices.

    python -m benchmarks.scaling --json results/scaling.json --docs docs/scaling.md
    python -m benchmarks.scaling --json results/scaling.json --docs docs/scaling.md --only_tables

Nothing is trained. For each case a process with as many host devices as the mesh has compiles the
program's own step from shapes (`prepare(...).steps.lower(...).compile()`), and the collectives are
read from the HLO, twice: right after the partitioner, where they still have the dtypes that any
backend starts from, and at the end of XLA:CPU's passes, which combine them and make bfloat16 ones
float32. The time and efficiency figures are computed from these bytes, from the flops and from the
vendors' link speeds (`HARDWARE`). It takes about a quarter of an hour on two cores. `--only_host`
measures only the host's work again, which takes seconds; `--only_tables` draws the tables of the
document from the JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.scaling.cases import CASES, case_name
from benchmarks.scaling.compiled import measure
from benchmarks.scaling.host import host_costs, sum_errors
from benchmarks.scaling.projection import check, fixed_batch, limits, project
from benchmarks.scaling.tables import write_tables


def run_cases(pattern: str) -> list[dict[str, Any]]:
    """Measures the cases, each in a process that has that many devices."""
    results = []
    for number, case in enumerate(CASES):
        if not re.search(pattern, case.name):
            continue
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", "benchmarks.scaling", "--case", str(number)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case.name}: {done.stderr[-2000:]}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
        # The compiler's own warning that it replicates an array, for want of a better way.
        results[-1]["involuntary_replications"] = done.stderr.count("Involuntary full remat")
    return results


def main() -> None:
    """Measures what the flags ask for, writes the JSON and draws the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--json", help="file to write, which --only_tables and --only_host read first"
    )
    parser.add_argument("--docs", help="Markdown file whose tables are drawn again")
    parser.add_argument("--only_tables", action="store_true", help="measure nothing")
    parser.add_argument("--only_host", action="store_true", help="measure the host again, no more")
    parser.add_argument("--cases", default="", help="regular expression: only these cases")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.case is not None:
        print(json.dumps(measure(CASES[flags.case])))
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    from sagd_jax.run.provenance import provenance

    command = ["-m", "benchmarks.scaling", *sys.argv[1:]]
    if flags.only_tables or flags.only_host:
        result = json.loads(Path(flags.json).read_text())
    else:
        result = {**provenance(command), "cases": run_cases(flags.cases)}
        result["sum_errors"] = sum_errors()
    if not flags.only_tables:
        result["host"] = {**host_costs(), "of": provenance(command)}
    named = {case_name(case): case for case in result["cases"]}
    with contextlib.suppress(KeyError):  # only some of the cases
        result["projection"] = project(named)
        result["checks"] = check(named)
        result["limits"] = limits(named)
        base = named["unet 8x1 @64"]
        result["fixed_batch"] = fixed_batch(base, base["partitioned"])
    if flags.json:
        Path(flags.json).write_text(json.dumps(result, indent=1) + "\n")
    if flags.docs:
        write_tables(Path(flags.docs), result)
    elif not flags.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
