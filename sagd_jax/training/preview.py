"""Grids of samples during training: the same ones each time, from the averaged weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from sagd_jax.diffusion.consistency import NUM_STEPS, Multistep
from sagd_jax.diffusion.samplers import SAMPLERS, Sampler
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.run import build, layout, profiles
from sagd_jax.run.config import EvaluationConfig, PreviewConfig, RunConfig
from sagd_jax.run.draw import Drawer, NotFiniteError, is_bounded
from sagd_jax.show import pictures
from sagd_jax.system import kinds
from sagd_jax.system.errors import reason
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Action, Moment, Parts

_SAMPLES_AT_ONCE = 16  # few, so that a signal to stop does not wait for a whole grid

_log = logging.getLogger(__name__)


def sampler_of(
    config: RunConfig, options: PreviewConfig | EvaluationConfig, where: str
) -> tuple[Sampler, int]:
    """The sampler of a section and its steps; a consistency model has one of its own, and few."""
    default: Any = type(options)()
    if config.objective.kind != "consistency":
        return kinds.make(SAMPLERS, options, selector="method"), options.num_steps
    if options.method != default.method:
        raise ConfigError(
            f"{where}.method={options.method!r}: config.objective.kind='consistency' has a sampler "
            "of its own; leave it out"
        )
    few = options.num_steps if options.num_steps != default.num_steps else NUM_STEPS
    return Multistep(), few


class Preview(Action):
    """Draws the grid of `config.preview`, some samples at a time, over all devices.

    Beside the picture it keeps the samples' spectrum, for the report.
    """

    doing = "drawing the samples"

    def __init__(self, parts: Parts) -> None:
        config = parts.record.config
        options = config.preview
        self.every = options.every
        self._data, self._count = parts.record.data, options.num_samples
        sampler, num_steps = sampler_of(config, options, "config.preview")
        with build.as_config_error("config.preview"):
            grid = kinds.make(GRIDS, options, selector="times")
            times = grid.times(parts.diffusion.schedule, num_steps)
        self._drawer = Drawer(
            parts.record,
            parts.model,
            parts.diffusion,
            parts.mesh,
            sampler=sampler,
            num_steps=num_steps,
            times=times,
            seed=config.seed,
            batch_size=min(_SAMPLES_AT_ONCE, self._count),
            clip=is_bounded(parts.record, parts.diffusion),  # as sample.py does
            out=layout.replicated(parts.mesh),
        )

    def check(self, state: Any) -> None:
        self._drawer.check(state["ema"])

    def __call__(self, moment: Moment) -> None:
        shown = None
        try:
            shown = self.draw(moment.state["ema"], moment.interrupted)
        except NotFiniteError as error:
            # No fault of training, whose own loss and weights are watched.
            if moment.is_first:
                _log.warning("no preview of step %d: %s", moment.step, error)
        if shown is None or not moment.is_first:
            return
        picture = pictures.grid(shown)
        file = moment.workdir / profiles.FOLDER / f"step_{moment.step:08d}.png"
        try:
            pictures.write_png(file, picture)
            profile = profiles.profile_of(_signals(shown))
            if profile is not None:
                profiles.write(file.with_suffix(".json"), profile)
        except OSError as error:
            _log.warning("%s could not be written: %s", file, reason(error))
        moment.progress.image("samples", moment.step, picture)

    def draw(self, ema: Any, interrupted: Callable[[], bool]) -> np.ndarray | None:
        """The samples as `show` takes them; None if `interrupted` between two parts of it.

        Raises:
          NotFiniteError: a sample is not finite.
        """
        raw = self._drawer(ema, 0, self._count, interrupted=interrupted)
        return None if raw is None else self._data.for_people(raw)


def _signals(shown: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1], as the data's spectrum is of."""
    return shown / 127.5 - 1 if shown.dtype == np.uint8 else shown
