"""An experiment as data: arms that differ in some fields of one config, each run with several seeds.

An experiment file is Python with a function `get_experiment()`:

    import sagd_jax as sagd

    def get_experiment():
        return sagd.Experiment(
            config="../configs/digits.py",
            arms={
                "white": {},
                "alpha -0.3": {"noise.kind": "power_law", "noise.alpha": -0.3},
            },
            evaluate={"num_steps": (4, 8, 16, 50), "num_samples": 1437},
        )

The arms of one seed are paired: the seed alone fixes the order of the data, the white draws behind the
noise and, for one network, the initial weights. Arms with the same fields share one training, so that
what is done to samples afterwards costs no second one.
"""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagd_jax.run.config import RunConfig
from sagd_jax.run.config_file import read_config
from sagd_jax.system.errors import ForPeople, in_file

Values = Mapping[str, Any]


class ExperimentError(ForPeople, ValueError):
    """An experiment that cannot be run; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One arm of an experiment.

    Attributes:
      fields: of the config by dotted name, with their values: `{"noise.alpha": -0.3}`.
      evaluate: flags of the evaluation for this arm alone, by name.
      init_from: another arm, from whose trained weights of the same seed this one starts.

    >>> Arm({"noise.kind": "power_law", "noise.alpha": -0.3}, {"num_steps": (4, 50)}).fields
    {'noise.kind': 'power_law', 'noise.alpha': -0.3}
    """

    fields: Values = dataclasses.field(default_factory=dict)
    evaluate: Values = dataclasses.field(default_factory=dict)
    init_from: str | None = None


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A grid of arms and seeds.

    Attributes:
      config: the config file that all arms start from; a relative path is one from the experiment's file.
      arms: by name, each an `Arm` or its fields alone; the first is the baseline of differences, if
        `baseline` names no other.
      fields: of the config, for all arms.
      seeds: of the trainings.
      evaluate: flags of `python -m sagd_jax.evaluate` by name, for all arms; None: nothing is evaluated. Its
        `dir` is the arm's own `data.dir` unless it is among them.
      baseline: the arm that the others are compared with.
      about: a line on what it is for.

    Raises:
      ExperimentError: without arms or seeds, or for a name that no arm has.

    >>> experiment = Experiment("configs/digits.py", {"white": {}, "tilt": {"noise.alpha": -0.3}})
    >>> experiment.arms["tilt"].fields, experiment.baseline, experiment.seeds
    ({'noise.alpha': -0.3}, 'white', (0, 1, 2))
    """

    config: str
    arms: Mapping[str, Any]
    fields: Values = dataclasses.field(default_factory=dict)
    seeds: Sequence[int] = (0, 1, 2)
    evaluate: Values | None = dataclasses.field(default_factory=dict)
    baseline: str | None = None
    about: str = ""

    def __post_init__(self) -> None:
        if not self.arms or not self.seeds:
            raise ExperimentError("experiment: expected at least one arm and one seed")
        arms = {n: a if isinstance(a, Arm) else Arm(dict(a)) for n, a in self.arms.items()}
        object.__setattr__(self, "arms", arms)
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if self.baseline is None:
            object.__setattr__(self, "baseline", next(iter(arms)))
        named = [self.baseline, *(arm.init_from for arm in arms.values())]
        for name in named:
            if name is not None and name not in arms:
                raise ExperimentError(f"experiment: no arm {name!r}; there are {', '.join(arms)}")
        slugs = [slug(name) for name in arms]
        if len(set(slugs)) < len(slugs):
            twice = next(s for s in slugs if slugs.count(s) > 1)
            both = " and ".join(repr(name) for name in arms if slug(name) == twice)
            raise ExperimentError(f"experiment: arms {both} differ in signs and spaces alone")

    def overrides(self, arm: str, seed: int) -> list[str]:
        """The `--config.field=value` flags of one training."""
        values = {**self.fields, **self.arms[arm].fields, "seed": seed}
        return [f"--config.{name}={_text(value)}" for name, value in values.items()]

    def trained_as(self, arm: str) -> str:
        """The first arm with the same training as this one."""

        def training(name: str) -> str:
            own = self.arms[name]
            start = self.trained_as(own.init_from) if own.init_from else None
            return json.dumps([dict(own.fields), start], sort_keys=True, default=list)

        return next(name for name in self.arms if training(name) == training(arm))

    def evaluation(self, arm: str) -> dict[str, Any] | None:
        """The flags of an arm's evaluation by name; None where nothing is evaluated."""
        if self.evaluate is None:
            return None
        return {**self.evaluate, **self.arms[arm].evaluate}


