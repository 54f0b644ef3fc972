"""Frechet and kernel distances: closed forms, brute force, and torch-fidelity's numbers."""

import importlib.util
import json

import numpy as np
import pytest
from torch_fidelity_numbers import CASES, FILE, features, of_torch_fidelity

from sagd_jax.evaluation.distances import frechet_distance, kernel_distance, own_pairs
from sagd_jax.evaluation.moments import Moments
from sagd_jax.evaluation.neighbours import precision_recall

STORED = json.loads(FILE.read_text())


def ours(case):
    a, b = features(case)
    first, second = Moments.of(a), Moments.of(b)
    pr = precision_recall(b, a)
    return {
        "frechet": frechet_distance(first.mean, first.covariance, second.mean, second.covariance),
        "kernel": kernel_distance(a, b).value,
        "precision": pr.precision,
        "recall": pr.recall,
    }


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_of_torch_fidelity(case):
    assert ours(case) == pytest.approx(STORED[case], rel=1e-6)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.skipif(not importlib.util.find_spec("torch_fidelity"), reason="needs torch-fidelity")
def test_and_of_the_one_that_is_installed(case):
    assert ours(case) == pytest.approx(of_torch_fidelity(case), rel=1e-6)


def test_gaussians_that_commute():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    a, b = rng.uniform(0, 3, (2, 6))
    a[0] = 0  # singular
    mean = rng.normal(size=6)
    found = frechet_distance(np.zeros(6), q * a @ q.T, mean, q * b @ q.T)
    expected = np.square(mean).sum() + np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert found == pytest.approx(expected, rel=1e-12)
    assert abs(frechet_distance(mean, q * a @ q.T, mean, q * a @ q.T)) < 1e-12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cov2": np.eye(3)}, r"mean2, cov2: shapes \(2,\), \(3, 3\)"),
        ({"mean1": [np.nan, 0]}, "mean1, cov1: some values are not finite"),
        ({"cov1": -np.eye(2)}, "cov1: has the eigenvalue -1"),
    ],
)
def test_no_gaussians(change, words):
    given = {"mean1": np.zeros(2), "cov1": np.eye(2), "mean2": np.zeros(2), "cov2": np.eye(2)}
    with pytest.raises(ValueError, match=words):
        frechet_distance(**{**given, **change})


def test_the_kernel_distance_by_all_pairs():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 0.4

    def mean(a, b, same):
        pairs = [
            (p @ q / 3 + 1) ** 3
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if not (same and i == j)
        ]
        return np.mean(pairs)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert kernel_distance(x, y).value == pytest.approx(expected, rel=1e-12)
    assert kernel_distance(x, y, known=own_pairs(y)) == kernel_distance(x, y)
    # One array given twice is two sets: pairs of one example with itself count between them.
    assert kernel_distance(x, x).value == kernel_distance(x, x.copy()).value


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_standard_error_of_the_kernel_distance(shift):
    # With equal laws only the second order of the decomposition is left, with others the first.
    rng = np.random.default_rng(4)
    found = [
        kernel_distance(rng.normal(size=(60, 4)), shift + rng.normal(size=(80, 4)))
        for _ in range(400)
    ]
    spread = np.std([d.value for d in found])
    claimed = np.sqrt(np.mean([d.standard_error**2 for d in found]))
    assert 0.85 < claimed / spread < 1.2
    if not shift:
        assert abs(np.mean([d.value for d in found])) < 4 * spread / np.sqrt(400)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.zeros((1, 2)), np.zeros((5, 2)), r"features1: shape \(1, 2\)"),
        (np.zeros((5, 2)), np.zeros((5, 3)), r"features2: shape \(5, 3\)"),
        (np.full((5, 2), np.inf), np.zeros((5, 2)), "features1: some values are not finite"),
    ],
)
def test_no_features(x, y, words):
    with pytest.raises(ValueError, match=words):
        kernel_distance(x, y)


def test_moments_of_pieces_are_those_of_the_whole():
    rng = np.random.default_rng(5)
    x = 1e6 + rng.normal(size=(101, 4))  # where a difference of squares would lose all digits
    parts = [Moments.of(x[a:b]) for a, b in [(0, 1), (1, 40), (40, 99), (99, 101)]]
    merged = (parts[0] + parts[1]) + (parts[2] + parts[3])
    assert merged.count == 101
    np.testing.assert_allclose(merged.mean, x.mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(merged.covariance, np.cov(x, rowvar=False), rtol=1e-7, atol=1e-9)
    with pytest.raises(ValueError, match="needs two"):
        _ = Moments.of(x[:1]).covariance
    with pytest.raises(ValueError, match=r"shape \(0, 4\)"):
        Moments.of(x[:0])
