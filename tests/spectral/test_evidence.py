"""What is gathered of examples: quantiles, coherence, and that parts add up."""

import numpy as np
import pytest

from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.responses import respond


def gathered(*parts, shape=(16, 16)):
    result = Evidence(shape, parts[0].shape[-1])
    for part in parts:
        result.add(part)
    return result


def test_quantiles_are_those_of_the_powers():
    x = np.random.default_rng(0).normal(size=(2000, 16, 16, 1))
    evidence = gathered(x)
    power = np.abs(np.fft.rfft2(x[..., 0], norm="ortho")) ** 2
    for q in (0.1, 0.5, 0.98):
        expected = np.quantile(np.log(power), q, axis=0)
        np.testing.assert_allclose(evidence.quantile("all", q), expected, atol=0.2)
    np.testing.assert_allclose(evidence.mean("all"), power.mean(axis=0))


def test_parts_add_up():
    x = np.random.default_rng(1).normal(size=(90, 16, 16, 3))
    x[7] = 0.25
    whole, first, second = gathered(x), gathered(x[:40]), gathered(x[40:])
    first.merge(second)
    assert first.count == whole.count == 90  # a constant is no variation, but has a mean
    for view in whole.view:
        for name in ("mean", "share_out", "coherence"):
            np.testing.assert_allclose(getattr(first, name)(view), getattr(whole, name)(view))
        np.testing.assert_array_equal(first.quantile(view, 0.1), whole.quantile(view, 0.1))
        np.testing.assert_allclose(first.set_powers(view, 0), whole.set_powers(view, 0))
    with pytest.raises(ValueError, match="other: of shape"):
        first.merge(Evidence((8, 16), 3))


def test_examples_without_variation_are_left_out():
    x = np.random.default_rng(2).normal(size=(30, 16, 16, 1))
    x[:10] = 0
    evidence = gathered(x)
    assert evidence.count == 20 and np.concatenate(evidence.blank).sum() == 10


def test_one_phase_is_coherent_and_independent_ones_are_not():
    x = np.random.default_rng(3).normal(size=(400, 16, 16, 1))
    x += 3 * np.random.default_rng(4).normal(size=(16, 16, 1))
    assert np.median(gathered(x).coherence("all")) > 200
    independent = gathered(np.random.default_rng(5).normal(size=(400, 16, 16, 1)))
    assert np.median(independent.coherence("all")) == pytest.approx(np.log(2), abs=0.2)


@pytest.mark.parametrize("slope", [-4.0, 0.0, 3.0])
def test_the_background_of_a_law_is_that_law(slope):
    values = slope * np.log(np.arange(257) + 1e-9)
    values[0] = values[1]
    values[100] += 3
    background, scale = local_background(values, (512,), least=0.01)
    ok = np.isfinite(scale) & (np.arange(257) > 40) & (np.arange(257) < 235)
    expected = slope * np.log(np.arange(257) + 1e-9)
    np.testing.assert_allclose(background[ok], expected[ok], atol=0.05)
    assert (values - background)[100] / scale[100] > 50


def test_a_ridge_along_an_axis_is_its_own_background():
    rows = np.abs(np.fft.fftfreq(64)[:, None]) * 64
    columns = np.fft.rfftfreq(64)[None] * 64
    values = -2 * np.log(np.hypot(rows, columns) + 1) + 3.0 * (columns <= 1)
    background, scale = local_background(values, (64, 64), least=0.05)
    assert np.all(((values - background) / scale)[8:57, :2] < 4)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_added_power_is_told_from_power_that_follows(share):
    rng = np.random.default_rng(6)
    quiet = np.exp(1.5 * rng.normal(size=600))
    p, control = (quiet * rng.gamma(10, 0.1, 600) for _ in range(2))
    has = rng.random(600) < share
    added = respond(p + 3 * has, quiet, 1.0, control)
    assert added.share == pytest.approx(share, abs=0.1)
    assert added.level == pytest.approx(3, rel=0.15)
    assert abs(added.slope) < 0.3
    follows = respond(p * 4, quiet, 1.0, control)
    assert follows.slope > 0.7
