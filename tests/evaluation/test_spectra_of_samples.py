"""Spectral distances of Gaussian data, whose truth is known: the intervals cover it."""

import itertools

import numpy as np
import pytest

from sagd_jax.evaluation import spectra_of_samples as spectra
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import hermitian_multiplicity

SHAPE = (8, 8)


def power(slope):
    r = radial_frequency(SHAPE)
    return np.where(r > 0, r, 0.1) ** slope


def draw(rng, power, n, channels=1):
    white = np.fft.rfftn(rng.normal(size=(n, *SHAPE, channels)), axes=(1, 2))
    return np.fft.irfftn(white * np.sqrt(power)[..., None], s=SHAPE, axes=(1, 2))


def truth(kind, first, second):
    if kind == "radial":
        bins = spectra.Rings.of(SHAPE)
        a, b = (bins.shares @ p.reshape(-1) for p in (first, second))
    else:
        bins = spectra.Frequencies.of(SHAPE)
        a, b = (p[bins.chosen] for p in (first, second))
    return np.sqrt(np.square(np.log(a / b)) @ bins.weights)


@pytest.mark.parametrize("slopes", [(-1.0, -1.3), (-1.0, -1.5)])
@pytest.mark.parametrize("kind", spectra.KINDS)
def test_the_interval_covers_the_truth(kind, slopes):
    rng = np.random.default_rng(0)
    first, second = map(power, slopes)
    expected, hits, squared = truth(kind, first, second), 0, []
    # All draws at once; each of the 200 has examples of its own.
    x, y = draw(rng, first, 200 * 100), draw(rng, second, 200 * 150)
    for a, b in zip(x.reshape(200, 100, *SHAPE, 1), y.reshape(200, 150, *SHAPE, 1), strict=True):
        found = spectra.spectral_distance(a, b, kind=kind)
        hits += found.low <= expected <= found.high
        squared.append(found.squared)
    assert 0.92 <= hits / 200 <= 0.98
    error = np.std(squared) / np.sqrt(200)
    assert abs(np.mean(squared) - expected**2) < 4 * error


@pytest.mark.parametrize("kind", spectra.KINDS)
def test_of_one_law_the_distance_is_zero_within_its_error(kind):
    rng = np.random.default_rng(1)
    found = []
    for _ in range(100):
        # Channels that go together.
        a, b = (draw(rng, power(-1), 100) * np.array([1.0, -2.0]) for _ in range(2))
        found.append(spectra.spectral_distance(a, b, kind=kind))
    squared = np.array([d.squared for d in found])
    assert abs(squared.mean()) < 4 * squared.std() / 10
    assert np.mean([d.low > 0 for d in found]) < 0.12


def test_a_direction_is_seen_by_the_full_distance_alone():
    rng = np.random.default_rng(2)
    fx, fy = np.meshgrid(np.fft.fftfreq(8), np.fft.rfftfreq(8), indexing="ij")
    a, b = (draw(rng, 0.2 + p, 2000) for p in (fx**2, fy**2))
    assert spectra.spectral_distance(a, b, kind="full").low > 0.3
    assert spectra.spectral_distance(a, b).value < 0.1


def test_energies_of_bands():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 7, 9, 2))
    edges = (0.0, 0.3, 0.6, 0.61, 1.0)
    found = spectra.band_energies(2 * x + 5, x, edges)
    centred = 2 * x + 5 - x.mean(axis=(0, 1, 2))
    energy = np.abs(np.fft.fftn(centred, axes=(1, 2), norm="ortho")) ** 2
    grid = np.meshgrid(np.fft.fftfreq(7), np.fft.fftfreq(9), indexing="ij")
    radius = np.hypot(*grid) / np.hypot(*grid).max()
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        inside = (radius >= low) & ((radius < high) | (high == 1))
        if inside.any():
            assert found.samples[band] == pytest.approx(energy[:, inside].mean(), rel=1e-9)
        else:
            assert np.isnan(found.samples[band])
    np.testing.assert_allclose(found.ratio[1:2], 4, rtol=1e-9)
    with pytest.raises(ValueError, match="two or more increasing"):
        spectra.band_energies(x, x, (0.5, 0.5))


def test_the_energy_in_rings_is_all_of_it():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(3, *SHAPE, 1))
    everything = np.ones(spectra.Rings.of(SHAPE).shares.shape[1])
    (energy,) = spectra.powers(x)
    parts = energy * hermitian_multiplicity(SHAPE)
    np.testing.assert_allclose(parts.sum((1, 2)), np.square(x).sum((1, 2, 3)))
    np.testing.assert_allclose(spectra.Rings.of(SHAPE).shares @ everything, 1)


def test_what_is_left_of_a_corruption():
    rng = np.random.default_rng(5)
    mask = radial_frequency(SHAPE, unit="max") > 0.6
    noise = np.where(mask, 4.0, 0.0)
    hits = 0
    for _ in range(100):
        clean, other, full = (draw(rng, power(-1), 200) for _ in range(3))
        samples = other + np.sqrt(0.3) * draw(rng, noise, 200)
        found = spectra.left_over(samples, clean, full + draw(rng, noise, 200), mask)
        hits += found.low <= 0.3 <= found.high
    assert 88 <= hits <= 100
    with pytest.raises(ValueError, match="no more energy"):
        spectra.left_over(clean, full + 10 * draw(rng, noise, 200), clean, mask)
    with pytest.raises(ValueError, match="no frequency"):
        spectra.left_over(clean, clean, full, np.zeros((8, 5), bool))


@pytest.mark.parametrize(
    ("samples", "data", "words"),
    [
        (np.ones((5, 8, 8)), np.ones((5, 8, 8, 1)), r"data: shape \(5, 8, 8, 1\)"),
        (np.ones((1, 8, 8, 1)), np.ones((5, 8, 8, 1)), r"samples: shape \(1, 8, 8, 1\)"),
        (np.full((5, 8, 8, 1), np.nan), np.ones((5, 8, 8, 1)), "samples: some values are not fin"),
        (np.ones((5, 8, 8, 1)), np.ones((5, 8, 8, 1)), "a frequency has no energy"),
    ],
)
def test_no_spectra(samples, data, words):
    with pytest.raises(ValueError, match=words):
        spectra.spectral_distance(samples, data)
