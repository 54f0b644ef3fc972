"""What is done of an experiment: how that is called in its folder, and what a file of figures knows of it.

A file of figures can be carried on where the folder is gone: `take` notes its arms and seeds as done, if they
were trained and judged with the settings of today.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagd_jax.run.config import RunConfig
from sagd_jax.run.experiment import Experiment, ExperimentError, config_of, slug
from sagd_jax.system import schema
from sagd_jax.system.errors import one_line
from sagd_jax.system.files import write_whole

TRAINED = "trained.json"
# Of a file of figures, what says how its arms were made.
CHANGED = "uncommitted changes"
MADE_BY = ("commit", "device", CHANGED, "python", "jax", "hardware")


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where an arm and seed of an experiment are, below its folder."""
    return out / slug(arm) / str(seed)


def evaluation_name(experiment: Experiment, arm: str) -> str:
    """What an arm's evaluation is called in its folder: of its flags, so that an arm can have several."""
    words = json.dumps(experiment.evaluation(arm), sort_keys=True, default=list)
    return f"evaluation_{_digest(words)}"


def settings(config: RunConfig, start: str | None = None) -> str:
    """A digest of the fields that differ from their defaults: new fields leave it as it was.

    Args:
      config: of a training.
      start: the digest of the training whose weights it starts from, if it does.

    >>> settings(RunConfig()) == settings(RunConfig(seed=0)) != settings(RunConfig(seed=1))
    True
    """
    usual = dict(_leaves(schema.as_dict(RunConfig())))
    own = [(name, x) for name, x in _leaves(schema.as_dict(config)) if usual.get(name, ...) != x]
    return _digest(json.dumps([own, start] if start else own))


def settings_of(experiment: Experiment, arm: str, seed: int, overrides: Sequence[str] = ()) -> str:
    """`settings` of the training of an arm and seed."""
    start = experiment.arms[arm].init_from
    before = None if start is None else settings_of(experiment, start, seed, overrides)
    return settings(config_of(experiment, arm, seed, overrides), before)


def is_here(experiment: Experiment, out: Path, arm: str, seed: int) -> bool:
    """Whether a folder has the training and the evaluation of an arm and seed themselves."""
    files = [folder(out, experiment.trained_as(arm), seed) / TRAINED]
    if experiment.evaluate is not None:
        files.append(folder(out, arm, seed) / f"{evaluation_name(experiment, arm)}.json")
    return all(file.exists() for file in files)


def check_unchanged(
    experiment: Experiment,
    out: Path,
    units: Sequence[tuple[str, int]],
    overrides: Sequence[str] = (),
) -> None:
    """Refuses to go on in a folder whose trainings had other settings.

    Args:
      units: arms and seeds.

    Raises:
      ExperimentError: one line that names the first.
    """
    changed = []
    for arm, seed in dict.fromkeys((experiment.trained_as(arm), seed) for arm, seed in units):
        marker = folder(out, arm, seed) / TRAINED
        if not marker.exists():
            continue
        # Filled up with the defaults of today: an earlier version had fewer fields.
        before = schema.build(
            RunConfig, json.loads(marker.read_text())["config"], refuse_unused=False
        )
        today = config_of(experiment, arm, seed, overrides)
        if schema.as_dict(before) != schema.as_dict(today):
            changed.append(marker.parent)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ExperimentError(
            f"the experiment has changed since {changed[0]}{more} was made; delete what is to be made anew, "
            "or give another --out"
        )


def check_file(name: str, file: Path) -> None:
    """Refuses a place for figures where something else is.

    Args:
      name: the flag that names it.

    Raises:
      ExperimentError: one line.
    """
    if file.exists() and _arms_and_seeds(file) is None:
        what = "a folder" if file.is_dir() else "a file that has no figures of an experiment"
        raise ExperimentError(f"{name}={file}: this is {what}; expected another name")


def keep_others(file: Path, figures: Mapping[str, Any]) -> Path | None:
    """Sets a file of figures aside if it has arms and seeds that are not in those to be written there.

    Returns:
      Where it is now; None if nothing would be lost.
    """
    new = {(arm, seed) for arm, own in figures["arms"].items() for seed in own["seeds"]}
    if not file.exists() or (_arms_and_seeds(file) or set()) <= new:
        return None
    aside, number = file.with_name(f"{file.name}.before"), 1
    while aside.exists():
        aside, number = file.with_name(f"{file.name}.before{number + 1}"), number + 1
    return file.rename(aside)


def _arms_and_seeds(file: Path) -> set[tuple[str, str]] | None:
    """Of a file of figures; None if it is none."""
    try:
        arms = json.loads(file.read_text())["arms"]
        return {(arm, seed) for arm, own in arms.items() for seed in own["seeds"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def noted(
    experiment: Experiment, out: Path, arm: str, seed: int, overrides: Sequence[str] = ()
) -> dict[str, Any] | None:
    """What `take` has noted of an arm and seed: "figures" and "provenance".

    None without, for other settings than those of today, and where the folder has it all itself.
    """
    note = folder(out, arm, seed) / _taken_name(experiment, arm)
    if not note.exists() or is_here(experiment, out, arm, seed):
        return None
    content = json.loads(note.read_text())
    same = content["figures"]["settings"] == settings_of(experiment, arm, seed, overrides)
    return content if same else None


def known(
    experiment: Experiment, file: Path, overrides: Sequence[str] = ()
) -> dict[tuple[str, int], dict[str, Any]]:
    """What a file of figures has of an experiment, by arm and seed: as `noted`.

    Args:
      experiment: of which.
      file: as `experiments.collect` makes it. Arms whose fields or evaluation have changed since, and those that
        it does not know, are left out.
      overrides: `--config.field=value` flags for all arms.

    Raises:
      ExperimentError: for a file that is no such file, or of a version that did not write "settings".
    """
    try:
        content = json.loads(file.read_text())
        source = {name: content[name] for name in MADE_BY}
        arms, told = dict(content["arms"]), content["evaluate"]
        rows = {arm: dict(own["seeds"]) for arm, own in arms.items()}
        own_flags = {arm: own.get("evaluate", {}) for arm, own in arms.items()}
        flags = {arm: None if told is None else dict(told) | own for arm, own in own_flags.items()}
        say = [row.get("settings") for own in rows.values() for row in own.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExperimentError(
            f"{file}: not the figures of an experiment: {one_line(error)}"
        ) from error
    if say and not any(say):
        raise ExperimentError(
            f"{file}: it does not say with which settings its arms were trained (versions before this one "
            "did not write that)"
        )
    found = {}
    for arm in experiment.arms:
        if flags.get(arm, ...) != json.loads(json.dumps(experiment.evaluation(arm))):
            continue
        for seed in experiment.seeds:
            figures = rows[arm].get(str(seed), {})
            if figures.get("settings") == settings_of(experiment, arm, seed, overrides):
                found[arm, seed] = {"figures": figures, "provenance": source}
    return found


def take(
    experiment: Experiment, out: Path, file: Path, overrides: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """Notes in an experiment's folder what `known` finds in a file, as done; returns the arms and seeds."""
    found = known(experiment, file, overrides)
    for (arm, seed), content in found.items():
        note = folder(out, arm, seed) / _taken_name(experiment, arm)
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, json.dumps(content, indent=1) + "\n")
    return list(found)


def _taken_name(experiment: Experiment, arm: str) -> str:
    return evaluation_name(experiment, arm).replace("evaluation", "taken") + ".json"


def _digest(words: str) -> str:
    return hashlib.blake2b(words.encode(), digest_size=4).hexdigest()


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
