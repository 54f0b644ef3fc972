"""The examples that a spectrum is estimated from, and the pieces of a single one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import Source, normalise
from sagd_jax.spectral.detector.pieces import cut

_PIECE = 256  # examples read at once


class Examples:
    """Some examples of a source, mapped to [-1, 1]; can be iterated over again and again."""

    def __init__(self, source: Source, count: int, indices: np.ndarray | None = None):
        """Up to `count` examples in a random order, or those at `indices`."""
        self._source = source
        if indices is None:
            indices = batch_indices(0, len(source), min(count, len(source)), 0)
        self._indices = indices
        self._pieces = None
        if len(source) == 1:
            x = source.fetch(np.zeros(1, np.int64))["x"]
            self._pieces = cut(np.asarray(normalise(x, source.value_range))[0])

    @property
    def indices(self) -> np.ndarray:
        """Of the examples in the source, `(n,)`; of the pieces where a single example was cut."""
        return np.arange(len(self)) if self._pieces is not None else self._indices

    def of_classes(self) -> list[Examples]:
        """Those of each class."""
        pieces = range(0, len(self), _PIECE)
        labels = np.concatenate(
            [self._source.fetch(self._indices[start : start + _PIECE])["label"] for start in pieces]
        )
        return [
            Examples(self._source, len(self), self._indices[labels == label])
            for label in range(self._source.num_classes)
        ]

    def __len__(self) -> int:
        return len(self._indices) if self._pieces is None else len(self._pieces)

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._pieces is not None:
            for start in range(0, len(self._pieces), _PIECE):
                yield self._pieces[start : start + _PIECE]
            return
        for start in range(0, len(self), _PIECE):
            x = self._source.fetch(self._indices[start : start + _PIECE])["x"]
            yield np.asarray(normalise(x, self._source.value_range))
