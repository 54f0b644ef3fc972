"""Noise that was clipped: the quiet examples have less of it, and N is that of all."""

import numpy as np
import pytest

from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.clipping import AtLimits, in_all, left_of_levels
from sagd_jax.spectral.detector.clipping import left_of_noise as left
from sagd_jax.spectral.frequencies import radial_frequency


def left_of_noise(at_limit, seed=0):
    """Of noise in a band over pictures, a part of whose rows lies at the upper limit: share kept, share clipped."""
    rng = np.random.default_rng(seed)
    r = radial_frequency((64, 64))
    inside = (r >= 0.2) & (r < 0.3)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(200, 64, 64))) * inside, s=(64, 64))
    clean = np.zeros((64, 64))
    clean[: round(64 * at_limit)] = 1.0
    stored = np.minimum(clean + 0.05 * noise, 1.0) - clean
    kept = np.abs(np.fft.rfft2(stored))[:, inside] ** 2
    whole = np.abs(np.fft.rfft2(0.05 * noise))[:, inside] ** 2
    seen = AtLimits()
    seen.add((clean + stored)[..., None])
    return kept.mean() / whole.mean(), seen.share().mean()


@pytest.mark.parametrize("at_limit", [0.1, 0.3, 0.6, 1.0])
def test_noise_loses_what_the_law_says(at_limit):
    kept, share = left_of_noise(at_limit)
    assert share == pytest.approx(at_limit / 2, abs=0.01)
    assert kept == pytest.approx(float(left(share)), abs=0.04)


def test_the_level_of_a_row_loses_its_clipped_part_twice():
    rng = np.random.default_rng(1)
    levels = 0.05 * rng.normal(size=(400, 64, 1))
    clean = np.zeros((64, 64))
    clean[:, :16] = 1.0
    x = np.minimum(clean + levels, 1.0)
    seen = AtLimits()
    seen.add(x[..., None])
    kept = (x - clean).mean(axis=2).var() / levels.var()
    assert kept == pytest.approx(float(left_of_levels(seen.share().mean())), abs=0.03)


def test_limits_are_of_all_examples_and_of_each_channel():
    x = np.random.default_rng(2).uniform(0.2, 0.8, (3, 8, 8, 2))
    x[0, :4, :, 0] = 0.0
    x[1, :2, :, 1] = 1.0
    first, second = AtLimits(), AtLimits()
    first.add(x[:1])
    second.add(x[1:])
    first.merge(second)
    share = first.share()
    # Of channel 1 the highest value is 1, and the lowest is that of one site.
    assert share[0, 0] == 0.5 and share[1, 1] == 0.25
    assert share.sum() - 0.75 <= 3 / 64


def test_nothing_is_brought_to_all_of_what_is_zero_or_of_none():
    kept, has = np.array([0.5, 1.0]), np.zeros(2)
    assert in_all((0.0, 0.1), kept, np.ones(2), np.array([0])) == (0.0, 0.1)
    assert in_all((1.0, 0.1), kept, has, np.array([0])) == (1.0, 0.1)


def test_n_of_a_band_is_that_of_all_examples_though_the_quiet_ones_are_clipped():
    rng = np.random.default_rng(3)
    n, shape = 300, (48, 48)
    r = radial_frequency(shape)
    law = np.where(r > 0, np.maximum(r, 1e-3) ** -1.2, 0.0)
    loud = np.exp(rng.normal(size=(n, 1, 1)))
    data = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, *shape))) * law, s=shape)
    data *= 0.02 * loud / data.std()
    data += 0.5
    quiet = loud[:, 0, 0] < np.quantile(loud, 0.4)
    data[quiet] -= np.quantile(data[quiet], 0.3)  # and dark, a third of each black
    inside = (r >= 0.28) & (r < 0.36)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(n, *shape))) * inside, s=shape)
    noise *= 0.02 / noise.std()
    clean = np.clip(data, 0, 1)
    x = np.clip(clean + noise, 0, 1)
    added = np.abs(np.fft.rfft2(x - clean, norm="ortho"))[:, inside] ** 2
    result = analyse([(2 * x - 1).astype(np.float32)[..., None]])
    band = next(f for f in result.findings if f.kind == "band" and f.verdict == "corruption")
    stated = band.variance[inside].mean()
    assert stated == pytest.approx(4 * added.mean(), rel=0.08)