def grid(**axes: Mapping[str, Values]) -> dict[str, dict[str, Any]]:
    """The arms of all combinations of several choices.

    Args:
      axes: per axis, its choices by name, each with its fields.

    Returns:
      Arms whose names are those of their choices, in order, with a comma between.

    >>> tilts = {"white": {}, "tilt": {"noise.kind": "power_law"}}
    >>> rates = {"slow": {"optimizer.learning_rate": 1e-4}, "fast": {"optimizer.learning_rate": 1e-3}}
    >>> list(grid(noise=tilts, rate=rates))
    ['white, slow', 'white, fast', 'tilt, slow', 'tilt, fast']
    """
    arms: dict[str, dict[str, Any]] = {"": {}}
    for choices in axes.values():
        arms = {
            f"{name}, {choice}" if name else choice: {**fields, **more}
            for name, fields in arms.items()
            for choice, more in choices.items()
        }
    return arms


def slug(name: str) -> str:
    """The name of an arm as that of a folder.

    >>> slug("alpha -0.3, 16 steps")
    'alpha_-0.3_16_steps'
    """
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_")


def read_experiment(path: str, overrides: Sequence[str] = ()) -> Experiment:
    """Runs an experiment file, and checks the config of every arm.

    Args:
      path: a Python file with `get_experiment()`.
      overrides: `--config.field=value` flags for all arms.

    Raises:
      ExperimentError: one line; also for an arm whose config is refused.
    """
    file = Path(path)
    if not file.is_file():
        near = sorted(map(str, file.parent.glob("*.py")))
        found = f"; there are: {', '.join(near)}" if near else ""
        raise ExperimentError(f"{path}: no such file{found}")
    try:
        get_experiment = runpy.run_path(str(file)).get("get_experiment")
        if not callable(get_experiment):
            raise ExperimentError("it has no function get_experiment()")
        experiment = get_experiment()
    except ExperimentError as error:
        raise ExperimentError(f"{path}: {error}") from error
    except Exception as error:  # a fault in somebody's file
        raise ExperimentError(
            f"{path}: {in_file(error, str(file), _of_arguments(error))}"
        ) from error
    if not isinstance(experiment, Experiment):
        kind = type(experiment).__name__
        raise ExperimentError(f"{path}: get_experiment() returned {kind}, expected an Experiment")
    config = Path(experiment.config)
    if not config.is_absolute():
        experiment = dataclasses.replace(experiment, config=str(file.parent / config))
    for arm in experiment.arms:
        try:
            config_of(experiment, arm, experiment.seeds[0], overrides)
        except ForPeople as error:
            raise ExperimentError(f"{path}: arm {arm!r}: {error}") from error
    return experiment


def config_of(
    experiment: Experiment, arm: str, seed: int, overrides: Sequence[str] = ()
) -> RunConfig:
    """The checked config of one training."""
    return read_config(experiment.config, [*experiment.overrides(arm, seed), *overrides])


def _of_arguments(error: Exception) -> str | None:
    """The words for an argument that an experiment or an arm does not have."""
    found = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    kinds = {kind.__name__: kind for kind in (Experiment, Arm)}
    if found is None or found[1] not in kinds:
        return None
    names = [field.name for field in dataclasses.fields(kinds[found[1]])]
    return f"{found[1]} has no argument {found[2]!r}; expected some of {', '.join(names)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
