"""Mixtures of separated, non-stationary Gaussians: a known law that no spectrum may change."""

import functools

import float64
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import oracle
from sagd_jax.diffusion.sampling import sample

WEIGHTS = np.array([0.5, 0.3, 0.2])
SPECTRA = {
    "white": sagd.white,
    "low": lambda shape: sagd.power_law(shape, alpha=-0.5),
    "high": lambda shape: sagd.power_law(shape, alpha=0.5),
    "two_band": lambda shape: sagd.two_band(shape, gamma_low=0.2),
    "wedge": lambda shape: sagd.from_variance(
        np.where(np.arange(shape[0] // 2 + 1) < 1, 1.0, 0.1) * np.ones((shape[0], 1)), shape
    ),
}


def mixture(size, dtype=np.float32):
    """Modes that differ in the mean, in a ramp, and in a checkerboard."""
    rng = np.random.default_rng(size)
    rows, columns = np.indices((size, size))
    ramp = (columns - (size - 1) / 2) / (size - 1) * 2
    means = np.stack([0.8 + 0 * ramp, -0.6 + 0.8 * ramp, -0.6 + 0.8 * (-1.0) ** (rows + columns)])
    roots = 0.12 * rng.normal(size=(3, size**2, size**2)) / size
    covariances = roots @ roots.transpose(0, 2, 1) + 0.01 * np.eye(size**2)
    parts = (WEIGHTS, means[..., None], covariances)
    return oracle.GaussianMixture(*(jnp.asarray(part, dtype) for part in parts))


@functools.cache
def runner(size, count, **settings):
    """Compiled once for all spectra."""
    data = mixture(size)

    def run(key, diffusion):
        x = sample(key, data.denoiser(diffusion), diffusion, (count, size, size, 1), **settings)
        return x, data.responsibilities(x)

    return jax.jit(run)


def check_counts(spectrum, size, count=1200, **settings):
    data = mixture(size)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), SPECTRA[spectrum]((size, size)))
    x, responsibilities = runner(size, count, **settings)(jax.random.key(11), diffusion)
    responsibilities = np.asarray(responsibilities)
    assert np.mean(np.max(responsibilities, axis=1) > 0.99) > 0.99  # the modes are separated
    observed = np.bincount(np.argmax(responsibilities, axis=1), minlength=3)
    statistic = np.sum((observed - count * WEIGHTS) ** 2 / (count * WEIGHTS))
    assert np.exp(-statistic / 2) > 1e-4, observed  # two degrees of freedom
    # Within each mode, as well: mean and variance of every pixel.
    for k in range(3):
        own = np.asarray(x[np.argmax(responsibilities, axis=1) == k], np.float64)
        own = own.reshape(len(own), -1)
        variance = np.diag(np.asarray(data.covariances[k], np.float64))
        yield own.mean(0) - np.asarray(data.means[k]).ravel(), own.var(0) / variance, variance, own


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_modes_are_sampled_with_their_probabilities(spectrum, size):
    for shift, ratio, variance, own in check_counts(spectrum, size, method="heun", num_steps=40):
        bias = 0.02  # of the discretisation, in units of the standard deviation and variance
        assert np.max(np.abs(shift) / np.sqrt(variance)) < bias + 5 / np.sqrt(len(own))
        assert np.max(np.abs(ratio - 1)) < 2 * bias + 5 * np.sqrt(2 / len(own))


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "ddim", "num_steps": 300},
        {"method": "ddpm", "num_steps": 300},
        {"method": "dpmpp_2m", "num_steps": 80},
        {"method": "sde", "num_steps": 80, "churn": 20.0},
        {"method": "pc", "num_steps": 150},
    ],
    ids=lambda settings: settings["method"],
)
def test_every_sampler_finds_the_probabilities(settings):
    assert len(list(check_counts("low", 2, **settings))) == 3


def test_the_score_at_small_t_is_the_score_of_the_data():
    """The paper's limit, for every spectrum, with its rate: an error proportional to sigma^2."""
    schedule, variances = sagd.schedules.cosine(), np.array([1e-5, 1e-6, 1e-7])
    with float64.enabled():
        data = mixture(2, np.float64)
        x = data.means[jnp.array([0, 0, 1, 2])] + 0.2 * jax.random.normal(
            jax.random.key(0), (4, 2, 2, 1)
        )
        limit = np.asarray(data.score(x))

        @jax.jit
        def score(diffusion, t):
            e = data.denoiser(diffusion)(x, t)
            return diffusion.convert(e, x, t, "epsilon", "score")

        times = np.asarray(schedule.time(np.log((1 - variances) / variances)))
        for name, build in SPECTRA.items():
            diffusion = sagd.Diffusion(schedule, build((2, 2)))
            scores = [np.asarray(score(diffusion, jnp.full(4, t))) for t in times]
            errors = [np.max(np.abs(value - limit)) for value in scores]
            np.testing.assert_allclose(np.diff(np.log10(errors)), -1, atol=0.05, err_msg=name)
            assert errors[-1] < 1e-2 * np.max(np.abs(limit)), name
