"""The tables of the document, drawn from the results and put between their marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Case = dict[str, Any]
HELD_OUT = "held out: "  # names of sets begin with it, those on which no threshold was settled
DETECTORS = {"new": "this", "landed": "before"}


def write_tables(document: Path, results: dict[str, Any]) -> None:
    """Draws every table anew that the document has a mark for."""
    text = document.read_text()
    for name, draw in TABLES.items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        table = draw(results)
        text = pattern.sub(lambda m, t=table: m[1] + t + "\n" + m[2], text)
    document.write_text(text)


def summary(results: dict[str, Any], held_out: bool = False) -> str:
    """One row for each question, over the cases that both detectors answered, and over all of this one."""
    rows = []
    for question, chosen, value in _QUESTIONS:
        cases = [case for case in _cases(results, held_out) if chosen(case)]
        both = [case for case in cases if all(d in case for d in DETECTORS)]
        own = [case["new"] for case in cases if "new" in case]
        told = [_over([case[d] for case in both], value) for d in DETECTORS]
        rows.append([question, str(len(both)), *told, str(len(own)), _over(own, value)])
    words = [f"{word} detector" for word in DETECTORS.values()]
    return _table(["", "cases of both", *words, "all cases", words[0]], rows)


def of_held_out(results: dict[str, Any]) -> str:
    """The summary of the sets on which nothing was settled."""
    return summary(results, held_out=True)


def _cases(results: dict[str, Any], held_out: bool) -> list[Case]:
    return [c for c in results["cases"] if c["set"].startswith(HELD_OUT) == held_out]


def by_set(results: dict[str, Any]) -> str:
    """False alarms on each set as it is, and what was found of what was added."""
    rows = []
    for name in dict.fromkeys(case["set"] for case in results["cases"]):
        own = [case for case in results["cases"] if case["set"] == name]
        row = [name, "x".join(map(str, own[0]["shape"]))]
        for detector in DETECTORS:
            told = [(c["treatment"], c[detector]) for c in own if detector in c]
            clean = [score for treatment, score in told if treatment == "none"]
            parts = [score for _, score in told if score["found"] is not None]
            row.append(str(sum(score["false"] for score in clean)) if clean else "")
            row.append(f"{sum(s['found'] for s in parts)} of {len(parts)}" if parts else "")
            row.append(str(sum(score["false"] for _, score in told)) if told else "")
        rows.append(row)
    header = ["set", "examples"]
    for words in DETECTORS.values():
        header += [f"{words}: false, as it is", "found", "false, in all cases"]
    return _table(header, rows)


def by_treatment(results: dict[str, Any]) -> str:
    """What was found of each treatment, over the sets that have it."""
    rows = []
    settled = _cases(results, held_out=False)
    for name in dict.fromkeys(case["treatment"] for case in settled):
        cases = [case for case in settled if case["treatment"] == name]
        row = [name, str(len(cases))]
        for detector in DETECTORS:
            told = [case[detector] for case in cases if detector in case]
            parts = [score for score in told if score["found"] is not None]
            row.append(str(sum(s["found"] for s in parts)) if parts else "-")
            row.append(str(sum(s["weak"] for s in parts)) if parts else "-")
            row.append(str(sum(s["false"] for s in told)))
            row.append(str(sum(s["too_much"] for s in told)))
        rows.append(row)
    header = ["treatment", "sets"]
    for words in DETECTORS.values():
        header += [f"{words}: found", 'or "cannot tell"', "false", "wrong omission"]
    return _table(header, rows)


def by_draw(results: dict[str, Any]) -> str:
    """How often N(f) was right over draws of sets and corruptions."""
    names = ["setting", "draws", "found", "stated", "within 10 %", "covered", "mean error"]
    rows = [[_cell(row[name]) for name in names] for row in results.get("draws", [])]
    return _table(names, rows)


def _cell(value: Any) -> str:
    return f"{value:+.3f}" if isinstance(value, float) else "-" if value is None else str(value)


def _clean(case: Case) -> bool:
    return case["truth"] == "nothing"


_QUESTIONS: list[tuple[str, Callable[[Case], bool], str]] = [
    ("clean: findings called a corruption", _clean, "false"),
    ("clean: omission suggested", _clean, "too_much"),
    ("corrupted: found", lambda c: not _clean(c), "found"),
    ('corrupted: found, or "cannot tell" at its place', lambda c: not _clean(c), "weak"),
    ("corrupted: other findings called a corruption", lambda c: not _clean(c), "false"),
    ("corrupted: omission of too much", lambda c: not _clean(c), "too_much"),
    ("N(f) stated, within 10 %", lambda c: not _clean(c), "variance"),
    ("N(f): interval holds the truth", lambda c: not _clean(c), "covered"),
    ("examples told apart, mean share", lambda c: not _clean(c), "assigned"),
]


def _over(scores: list[dict[str, Any]], value: str) -> str:
    if value == "variance":
        errors = [abs(s["variance_error"]) for s in scores if s["variance_error"] is not None]
        return f"{sum(e <= 0.1 for e in errors)} of {len(errors)}" if errors else "-"
    values = [s[value] for s in scores if s[value] is not None]
    if not values:
        return "-"
    if value == "assigned":
        return f"{sum(values) / len(values):.2f} of {len(values)}"
    if value in ("found", "weak", "covered"):
        return f"{sum(values)} of {len(values)}"
    return str(sum(values))


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TABLES = {
    "summary": summary,
    "held out": of_held_out,
    "sets": by_set,
    "treatments": by_treatment,
    "draws": by_draw,
}
