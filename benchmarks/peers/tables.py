"""The tables of docs/performance.md, from the JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def write(measured: dict[str, Any], document: Path) -> None:
    """Puts each table between its marks in the document, `<!-- NAME -->` and `<!-- end -->`."""
    text = document.read_text()
    for name, lines in {
        "compared": compared(measured),
        "schedules": schedules(measured),
        "starts": starts(measured),
        "shares": shares(measured),
    }.items():
        table = "\n".join(lines)
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, table=table: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)
    document.write_text(text)


def compared(measured: dict[str, Any]) -> list[str]:
    """The works of both sides."""
    rows = [
        "| work | ours, ms | theirs | ratio (range) | wanted | of CPU time | peak MiB, ours / theirs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, of in measured.items():
        if "wall ratio" not in of:
            continue
        low, high = of["wall ratios"]
        ours, theirs = of["ours"], of["theirs"]
        rows.append(
            f"| {name} | {1e3 * ours['wall']:.0f} | {1e3 * theirs['wall']:.0f} "
            f"| {of['wall ratio']:.2f} ({low:.2f} to {high:.2f}) | {of['bar']} | {of['cpu ratio']:.2f} | {ours['peak MiB']:.0f} / {theirs['peak MiB']:.0f} |"
        )
    return rows


def schedules(measured: dict[str, Any]) -> list[str]:
    """What spectral schedules cost."""
    rows = ["| schedule | ms of CPU a step | over the white one |", "|---|---|---|"]
    for name, of in measured.get("cost of a schedule", {}).get("schedules", {}).items():
        rows.append(f"| {name} | {1e3 * of['cpu']:.1f} | {of['cpu ratio']:.3f} |")
    return rows


def starts(measured: dict[str, Any]) -> list[str]:
    """From a command to its result."""
    rows = ["| | seconds | of CPU, to its end |", "|---|---|---|"]
    for name, of in measured.get("starts", {}).items():
        if isinstance(of, dict) and "wall" in of:
            cpu = of.get("cpu to the end", of.get("cpu"))
            rows.append(f"| {name} | {of['wall']:.1f} | {cpu:.1f} |")
    return rows


def shares(measured: dict[str, Any]) -> list[str]:
    """What is not the network's."""
    of = measured.get("shares", {})
    rows = ["| what | seen | wanted at most |", "|---|---|---|"]
    wanted = {
        "shaping, share of the paper's step": ".2%",
        "collectives in shaping": "d",
        "waiting for data, share of digits' training": ".1%",
        "saving, share of a minute": ".2%",
    }
    most = ("1 %", "0", "2 %", "1 %")
    if of:
        for (name, style), bar in zip(wanted.items(), most, strict=True):
            rows.append(f"| {name} | {of[name]:{style}} | {bar} |")
    return rows
