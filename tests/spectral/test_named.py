"""Noises with a name, against the covariances that their definitions give."""

import dense
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import bases

SHAPES = [(8,), (9,), (8, 8), (7, 9), (6, 7, 8)]


def whole(covariance):
    """lambda on the whole grid of the covariance's basis, without channels."""
    if isinstance(covariance, sagd.DiagonalCovariance):
        return np.asarray(covariance.variance, np.float64)[..., 0]
    return dense.full_grid(covariance.variance, covariance.spatial_shape)[..., 0]


def matrices(shape, basis):
    """The unitary transform over all axes, `(sites, sites)`."""
    result = np.ones((1, 1))
    for n in shape:
        k, site = np.arange(n)[:, None], np.arange(n)
        if basis == "fourier":
            one = np.exp(-2j * np.pi * k * site / n) / np.sqrt(n)
        else:
            one = np.cos(np.pi * k * (site + 0.5) / n) * np.sqrt(np.where(k > 0, 2, 1) / n)
        result = np.kron(result, one)
    return result


def diagonal(covariance, shape, basis):
    """Diagonal of a covariance of the sites in a basis, of mean 1."""
    b = matrices(shape, basis)
    values = np.einsum("ki,ij,kj->k", b, covariance, b.conj()).real.reshape(shape)
    return values / values.mean()


def upsampling(shape, sizes):
    """Linear interpolation with half-pixel centres, of unit vectors, one axis after the other."""
    result = np.ones((1, 1))
    for n, m in zip(shape, sizes, strict=True):
        centres = (np.arange(m) + 0.5) * n / m - 0.5
        one = [np.interp(np.arange(n), centres, unit) for unit in np.eye(m)]
        result = np.kron(result, np.array(one).T)
    return result


@pytest.mark.parametrize("shape", SHAPES)
def test_offset_noise(shape):
    size = int(np.prod(shape))
    expected = np.eye(size) + 0.3**2 * np.ones((size, size))
    covariance = sagd.offset(shape, 0.3)
    assert isinstance(covariance, sagd.FourierCovariance)
    np.testing.assert_allclose(
        dense.covariance_matrix(covariance, 1), expected * size / np.trace(expected), atol=1e-5
    )
    cosine = covariance.coefficients(bases.cosine(shape))[..., 0]
    np.testing.assert_allclose(cosine, diagonal(expected, shape, "cosine"), rtol=1e-5)
    assert sagd.offset(shape, 0).is_white


def test_offset_noise_in_wavelets():
    found = sagd.offset((8, 4), 0.5).coefficients(bases.haar((8, 4)))[..., 0]
    expected = np.ones((8, 4))
    expected[0, 0] = 1 + 0.25 * 32
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-6)


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 6), (100,)])
def test_multiresolution_noise(shape, basis):
    expected = 1.5 * np.eye(int(np.prod(shape)))
    for k in range(1, 4):
        up = upsampling(shape, [max(n // 2**k, 1) for n in shape])
        expected += 0.6 ** (2 * k) * up @ up.T
    found = sagd.multiresolution(shape, 0.6, 3, basis, white=1.5)
    assert isinstance(found, sagd.FourierCovariance) == (basis == "fourier")
    np.testing.assert_allclose(whole(found), diagonal(expected, shape, basis), rtol=2e-5)


def test_multiresolution_without_levels_is_white():
    assert sagd.multiresolution((8, 8), 0.5, 0).is_white
    assert sagd.multiresolution((8, 8), 0.0, 3, "cosine").is_white


@pytest.mark.parametrize(("shape", "axis"), [((4,), 0), ((5, 8), 0), ((6, 5), 1), ((6, 7, 8), 0),
                                             ((4, 3, 6), 2)])  # fmt: skip
def test_shared_frames(shape, axis):
    a = 1.7
    parts = [
        (a**2 * np.ones((n, n)) + np.eye(n)) / (1 + a**2) if i == axis else np.eye(n)
        for i, n in enumerate(shape)
    ]
    expected = np.ones((1, 1))
    for part in parts:
        expected = np.kron(expected, part)
    covariance = sagd.shared_frames(shape, a, axis)
    np.testing.assert_allclose(dense.covariance_matrix(covariance, 1), expected, atol=1e-5)
    assert sagd.shared_frames(shape, 0, axis).is_white


@pytest.mark.parametrize("shape", SHAPES)
def test_matern_noise(shape):
    r = np.sqrt(sum(f**2 for f in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    power = (2 * 0.7 / 3.0**2 + (2 * np.pi * r) ** 2) ** -(0.7 + len(shape) / 2)
    found = whole(sagd.matern(shape, length=3.0, smoothness=0.7))
    np.testing.assert_allclose(found, power / power.mean(), rtol=1e-5)


def test_matern_noise_of_half_smoothness_is_exponential():
    covariance = sagd.matern((1024,), length=20.0, smoothness=0.5)
    correlation = np.fft.ifft(whole(covariance)).real[:80]
    # Frequencies beyond the grid would hold 2 / (pi^2 length) = 1 % of the variance.
    np.testing.assert_allclose(correlation, np.exp(-np.arange(80) / 20), atol=0.025)


@pytest.mark.parametrize(
    ("name", "slope"), [("white", 0), ("pink", -1), ("brown", -2), ("blue", 1), ("violet", 2)]
)
@pytest.mark.parametrize("shape", [(16,), (7, 9)])
def test_colours_are_slopes_of_the_power(name, slope, shape):
    covariance = sagd.colour(shape, name)
    np.testing.assert_array_equal(
        covariance.variance, sagd.power_law(shape, slope / 2, dc="nearest").variance
    )
    r, variance = sagd.radial_frequency(shape), np.asarray(covariance.variance)[..., 0]
    found = np.polyfit(np.log(r[r > 0]), np.log(variance[r > 0]), 1)[0]
    assert found == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sagd.offset((8,), -1), "strength=-1: expected a finite number >= 0"),
        (lambda: sagd.offset((8,), "a"), "strength='a'"),
        (lambda: sagd.offset((8,), float("nan")), "strength=nan"),
        (lambda: sagd.multiresolution((8,), -0.1, 2), "discount=-0.1"),
        (lambda: sagd.multiresolution((8,), 0.5, 1.5), "levels=1.5"),
        (lambda: sagd.multiresolution((8,), 0.5, -1), "levels=-1"),
        (lambda: sagd.multiresolution((8,), 0.5, 1, "haar"), "basis='haar'"),
        (lambda: sagd.multiresolution((8,), 0.5, 1, white=0), "white=0: .*> 0"),
        (lambda: sagd.shared_frames((8, 8), 1, 2), "time_axis=2: expected an axis among 0 to 1"),
        (lambda: sagd.shared_frames((8, 8), float("inf")), "strength=inf"),
        (lambda: sagd.matern((8,), 0, 1), "length=0"),
        (lambda: sagd.matern((8,), 1, -1), "smoothness=-1"),
        (lambda: sagd.matern((64,), 1e3, 30.0), "smoothness=30.0.*underflows"),
        (lambda: sagd.colour((8,), "red"), "colour='red': .*'pink'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
