"""What every data source is: a length, a shape, a value range, and random access by index.

A source has no position and no random state. `fetch(indices, seed=..., step=...)` is a function of
its arguments alone, so batch k of a run depends on (seed, k) only (see `order.py`), whatever the
number of hosts and wherever the run was started or resumed.

Raw values (uint8 or float32) stay raw up to the device: they are a quarter of the size there, and
`normalise` maps them to the network's [-1, 1].
"""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.system.errors import ForPeople

ValueRange = tuple[Any, Any]  # low and high: each a number, or a tuple of one per channel
Options = Any  # what a loader is given: `name`, and its source's fields of `config.data`


class DataError(ForPeople, ValueError):
    """Data that cannot be used; the message is one line: what, where, and what is allowed."""


class Source(abc.ABC):
    """Base class of data sources.

    Attributes:
      shape: `(*spatial, channels)` of one example.
      dtype: in which samples are written, uint8 or float32. Raw values have it too, except those of
        a corrupted uint8 set, which are float32 in the same value range.
      value_range: raw (low, high) that `normalise` maps to [-1, 1]; each a number, or a tuple of
        one per channel.
      kind: `"image"`, `"audio"`, `"video"`, `"latents"` or `"field"`: how samples are written.
      num_classes: 0 where there are no labels.
      sample_rate: samples per second along the first spatial axis (audio, video), else None.
      scaled: whether pictures were brought to their size from other ones.
      in_memory: whether `fetch` is a plain memory look-up, which needs no prefetching.
      kinds: of corruption, `(len,)` whole numbers, 0 clean; None: all are clean.
      restored: whether corrupted examples have been restored, and count as clean.
      planted: draws of what a planted corruption adds, in the network's range: from numbers `(n,)` to
        `(n, *shape)`; None where none is added.
      identity: makes what tells this set from others like it (`fingerprint.py`); None where the
        configuration alone does.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    value_range: ValueRange
    kind: str = "image"
    num_classes: int = 0
    sample_rate: float | None = None
    scaled: bool = False
    in_memory: bool = True
    kinds: np.ndarray | None = None
    restored: bool = False
    planted: Callable[[np.ndarray], np.ndarray] | None = None
    identity: Callable[[], tuple[str, ...]] | None = None

    def fingerprint(self) -> tuple[str, ...]:
        """What tells this set from others of its shape and number, in parts; () if its config does."""
        return () if self.identity is None else self.identity()

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abc.abstractmethod
    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        """The examples at `indices`.

        Args:
          indices: `(n,)` integers in [0, len(self)).
          seed, step: key what is random about an example (flips, crops, fresh corruptions),
            together with its index; sources without any ignore them.

        Returns:
          `{"x": (n, *shape) of dtype, "label": (n,) int32, "corrupted": (n,) bool}`. Labels are 0
          where there are none, and nothing is corrupted unless the source says so; one with several
          kinds says which, in whole numbers (`kinds`). A source in
          which another example may stand in for one that cannot be read adds `"index"`, `(n,)`
          int64: those that these really are.
        """

    def report(self) -> None:
        """Says, at the end, how many examples could not be read since the opening, if any."""
        return

    def resident(self, most: float = math.inf) -> Resident | None:
        """What devices hold of the set, where batches are nothing but some of its rows, and it is no larger than
        `most` bytes; None for any other."""
        return None

    def _fetches_as(self, cls: type[Source]) -> bool:
        """Whether a subclass has left `fetch` as it is in `cls`: what another one does, rows do not say."""
        return type(self).fetch is cls.fetch

    def _over(self, source: Source) -> Self:
        """This wrapper, `_source` being what it wraps, around another source."""
        result = copy.copy(self)
        result._source = source  # type: ignore[attr-defined]
        return result


@dataclasses.dataclass(frozen=True)
class Resident:
    """A set that devices can hold, and how batches of it are chosen; `resident.py` makes them.

    Attributes:
      examples: `(n, *shape)`, values as `Source.fetch` has them.
      rows: a source of the same batches, with places in `examples`, `(b,)` int32, for `"x"`.
      axes: which of `shape` are cropped.
      padding: by how much these are padded on each side before.
      augmented: whether rows are mirrored or cropped, so that nothing else can be chosen in their place.

    >>> source = ArraySource(np.zeros((10, 8, 8, 1), np.uint8), value_range=(0, 255))
    >>> source.resident().rows.fetch(np.array([3, 5]))["x"]
    array([3, 5], dtype=int32)
    """

    examples: np.ndarray
    rows: Source
    axes: tuple[int, ...] = ()
    padding: int = 0
    augmented: bool = False


class ArraySource(Source):
    """Examples held in one array: in memory, or a memory map that is read as it is indexed.

    >>> source = ArraySource(np.zeros((10, 8, 8, 1), np.uint8), value_range=(0, 255))
    >>> len(source), source.shape, source.fetch(np.array([3, 3]))["x"].shape
    (10, (8, 8, 1), (2, 8, 8, 1))
    """

    def __init__(
        self,
        x: np.ndarray,
        *,
        value_range: ValueRange,
        labels: np.ndarray | None = None,
        num_classes: int = 0,
        kind: str = "image",
        sample_rate: float | None = None,
    ):
        self._x = x
        self._labels = None if labels is None else np.asarray(labels, np.int32)
        self.shape = tuple(x.shape[1:])
        self.dtype = np.dtype(np.uint8 if x.dtype == np.uint8 else np.float32)
        self.value_range = value_range
        self.num_classes = num_classes
        self.kind = kind
        self.sample_rate = sample_rate
        self.in_memory = not isinstance(x, np.memmap)

    def __len__(self) -> int:
        return len(self._x)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        indices = np.asarray(indices)
        x = np.asarray(self._x[indices]).astype(self.dtype, copy=False)
        return as_batch(x, None if self._labels is None else self._labels[indices])

    def resident(self, most: float = math.inf) -> Resident | None:
        size = self._x.size * self.dtype.itemsize
        if not self.in_memory or size > most or not self._fetches_as(ArraySource):
            return None
        rows = copy.copy(self)
        rows._x, rows.dtype = np.arange(len(self), dtype=np.int32), np.dtype(np.int32)
        return Resident(self._x.astype(self.dtype, copy=False), rows)


def as_batch(x: np.ndarray, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """A batch as `Source.fetch` returns it, of clean examples."""
    if labels is None:
        labels = np.zeros(len(x), np.int32)
    return {"x": x, "label": labels.astype(np.int32), "corrupted": np.zeros(len(x), bool)}


def normalise(x: ArrayLike, value_range: ValueRange) -> jax.Array:
    """Maps raw values linearly, low to -1 and high to 1, in float32.

    >>> normalise(np.array([0, 255], np.uint8), (0, 255))
    Array([-1.,  1.], dtype=float32)
    """
    low, high = (np.asarray(edge, np.float32) for edge in value_range)
    return (jnp.asarray(x).astype(jnp.float32) - low) * (2 / (high - low)) - 1


def denormalise(x: ArrayLike, value_range: ValueRange, dtype: Any) -> jax.Array:
    """The inverse of `normalise`; for uint8, clipped to the range and rounded."""
    low, high = (np.asarray(edge, np.float32) for edge in value_range)
    raw = (jnp.asarray(x).astype(jnp.float32) + 1) * ((high - low) / 2) + low
    if np.dtype(dtype) == np.uint8:
        raw = jnp.round(jnp.clip(raw, low, high))
    return raw.astype(dtype)


def to_uint8(samples: ArrayLike, value_range: ValueRange = (0, 255)) -> np.ndarray:
    """Samples of 8-bit images as sample.py writes them, from what `sagd.sample` returns.

    Args:
      samples: any shape, in the network's range: -1 becomes `low`, 1 `high`; rounded, and clipped.
      value_range: (low, high), that of the run's data where it is not 0 to 255.

    Raises:
      ValueError: some are not finite, which no byte can say.

    >>> to_uint8(np.array([-1.5, -1.0, 0.0, 1.0]))
    array([  0,   0, 128, 255], dtype=uint8)
    """
    x = np.asarray(samples)
    if not np.isfinite(x).all():
        raise ValueError(f"samples: {np.sum(~np.isfinite(x))} of {x.size} values are not finite")
    return np.asarray(denormalise(x, value_range, np.uint8))


def check_indices(indices: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    """`indices` as int64; raises IndexError outside [0, length)."""
    result = np.asarray(indices, np.int64)
    if np.any((result < 0) | (result >= length)):
        raise IndexError(f"indices: expected integers in [0, {length}), got {result!r}")
    return result
