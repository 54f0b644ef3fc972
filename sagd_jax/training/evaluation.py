"""Judging samples during training: the same ones each time, from the averaged weights.

The metrics are those of `evaluation/judge.py` that are one number, of the samples that
`python -m sagd_jax.evaluate` would draw with the same seed; the log shows them, with their floors.
"""

from __future__ import annotations

import logging
from typing import Any

from sagd_jax.data.source import Source
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.evaluation import bench
from sagd_jax.evaluation import compared as compared_data
from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.evaluation.judge import METRICS, Asked, parse
from sagd_jax.run import build, layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.draw import Drawer, NotFiniteError, is_bounded
from sagd_jax.system import kinds
from sagd_jax.system.errors import check_choice
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Action, Moment, Parts
from sagd_jax.training.preview import sampler_of

_SAMPLES_AT_ONCE = 64  # so that a signal to stop does not wait for all
NAMES = tuple(n for n, m in METRICS.items() if m.needs is None and n != "bands")

_log = logging.getLogger(__name__)


class Evaluation(Action):
    """Draws and judges the samples of `config.evaluation`, over all devices."""

    doing = "judging samples"

    def __init__(self, parts: Parts) -> None:
        config, data = parts.record.config, parts.record.data
        options = config.evaluation
        self.every = options.every or None
        self._count = options.num_samples
        if self.every is None:
            return
        for word in options.metrics:
            check_choice("config.evaluation.metrics", word.partition(":")[0], NAMES, ConfigError)
        try:
            self._asked = parse(options.metrics, bool(data.num_classes), ())
            self._bench = _bench(parts, config)
            self._bench.check(self._asked, self._count)
        except EvaluationError as error:
            words = str(error).replace("--metrics", "config.evaluation.metrics")
            raise ConfigError(f"config.evaluation: {words}") from error
        sampler, num_steps = sampler_of(config, options, "config.evaluation")
        with build.as_config_error("config.evaluation"):
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
        if self.every is not None:
            self._drawer.check(state["ema"])

    def __call__(self, moment: Moment) -> None:
        try:
            raw = self._drawer(moment.state["ema"], 0, self._count, interrupted=moment.interrupted)
        except NotFiniteError as error:
            # No fault of training, whose own loss and weights are watched.
            if moment.is_first:
                _log.warning("no evaluation of step %d: %s", moment.step, error)
            return
        if raw is None or not moment.is_first:
            return
        features: dict[str, Any] = {}
        values: dict[str, float] = {}
        for one in self._asked:
            values |= _numbers(one, self._bench.judge(one, raw, features))
        moment.progress.note(moment.step, values)


def _bench(parts: Parts, config: RunConfig) -> bench.Bench:
    plain = compared_data.clean(config.data)
    own: Source | None = parts.source if plain == config.data else None
    compared = compared_data.open_data(plain, parts.record.data, source=own)
    return bench.Bench(parts.record.data, compared, layout.local_mesh(), seed=config.seed)


def _numbers(one: Asked, found: dict[str, Any]) -> dict[str, float]:
    """What the log shows of a metric: its number, and its floor where it has one."""
    name, shown = str(one).replace(":", "_"), one.metric.shown
    floor = found.get("floor")
    return {name: found[shown], **({f"{name}_floor": floor[shown]} if floor else {})}
