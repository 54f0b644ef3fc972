import dense
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.spectral.half_grid import half_grid_shape, hermitian_multiplicity

SHAPES = [(8,), (9,), (8, 8), (7, 9), (8, 1), (6, 7, 8)]


def unnormalised(covariance, reference):
    """Variance divided by its value at the bin `reference`."""
    variance = np.asarray(covariance.variance, np.float64)[..., 0]
    return variance / variance[reference]


@pytest.mark.parametrize("shape", [*SHAPES, (1,), (1, 1)])
def test_flat_spectra_are_white(shape):
    flat = [sagd.white(shape), sagd.power_law(shape, alpha=0), sagd.exponential(shape, beta=0)]
    if max(shape) > 1:
        flat.append(sagd.two_band(shape, gamma_low=0.5))
    for covariance in flat:
        np.testing.assert_allclose(covariance.variance, 1, atol=1e-6)
        assert covariance.variance.shape == (*half_grid_shape(shape), 1)
        assert covariance.variance.dtype == np.float32


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "build",
    [
        lambda shape: sagd.power_law(shape, alpha=-0.5),
        lambda shape: sagd.power_law(shape, alpha=0.7, dc="unit"),
        lambda shape: sagd.power_law(shape, alpha=-0.04, dc="floor"),
        lambda shape: sagd.exponential(shape, beta=3.0),
        lambda shape: sagd.exponential(shape, beta=-3.0),
        lambda shape: sagd.band_pass(shape, [(0, 0.4), (0.9, 1)]),
        lambda shape: sagd.two_band(shape, gamma_low=0.2),
        lambda shape: sagd.two_band(shape, gamma_low=1),
    ],
)
def test_mean_variance_over_the_full_grid_is_one(shape, build):
    full = dense.full_grid(build(shape).variance, shape)
    np.testing.assert_allclose(full.mean(), 1, rtol=1e-6)


@pytest.mark.parametrize("alpha", [-0.5, 0.5, 1.5])
def test_power_law_has_the_stated_slope(alpha):
    radius = sagd.radial_frequency((7, 10))
    lowest = np.sort(radius.ravel())[1]
    variance = unnormalised(sagd.power_law((7, 10), alpha), (3, 5))
    expected = (radius.ravel()[1:] / radius[3, 5]) ** (2 * alpha)
    np.testing.assert_allclose(variance.ravel()[1:], expected, rtol=1e-5)
    np.testing.assert_allclose(variance[0, 0], (lowest / radius[3, 5]) ** (2 * alpha), rtol=1e-5)


def test_policies_for_dc():
    ratio = {
        dc: unnormalised(sagd.power_law((32, 32), -0.04, dc=dc), (0, 1))[0, 0]
        for dc in ("nearest", "unit", "floor")
    }
    lowest = (1 / 32) ** -0.08
    np.testing.assert_allclose(ratio["nearest"], 1, rtol=1e-6)
    np.testing.assert_allclose(ratio["unit"], 1 / lowest, rtol=1e-5)
    np.testing.assert_allclose(ratio["floor"], 1e-10**-0.08 / lowest, rtol=1e-5)
    # The printed formula gives DC 2.4 times the amplitude of white noise on this grid.
    printed = sagd.power_law((32, 32), -0.04, dc="floor").variance[0, 0, 0]
    assert abs(np.sqrt(printed) - 2.4) < 0.05


def test_exponential_decays_with_the_square_of_the_radius():
    radius = sagd.radial_frequency((8, 9))
    np.testing.assert_allclose(
        unnormalised(sagd.exponential((8, 9), beta=2.0), (0, 0)), np.exp(-4 * radius**2), rtol=1e-5
    )


def test_bands_are_half_open_and_the_top_one_is_closed():
    # On (8,), unit "max", the radii are 0, 1/4, 1/2, 3/4 and 1.
    def selected(*bands):
        return list(np.asarray(sagd.band_pass((8,), bands).variance[:, 0]) > 0)

    assert selected((0.25, 0.5)) == [False, True, False, False, False]
    assert selected((0.25, 0.51)) == [False, True, True, False, False]
    assert selected((0.75, 1)) == [False, False, False, True, True]
    assert selected((0, 0.25), (0.5, 0.6)) == [True, False, True, False, False]
    assert selected((0, 5.0)) == [True] * 5
    in_cycles = sagd.band_pass((8,), [(0.25, 0.5)], unit="cycles").variance[:, 0]
    assert list(np.asarray(in_cycles) > 0) == [False, False, True, True, True]


def test_the_corner_of_an_odd_grid_belongs_to_the_top_band():
    covariance = sagd.band_pass((7, 9), [(0.95, 1)])
    assert covariance.variance[3, 4, 0] > 0 and covariance.variance[4, 4, 0] > 0


def test_two_band_amplitudes():
    variance = np.asarray(sagd.two_band((8,), gamma_low=0.2).variance[:, 0], np.float64)
    np.testing.assert_allclose(variance[2:] / variance[0], (0.8 / 0.2) ** 2, rtol=1e-5)
    np.testing.assert_array_equal(sagd.two_band((8,), gamma_low=0).variance[:2], 0)
    np.testing.assert_array_equal(sagd.two_band((8,), gamma_low=1).variance[2:], 0)


