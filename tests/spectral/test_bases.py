"""Coordinates: orthonormal, their own inverse pair, and equal to other people's transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

import sagd_jax as sagd
from sagd_jax.spectral import bases, transform

SIZES = [(8,), (9,), (8, 8), (7, 9), (8, 1), (6, 7, 8)]
POWERS = [(8,), (8, 8), (4, 8, 8)]
RNG = np.random.default_rng(0)


def rotation(size):
    return np.linalg.qr(RNG.normal(size=(size, size)))[0]


def all_bases():
    for shape in SIZES:
        for make in (bases.fourier, bases.cosine, bases.sites):
            yield make(shape), 2
    for shape in POWERS:
        yield bases.haar(shape), 2
    yield bases.channels(rotation(3), bases.cosine((5, 4))), 3
    yield bases.matrix(rotation(24), (4, 3)), 2
    yield bases.principal(RNG.normal(size=(90, 4, 3, 2))), 2


CASES = list(all_bases())


@pytest.mark.parametrize(("basis", "channels"), CASES, ids=[str(b)[:40] for b, _ in CASES])
def test_orthonormal_and_its_own_inverse_pair(basis, channels):
    shape = (*basis.spatial_shape, channels)
    size = int(np.prod(shape))
    units = jnp.eye(size).reshape(size, *shape)
    rows = np.asarray(basis.forward(units), np.float64).reshape(size, size)
    np.testing.assert_allclose(rows @ rows.T, np.eye(size), atol=1e-6)
    back = np.asarray(basis.inverse(units), np.float64).reshape(size, size)
    np.testing.assert_allclose(back, rows.T, atol=1e-6)
    assert basis.radius.shape == (*basis.spatial_shape, 1)


@pytest.mark.parametrize("shape", SIZES)
def test_hartley_of_all_axes_at_once(shape):
    x = RNG.normal(size=(2, *shape, 3)).astype(np.float32)
    axes = tuple(range(1, len(shape) + 1))
    spectrum = np.fft.fftn(x, axes=axes, norm="ortho")
    np.testing.assert_allclose(
        bases.fourier(shape).forward(x), spectrum.real - spectrum.imag, atol=2e-6
    )


@pytest.mark.parametrize("shape", SIZES)
def test_cosine_is_scipys(shape):
    x = RNG.normal(size=(2, *shape, 3)).astype(np.float32)
    axes = tuple(range(1, len(shape) + 1))
    expected = scipy.fft.dctn(x, axes=axes, norm="ortho")
    np.testing.assert_allclose(bases.cosine(shape).forward(x), expected, atol=2e-6)


@pytest.mark.parametrize("make", [bases.fourier, bases.cosine, bases.haar])
def test_long_axes_go_by_fast_transforms_to_the_same_numbers(make, monkeypatch):
    x = RNG.normal(size=(2, 16, 8, 1)).astype(np.float32)
    by_matrices = make((16, 8)).forward(x), make((16, 8)).inverse(x)
    monkeypatch.setattr(transform, "MATRIX_LIMIT", 4)
    np.testing.assert_allclose(make((16, 8)).forward(x), by_matrices[0], atol=3e-6)
    np.testing.assert_allclose(make((16, 8)).inverse(x), by_matrices[1], atol=3e-6)


@pytest.mark.parametrize("shape", [(7, 9), (8, 8), (6, 7, 8), (9,)])
def test_filters_in_hartley_coordinates_are_those_of_the_fourier_covariance(shape):
    """Oriented ones included, which a product of one-dimensional transforms would not give."""
    covariances = [sagd.power_law(shape, alpha=-0.7)]
    if len(shape) > 1:
        direction = np.arange(1, len(shape) + 1)
        covariances.append(sagd.wedge(shape, direction, width=50))
    x = jnp.asarray(RNG.normal(size=(2, *shape, 2)), jnp.float32)
    basis = bases.fourier(shape)
    for covariance in covariances:
        gain = np.sqrt(covariance.coefficients(basis))
        found = basis.inverse(gain * basis.forward(x))
        np.testing.assert_allclose(found, covariance.sqrt(x), atol=2e-6)


def test_haar_is_mean_first_then_coarse_to_fine():
    rows = np.asarray(bases.haar((4,)).forward(np.eye(4)[..., None]))[..., 0].T
    half = 1 / np.sqrt(2)
    expected = [[0.5] * 4, [0.5, 0.5, -0.5, -0.5], [half, -half, 0, 0], [0, 0, half, -half]]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_principal_components_diagonalise_the_data():
    mixing = RNG.normal(size=(12, 12))
    data = (RNG.normal(size=(4000, 12)) @ mixing).reshape(-1, 4, 3, 1)
    state = np.asarray(bases.principal(data).forward(data.astype(np.float32))).reshape(-1, 12)
    covariance = np.cov(state.T)
    variances = np.diag(covariance)
    assert np.all(np.diff(variances) < 0)
    assert np.abs(covariance - np.diag(variances)).max() < 1e-3 * variances[0]


@pytest.mark.parametrize("basis", [bases.matrix(rotation(24), (4, 3)),
                                   bases.channels(rotation(3), bases.sites((4,)))])  # fmt: skip
def test_what_holds_a_matrix_is_shown_in_a_line(basis):
    noise = sagd.from_coefficients(np.ones((*basis.spatial_shape, 1)), basis)
    shifted = sagd.schedules.shifted(sagd.schedules.cosine(), np.ones(basis.spatial_shape), basis)
    for shown in (basis, noise, sagd.Diffusion(shifted, noise)):
        assert "\n" not in repr(shown) and len(repr(shown)) < 400


def test_equality_and_hash():
    assert bases.cosine((8, 8)) == bases.cosine([8, 8])
    assert hash(bases.haar((4,))) == hash(bases.haar((4,)))
    matrix = rotation(3)
    assert bases.same(*(bases.channels(matrix, bases.sites((4,))) for _ in range(2)))
    assert not bases.same(bases.cosine((4,)), bases.fourier((4,)))
    assert jax.tree.leaves(bases.cosine((4,))) == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bases.haar((6, 8)), "powers of two"),
        (lambda: bases.cosine((8, 0)), "spatial_shape"),
        (lambda: bases.channels(np.ones((2, 2)), bases.sites((4,))), "not orthogonal"),
        (lambda: bases.channels(np.eye(2), "cosine"), "basis='cosine'"),
        (lambda: bases.matrix(np.eye(5), (2, 2)), "no multiple of the 4 sites"),
        (lambda: bases.matrix(np.ones((2, 3)), (2,)), "square matrix"),
        (lambda: bases.principal(np.ones((1, 4, 1))), "n >= 2"),
        (lambda: bases.cosine((8, 8)).forward(np.ones((2, 8, 7, 1))), "spatial=\\(8, 8\\)"),
        (lambda: bases.matrix(np.eye(8), (4,)).forward(np.ones((1, 4, 1))), "8 values, not 4"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
