"""Redraws the tables and figures of docs/evidence.md from results/: python scripts/evidence.py

Each table stands in the page between two comments that name it; what is between them is replaced. A
table whose experiment has not been run says so, with the command that runs it. `--check` changes nothing
and fails where the page is not what the results say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "evidence.md"
IMAGES = ROOT / "docs"
DISTANCE = "frechet:classifier"
STEPS = ("4", "8", "16", "50")

Results = Mapping[str, Any]


def read(name: str) -> Results | None:
    """The figures of an experiment; None if it has not been run."""
    file = ROOT / "results" / f"{name}.json"
    return json.loads(file.read_text()) if file.exists() else None


def number(values: list[float] | None, digits: int = 2) -> str:
    """A mean with half of its 95 % interval."""
    if values is None:
        return "-"
    mean, *half = values
    return f"{mean:.{digits}f}" + (f" +- {half[0]:.{digits}f}" if half else "")


def distances(results: Results, shown: str = DISTANCE) -> str:
    """Distance by number of sampling steps, and its paired difference to the baseline."""
    baseline = results["baseline"]
    lines = [
        f"| arm | {' | '.join(f'{s} steps' for s in STEPS)} | minus {baseline}, {STEPS[0]} steps "
        f"| minus {baseline}, {STEPS[-1]} steps | seeds |",
        f"|---|{'---|' * (len(STEPS) + 3)}",
    ]
    for arm, content in results["arms"].items():
        cells = [number(content["mean"].get(f"evaluation/{s}/{shown}/value")) for s in STEPS]
        differences = content.get("difference", {})
        for steps in (STEPS[0], STEPS[-1]):
            cells.append(number(differences.get(f"evaluation/{steps}/{shown}/value")))
        lines.append(f"| {arm} | {' | '.join(cells)} | {len(content['seeds'])} |")
    floor = results["arms"][baseline]["mean"].get(f"evaluation/{STEPS[-1]}/{shown}/floor/value")
    if floor:
        lines.append(f"| held-out data | {' | '.join([number(floor[:1])] * len(STEPS))} | | | |")
    return "\n".join(lines)


def block(name: str, about: Callable[[Results], str] = distances) -> str:
    """What stands in the page for one experiment."""
    results = read(name)
    command = f"python -m sagd_jax.experiment experiments/{name}.py --jobs=2"
    if results is None or not results["arms"]:
        return f"Not run yet: `{command}`"
    made = f"commit {results['commit']}, jax {results['jax']}, {results['hardware']}"
    return f"{about(results)}\n\n{results['about']}; {made}; `{command}`"


def sweep(results: Results) -> None:
    """Distance against alpha, one line per number of steps."""
    import matplotlib.pyplot as plt

    def alpha(arm: str) -> float | None:
        if arm == results["baseline"]:
            return 0.0
        found = re.fullmatch(r"alpha ([+-][\d.]+)", arm)
        return float(found[1]) if found else None

    arms = sorted((a, arm) for arm in results["arms"] if (a := alpha(arm)) is not None)
    figure, axes = plt.subplots(1, len(STEPS), figsize=(11, 2.8), layout="constrained")
    for axis, steps in zip(axes, STEPS, strict=True):
        path = f"evaluation/{steps}/{DISTANCE}/value"
        values = [results["arms"][arm]["mean"][path] for _, arm in arms]
        for seed in results["arms"][results["baseline"]]["seeds"]:
            points = [
                results["arms"][arm]["seeds"].get(seed, {}).get("evaluation", {}).get(steps)
                for _, arm in arms
            ]
            own = [(a, p[DISTANCE]["value"]) for (a, _), p in zip(arms, points, strict=True) if p]
            axis.plot(*zip(*own, strict=True), "o", color="0.7", markersize=3)
        axis.plot([a for a, _ in arms], [v[0] for v in values], "o-", color="C0", markersize=4)
        axis.set_title(f"{steps} sampling steps", fontsize=9)
        axis.set_xlabel("alpha (0: white noise)")
        axis.set_xscale("symlog", linthresh=0.05)
        axis.set_xticks([-0.3, -0.04, 0, 0.04, 0.3], ["-0.3", "-0.04", "0", "0.04", "0.3"])
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("Frechet distance,\nclassifier features")
    figure.savefig(IMAGES / "alpha_sweep.png", dpi=130)
    plt.close(figure)


TABLES: dict[str, Callable[[], str]] = {
    name: (lambda name=name: block(name))  # type: ignore[misc]
    for name in (
        "digits_family",
        "mnist16_family",
        "mnist16_alpha",
        "mnist16_two_band",
        "mnist16_low_frequency",
    )
}
FIGURES: dict[str, Callable[[Results], None]] = {"mnist16_alpha": sweep}


def filled(page: str) -> str:
    """The page with its tables."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"{PAGE.name}: expected {start} and {end}")
        page = f"{before}{start}\n{make()}\n{end}{after}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    flags = parser.parse_args()
    page = PAGE.read_text()
    new = filled(page)
    if flags.check:
        sys.exit(0 if new == page else f"{PAGE.name} is not what results/ says")
    PAGE.write_text(new)
    for name, draw in FIGURES.items():
        if (results := read(name)) and results["arms"]:
            draw(results)


if __name__ == "__main__":
    main()
