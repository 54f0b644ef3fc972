"""Wedges, notches, products, mixtures, complements, data spectra, and bands in Hz or along axes."""

import itertools

import numpy as np
import pytest

from sagd_jax import radial_frequency
from sagd_jax.spectral import combine, spectra
from sagd_jax.spectral.half_grid import half_grid_shape


def support(covariance):
    return np.asarray(covariance.variance)[..., 0] > 0


def bins(shape):
    """(place, frequency vector) of every bin of the half grid."""
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    for place in np.ndindex(*half_grid_shape(shape)):
        yield place, np.array([axis[k] for axis, k in zip(axes, place, strict=True)])


@pytest.mark.parametrize("shape", [(8, 8), (7, 10), (5, 6, 7)])
def test_a_wedge_holds_the_angles_it_says(shape):
    direction = np.arange(1, len(shape) + 1)
    selected = support(spectra.wedge(shape, direction, 50.0))
    unit = direction / np.linalg.norm(direction)
    for place, f in bins(shape):
        # A Nyquist component has both signs.
        options = itertools.product(*((v, -v) if abs(v) == 0.5 else (v,) for v in f))
        angles = [
            np.degrees(np.arccos(min(abs(np.dot(v, unit)) / np.linalg.norm(v), 1.0)))
            for v in options
            if np.linalg.norm(v) > 0
        ]
        assert selected[place] == (bool(angles) and min(angles) <= 25), (place, angles)


def test_a_wedge_in_a_band():
    both = spectra.wedge((16, 16), (1, 1), 40.0, band=(0.3, 0.8))
    band = spectra.band_pass((16, 16), [(0.3, 0.8)])
    np.testing.assert_array_equal(
        support(both), support(band) & support(spectra.wedge((16, 16), (1, 1), 40.0))
    )


def test_streaks_lie_across_the_wedge():
    import jax

    noise = spectra.wedge((32, 32), (0, 1), 5.0).sample(jax.random.key(0), (20, 32, 32, 1))
    down, across = (np.square(np.diff(noise, axis=axis)).mean() for axis in (1, 2))
    assert down < 1e-6 * across


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((8,), (1,), 10.0), "two or three axes"),
        (((8, 8), (1, 0, 0), 10.0), "one number per axis"),
        (((8, 8), (0, 0), 10.0), "not all zero"),
        (((8, 8), (0, np.nan), 10.0), "direction"),
        (((8, 8), (0, 1), 180.0), r"degrees in \(0, 180\)"),
        (((8, 8), (0.37, 1), 1e-3), "no frequency"),
        (((8, 8), (0, 1), 20.0, (0.9, 1)), "no frequency"),
    ],
)
def test_bad_wedges(arguments, message):
    with pytest.raises(ValueError, match=message):
        spectra.wedge(*arguments)


def test_a_notch_removes_the_nearest_bin_and_its_opposite():
    kept = support(spectra.notch((8, 8), [(0.25, -0.13)]))
    assert not kept[6, 1]  # (0.25, -0.125) is stored as (-0.25, 0.125).
    assert kept.sum() == kept.size - 1
    on_plane = support(spectra.notch((8, 8), [(0.25, 0.0)]))
    assert not on_plane[2, 0]
    assert not on_plane[6, 0]
    assert on_plane.sum() == on_plane.size - 2


def test_a_wide_notch_is_a_disc_that_wraps_at_nyquist():
    kept = support(spectra.notch((16, 16), [(0.5, 0.0)], width=1.5 / 16))
    removed = {tuple(place) for place in np.argwhere(~kept)}
    assert removed == {(8, 0), (7, 0), (9, 0), (8, 1), (7, 1), (9, 1)}


