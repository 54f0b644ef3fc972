"""Batches for the loop: stacked in a background thread and laid over the devices.

Batch k is a function of (seed, k), see `data/stream.py`. Each process fetches only the rows that its
own devices hold, so all of them together make the one global batch, whatever their number.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import NamedSharding

from sagd_jax import data
from sagd_jax.data.resident import CHOICES
from sagd_jax.data.source import Source
from sagd_jax.run.config import RunConfig
from sagd_jax.run.layout import local_rows

FIELDS = ("x", "label", "corrupted")  # of a batch


def sent(batch: dict[str, Any], of_rows: bool) -> dict[str, Any]:
    """What is sent to the devices of a batch, of examples or of rows of them (`data/resident.py`)."""
    more = [name for name in CHOICES if of_rows and name in batch]
    return {name: batch[name] for name in (*FIELDS, *more)}


_POLL = 0.2  # seconds
_PATIENCE = 10.0  # seconds for the batch being fetched when the loop ends


class Feed:
    """Iterates over stacks of consecutive batches, `{"x": (steps, batch, ...), "label": ...}`.

    Args:
      source: the data.
      config: of the run.
      sharding: of a stack; its second axis is the batch.
      spans: the steps (start, stop) of each stack, in order.
      rows: of the data, where these lie on the devices: what is sent in place of examples.

    Attributes:
      waited: seconds that `next` has blocked so far.
    """

    def __init__(
        self,
        source: Source,
        config: RunConfig,
        sharding: NamedSharding,
        spans: Iterable[tuple[int, int]],
        rows: Source | None = None,
    ) -> None:
        self.waited = 0.0
        self._source, self._config, self._rows = source, config, rows
        self._sharding = sharding
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
        self._source.report()

    @property
    def empty(self) -> bool:
        """Whether no stack is there yet."""
        return self._queue.empty()

    def next(self, interrupted: Callable[[], bool] = lambda: False) -> dict[str, jax.Array] | None:
        """The next stack, or None if `interrupted` while waiting; raises what fetching it raised."""
        start = time.monotonic()
        stack = None
        while stack is None and not interrupted():
            with contextlib.suppress(queue.Empty):
                stack = self._queue.get(timeout=_POLL)
        self.waited += time.monotonic() - start
        if isinstance(stack, BaseException):
            raise stack
        return stack

    def _run(self, spans: Iterator[tuple[int, int]]) -> None:
        try:
            batches: Iterator[dict[str, np.ndarray]] | None = None
            for start, stop in spans:
                if self._closed.is_set():
                    return
                batches = batches or self._batches(start)
                self._put(self._stack([next(batches) for _ in range(start, stop)]))
        except BaseException as error:  # handed to the loop, which alone can end the run
            self._put(error)

    def _batches(self, start: int) -> Iterator[dict[str, np.ndarray]]:
        config = self._config
        return data.batches(
            self._source if self._rows is None else self._rows,
            seed=config.seed,
            batch_size=config.train.batch_size,
            start_step=start,
            stop_step=config.train.num_steps,
            rows=local_rows(self._sharding, config.train.batch_size),
            num_threads=config.data.num_threads,
            prefetch=config.data.prefetch,
        )

    def _put(self, item: Any) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=_POLL)
            except queue.Full:
                continue

    def _stack(self, batches: list[dict[str, np.ndarray]]) -> dict[str, jax.Array]:
        stack = {}
        for name in sent(batches[0], self._rows is not None):
            local = np.stack([batch[name] for batch in batches])
            shape = (len(batches), self._config.train.batch_size, *local.shape[2:])
            stack[name] = jax.make_array_from_process_local_data(self._sharding, local, shape)
        return stack