def test_from_variance_normalises_any_scale_and_keeps_zeros():
    values = np.array([0.0, 1, 2, 1, 0])
    for scale in (1e-30, 1.0, 1e300):
        variance = sagd.from_variance(scale * values, (8,)).variance
        # Full grid: 0, 1, 2, 1, 0, 1, 2, 1 of mean 1.
        np.testing.assert_allclose(variance[:, 0], values, rtol=1e-6)


def test_from_variance_takes_spectra_per_channel():
    values = np.stack([np.ones(5), np.arange(5.0)], axis=-1)
    variance = sagd.from_variance(values, (8,)).variance
    assert variance.shape == (5, 2)
    # Channel means over the full grid: 1 and (0 + 2 (1 + 2 + 3) + 4) / 8 = 2, so 1.5 in all.
    np.testing.assert_allclose(variance, values / 1.5, rtol=1e-6)


def test_a_spectrum_of_real_data_is_accepted():
    data = np.random.default_rng(0).normal(size=(5, 6, 8, 2))
    spectrum = np.mean(np.abs(np.fft.rfftn(data, axes=(1, 2))) ** 2, axis=0)
    covariance = sagd.from_variance(spectrum, (6, 8))
    weights = hermitian_multiplicity((6, 8))[:, None]
    mean = np.sum(spectrum * weights) / (6 * 8 * 2)
    np.testing.assert_allclose(covariance.variance, spectrum / mean, rtol=1e-5)


ASYMMETRIC = np.ones((4, 3))
ASYMMETRIC[1, 0] = 2.0  # its partner at -f, [3, 0], stays 1
ASYMMETRIC_NYQUIST = np.ones((4, 3))
ASYMMETRIC_NYQUIST[1, 2] = 2.0


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: sagd.white((0,)), "spatial_shape"),
        (lambda: sagd.power_law((8,), float("nan")), "alpha=nan"),
        (lambda: sagd.power_law((8,), "steep"), "alpha='steep'"),
        (lambda: sagd.power_law((8,), 1, dc="zero"), "dc='zero'.*'nearest', 'unit', 'floor'"),
        (lambda: sagd.power_law((64, 64), 30.0), "alpha=30.0.*underflows"),
        (lambda: sagd.power_law((8,), 300.0), "alpha=300.0.*underflows"),
        (lambda: sagd.exponential((8,), float("inf")), "beta=inf"),
        (lambda: sagd.exponential((8,), 1e4), "beta=10000.0.*underflows"),
        (lambda: sagd.band_pass((8,), []), r"bands=\[\]"),
        (lambda: sagd.band_pass((8,), [(0.5, 0.5)]), "0 <= low < high"),
        (lambda: sagd.band_pass((8,), [(-0.1, 0.5)]), "0 <= low < high"),
        (lambda: sagd.band_pass((8,), [0.5]), "0 <= low < high"),
        (lambda: sagd.band_pass((8,), [(0, 0.5, 1)]), "0 <= low < high"),
        (lambda: sagd.band_pass((8, 8), [(0.4, 0.5)]), r"\(0.4, 0.5\) holds no frequency"),
        (lambda: sagd.band_pass((8,), [(0, 1)], unit="hz"), "unit='hz'"),
        (lambda: sagd.band_pass((8,), [(0.8, 0.9)], unit="cycles"), "holds no frequency"),
        (lambda: sagd.two_band((8,), 1.1), r"gamma_low=1.1: expected a number in \[0, 1\]"),
        (lambda: sagd.two_band((8,), None), "gamma_low=None"),
        (lambda: sagd.two_band((8,), 0.5, split=0), "split=0"),
        (lambda: sagd.two_band((8,), 0.5, split=1.1), "split=1.1"),
        (lambda: sagd.two_band((8,), 0.5, split=0.6, unit="cycles"), "split=0.6"),
        (lambda: sagd.from_variance(np.ones(4), (8,)), r"variance.shape=\(4,\)"),
        (lambda: sagd.from_variance(np.ones((5, 0)), (8,)), "variance.shape"),
        (lambda: sagd.from_variance([1, np.nan, 1, 1, 1], (8,)), "non-finite"),
        (lambda: sagd.from_variance([1, np.inf, 1, 1, 1], (8,)), "non-finite"),
        (lambda: sagd.from_variance([1, -1, 1, 1, 1], (8,)), "negative"),
        (lambda: sagd.from_variance(np.zeros(5), (8,)), "zero everywhere"),
        (lambda: sagd.from_variance([1e-40, 1, 1, 1, 1], (8,)), "underflows"),
        (lambda: sagd.from_variance(ASYMMETRIC, (4, 4)), "Hermitian"),
        (lambda: sagd.from_variance(ASYMMETRIC_NYQUIST, (4, 4)), "Hermitian"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_asymmetry_off_the_mirrored_planes_is_none():
    sagd.from_variance(ASYMMETRIC_NYQUIST, (4, 5))  # an odd last axis has no Nyquist plane
