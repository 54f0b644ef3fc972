"""Detection and false alarms of the detector of `sagd_jax.spectrum`, and of the one before it.

    python -m benchmarks.detector --out results/detector.json --docs docs/detector_table.md
    python -m benchmarks.detector --only_tables

Clean sets, drawn or of installed packages, are treated as strangers' data are; each case has a truth,
and each answer is judged by it. `--data` names a folder with real sets and really corrupted recordings,
`--pictures` one with photographs, `--recordings` one with WAV files: their rows are added. `--baseline`
names a checkout of the package as it was before, which answers the same cases; without it the numbers of
the file that `--out` names are kept for it. `--draws` repeats the estimate of N(f) so many times. The file is
written after each set: `--resume` goes on where a run with the same commit ended, `--only` runs a part.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detector import suite, tables
from benchmarks.detector.detectors import Landed, current
from benchmarks.detector.draws import repeat
from benchmarks.detector.judge import Answer, judge


def main() -> None:
    """Runs what the flags ask for, writes the JSON and draws the tables."""
    flags = _flags()
    before: dict[str, Any] = json.loads(flags.out.read_text()) if flags.out.is_file() else {}
    if flags.only_tables:
        _tables(flags.docs, before)
        return
    from sagd_jax.run.provenance import provenance

    landed = Landed(flags.baseline) if flags.baseline else None
    result: dict[str, Any] = provenance(["-m", "benchmarks.detector", *sys.argv[1:]])
    result["seeds"] = flags.seeds
    result["baseline"] = landed.commit if landed else before.get("baseline")
    result["draws"] = before.get("draws", [])
    if flags.draws and not (flags.resume and _drawn(result["draws"], flags.draws, result)):
        result["draws"] = [
            row | {"commit": result["commit"]} for row in repeat(flags.draws, current)
        ]
    kept = {_key(case): case for case in before.get("cases", [])}
    cases: list[dict[str, Any]] = []
    result["cases"] = cases
    sets = suite.all_sets(flags.data, flags.pictures, flags.recordings)
    for name, one in sets.items():
        for seed in flags.seeds:
            for case in suite.cases(name, one, seed, flags.only):
                entry = _entry(case)
                old = kept.get(_key(entry), {})
                own = None if flags.only_baseline else current
                entry |= _answer("new", own, case, old, result["commit"], flags.resume)
                commit = landed.commit if landed else ""
                entry |= _answer("landed", landed, case, old, commit, flags.resume)
                cases.append(entry)
                print(_line(entry), file=sys.stderr, flush=True)
        # An hour's work is not lost with its last set; what is not asked now stays as it was.
        done = {_key(case) for case in cases}
        rest = [case for key, case in kept.items() if key not in done]
        everything = {**result, "cases": cases + rest}
        flags.out.write_text(json.dumps(everything, indent=1) + "\n")
    if landed:
        landed.close()
    _tables(flags.docs, json.loads(flags.out.read_text()))


def _drawn(rows: list[dict[str, Any]], draws: int, result: dict[str, Any]) -> bool:
    return bool(rows) and all(
        row["draws"] == draws and row.get("commit") == result["commit"] for row in rows
    )


def _answer(
    name: str,
    detector: Callable[..., Answer] | None,
    case: suite.Case,
    old: dict[str, Any],
    commit: str,
    resume: bool,
) -> dict[str, Any]:
    """A detector's answer to a case, or the one that the file has where it is not asked (again)."""
    has = name in old
    if detector is None or (resume and has and old[name]["commit"] == commit):
        return {name: old[name]} if has else {}
    return {name: _ask(detector, case, commit)}


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.detector", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("results/detector.json"))
    parser.add_argument("--docs", type=Path, help="Markdown file whose tables are drawn again")
    parser.add_argument("--data", type=Path, help="folder with tfds/ and corrupted/")
    parser.add_argument("--pictures", type=Path, help="folder with photographs")
    parser.add_argument("--recordings", type=Path, help="folder with WAV files")
    parser.add_argument("--baseline", type=Path, help="a checkout of the package from before")
    parser.add_argument("--only_baseline", action="store_true", help="ask only that one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--draws", type=int, default=0, help="repetitions for N(f)")
    parser.add_argument(
        "--resume", action="store_true", help="ask again nothing that the file has of these commits"
    )
    parser.add_argument("--only", default="", help="regular expression on SET: TREATMENT")
    parser.add_argument("--only_tables", action="store_true", help="measure nothing")
    flags = parser.parse_args()
    if flags.only_baseline and not flags.baseline:
        parser.error("--only_baseline: needs --baseline")
    if flags.only_tables and not flags.out.is_file():
        parser.error(f"--out={flags.out}: no such file to draw the tables from")
    return flags


def _entry(case: suite.Case) -> dict[str, Any]:
    return {
        "set": case.group,
        "treatment": case.treatment,
        "seed": case.seed,
        "shape": list(case.x.shape),
        "truth": case.truth.kind,
    }


def _key(case: dict[str, Any]) -> tuple[str, str, int]:
    return case["set"], case["treatment"], case["seed"]


def _ask(detector: Callable[..., Answer], case: suite.Case, commit: str) -> dict[str, Any]:
    start = time.perf_counter()
    answer = detector(case.x.astype(np.float32), case.rate)
    score = judge(answer, case.truth, case.x.shape[1:-1])
    return {
        **dataclasses.asdict(score),
        "suggestion": answer.suggestion,
        "removed": round(answer.removed, 4),
        "holes": round(answer.holes, 3),
        "findings": [f"{one.verdict}: {one.kind} {one.words}".strip() for one in answer.findings],
        "commit": commit,
        "seconds": round(time.perf_counter() - start, 2),
    }


def _line(entry: dict[str, Any]) -> str:
    words = f"{entry['set']}: {entry['treatment']}"
    for detector in tables.DETECTORS:
        if detector in entry:
            told = entry[detector]
            words += (
                f" | {detector}: found {told['found']}, false {told['false']}, {told['suggestion']}"
            )
    return words


def _tables(document: Path | None, results: dict[str, Any]) -> None:
    if document:
        tables.write_tables(document, results)
    else:
        for draw in tables.TABLES.values():
            print(draw(results), end="\n\n")


if __name__ == "__main__":
    main()
