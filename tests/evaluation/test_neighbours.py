"""Neighbours: precision, recall, density and coverage as in the papers, by brute force."""

import numpy as np
import pytest

from sagd_jax.evaluation import neighbours


def sets(n=90, m=70):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 3)), 0.7 * rng.normal(size=(m, 3)) + 0.5


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def radii(x, k):
    return np.sort(distances(x, x), axis=1)[:, k]  # 0 is the point itself


@pytest.mark.parametrize("rows", [7, 512])
@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall(monkeypatch, rows, k):
    monkeypatch.setattr(neighbours, "_ROWS", rows)
    data, samples = sets()
    d = distances(data, samples)
    found = neighbours.precision_recall(data, samples, k=k)
    assert found.precision == np.mean((d <= radii(data, k)[:, None]).any(axis=0))
    assert found.recall == np.mean((d <= radii(samples, k)[None]).any(axis=1))
    assert 0 < found.recall < found.precision <= 1


@pytest.mark.parametrize("rows", [7, 512])
def test_density_and_coverage(monkeypatch, rows):
    monkeypatch.setattr(neighbours, "_ROWS", rows)
    data, samples = sets()
    inside = distances(data, samples) < radii(data, 5)[:, None]
    found = neighbours.density_coverage(data, samples, k=5)
    assert found.density == pytest.approx(inside.sum() / (5 * len(samples)))
    assert found.coverage == np.mean(inside.any(axis=1))


def test_copies_are_found():
    rng = np.random.default_rng(1)
    train, test, fresh = rng.normal(size=(3, 200, 16))
    copied = neighbours.nearest(train, train[:60] + 1e-3, test)
    assert copied.ratio < 0.01 and copied.copies == 1 and copied.copies_of_held_out < 0.05
    new = neighbours.nearest(train, fresh, test)
    assert new.ratio == pytest.approx(1, abs=0.1) and new.copies < 0.05


def test_what_is_known_of_the_data_changes_nothing():
    data, samples = sets()
    known = neighbours.radii(data, (3, 5))
    np.testing.assert_allclose(known[3], radii(data, 3), rtol=1e-12)
    np.testing.assert_allclose(known[5], radii(data, 5), rtol=1e-12)
    for compare in (neighbours.precision_recall, neighbours.density_coverage):
        assert compare(data, samples, known=known) == compare(data, samples)
    held_out = data[::2] + 0.1
    of_held_out = neighbours.two_nearest(data, held_out)
    found = neighbours.nearest(data, samples, held_out)
    assert found == neighbours.nearest(data, samples, held_out, known=of_held_out)


def test_too_few():
    data, samples = sets()
    with pytest.raises(
        ValueError, match=r"features1: shape \(3, 3\); expected \(n, D\) with n >= 4"
    ):
        neighbours.precision_recall(data[:3], samples)
    with pytest.raises(ValueError, match="n >= 6"):
        neighbours.density_coverage(data, samples[:5])
