"""Coordinates of data in float64 NumPy, against dense matrices and the bases on devices."""

import numpy as np
import pytest

from sagd_jax.spectral import bases, host, power_spectrum


def matrix_of(kind, n):
    """The orthonormal matrix of one axis, from its definition."""
    k, site = np.arange(n)[:, None], np.arange(n)
    if kind == "cosine":
        rows = np.cos(np.pi * k * (site + 0.5) / n) * np.sqrt(2 / n)
        rows[0] = 1 / np.sqrt(n)
        return rows
    rows = [np.ones(n)]  # haar: the mean, then details from coarse to fine
    width = n
    while width > 1:
        for start in range(0, n, width):
            rows.append(np.where((site >= start) & (site < start + width // 2), 1.0, 0.0))
            rows[-1] -= (site >= start + width // 2) & (site < start + width)
        width //= 2
    return np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(8,), (9,), (8, 8), (7, 9), (6, 7, 8), (1, 4)])
def test_cosines_are_the_matrix_products(shape):
    x = np.random.default_rng(0).normal(size=(3, *shape, 2))
    expected = x
    for axis, n in enumerate(shape, start=1):
        expected = np.moveaxis(np.tensordot(matrix_of("cosine", n), expected, (1, axis)), 0, axis)
    np.testing.assert_allclose(host.coordinates(x, bases.cosine(shape)), expected, atol=1e-13)


@pytest.mark.parametrize("shape", [(8,), (8, 4), (2, 4, 8)])
def test_wavelets_are_the_matrix_products(shape):
    x = np.random.default_rng(0).normal(size=(3, *shape, 2))
    expected = x
    for axis, n in enumerate(shape, start=1):
        expected = np.moveaxis(np.tensordot(matrix_of("haar", n), expected, (1, axis)), 0, axis)
    np.testing.assert_allclose(host.coordinates(x, bases.haar(shape)), expected, atol=1e-13)


def test_they_are_those_of_the_bases_on_devices():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 7, 9, 2))
    rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    whole = np.linalg.qr(rng.normal(size=(126, 126)))[0]
    fourier = bases.fourier((7, 9))
    for basis in (
        fourier,
        bases.sites((7, 9)),
        bases.channels(rotation, fourier),
        bases.matrix(whole, (7, 9)),
    ):
        np.testing.assert_allclose(host.coordinates(x, basis), basis.forward(x), atol=2e-5)


@pytest.mark.parametrize("shape", [(9,), (7, 8), (3, 4, 5)])
def test_the_power_in_fourier_coordinates_is_that_of_the_transform(shape):
    x = np.random.default_rng(2).normal(size=(5, *shape, 2))
    axes = tuple(range(1, len(shape) + 1))
    expected = np.abs(np.fft.fftn(x, axes=axes, norm="ortho")) ** 2
    np.testing.assert_allclose(host.power(x, bases.fourier(shape)), expected, atol=1e-12)


def test_wrong_sizes_are_refused():
    rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    for basis, message in (
        (bases.cosine((8, 8)), "expected"),
        (bases.channels(rotation, bases.sites((8, 9))), "mixes 2 channels"),
        (bases.matrix(np.eye(144), (8, 9)), "144 values"),
    ):
        with pytest.raises(ValueError, match=message):
            host.coordinates(np.zeros((2, 8, 9, 1)), basis)


def test_the_variance_of_data_in_a_basis():
    rng = np.random.default_rng(3)
    x = 2 + rng.normal(size=(50, 4, 8, 2)) * np.array([1.0, 3.0])
    matrices = [matrix_of("haar", n) for n in (4, 8)]
    centred = x - x.mean(axis=(0, 1, 2))
    expected = (np.einsum("ai,bj,nijc->nabc", *matrices, centred) ** 2).mean(axis=0)
    for batches in (x, [x[:20], x[20:]]):
        found = power_spectrum.variance_in(batches, bases.haar((4, 8)))
        np.testing.assert_allclose(found, expected, rtol=1e-12)
