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

from sagd_jax.evaluation.experiments import interval

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
    if not values:
        return "-"
    mean, *half = values
    return f"{mean:,.{digits}f}" + (f" +- {half[0]:,.{digits}f}" if half else "")


def steps_of(results: Results, shown: str) -> list[str]:
    """The numbers of sampling steps at which any arm was judged by a metric, in order."""
    paths = (path.split("/") for arm in results["arms"].values() for path in arm["mean"])
    return sorted({p[1] for p in paths if len(p) == 4 and p[2:] == [shown, "value"]}, key=int)


def distances(results: Results, shown: str = DISTANCE) -> str:
    """A metric by number of sampling steps, and its paired difference to the baseline."""
    baseline, steps = results["baseline"], steps_of(results, shown)
    mean = results["arms"][baseline]["mean"]
    compared = [s for s in steps if f"evaluation/{s}/{shown}/value" in mean]
    ends = sorted({compared[0], compared[-1]}, key=int)
    lines = [
        f"| arm | {' | '.join(f'{s} steps' for s in steps)} | "
        f"{' | '.join(f'minus {baseline}, {s} steps' for s in ends)} | seeds |",
        f"|---|{'---|' * (len(steps) + len(ends) + 1)}",
    ]
    for arm, content in results["arms"].items():
        cells = [number(content["mean"].get(f"evaluation/{s}/{shown}/value"), 3) for s in steps]
        differences = content.get("difference", {})
        for own in ends:
            cells.append(number(differences.get(f"evaluation/{own}/{shown}/value"), 3))
        lines.append(f"| {arm} | {' | '.join(cells)} | {len(content['seeds'])} |")
    seed = next(iter(results["arms"][baseline]["seeds"].values()))
    last = seed["evaluation"][steps[-1]][shown]
    rows = [("held-out data", "floor"), (f"{baseline}, of as many", "at_num_floor")]
    for words, part in rows:
        cells = [number(mean.get(f"evaluation/{s}/{shown}/{part}/value", [])[:1], 3) for s in steps]
        if any(cell != "-" for cell in cells):
            name = f"{words} ({last['num_floor']} examples)"
            lines.append(f"| {name} | {' | '.join(cells)} | {' | '.join([''] * len(ends))} | |")
    return "\n".join(lines)


CORRUPTED = (
    4,
    5,
)  # bands of 0.4 to 0.6 of the highest frequency: that corruption of experiments/digits_corrupted.py


def corrupted(results: Results) -> str:
    """The distances, and how much of the clean data's energy the samples have where others were corrupted."""
    steps = steps_of(results, DISTANCE)[-1]
    seed = next(iter(results["arms"][results["baseline"]]["seeds"].values()))
    edges = seed["evaluation"][steps]["bands"]["edges"]
    known = [b for b in CORRUPTED if seed["evaluation"][steps]["bands"]["ratio"][b] is not None]
    titles = [f"energy over the clean data's, {edges[b]:g} to {edges[b + 1]:g}" for b in known]
    lines = [f"| arm, {steps} steps | {' | '.join(titles)} |", f"|---|{'---|' * len(known)}"]
    for arm, content in results["arms"].items():
        cells = [number(content["mean"].get(f"evaluation/{steps}/bands/ratio/{b}")) for b in known]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return distances(results) + "\n\n" + "\n".join(lines)


# Ratios of FID in the papers, on MNIST at 32x32: arXiv 2510.09660, Table F.1 over alpha = 0, and Table 2, a hole
# over learning from the data as they are; Table 1 of its predecessor, over equal weights.
PAPER = {
    **{f"alpha {a:+g}": fid / 0.42 for a, fid in {-0.08: 0.31, -0.04: 0.31, -0.02: 0.37}.items()},
    **{f"alpha {a:+g}": fid / 0.42 for a, fid in {0.02: 0.47, 0.04: 0.56, 0.08: 0.78}.items()},
    **{f"low {w}": fid / 0.0168 for w, fid in {0.1: 0.2624, 0.4: 0.0224, 0.6: 0.0253}.items()},
    **{"hole, 0.2": 3.0416 / 3.6601, "hole, 0.4": 2.9218 / 3.4281},
    **{"hole, 0.6": 2.7026 / 3.2444, "hole, 0.8": 2.5138 / 3.4660},
}


def beside_paper(results: Results) -> str:
    """The distances, and their ratios to the arm that the paper compares with, seed by seed."""
    steps = steps_of(results, DISTANCE)
    lines = [
        f"| ratio | {' | '.join(f'{s} steps' for s in steps)} | the paper's FID |",
        f"|---|{'---|' * (len(steps) + 1)}",
    ]
    for arm, content in results["arms"].items():
        kind, _, band = arm.partition(", ")
        over = f"as it is, {band}" if band else results["baseline"]
        if arm in (over, results["baseline"]) or over not in results["arms"]:
            continue
        others = results["arms"][over]["seeds"]
        pairs = [(own, others[seed]) for seed, own in content["seeds"].items() if seed in others]
        if not pairs:
            continue
        cells = []
        for s in steps:
            values = [[x["evaluation"][s][DISTANCE]["value"] for x in pair] for pair in pairs]
            cells.append(number(interval([own / other for own, other in values])))
        paper = f"{PAPER[arm]:.2f}" if arm in PAPER else "-"
        name = f"{kind} over as it is, {band}" if band else f"{arm} over {over}"
        lines.append(f"| {name} | {' | '.join(cells)} | {paper} |")
    return distances(results) + "\n\n" + "\n".join(lines)


