"""Restored versions of corrupted examples, in their place: what a round of EM trains on.

A file holds `x`, `(draws, m, *shape)` raw values in the data's range, and `index`, `(m,)`, the examples that
they are of. Each time an example comes, one of its draws is taken, a function of (seed, step, index).
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np

from sagd_jax.data.files import Unreadable, reading
from sagd_jax.data.fingerprint import of_values
from sagd_jax.data.order import hash_words
from sagd_jax.data.source import DataError, Resident, Source
from sagd_jax.system.files import write_whole

_WHICH = 14  # tells this hash from others


class Restored(Source):
    """A source in which draws stand in for the corrupted examples, which count as clean."""

    def __init__(self, source: Source, x: np.ndarray, index: np.ndarray):
        """Wraps `source`; arguments are the arrays of a file."""
        self._source, self._x = source, np.asarray(x, np.float32)
        for name in (
            "shape", "dtype", "value_range", "kind", "num_classes", "sample_rate", "in_memory", "planted",
            "scaled",
        ):  # fmt: skip
            setattr(self, name, getattr(source, name))
        self.identity = lambda: (*source.fingerprint(), *of_values("restored", x.view(np.int32)))
        self.restored = True
        own = np.zeros(len(source), np.uint8) if source.kinds is None else source.kinds
        self._place = np.full(len(source), -1, np.int64)
        self._place[index] = np.arange(len(index))
        self._own = np.where(self._place >= 0, 0, own).astype(np.uint8)
        self.kinds = self._own

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._source.fetch(indices, seed=seed, step=step)
        own = batch.get("index", np.asarray(indices))
        place = self._place[own]
        draw = hash_words(seed, step, np.asarray(indices), _WHICH) % np.uint64(len(self._x))
        chosen = self._x[draw.astype(np.int64), np.maximum(place, 0)]
        there = (place >= 0).reshape(-1, *(1,) * (chosen.ndim - 1))
        x = np.where(there, chosen, batch["x"]).astype(self._x.dtype)
        return {**batch, "x": x, "corrupted": self._own[own]}

    def report(self) -> None:
        self._source.report()

    def resident(self, most: float = math.inf) -> Resident | None:
        size = 4 * (math.prod(self.shape) * len(self) + self._x.size)
        inner = self._source.resident() if size <= most and self._fetches_as(Restored) else None
        if inner is None or inner.augmented:
            return None
        # The draws lie behind the examples; of both it is their rows that are chosen from.
        draws, number = self._x.shape[:2]
        rows = self._over(inner.rows)
        rows._x = np.arange(draws * number, dtype=np.int32).reshape(draws, number)
        rows._x += len(inner.examples)
        behind = self._x.reshape(-1, *self.shape)
        return Resident(np.concatenate([inner.examples, behind], dtype=np.float32), rows)


def restored(source: Source, file: str) -> Source:
    """`source` with the draws of a file.

    Raises:
      DataError: it cannot be read, or is not of this data; one line.
    """
    path = Path(file).expanduser()
    where = f"data.restored={file!r}"
    try:
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            if not {"x", "index"} <= set(arrays):
                raise ValueError(
                    f"holds {', '.join(arrays) or 'nothing'}; expected 'x' and 'index'"
                )
            x, index = np.ascontiguousarray(arrays["x"], np.float32), np.asarray(arrays["index"])
    except Unreadable as error:
        raise DataError(f"{where}: {error.why}") from None
    fits = x.ndim == len(source.shape) + 2 and x.shape[2:] == tuple(source.shape) and len(x)
    if not fits or index.shape != x.shape[1:2] or index.dtype.kind not in "iu":
        raise DataError(
            f"{where}: x of shape {x.shape}, index of shape {index.shape}; expected (draws, m, "
            f"{', '.join(map(str, source.shape))}) and (m,)"
        )
    if index.size and not (index.min() >= 0 and index.max() < len(source)):
        raise DataError(f"{where}: it is of examples up to {index.max()}, there are {len(source)}")
    if not np.isfinite(x).all():
        raise DataError(f"{where}: it has values that are not finite")
    return Restored(source, x, index)


def write_restored(file: Path, x: np.ndarray, index: np.ndarray) -> None:
    """Writes a file for `restored`, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, x=np.asarray(x, np.float32), index=np.asarray(index, np.int64))
    write_whole(file, buffer.getvalue())


def write_array(file: Path, x: np.ndarray) -> None:
    """Writes one array, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, x)
    write_whole(file, buffer.getvalue())
