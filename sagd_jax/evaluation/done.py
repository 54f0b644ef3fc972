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
MADE_BY = ("commit", "device", "uncommitted changes", "python", "jax")


def folder(out: Path, arm: str, seed: int) -> Path:
    """Where an arm and seed of an experiment are, below its folder."""
    return out / slug(arm) / str(seed)


def evaluation_name(experiment: Experiment, arm: str) -> str:
    """What an arm's evaluation is called in its folder: of its flags, so that an arm can have several."""
    words = json.dumps(experiment.evaluation(arm), sort_keys=True, default=list)
    return f"evaluation_{_digest(words)}"


def settings(config: RunConfig) -> str:
    """A digest of the fields that differ from their defaults: new fields leave it as it was.

    >>> settings(RunConfig()) == settings(RunConfig(seed=0)) != settings(RunConfig(seed=1))
    True
    """
    usual = dict(_leaves(schema.as_dict(RunConfig())))
    own = [(name, x) for name, x in _leaves(schema.as_dict(config)) if usual.get(name, ...) != x]
    return _digest(json.dumps(own))


def noted(experiment: Experiment, out: Path, arm: str, seed: int) -> dict[str, Any] | None:
    """What `take` has noted of an arm and seed: "figures" and "provenance"; None without."""
    note = folder(out, arm, seed) / _taken_name(experiment, arm)
    return json.loads(note.read_text()) if note.exists() else None


def take(
    experiment: Experiment, out: Path, file: Path, overrides: Sequence[str] = ()
) -> list[tuple[str, int]]:
    """Notes in an experiment's folder what a file of figures has of it, as done.

    Args:
      experiment: of which.
      out: its folder.
      file: as `experiments.collect` makes it. Arms whose fields or evaluation have changed since, and those that
        it does not know, are left for the runner.
      overrides: `--config.field=value` flags for all arms.

    Returns:
      The arms and seeds that were taken.

    Raises:
      ExperimentError: for a file that is no such file.
    """
    try:
        content = json.loads(file.read_text())
        arms = content["arms"]
        source = {name: content[name] for name in MADE_BY}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise ExperimentError(
            f"{file}: not the figures of an experiment: {one_line(error)}"
        ) from error
    taken = []
    for arm in experiment.arms:
        found, told = arms.get(arm, {}), content["evaluate"]
        flags = None if told is None else told | found.get("evaluate", {})
        if flags != json.loads(json.dumps(experiment.evaluation(arm))):
            continue
        for seed in experiment.seeds:
            figures = found.get("seeds", {}).get(str(seed), {})
            if figures.get("settings") != settings(config_of(experiment, arm, seed, overrides)):
                continue
            note = folder(out, arm, seed) / _taken_name(experiment, arm)
            note.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"figures": figures, "provenance": source}, indent=1)
            write_whole(note, text + "\n")
            taken.append((arm, seed))
    return taken


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
