"""What an experiment's folder holds, collected into the figures that are quoted: one file, no times of day.

Per arm and seed the figures of its evaluation; per arm their mean over seeds, and the difference to the
baseline. Arms of a seed are paired, so the difference is taken seed by seed, and its interval is
Student's t of these differences (95 %): what the seeds share does not widen it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sagd_jax.evaluation.done import (
    CHANGED,
    MADE_BY,
    TRAINED,
    evaluation_name,
    folder,
    noted,
    settings,
)
from sagd_jax.run.config import RunConfig
from sagd_jax.run.experiment import Experiment
from sagd_jax.run.provenance import provenance
from sagd_jax.run.rounds import of_last_round
from sagd_jax.system import schema
from sagd_jax.system.files import write_whole

COVERAGE = 0.95
# What says how fast a program was, and so differs from one run to the next.
_OF_THE_MACHINE = (
    "images_per_second", "images_per_second_per_device", "data_wait_share", "seconds", "provenance",
)  # fmt: skip
# What is the same in all arms, and so has no mean worth writing.
_OF_THE_SETTING = ("edges", "num_samples", "num_reference", "num_floor", "num_held_out", "step")


def mark_trained(place: Path, config: RunConfig) -> None:
    """Notes, in the folder of an arm and seed, that its training is done, with its last figures."""
    content = {
        "config": json.loads(json.dumps(schema.in_effect(config))),
        "figures": last_figures(place / "run"),
        "provenance": provenance([]),
    }
    write_whole(place / TRAINED, json.dumps(content, indent=1) + "\n")


def last_figures(workdir: Path) -> dict[str, Any]:
    """The last line of the figures that a training has logged, without those of its speed."""
    lines = (of_last_round(workdir) / "metrics.jsonl").read_text().splitlines()
    return _of_the_run(json.loads(lines[-1])) if lines else {}


def collect(
    experiment: Experiment, out: Path, command: Sequence[str], overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """The figures of all arms and seeds that are done.

    Args:
      experiment: of which.
      out: its folder.
      command: the words that ran it.
      overrides: `--config.field=value` flags that it ran with.

    Returns:
      What goes into a file of `results/`: "arms" by name, each with its "fields", its figures by "seeds",
      and over the seeds "mean" and, but for the baseline, "difference" ([mean, half the width of its 95 %
      interval], a single number with one seed) for every figure.
    """
    arms: dict[str, Any] = {}
    made: list[dict[str, Any]] = []
    for name, arm in experiment.arms.items():
        seeds = {}
        for seed in experiment.seeds:
            earlier = noted(experiment, out, name, seed, overrides)
            if earlier is not None:
                seeds[str(seed)] = earlier["figures"]
                made.append(earlier["provenance"])
                continue
            trained = folder(out, experiment.trained_as(name), seed) / TRAINED
            evaluated = folder(out, name, seed) / f"{evaluation_name(experiment, name)}.json"
            wanted = [trained] if experiment.evaluate is None else [trained, evaluated]
            if not all(file.exists() for file in wanted):
                continue
            training = json.loads(trained.read_text())
            as_trained = _settings(experiment, out, experiment.trained_as(name), seed)
            seeds[str(seed)] = {"settings": as_trained, "training": training["figures"]}
            made.append(training["provenance"])
            if evaluated in wanted:
                evaluation = json.loads(evaluated.read_text())
                seeds[str(seed)]["evaluation"] = _of_the_run(evaluation["figures"])
                made.append(evaluation["provenance"])
        if seeds:
            told = {"fields": dict(arm.fields), "evaluate": dict(arm.evaluate)}
            arms[name] = {key: value for key, value in told.items() if value} | {"seeds": seeds}
    _summarise(arms, str(experiment.baseline))
    return {
        **provenance(command),
        **_made_by(made),
        "about": experiment.about,
        "config": Path(experiment.config).name,
        "fields": dict(experiment.fields),
        "evaluate": experiment.evaluate,
        "baseline": experiment.baseline,
        "arms": arms,
    }


def _made_by(made: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is in any of several provenances, by name."""

    def words(of: Mapping[str, Any], name: str) -> list[str]:
        told = str(of.get(name) or "")
        changed = name == "commit" and of[CHANGED] and "(changed)" not in told
        return [f"{word} (changed)" if changed else word for word in told.split(", ") if word]

    told = {
        name: ", ".join(sorted({word for of in made for word in words(of, name)}))
        for name in MADE_BY
        if name != CHANGED
    }
    changed = any(of[CHANGED] for of in made)
    return {name: value for name, value in told.items() if value} | {CHANGED: changed}


