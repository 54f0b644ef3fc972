"""The batches of a run, from any step on, and the share of each host.

Batch k of the whole run is `order.batch_indices` of (seed, k), of which each host fetches its rows.
Sources in memory are read as they are needed; others are decoded ahead by Grain's threads, whole
batches at a time. The only state is the number of the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sagd_jax.data.order import batch_indices, indices_of_batches
from sagd_jax.data.source import DataError, Source
from sagd_jax.system.late import optional

_ENDLESS = 2**62
_ORDERED_AT_ONCE = 4096  # examples


def batches(
    source: Source,
    *,
    seed: int,
    batch_size: int,
    start_step: int = 0,
    stop_step: int | None = None,
    rows: slice = slice(None),
    num_threads: int = 8,
    prefetch: int = 8,
) -> Iterator[dict[str, np.ndarray]]:
    """Iterates over some rows of batches `start_step`, `start_step + 1`, ...

    Args:
      batch_size: of the whole batch, over all hosts.
      stop_step: where to end; never by default.
      rows: of the whole batch, that this host needs: see `host_rows`.
      num_threads, prefetch: threads and batches ahead, for sources that are not in memory; there
        are at least as many batches ahead as threads.

    Raises:
      DataError: for a batch larger than the data set.

    >>> from sagd_jax.data import DataConfig, open_source
    >>> first = next(batches(open_source(DataConfig()), seed=0, batch_size=4))
    >>> first["x"].shape, first["label"].shape
    ((4, 8, 8, 1), (4,))
    """

    def fetch(step: int, indices: np.ndarray | None = None) -> dict[str, np.ndarray]:
        if indices is None:
            indices = batch_indices(seed, len(source), batch_size, step, rows)
        batch = source.fetch(indices, seed=seed, step=step)
        batch.pop("index", None)  # for corruptions and the like; the same fields for every source
        return batch

    batch_indices(seed, len(source), batch_size, start_step)  # Bad arguments: now, not later.
    stop = _ENDLESS if stop_step is None else stop_step
    if source.in_memory:
        return _in_memory(source, seed, batch_size, range(start_step, stop), rows, fetch)
    with optional("reading data that is not in memory"):
        import grain

    options = grain.ReadOptions(
        num_threads=num_threads, prefetch_buffer_size=max(prefetch, num_threads)
    )
    steps = grain.MapDataset.range(start_step, stop).map(lambda step: fetch(int(step)))
    return iter(steps.to_iter_dataset(options))


def _in_memory(
    source: Source,
    seed: int,
    batch_size: int,
    steps: range,
    rows: slice,
    fetch: Callable[[int, np.ndarray], dict[str, np.ndarray]],
) -> Iterator[dict[str, np.ndarray]]:
    """One after the other; the order of many examples is computed at once."""
    own = len(range(*rows.indices(batch_size)))
    stride = max(1, _ORDERED_AT_ONCE // max(own, 1))
    while steps:
        block, steps = steps[:stride], steps[stride:]
        indices = indices_of_batches(seed, len(source), batch_size, block, rows)
        yield from map(fetch, block, indices)


def host_rows(batch_size: int, host: int, num_hosts: int) -> slice:
    """The rows of host `host` of `num_hosts`; raises DataError unless they divide the batch.

    >>> host_rows(8, host=1, num_hosts=4)
    slice(2, 4, None)
    """
    if not 0 <= host < num_hosts or batch_size % num_hosts:
        raise DataError(
            f"batch_size={batch_size}, host={host}: expected a multiple of num_hosts={num_hosts} "
            "and a host below it"
        )
    share = batch_size // num_hosts
    return slice(host * share, (host + 1) * share)
