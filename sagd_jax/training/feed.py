"""Batches for the loop: fetched in a background thread and laid over the devices.

Batch k is `source.fetch(batch_indices(seed, n, B, k), seed, k)`, a function of (seed, k). Each
process fetches only the rows that its own devices hold, so all of them together make the one
global batch, whatever their number.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import NamedSharding

from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import Source

FIELDS = ("x", "label", "corrupted")
_PATIENCE = 10.0  # seconds for the batch being fetched when the loop ends


class Feed:
    """Iterates over stacks of consecutive batches, `{"x": (steps, batch, ...), "label": ...}`.

    Args:
      source: the data.
      seed: of the order.
      batch_size: of the global batch.
      sharding: of a stack; its second axis is the batch.
      spans: the steps (start, stop) of each stack, in order.

    Attributes:
      waited: seconds that `next` has blocked so far.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        batch_size: int,
        sharding: NamedSharding,
        spans: Iterable[tuple[int, int]],
    ) -> None:
        self.waited = 0.0
        self._source, self._seed, self._batch_size = source, seed, batch_size
        self._sharding = sharding
        self._rows = _local_rows(sharding, batch_size)
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(iter(spans),), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # A thread that still talks to the device when the interpreter ends would abort it.
        self._closed.set()
        self._thread.join(timeout=_PATIENCE)

    def next(self) -> dict[str, jax.Array]:
        """The next stack; raises what fetching it raised."""
        start = time.monotonic()
        stack = self._queue.get()
        self.waited += time.monotonic() - start
        if isinstance(stack, BaseException):
            raise stack
        return stack

    def _run(self, spans: Iterable[tuple[int, int]]) -> None:
        try:
            for start, stop in spans:
                if self._closed.is_set():
                    return
                self._put(self._stack(start, stop))
        except BaseException as error:  # handed to the loop, which alone can end the run
            self._put(error)

    def _put(self, item: Any) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue

    def _stack(self, start: int, stop: int) -> dict[str, jax.Array]:
        batches = [self._fetch(step) for step in range(start, stop)]
        stack = {}
        for name in FIELDS:
            local = np.stack([batch[name] for batch in batches])
            shape = (stop - start, self._batch_size, *local.shape[2:])
            stack[name] = jax.make_array_from_process_local_data(self._sharding, local, shape)
        return stack

    def _fetch(self, step: int) -> dict[str, np.ndarray]:
        indices = batch_indices(self._seed, len(self._source), self._batch_size, step)
        return self._source.fetch(indices[self._rows], seed=self._seed, step=step)


def _local_rows(sharding: NamedSharding, batch_size: int) -> slice:
    shards = sharding.addressable_devices_indices_map((1, batch_size)).values()
    bounds = [index[1].indices(batch_size)[:2] for index in shards if index is not None]
    return slice(min(low for low, _ in bounds), max(high for _, high in bounds))
