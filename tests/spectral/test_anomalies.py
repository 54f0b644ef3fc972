"""Planted corruptions are found, and clean data raise no alarm."""

import jax
import numpy as np
import pytest
from planted import (
    ENERGY,
    amplitude,
    digits,
    fields,
    found_mask,
    keys,
    plant,
    support,
    within_one_bin,
)

from sagd_jax import radial_frequency
from sagd_jax.data import corruptions
from sagd_jax.spectral import spectra
from sagd_jax.spectral.anomalies import find_anomalies, suggested_mask
from sagd_jax.spectral.power_spectrum import energy_share, estimate

SHAPES = [(32, 32), (24, 40), (256,), (8, 16, 16)]


@pytest.mark.parametrize("seed", range(20))
def test_clean_fields_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % 4]
    alpha = rng.uniform(-1.5, 0.5)
    x = fields(shape, alpha, int(rng.integers(60, 300)), seed)
    assert find_anomalies(estimate(x)) == []


def test_clean_digits_raise_no_alarm():
    assert find_anomalies(estimate(digits())) == []


@pytest.mark.parametrize("low", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("alpha", [-1.0, -0.5])
def test_a_band_in_fields_is_found(low, alpha):
    band = spectra.band_pass((32, 32), [(low, low + 0.1)])
    (found,) = find_anomalies(estimate(plant(fields((32, 32), alpha, 400), band)))
    assert found.kind == "band"
    assert within_one_bin(found.mask, support(band))
    assert within_one_bin(support(band), found.mask)
    top = np.sqrt(0.5)
    assert abs(found.low - low * top) < 1 / 32
    assert abs(found.high - (low + 0.1) * top) < 1 / 32


def test_a_band_in_digits_is_found():
    band = spectra.band_pass((8, 8), [(0.5, 0.7)])
    (found,) = find_anomalies(estimate(plant(digits(), band)))
    assert found.kind == "band"
    np.testing.assert_array_equal(found.mask, support(band))
    # 5 % of what was there, and what was there: that is what a hole would remove.
    result = estimate(plant(digits(), band))
    assert found.energy == pytest.approx(energy_share(result, support(band)))
    assert found.energy > ENERGY / (1 + ENERGY)


@pytest.mark.parametrize("n", [400])
def test_a_moire_of_two_vectors_is_found(n):
    vectors = [(5 / 32, 3 / 32), (0.3, -0.2)]  # On a bin, and between bins.
    x = fields((32, 32), -1.0, n)
    x = np.asarray(corruptions.sinusoids(keys(x), x, vectors, amplitude(x)))
    anomalies = find_anomalies(estimate(x))
    assert [anomaly.kind for anomaly in anomalies] == ["line", "line"]
    for vector in vectors:
        gaps = [
            min(
                max(abs(f - s * v) for f, v in zip(anomaly.frequency, vector, strict=True))
                for s in (1, -1)
            )
            for anomaly in anomalies
        ]
        assert min(gaps) < 1 / 32


@pytest.mark.parametrize(("angle", "width"), [(30.0, 30.0), (0.0, 20.0), (135.0, 40.0)])
def test_a_wedge_is_found(angle, width):
    direction = (np.sin(np.radians(angle)), np.cos(np.radians(angle)))
    cone = spectra.wedge((32, 32), direction, width, (0.3, 1.0))
    (found,) = find_anomalies(estimate(plant(fields((32, 32), -1.0, 400), cone)))
    assert found.kind == "wedge"
    assert within_one_bin(found.mask, support(cone))
    assert within_one_bin(support(cone), found.mask)
    assert min(abs(found.angle - angle), 180 - abs(found.angle - angle)) < 5


def test_a_wedge_in_digits_is_found():
    cone = spectra.wedge((8, 8), (np.sin(np.radians(30)), np.cos(np.radians(30))), 30.0, (0.3, 1))
    found = found_mask(find_anomalies(estimate(plant(digits(), cone))))
    assert within_one_bin(found, support(cone))
    assert within_one_bin(support(cone), found)


def test_hum_and_its_harmonics_are_found():
    rate, length = 16_000, 16_384
    x = fields((length,), -0.5, 60)
    x = np.asarray(corruptions.hum(keys(x), x, 60.0, rate, harmonics=2, amplitude=amplitude(x)))
    anomalies = find_anomalies(estimate(x))
    assert {anomaly.kind for anomaly in anomalies} == {"line"}
    hertz = sorted(anomaly.frequency[0] * rate for anomaly in anomalies)
    np.testing.assert_allclose(hertz, [60, 120, 180], atol=rate / length)


@pytest.mark.parametrize("frequency", [0.25, 0.3])
def test_flicker_is_found(frequency):
    x = fields((16, 16, 16), -1.0, 80)
    vectors = [(frequency, 0.0, 0.0)]
    x = np.asarray(corruptions.sinusoids(keys(x), x, vectors, amplitude(x)))
    (found,) = find_anomalies(estimate(x))
    assert found.kind == "line"
    assert abs(abs(found.frequency[0]) - frequency) < 1 / 16
    assert found.frequency[1:] == (0.0, 0.0)


def test_a_temporal_band_is_found():
    band = spectra.band_pass((16, 16, 16), [(0.3, 0.4)], "cycles", axes=(0,))
    (found,) = find_anomalies(estimate(plant(fields((16, 16, 16), -1.0, 80), band)))
    assert found.axes == (0,)
    np.testing.assert_array_equal(found.mask, support(band))


def test_the_suggested_mask_omits_what_was_found_and_a_margin():
    band = spectra.band_pass((32, 32), [(0.4, 0.5)])
    result = estimate(plant(fields((32, 32), -1.0, 400), band))
    anomalies = find_anomalies(result)
    exact, wide = (suggested_mask(result, anomalies, margin) for margin in (0, 2))
    np.testing.assert_array_equal(exact == 0, anomalies[0].mask)
    radius = radial_frequency((32, 32)) * 32
    low, high = radius[support(band)].min(), radius[support(band)].max()
    np.testing.assert_array_less(low - 2 - 1e-9, radius[wide == 0])
    np.testing.assert_array_less(radius[wide == 0], high + 2 + 1e-9)
    assert (wide == 0).sum() > (exact == 0).sum()
    hole = spectra.from_variance(wide, (32, 32))
    np.testing.assert_allclose(
        hole.project(band.sample(jax.random.key(0), (2, 32, 32, 1))), 0, atol=1e-4
    )
    assert np.all(suggested_mask(result, []) == 1)
    with pytest.raises(ValueError, match="margin=-1"):
        suggested_mask(result, anomalies, -1)
