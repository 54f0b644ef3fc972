"""Builders in the cosine basis, against radii and dense matrices written from their definitions."""

import jax
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import bases

SHAPES = [(8,), (9,), (8, 8), (7, 9), (6, 7, 8)]


def radius(shape, axes=None, rates=None):
    """r of every coordinate: k / (2 n) cycles per sample along each axis."""
    grids = np.meshgrid(*(np.arange(n) / (2 * n) for n in shape), indexing="ij")
    axes = range(len(shape)) if axes is None else axes
    rates = [1] * len(shape) if rates is None else rates
    return np.sqrt(sum((grids[a] * rates[i]) ** 2 for i, a in enumerate(axes)))


def normalised(power):
    return power / power.mean()


def dct(shape):
    """The matrix of the DCT-II over all axes, `(sites, sites)`."""
    matrix = np.ones((1, 1))
    for n in shape:
        k, site = np.arange(n)[:, None], np.arange(n)
        one = np.cos(np.pi * k * (site + 0.5) / n) * np.sqrt(np.where(k > 0, 2, 1) / n)
        matrix = np.kron(matrix, one)
    return matrix


def nearest(r):
    return np.where(r > 0, r, np.sort(r.ravel())[1])


BUILDERS = {
    "power_law": (
        lambda s: sagd.power_law(s, -0.7, basis="cosine"),
        lambda r: nearest(r) ** -1.4,
    ),
    "unit": (
        lambda s: sagd.power_law(s, 0.4, "unit", basis="cosine"),
        lambda r: np.where(r > 0, r, 1) ** 0.8,
    ),
    "floor": (
        lambda s: sagd.power_law(s, -0.04, dc="floor", basis="cosine"),
        lambda r: (r + 1e-10) ** -0.08,
    ),
    "exponential": (
        lambda s: sagd.exponential(s, 2.5, basis="cosine"),
        lambda r: np.exp(-5 * r**2),
    ),
    "band_pass": (
        lambda s: sagd.band_pass(s, [(0, 0.3), (0.6, 1)], basis="cosine"),
        lambda r: ((r / r.max() < 0.3) | (r / r.max() >= 0.6)).astype(float),
    ),
    "cycles": (
        lambda s: sagd.band_pass(s, [(0.1, 0.3)], "cycles", basis="cosine"),
        lambda r: ((r >= 0.1) & (r < 0.3)).astype(float),
    ),
    "two_band": (
        lambda s: sagd.two_band(s, 0.2, 0.4, "nyquist", basis="cosine"),
        lambda r: np.where(r / 0.5 < 0.4, 0.04, 0.64),
    ),
    "from_data": (
        lambda s: sagd.from_data(3 * radius(s) ** 2, s, 0.5, 0.1, basis="cosine"),
        lambda r: np.sqrt(np.maximum(r**2, 0.1 * (r**2).mean())),
    ),
    "matern": (
        lambda s: sagd.matern(s, 2.0, 1.5, basis="cosine"),
        lambda r: (0.75 + (2 * np.pi * r) ** 2) ** -(1.5 + r.ndim / 2),
    ),
    "brown": (
        lambda s: sagd.colour(s, "brown", basis="cosine"),
        lambda r: nearest(r) ** -2.0,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", BUILDERS)
def test_the_variance_and_the_matrix(shape, name):
    build, power = BUILDERS[name]
    covariance = build(shape)
    assert isinstance(covariance, sagd.DiagonalCovariance)
    assert covariance.basis == bases.cosine(shape)
    expected = normalised(power(radius(shape)))
    assert covariance.variance.shape == (*shape, 1)
    np.testing.assert_allclose(covariance.variance[..., 0], expected, rtol=2e-5)
    assert covariance.rank(2) == 2 * np.count_nonzero(expected)
    matrix = dct(shape).T @ (expected.reshape(-1, 1) * dct(shape))
    x = np.random.default_rng(0).normal(size=(2, *shape, 1))
    found = np.asarray(covariance.apply(x)).reshape(2, -1)
    np.testing.assert_allclose(found, x.reshape(2, -1) @ matrix, atol=2e-4 * expected.max())
    assert np.trace(matrix) == pytest.approx(matrix.shape[0])


def test_units_rates_and_axes():
    band = sagd.band_pass((6, 8, 5), [(1, 3)], unit="hz", sample_rate=12, axes=(0,), basis="cosine")
    r = radius((6, 8, 5), axes=(0,), rates=(12,))
    np.testing.assert_array_equal(band.variance[..., 0] > 0, (r >= 1) & (r < 3))
    found = sagd.radial_frequency((4, 8), "hz", sample_rate=(4, 80), axes=(1, 0), basis="cosine")
    np.testing.assert_allclose(found, radius((4, 8), axes=(1, 0), rates=(4, 80)))
    assert sagd.radial_frequency((4, 8), "max", basis="cosine").max() == 1
    np.testing.assert_allclose(
        bases.cosine((7, 9)).radius[..., 0], sagd.radial_frequency((7, 9), basis="cosine")
    )


def test_the_same_alpha_gives_dc_another_weight():
    # The lowest frequency is half of Fourier's: relative to r = 1/4, DC is (1/16)^2a, not (1/8)^2a.
    for basis, lowest, place in (("fourier", 1 / 8, 2), ("cosine", 1 / 16, 4)):
        variance = np.asarray(sagd.power_law((8,), -0.5, basis=basis).variance)[:, 0]
        assert variance[0] / variance[place] == pytest.approx((lowest / 0.25) ** -1, rel=1e-5)


def test_noise_of_cosines_does_not_wrap_around():
    def ends(basis):
        covariance = sagd.power_law((32,), -1.0, basis=basis)
        x = np.asarray(covariance.sample(jax.random.key(0), (4000, 32, 1)))[..., 0]
        return np.corrcoef(x[:, 0], x[:, -1])[0, 1]

    assert ends("fourier") > 0.8
    assert ends("cosine") < 0.1


def test_combinations_stay_in_their_basis():
    tilted = sagd.power_law((8, 6), -0.5, basis="cosine")
    band = sagd.band_pass((8, 6), [(0, 0.5)], basis="cosine")
    a, b = (np.asarray(c.variance, np.float64) for c in (tilted, band))
    for found, power in (
        (sagd.product(tilted, band), a * b),
        (sagd.product(sagd.white((8, 6)), tilted), a),
        (
            sagd.product(sagd.offset((8, 6), 0.5), tilted),
            a * (1 + 12 * (radius((8, 6)) == 0)[..., None]),
        ),
        (sagd.mixture([tilted, band], (3, 1)), 0.75 * a + 0.25 * b),
        (sagd.complement(band), (b == 0).astype(float)),
    ):
        assert found.basis == bases.cosine((8, 6))
        np.testing.assert_allclose(found.variance, normalised(power), rtol=1e-5)
    with pytest.raises(ValueError, match="diagonal in"):
        sagd.product(tilted, sagd.power_law((8, 6), -0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sagd.power_law((8,), 1, basis="haar"), "basis='haar'.*'fourier', 'cosine'"),
        (lambda: sagd.from_data(np.ones(8), (8,), basis="dct"), "basis='dct'"),
        (lambda: sagd.from_data(np.ones(5), (8,), basis="cosine"), r"shape=\(5,\)"),
        (lambda: sagd.from_data(-np.ones(8), (8,), basis="cosine"), "power: .*negative"),
        (lambda: sagd.from_data(np.zeros(8), (8,), basis="cosine"), "zero everywhere"),
        (lambda: sagd.power_law((64,), 40.0, basis="cosine"), "alpha=40.0.*underflows"),
        (lambda: sagd.two_band((8,), 0.5, 0.9, basis="cosine", unit="cycles"), "split=0.9"),
        (lambda: sagd.band_pass((8,), [(0.45, 0.5)], "cycles", basis="cosine"), "no frequency"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
