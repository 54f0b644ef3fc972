"""Spectra of data: the estimate, its radial profile, the power law."""

import jax
import numpy as np
import pytest
from planted import fields, support

from sagd_jax import power_law, radial_frequency
from sagd_jax.spectral import bases, host, spectra
from sagd_jax.spectral.half_grid import hermitian_multiplicity
from sagd_jax.spectral.power_spectrum import energy_share, estimate, fit_power_law, radial_profile


@pytest.mark.parametrize("shape", [(16,), (9,), (8, 9), (7, 8), (4, 6, 5)])
@pytest.mark.parametrize("pieces", [False, True])
def test_the_estimate_agrees_with_the_truth(shape, pieces):
    x = 3 + 2 * fields(shape, -0.6, 2000, channels=2)
    batches = [x[:700], x[700:]] if pieces else x
    result = estimate(batches, window="none")
    expected = 4 * np.asarray(power_law(shape, -0.6).variance)
    away = np.abs(result.power - expected) / result.standard_error
    assert away.max() < 5
    # Of a Gaussian field the spread of |F x|^2 is known: its mean, or root 2 times it where real.
    relative = result.standard_error / result.power * np.sqrt(2000)
    assert np.all((relative > 0.85) & (relative < 1.65))
    np.testing.assert_allclose(result.mean, x.mean(axis=tuple(range(x.ndim - 1))), rtol=1e-5)


def test_energy_is_the_variance():
    x = fields((8, 9), -0.5, 100) + 5.0
    result = estimate(x, window="none")
    weights = hermitian_multiplicity((8, 9))[:, None]
    assert (result.power * weights).sum() / 72 == pytest.approx(x.var(), rel=1e-5)
    everything = np.ones(result.power.shape[:-1], bool)
    assert energy_share(result, everything) == pytest.approx(1)


def test_means():
    pattern = np.cos(2 * np.pi * 3 * np.arange(16) / 16)[:, None]
    x = fields((16,), 0.0, 4000) + pattern + 2.0
    per_channel, per_site, none = (
        estimate(x, mean=mean, window="none").power[:, 0] for mean in ("channel", "site", "none")
    )
    assert per_channel[3] == pytest.approx(1 + 16 / 4, rel=0.1)
    assert per_site[3] == pytest.approx(1, rel=0.1)
    assert none[0] == pytest.approx(1 + 16 * 4, rel=0.1)
    assert per_channel[0] == pytest.approx(1, rel=0.1)


def test_the_window_removes_leakage():
    # A ramp is not periodic: without a taper it leaks like 1 / f^2, with one it does not.
    slopes = np.random.default_rng(0).normal(size=(200, 1, 1))
    x = slopes * np.linspace(-1, 1, 64)[:, None] + 1e-3 * fields((64,), 0.0, 200)
    plain, tapered = (estimate(x, window=w).power[20, 0] for w in ("none", "hann"))
    assert tapered < 0.01 * plain
    assert estimate(x).window == "hann"
    assert estimate(fields((64,), -1.0, 200)).window == "none"


def test_the_window_keeps_the_level_of_white_noise():
    result = estimate(fields((16, 16), 0.0, 4000), window="hann")
    assert result.power[4:, 4:].mean() == pytest.approx(1, abs=0.02)


def test_the_innovation_of_a_stationary_field_is_its_spectrum():
    shape = (6, 5)
    result = estimate(fields(shape, -0.5, 20_000), window="none")
    expected = np.asarray(power_law(shape, -0.5).variance)[..., 0]
    np.testing.assert_allclose(result.innovation, expected, rtol=0.1)


