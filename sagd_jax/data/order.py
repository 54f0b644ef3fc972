"""The order of examples, as a function of (seed, step).

The examples form one endless stream: epoch 0's permutation, epoch 1's, and so on. Batch k is
positions [k B, (k + 1) B) of that stream, so every example comes exactly once per epoch, batches
may straddle two epochs, and any batch is known without walking there: there is no iterator state.

A permutation is never stored. Position p of an epoch is sent through a Feistel network on pairs
(p // b, p % b) with a b >= n, whose every round adds a hash of one half to the other, modulo its
size; a result >= n is sent through again (cycle walking), which keeps it a bijection of [0, n).
Memory and time do not grow with n, and only integer arithmetic is used, so the order is the same on
every host, platform and library version.
"""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.data.source import DataError

_ROUNDS = 10


def batch_indices(
    seed: int, num_examples: int, batch_size: int, step: int, rows: slice = slice(None)
) -> np.ndarray:
    """Indices of the examples of batch `step`, or of some rows of it.

    Args:
      seed: of the order.
      num_examples: size of the data set.
      batch_size: of the whole (global) batch; host h of H takes rows
        `[h * batch_size // H, (h + 1) * batch_size // H)` of it.
      step: from 0.
      rows: of the batch; each is known without the others.

    Returns:
      `(batch_size,)[rows]` int64, in [0, num_examples).

    Raises:
      DataError: unless 1 <= batch_size <= num_examples and step >= 0.

    >>> epoch = np.concatenate([batch_indices(seed=0, num_examples=6, batch_size=2, step=k)
    ...                         for k in range(3)])
    >>> sorted(epoch.tolist())
    [0, 1, 2, 3, 4, 5]
    """
    return indices_of_batches(seed, num_examples, batch_size, range(step, step + 1), rows)[0]


def indices_of_batches(
    seed: int, num_examples: int, batch_size: int, steps: range, rows: slice = slice(None)
) -> np.ndarray:
    """`batch_indices` of consecutive `steps`, `(len(steps), batch_size)[:, rows]`: several of them take
    little longer than one.

    >>> two = indices_of_batches(0, 6, 4, range(5, 7))
    >>> bool((two[1] == batch_indices(0, 6, 4, 6)).all())
    True
    """
    if not 1 <= batch_size <= num_examples:
        raise DataError(
            f"batch_size={batch_size}: expected 1 to {num_examples}, the number of examples"
        )
    if steps.start < 0:
        raise DataError(f"step={steps.start}: expected a number >= 0")
    # Python integers do not overflow, whatever the step.
    epoch, offset = divmod(int(steps.start) * int(batch_size), int(num_examples))
    # Of these rows alone: the whole batch may be that of thousands of devices.
    own = np.arange(*rows.indices(batch_size), dtype=np.int64)
    positions = offset + batch_size * np.arange(len(steps), dtype=np.int64)[:, None] + own
    later = positions // num_examples
    result = np.empty(positions.shape, np.int64)
    for passed in np.unique(later):
        selected = later == passed
        result[selected] = permute(
            positions[selected] % num_examples, num_examples, seed, epoch + int(passed)
        )
    return result


def permute(positions: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Where the permutation of [0, n) of (seed, epoch) sends `positions`."""
    keys = _mix(np.arange(_ROUNDS, dtype=np.uint64) + _mix(_word(epoch) + _mix(_word(seed))))
    rows = np.uint64(math.isqrt(n - 1) + 1)
    columns = np.uint64(-(-n // int(rows)))
    result = np.asarray(positions).astype(np.uint64)
    walking = np.arange(len(result))
    while len(walking):
        left, right = np.divmod(result[walking], columns)
        for i, key in enumerate(keys):
            if i % 2:
                right = (right + _mix(left + key) % columns) % columns
            else:
                left = (left + _mix(right + key) % rows) % rows
        result[walking] = left * columns + right
        walking = walking[result[walking] >= np.uint64(n)]
    return result.astype(np.int64)


def hash_words(*words: int | np.ndarray) -> np.ndarray:
    """64 hashed bits of integers (arrays are broadcast), to key what is random."""
    state = np.zeros(1, np.uint64)
    for word in words:
        state = _mix(state + _mix(_word(word)))
    return state


def _word(value: int | np.ndarray) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value.astype(np.int64).astype(np.uint64)
    return np.array([int(value) % 2**64], np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), modulo 2^64."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