def as_text(result: Mapping[str, Any]) -> str:
    """The file of `collect`: numbers to six digits, and those of a list in one line.

    >>> print(as_text({"a": [1 / 3, 2.0], "b": {"c": 1}}), end="")
    {
     "a": [0.333333, 2.0],
     "b": {
      "c": 1
     }
    }
    """
    text = json.dumps(_rounded(result), indent=1)
    flat_lists = re.sub(r"\[[^][{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    return re.sub(r"\[ (.*) \]", r"[\1]", flat_lists) + "\n"


def _rounded(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {name: _rounded(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_rounded(value) for value in values]
    return float(f"{values:.6g}") if isinstance(values, float) else values


def interval(values: Sequence[float]) -> list[float]:
    """The mean of independent values, and half the width of its 95 % interval by Student's t.

    >>> interval([1.0, 2.0, 3.0])  # 4.303 standard errors with two degrees of freedom
    [2.0, 2.4841377117503303]
    """
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return [float(x.mean())]
    half = stdtrit(len(x) - 1, (1 + COVERAGE) / 2) * x.std(ddof=1) / math.sqrt(len(x))
    return [float(x.mean()), float(half)]


def flat(values: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested figures, each by its path.

    >>> dict(flat({"8": {"distance": 1.5}, "share": [0.2, 0.8]}))
    {'8/distance': 1.5, 'share/0': 0.2, 'share/1': 0.8}
    """
    if isinstance(values, Mapping):
        inner = values.items()
    elif isinstance(values, list):
        inner = enumerate(values)  # type: ignore[assignment]
    else:
        if isinstance(values, int | float) and not isinstance(values, bool):
            yield prefix, float(values)
        return
    for name, value in inner:
        yield from flat(value, f"{prefix}/{name}" if prefix else str(name))


def _settings(experiment: Experiment, out: Path, arm: str, seed: int) -> str:
    """`settings` as they were when an arm was trained."""
    content = json.loads((folder(out, arm, seed) / TRAINED).read_text())
    used = schema.build(RunConfig, content["config"], refuse_unused=False)
    start = experiment.arms[arm].init_from
    if start is None:
        return settings(used)
    return settings(used, _settings(experiment, out, experiment.trained_as(start), seed))


def _summarise(arms: dict[str, Any], baseline: str) -> None:
    numbers = {
        arm: {
            seed: {p: v for p, v in flat(figures) if not set(_OF_THE_SETTING) & set(p.split("/"))}
            for seed, figures in content["seeds"].items()
        }
        for arm, content in arms.items()
    }
    for arm, content in arms.items():
        by_seed = numbers[arm]
        paths = set.intersection(*(set(figures) for figures in by_seed.values()))
        content["mean"] = {
            path: interval([figures[path] for figures in by_seed.values()])
            for path in sorted(paths)
        }
        if arm == baseline or baseline not in numbers:
            continue
        pairs = [(by_seed[s], numbers[baseline][s]) for s in by_seed if s in numbers[baseline]]
        content["difference"] = {
            path: interval([mine[path] - theirs[path] for mine, theirs in pairs])
            for path in sorted(paths)
            if pairs and all(path in theirs for _, theirs in pairs)
        }


def _of_the_run(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {k: _of_the_run(v) for k, v in values.items() if k not in _OF_THE_MACHINE}
    if isinstance(values, list):
        return [_of_the_run(value) for value in values]
    return values