def test_the_innovation_ignores_what_can_be_predicted():
    # Every example is one pattern at a random size: all frequencies are known from any one of them.
    pattern = np.random.default_rng(0).normal(size=(1, 8, 8, 1))
    sizes = np.random.default_rng(1).normal(size=(5000, 1, 1, 1))
    result = estimate(sizes * pattern, window="none")
    assert result.innovation.max() < 0.01 * result.power.mean()
    assert estimate(fields((8, 8), 0.0, 100)).innovation is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate(np.zeros((1, 8, 1))), "1 examples; expected at least two"),
        (lambda: estimate([]), "0 examples"),
        (lambda: estimate([np.zeros((2, 8, 1)), np.zeros((2, 9, 1))]), "examples of shapes"),
        (lambda: estimate(np.zeros((2, 8, 1)), mean="all"), "mean='all'"),
        (lambda: estimate(np.zeros((2, 8, 1)), window="box"), "window='box'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_radial_profile_averages_rings():
    shape = (16, 16)
    x = fields(shape, -0.8, 3000)
    radius, power, error = radial_profile(estimate(x, window="none"))
    truth = np.asarray(power_law(shape, -0.8).variance)[..., 0]
    weights = np.broadcast_to(hermitian_multiplicity(shape), truth.shape)
    r = radial_frequency(shape)
    ring = np.round(r * 16).astype(int)
    expected = [
        np.average(truth[(ring == k) & (r > 0)], weights=weights[(ring == k) & (r > 0)])
        for k in range(1, len(radius) + 1)
    ]
    assert np.all(np.abs(power - expected) < 5 * error)
    # Averaging over a ring of N independent bins divides the error by the root of N.
    assert error[6] / power[6] < 0.5 / np.sqrt(3000)


@pytest.mark.parametrize(
    ("shape", "alpha"),
    [((256,), -1.0), ((100,), 0.3), ((32, 32), -1.5), ((17, 20), -0.5), ((8, 12, 10), -1.0)],
)
def test_the_power_law_is_recovered_from_200_examples(shape, alpha):
    law = fit_power_law(estimate(fields(shape, alpha, 200)))
    assert abs(law.alpha - alpha) < 0.05
    assert abs(law.alpha - alpha) < 5 * law.standard_error


def test_omitted_bins_do_not_count_in_the_fit():
    x = fields((32, 32), -1.0, 400)
    band = spectra.band_pass((32, 32), [(0.6, 0.8)])
    spoilt = estimate(x + np.asarray(band.sample(jax.random.key(1), x.shape)))
    assert abs(fit_power_law(spoilt).alpha + 1) > 0.1
    assert abs(fit_power_law(spoilt, omit=support(band)).alpha + 1) < 0.03


def test_from_an_estimate_the_signal_to_noise_ratio_is_equal():
    result = estimate(fields((16, 16), -1.0, 2000, channels=2))
    covariance = spectra.from_data(result.power, (16, 16))
    ratio = result.power / np.asarray(covariance.variance)
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (9,), (8, 8), (7, 9), (6, 7, 8)])
def test_in_the_cosine_basis(shape):
    basis = bases.cosine(shape)
    x = 0.5 + host.coordinates(np.random.default_rng(0).normal(size=(40, *shape, 2)), basis)
    result = estimate([x[:15], x[15:]], basis="cosine")
    squares = host.coordinates(x - x.mean(axis=tuple(range(x.ndim - 1))), basis) ** 2
    assert (result.basis, result.window, result.innovation) == ("cosine", "none", None)
    np.testing.assert_allclose(result.power, squares.mean(axis=0), rtol=1e-10)
    errors = squares.std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(result.standard_error, errors, rtol=1e-8)
    weight = np.ones(shape, bool)
    weight[(0,) * len(shape)] = False
    share = 1 - result.power.mean(axis=-1).flat[0] / result.power.mean(axis=-1).sum()
    assert energy_share(result, weight) == pytest.approx(share)


@pytest.mark.parametrize(("shape", "alpha"), [((64,), -1.0), ((16, 12), 0.4), ((8, 6, 7), -0.5)])
def test_cosine_profiles_and_power_laws(shape, alpha):
    radius = radial_frequency(shape, basis="cosine")
    scale = np.where(radius > 0, radius, 1)[..., None] ** alpha
    white = np.random.default_rng(0).normal(size=(400, *shape, 1))
    x = np.asarray(bases.cosine(shape).inverse(scale * white))
    spectrum = estimate(x, basis="cosine")
    law = fit_power_law(spectrum)
    assert abs(law.alpha - alpha) < 5 * law.standard_error < 0.1
    rings, power, error = radial_profile(spectrum)
    step = 1 / (2 * max(shape))
    assert rings[0] == pytest.approx(radius[np.round(radius / step) == 1].mean())
    truth = [(scale[..., 0] ** 2)[np.round(radius / step) == k].mean() for k in
             np.unique(np.round(radius / step))[1:]]  # fmt: skip
    assert np.all(np.abs(power - truth) < 5 * error)
    assert np.all(error < 0.11 * power)  # sqrt(2 / 400) = 0.07 for a ring of one


def test_the_basis_is_checked():
    with pytest.raises(ValueError, match="basis='haar'"):
        estimate(np.zeros((2, 8, 1)), basis="haar")