def test_notches_in_hertz():
    kept = support(spectra.notch((1000,), [(60.0,), (120.0,)], width=1.0, sample_rate=1000))
    assert np.flatnonzero(~kept).tolist() == [59, 60, 61, 119, 120, 121]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectra.notch((8, 8), [(0.1,)]), "vector of 2 numbers"),
        (lambda: spectra.notch((8,), [(0.6,)]), "at most half"),
        (lambda: spectra.notch((8,), [(600.0,)], sample_rate=1000), "at most half"),
        (lambda: spectra.notch((8,), []), "at least one vector"),
        (lambda: spectra.notch((8,), [(0.1,)], width=-1), "width=-1"),
        (lambda: spectra.notch((8,), [(0.1,)], sample_rate=-5), "sample_rate=-5"),
    ],
)
def test_bad_notches(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_products_multiply_powers():
    a, b = spectra.power_law((7, 8), -0.3), spectra.power_law((7, 8), -0.4)
    np.testing.assert_allclose(
        combine.product(a, b).variance, spectra.power_law((7, 8), -0.7).variance, rtol=1e-5
    )
    low, high = (spectra.band_pass((8, 8), [band]) for band in ((0, 0.5), (0.5, 1)))
    with pytest.raises(ValueError, match="zero everywhere"):
        combine.product(low, high)


def test_mixtures_share_energy():
    low, high = (spectra.band_pass((8, 8), [band]) for band in ((0, 0.5), (0.5, 1)))
    mixed = combine.mixture([low, high], weights=(3, 1))
    expected = 0.75 * np.asarray(low.variance) + 0.25 * np.asarray(high.variance)
    np.testing.assert_allclose(mixed.variance, expected, rtol=1e-6)
    same = combine.mixture([low, high], weights=(low.rank(1), high.rank(1)))
    np.testing.assert_allclose(same.variance, 1, rtol=1e-6)


def test_channels_broadcast_in_combinations():
    values = np.stack([np.ones(5), np.arange(1.0, 6.0)], axis=-1)
    colour = spectra.from_variance(values, (8,))
    assert combine.product(colour, spectra.white((8,))).variance.shape == (5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: combine.product(), "at least one"),
        (lambda: combine.product(spectra.white((8,)), spectra.white((9,))), "one spatial shape"),
        (lambda: combine.mixture([spectra.white((8,))], (1, 2)), "expected 1 numbers"),
        (lambda: combine.mixture([spectra.white((8,))], (-1,)), "expected 1 numbers"),
        (lambda: combine.mixture([spectra.white((8,))], (0,)), "at least one > 0"),
        (lambda: combine.complement(spectra.white((8,))), "zero everywhere"),
        (lambda: spectra.from_data(np.ones(5), (8,), floor=2), "floor=2"),
        (lambda: spectra.from_data(-np.ones(5), (8,)), "negative"),
        (lambda: spectra.from_data(np.ones(4), (8,)), "shape"),
    ],
)
def test_bad_combinations(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_complement_is_the_rest():
    cone = spectra.wedge((9, 8), (0, 1), 30.0)
    rest = combine.complement(cone)
    assert cone.rank(1) + rest.rank(1) == 72
    assert not np.any(support(cone) & support(rest))


def test_data_spectra_are_tempered():
    power = np.asarray(spectra.power_law((8, 9), -1.0).variance)
    for exponent in (0.0, 0.5, 1.0):
        result = spectra.from_data(7 * power, (8, 9), exponent)
        expected = spectra.power_law((8, 9), -exponent)
        np.testing.assert_allclose(result.variance, expected.variance, rtol=1e-4)


def test_data_without_power_somewhere_keep_full_rank():
    power = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    assert spectra.from_data(power, (8,)).rank(1) == 8
    assert spectra.from_data(power, (8,), floor=0).rank(1) == 6


def test_bands_in_hertz():
    band = spectra.band_pass((100,), [(40, 60)], unit="hz", sample_rate=1000)
    assert np.flatnonzero(support(band)).tolist() == [4, 5]
    same = spectra.band_pass((100,), [(0.04, 0.06)], unit="cycles")
    np.testing.assert_array_equal(band.variance, same.variance)


def test_axes_have_rates_of_their_own():
    radius = radial_frequency((4, 8), unit="hz", sample_rate=(4, 80))
    assert radius[1, 0] == 1.0
    assert radius[0, 1] == 10.0
    assert radius[1, 1] == pytest.approx(np.hypot(1, 10))


def test_bands_along_some_axes():
    band = spectra.band_pass((8, 4, 4), [(1, 3)], unit="hz", sample_rate=8, axes=(0,))
    expected = np.zeros((8, 4, 3), bool)
    expected[[1, 2, 6, 7]] = True
    np.testing.assert_array_equal(support(band), expected)
    spatial = radial_frequency((8, 4, 4), axes=(1, 2))
    np.testing.assert_array_equal(spatial[3], radial_frequency((4, 4)))


def test_two_bands_in_hertz():
    covariance = spectra.two_band((8,), 0.25, split=2000, unit="hz", sample_rate=8000)
    ratio = covariance.variance[4, 0] / covariance.variance[0, 0]
    assert ratio == pytest.approx(9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "hz"}, "sample_rate=None: unit='hz' needs"),
        ({"unit": "hz", "sample_rate": 0}, "needs a number > 0"),
        ({"unit": "hz", "sample_rate": (1, 2, 3)}, "one per axis"),
        ({"unit": "max", "sample_rate": 5}, "only for unit='hz'"),
        ({"axes": (2,)}, "axes=.*among 0 to 1"),
        ({"axes": (0, 0)}, "distinct"),
        ({"axes": ()}, "distinct"),
    ],
)
def test_bad_units_and_axes(options, message):
    with pytest.raises(ValueError, match=message):
        radial_frequency((8, 8), **options)
