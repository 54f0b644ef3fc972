"""Examples that are decoded from files as they are asked for, and what is done where one cannot be.

With `data.on_error="stop"` the first such example ends the run. With `"skip"`:

- What is found at the opening (whole files by their header and length; for a set that is held in
  memory every example, since all are decoded then) is left out, and counted once.
- Of a set that streams, damage inside a file is met in mid-run. Then another example stands in: a
  place after example i that is a hash of i, or the first readable one from there on. Nothing is
  remembered that could change this, so batch k is still a function of (seed, k) and of the files,
  on every host and after every resume. The first is named at once, all are counted at the end.

The two leave different examples in their places, so a run with damaged files should go on with the
`data.memory_limit_mb` that it began with.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sagd_jax.data.decoded import kept
from sagd_jax.data.files import Unreadable, left_out
from sagd_jax.data.order import hash_words
from sagd_jax.data.source import (
    ArraySource,
    DataError,
    Source,
    ValueRange,
    as_batch,
    check_indices,
)

_PIECE = 256  # examples that one thread decodes at a time
_STAND_IN = 4  # tells the hash of the place of a stand-in from others
_LOG = logging.getLogger(__name__)


class RecordSource(Source):
    """Examples decoded one by one as they are asked for, from files that need not fit in memory."""

    in_memory = False

    def __init__(
        self,
        read: Callable[[int], tuple[np.ndarray, int]],
        length: int,
        shape: tuple[int, ...],
        *,
        value_range: ValueRange = (0, 255),
        dtype: Any = np.uint8,
        num_classes: int = 0,
        kind: str = "image",
        sample_rate: float | None = None,
        on_error: str | None = None,
        what: str = "examples",
    ):
        """Makes a source of what `read` gives.

        Args:
          read: gives example i, of `shape` and `dtype`, and its class, or raises `Unreadable`;
            threads may call it.
          on_error: "stop" or "skip"; None: stop, and there is no such option to speak of.
          what: the examples, in messages.
        """
        self._read = read
        self._length = length
        self.shape = shape
        self.value_range = value_range
        self.dtype = np.dtype(dtype)
        self.num_classes = num_classes
        self.kind = kind
        self.sample_rate = sample_rate
        self._on_error = on_error
        self._what = what
        self._replaced: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        indices = check_indices(indices, len(self))
        x = np.empty((len(indices), *self.shape), self.dtype)
        labels = np.empty(len(indices), np.int32)
        used = indices.copy()
        for row, index in enumerate(indices.tolist()):
            x[row], labels[row], used[row] = self._example(index)
        return as_batch(x, labels) | {"index": used}

    def report(self) -> None:
        with self._lock:
            count = len(self._replaced)
        if count:
            _LOG.warning(
                "%d of %d %s could not be read; others stood in for them",
                count,
                len(self),
                self._what,
            )

    def held(self, limit_mb: int, unchanging: Sequence[str] = ()) -> Source:
        """All examples decoded into memory, or the source itself above `limit_mb` MiB.

        Args:
          limit_mb: the most that it may take.
          unchanging: what the values depend on, of a set that cannot change and may be kept decoded
            (`decoded.py`); none: it is decoded anew.

        Raises:
          DataError: for examples that cannot be read, unless they are to be skipped and others can.
        """
        size = len(self) * int(np.prod(self.shape)) * self.dtype.itemsize
        if size > limit_mb * 2**20:
            return self
        if unchanging:
            shape = (len(self), *self.shape)
            x, labels = kept(unchanging, shape, lambda: self._decoded()[:2])
            kinds = self.kinds
        else:
            x, labels, kinds = self._decoded()
        source = ArraySource(
            x,
            value_range=self.value_range,
            labels=labels,
            num_classes=self.num_classes,
            kind=self.kind,
            sample_rate=self.sample_rate,
        )
        source.identity, source.kinds, source.scaled = self.identity, kinds, self.scaled
        return source

    def _decoded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """All examples that can be read, their labels and kinds."""
        x = np.empty((len(self), *self.shape), self.dtype)
        labels = np.empty(len(self), np.int32)
        errors: dict[int, Unreadable] = {}

        def read(start: int) -> None:
            for index in range(start, min(start + _PIECE, len(self))):
                try:
                    x[index], labels[index] = self._read(index)
                except Unreadable as error:
                    errors[index] = error

        piece = range(0, len(self), _PIECE)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(read, piece))
        bad = sorted(errors)
        left_out([errors[index] for index in bad], len(self), self._on_error, self._what)
        kinds = self.kinds
        if bad:
            x, labels = np.delete(x, bad, axis=0), np.delete(labels, bad)
            kinds = None if kinds is None else np.delete(kinds, bad)
        return x, labels, kinds

    def _example(self, index: int) -> tuple[np.ndarray, int, int]:
        """Example `index`, or the one that stands in for it; its class, and its own index."""
        for candidate in self._candidates(index):
            try:
                return *self._read(candidate), candidate
            except Unreadable as error:
                if self._on_error != "skip":
                    hint = (
                        "; with config.data.on_error=skip another stands in"
                        if self._on_error
                        else ""
                    )
                    raise DataError(f"data: cannot read {error}{hint}") from None
                self._note(candidate, error)
        raise DataError(f"data: none of the {len(self)} {self._what} can be read any more")

    def _candidates(self, index: int) -> Iterator[int]:
        yield index
        first = int(hash_words(index, _STAND_IN)[0] % np.uint64(len(self)))
        for offset in range(len(self)):
            yield (first + offset) % len(self)

    def _note(self, index: int, error: Unreadable) -> None:
        with self._lock:
            first = not self._replaced
            self._replaced.add(index)
        if first:
            _LOG.warning("another example stands in for %s; a count follows at the end", error)
