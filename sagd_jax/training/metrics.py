"""Metrics: numbers about the network that the log shows besides the loss it is trained on.

A metric is a function of the parts of a run that returns a function of the training state; its entry
in `METRICS` gives it the name that `config.metrics.names` can list. All processes call it alike.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np

from sagd_jax.run import layout
from sagd_jax.system import compiler
from sagd_jax.system.errors import check_choice
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Action, Moment, Parts
from sagd_jax.training.band_errors import band_errors
from sagd_jax.training.feed import FIELDS
from sagd_jax.training.step import State

Metric = Callable[[State], dict[str, float]]


def ema_loss(parts: Parts) -> Metric:
    """The loss of the averaged weights on fixed examples with fixed draws, without dropout.

    Two steps' values differ by the weights alone: a curve without the noise of the training loss.
    The examples are the first of the training data, as many as one part of a batch has.
    """
    config, objective = parts.record.config, parts.objective
    count = config.train.batch_size // config.train.accumulate
    split = layout.batch_sharding(parts.mesh)
    rows = layout.local_rows(split, count)
    # A stream of its own: neither a step's key nor that of the initial weights.
    key = jax.random.fold_in(jax.random.key(config.seed), 2**32 - 2)

    @functools.cache
    def batch() -> dict[str, jax.Array]:
        examples = parts.source.fetch(np.arange(count)[rows])
        return {
            name: jax.make_array_from_process_local_data(split, examples[name]) for name in FIELDS
        }

    @functools.partial(
        jax.jit,
        out_shardings=layout.replicated(parts.mesh),
        compiler_options=compiler.of_networks(),
    )
    def loss(ema, batch):
        # An objective with stages is in its last one, whichever the run is in.
        batch = {**batch, "step": np.int32(2**31 - 1)}
        drawn = objective.draw(batch, *jax.random.split(key, 3))
        return objective.loss(ema, ema, drawn, None)[0]

    return lambda state: {"ema_loss": float(loss(state["ema"], batch()))}


METRICS: dict[str, Callable[[Parts], Metric]] = {
    "ema_loss": ema_loss,
    "band_errors": band_errors,
}


class MetricsAction(Action):
    """Computes and logs the metrics that `config.metrics` names."""

    doing = "computing the metrics"

    def __init__(self, parts: Parts) -> None:
        config = parts.record.config.metrics
        for name in config.names:
            check_choice("config.metrics.names", name, METRICS, ConfigError)
        self.every = config.every if config.names else None
        self._metrics = [METRICS[name](parts) for name in config.names]

    def __call__(self, moment: Moment) -> None:
        values: dict[str, float] = {}
        for metric in self._metrics:
            if moment.interrupted():
                return
            values |= metric(moment.state)
        moment.progress.note(moment.step, values)
