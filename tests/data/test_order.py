"""The order of examples: permutations, epochs, jumps, and evenness."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagd_jax.data import batch_indices
from sagd_jax.data.order import hash_words, indices_of_batches, permute


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 300), seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6))
def test_permutes(n, seed, epoch):
    assert sorted(permute(np.arange(n), n, seed, epoch)) == list(range(n))


def test_permutes_a_large_set_at_any_place():
    n = 10**12 + 39
    positions = np.array([0, 1, n // 2, n - 1])
    image = permute(positions, n, 0, 0)
    assert len(set(image.tolist())) == 4
    assert image.min() >= 0
    assert image.max() < n


@pytest.mark.parametrize(("n", "batch"), [(7, 3), (10, 10), (1437, 64), (5, 1), (1, 1)])
def test_each_example_once_per_epoch(n, batch):
    stream = np.concatenate([batch_indices(3, n, batch, k) for k in range(-(-4 * n // batch))])
    epochs = stream[: 4 * n].reshape(4, n)
    for epoch in epochs:
        assert sorted(epoch) == list(range(n))
    if n > 6:
        assert not np.array_equal(epochs[0], epochs[1])


def test_seeds_differ():
    assert not np.array_equal(batch_indices(0, 1000, 100, 5), batch_indices(1, 1000, 100, 5))


def test_all_orders_are_equally_likely():
    # 24 orders of 4 examples; over independent seeds their counts are multinomial.
    draws = 6000
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(draws):
        order = tuple(permute(np.arange(4), 4, seed, 0).tolist())
        counts[order] = counts.get(order, 0) + 1
    expected = draws / 24
    assert len(counts) == 24
    chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi2 < 23 + 5 * np.sqrt(2 * 23)


def test_neighbours_are_not_kept_together():
    n = 5000
    order = permute(np.arange(n), n, 0, 0)
    # The differences of a random order have a triangular distribution: few are small.
    close = np.mean(np.abs(np.diff(order)) <= n // 20)
    expected = 1 - (1 - 1 / 20) ** 2
    assert abs(close - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_the_hash_is_even():
    words = hash_words(7, np.arange(20_000), 1)
    shares = [np.mean(words >> np.uint64(bit) & np.uint64(1)) for bit in range(64)]
    assert max(abs(share - 0.5) for share in shares) < 5 * 0.5 / np.sqrt(20_000)


def test_the_hash_takes_arrays_and_numbers_alike():
    one = hash_words(3, 5, np.array([0, 9]))
    assert one[1] == hash_words(3, 5, 9)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 11}, r"batch_size=11: expected 1 to 10"),
        ({"batch_size": 0}, r"batch_size=0"),
        ({"step": -1}, r"step=-1"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"seed": 0, "num_examples": 10, "batch_size": 5, "step": 0} | changes
    with pytest.raises(ValueError, match=message):
        batch_indices(**arguments)


def test_the_order_does_not_depend_on_libraries():
    """SplitMix64 started at 0 has published first outputs; the order is built on nothing else."""
    # Vigna's splitmix64.c, seed 0: the state advances by the constant that `_mix` adds.
    state, outputs = 0, []
    for _ in range(2):
        outputs.append(int(_mix_of(state)))
        state = (state + 0x9E3779B97F4A7C15) % 2**64
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert hashlib.sha256(batch_indices(0, 100, 10, 10**9).tobytes()).digest()


def _mix_of(state):
    from sagd_jax.data.order import _mix

    return _mix(np.array([state], np.uint64))[0]


def test_some_rows_of_a_batch_are_those_of_the_whole():
    for step in (0, 3, 12345):
        whole = batch_indices(7, 100, 64, step)
        for rows in (slice(0, 8), slice(40, 64), slice(63, 64), slice(10, 10)):
            np.testing.assert_array_equal(batch_indices(7, 100, 64, step, rows), whole[rows])


def test_many_batches_at_once_are_those_one_by_one():
    """Across ends of epochs, of some rows, far into a run."""
    for steps, rows in ((range(7), slice(None)), (range(10**12, 10**12 + 9), slice(3, 11))):
        found = indices_of_batches(3, 37, 17, steps, rows)
        expected = [batch_indices(3, 37, 17, step, rows) for step in steps]
        np.testing.assert_array_equal(found, expected)
        whole = [batch_indices(3, 37, 17, step)[rows] for step in steps]
        np.testing.assert_array_equal(found, whole)
