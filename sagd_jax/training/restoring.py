"""Clean examples in place of some of a batch, for the restoring path (29) of `diffusion/schedules/caps.py`."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sagd_jax.data.order import hash_words
from sagd_jax.data.source import Resident, Source
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.run.config import RunConfig

_SHARE, _EXAMPLE, _KIND = 11, 12, 13  # tell these hashes from others


def with_restoring(source: Source, config: RunConfig, diffusion: Diffusion) -> Source:
    """The source with the share of `config.schedule.restoring_share`, if there is one."""
    schedule = diffusion.schedule
    if not (isinstance(schedule, Capped) and schedule.restoring and source.kinds is not None):
        return source
    return Restoring(source, config.schedule.restoring_share, schedule.kinds)  # type: ignore[attr-defined]


class Restoring(Source):
    """A source in whose batches clean examples stand in for some, marked as of a restoring path.

    Which rows, by which example and for which kind is a function of (seed, step, index): like every
    batch. The kinds of the corrupted examples are drawn as often as there are examples of them.
    """

    def __init__(self, source: Source, share: float, kinds: int):
        """Wraps `source`, which has clean and corrupted examples; `kinds` counts the clean one too."""
        self._source, self._share, self._kinds = source, share, kinds
        for name in (
            "shape", "dtype", "value_range", "kind", "num_classes", "sample_rate", "in_memory", "kinds",
            "restored", "planted", "scaled",
        ):  # fmt: skip
            setattr(self, name, getattr(source, name))
        self.identity = source.fingerprint
        own = np.asarray(source.kinds)
        self._clean, self._corrupted = np.flatnonzero(own == 0), np.flatnonzero(own)

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        indices = np.asarray(indices)
        words = [hash_words(seed, step, indices, name) for name in (_SHARE, _EXAMPLE, _KIND)]
        chosen = (words[0] >> np.uint64(11)) * 2.0**-53 < self._share
        clean = self._clean[words[1] % np.uint64(len(self._clean))]
        batch = self._source.fetch(np.where(chosen, clean, indices), seed=seed, step=step)
        kind = np.zeros(len(indices), np.int32)
        if len(self._corrupted):
            of = self._corrupted[words[2] % np.uint64(len(self._corrupted))]
            kind = np.asarray(self.kinds)[of].astype(np.int32)
        else:  # all of them restored
            kind = 1 + (words[2] % np.uint64(self._kinds - 1)).astype(np.int32)
        own = batch["corrupted"].astype(np.int32)
        # One that could not be read may have been replaced by a corrupted one.
        return {**batch, "corrupted": np.where(chosen & (own == 0), kind + self._kinds - 1, own)}

    def report(self) -> None:
        self._source.report()

    def resident(self, most: float = math.inf) -> Resident | None:
        inner = self._source.resident(most) if self._fetches_as(Restoring) else None
        return inner and dataclasses.replace(inner, rows=self._over(inner.rows))