def learned(results: Results) -> str:
    """The bound of so many steps, and the distances of samples of as many."""
    steps = sorted(steps_of(results, "kernel") or steps_of(results, "spectral"), key=int)
    metric = DISTANCE if steps_of(results, DISTANCE) else "spectral"
    lines = [
        f"| arm | bound | {' | '.join(f'bound, {s} steps' for s in steps)} | "
        f"{' | '.join(f'distance, {s} steps' for s in steps)} | seeds |",
        f"|---|{'---|' * (2 * len(steps) + 2)}",
    ]
    bound = "evaluation/checkpoint/bound"
    for arm, content in results["arms"].items():
        mean = content["mean"]
        cells = [number(mean.get(f"{bound}/value"), 0)]
        cells += [number(mean.get(f"{bound}/steps/{s}/value"), 0) for s in steps]
        cells += [number(mean.get(f"evaluation/{s}/{metric}/value"), 3) for s in steps]
        lines.append(f"| {arm} | {' | '.join(cells)} | {len(content['seeds'])} |")
    return "\n".join(lines)


def machines() -> str:
    """The distances of single trainings, with one seed on two machines."""
    found = [read("digits_family"), read("digits_gpu")]
    if any(results is None for results in found):
        return "Not run yet"
    first, second = found
    steps = steps_of(second, DISTANCE)
    lines = [f"| arm, seed | machine | {' | '.join(f'{s} steps' for s in steps)} | last loss |"]
    lines.append(f"|---|{'---|' * (len(steps) + 2)}")
    for arm, content in second["arms"].items():
        for seed in content["seeds"]:
            if seed not in first["arms"].get(arm, {"seeds": {}})["seeds"]:
                continue
            for results in (first, second):
                own = results["arms"][arm]["seeds"][seed]
                cells = [f"{own['evaluation'][s][DISTANCE]['value']:.4f}" for s in steps]
                cells.append(f"{own['training']['loss']:.5f}")
                where = f"{results['device']}, jax {results['jax']}"
                lines.append(f"| {arm}, {seed} | {where} | {' | '.join(cells)} |")
    return "\n".join(lines)


def block(name: str, about: Callable[[Results], str] = distances) -> str:
    """What stands in the page for one experiment."""
    results = read(name)
    command = f"python -m sagd_jax.experiment experiments/{name}.py --jobs=2"
    if results is None or results["baseline"] not in results["arms"]:
        return f"Not run yet: `{command}`"
    where = f"{results['hardware']}, {results['device']}".removesuffix(", cpu")
    made = f"commit {results['commit']}, jax {results['jax']}, {where}"
    return f"{about(results)}\n\n{results['about']}; {made}; `{results['command']}`"


def sweep(results: Results) -> None:
    """Distance against alpha, one line per number of steps."""
    import matplotlib.pyplot as plt

    def alpha(arm: str) -> float | None:
        if arm == results["baseline"]:
            return 0.0
        found = re.fullmatch(r"alpha ([+-][\d.]+)", arm)
        return float(found[1]) if found else None

    arms = sorted((a, arm) for arm in results["arms"] if (a := alpha(arm)) is not None)
    figure, axes = plt.subplots(1, len(STEPS), figsize=(11, 2.8), layout="constrained", sharey=True)
    baseline = results["arms"][results["baseline"]]["mean"]
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
        floor = baseline[f"evaluation/{steps}/{DISTANCE}/floor/value"][0]
        axis.axhline(floor, color="0.5", linestyle="--", linewidth=1)
        axis.set_title(f"{steps} sampling steps", fontsize=9)
        axis.set_xlabel("alpha (0: white noise)")
        axis.set_xscale("symlog", linthresh=0.05)
        axis.set_xticks([-0.3, -0.04, 0, 0.04, 0.3], ["-0.3", "-0.04", "0", "0.04", "0.3"])
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("Frechet distance,\nclassifier features")
    axes[0].text(-0.3, floor, "held-out data", color="0.5", fontsize=8, va="bottom")
    figure.savefig(IMAGES / "alpha_sweep.png", dpi=130)
    plt.close(figure)


_ABOUT: Mapping[str, Callable[[Results], str]] = {
    "digits_family": distances,
    "digits_family_tilts": distances,
    "mnist16_family": distances,
    "cifar16_family": distances,
    "mnist16_alpha": beside_paper,
    "mnist16_two_band": beside_paper,
    "mnist16_low_frequency": distances,
    "mnist16_controls": distances,
    "mnist16_omission": beside_paper,
    "mnist16_found": distances,
    "digits_corrupted": corrupted,
    "mnist16_corrupted": corrupted,
    "digits_consistency": distances,
    "digits_learned": learned,
    "falling_learned": learned,
    "rising_learned": learned,
}
TABLES: dict[str, Callable[[], str]] = {
    name: (lambda name=name, about=about: block(name, about))  # type: ignore[misc]
    for name, about in _ABOUT.items()
}
TABLES["digits_machines"] = machines
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
        if (results := read(name)) and results["baseline"] in results["arms"]:
            draw(results)


if __name__ == "__main__":
    main()
