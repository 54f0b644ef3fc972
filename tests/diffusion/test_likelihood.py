import functools
import math

import dense
import float64
import jax
import jax.numpy as jnp
import linear_recursion
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import oracle
from sagd_jax.diffusion.likelihood import bits_per_dim, dequantize, log_likelihood
from sagd_jax.spectral.half_grid import conjugate, half_grid_shape

SCHEDULES = {
    "linear_beta": sagd.schedules.linear_beta(),
    "cosine": sagd.schedules.cosine(),
    "rectified_flow": sagd.schedules.rectified_flow(),
    "edm": sagd.schedules.edm(),
}
SPATIAL, CHANNELS = (4, 5), 2
SIZE = 40
SPECTRA = {
    "white": sagd.white(SPATIAL),
    "low": sagd.power_law(SPATIAL, alpha=-0.5),
    "high": sagd.power_law(SPATIAL, alpha=0.5),
    "two_band": sagd.two_band(SPATIAL, gamma_low=0.2),
    "hole": sagd.band_pass(SPATIAL, [(0, 0.5), (0.8, 1)]),
}


def gaussian_data(covariance, mean_size=0.0, seed=0):
    """Data whose variance is 0.003 to 10 times that of the noise (and anything in its hole)."""
    rng = np.random.default_rng(seed)
    ratio = np.exp(rng.uniform(np.log(3e-3), np.log(10), (*half_grid_shape(SPATIAL), CHANNELS)))
    ratio = np.sqrt(ratio * conjugate(ratio, SPATIAL))
    noise = np.asarray(covariance.variance)
    mean = mean_size * rng.normal(size=(*SPATIAL, CHANNELS))
    variance = ratio * np.where(noise > 0, noise, 1)
    return oracle.FourierGaussian(
        jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32)
    )


@functools.cache
def runner(schedule, on_range=False, **settings):
    """Compiled once for all spectra and data."""

    def run(key, x0, covariance, mean, variance):
        diffusion = sagd.Diffusion(SCHEDULES[schedule], covariance)
        denoiser = oracle.FourierGaussian(mean, variance).denoiser(diffusion, "x0")
        return log_likelihood(
            key, denoiser, diffusion, x0, prediction="x0", on_range=on_range, **settings
        )

    return jax.jit(run)


def evaluate(schedule, spectrum, data, x0, **settings):
    """Calls the compiled function; returns nats per example, per dimension of the range."""
    covariance = SPECTRA[spectrum]
    run = runner(schedule, on_range=not covariance.is_full_rank, **settings)
    value = run(jax.random.key(1), x0, covariance, data.mean, data.variance)
    return np.asarray(value, np.float64) / covariance.rank(CHANNELS)


def analytic(spectrum, x0, data):
    """log N(mean, S) per dimension, of the projection where the noise has a hole."""
    covariance = SPECTRA[spectrum]
    on = dense.full_grid(covariance.variance, SPATIAL) > 0
    sigma = dense.matrix(dense.full_grid(data.variance, SPATIAL) * on)
    centred = dense.spectral_filter(np.asarray(x0 - data.mean, np.float64), on * np.ones(CHANNELS))
    return dense.log_prob(centred.reshape(-1, SIZE), sigma) / covariance.rank(CHANNELS)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_gaussian_data(schedule):
    """The analytic density of the data, to 1e-3 nats per dimension."""
    for spectrum, covariance in SPECTRA.items():
        data = gaussian_data(covariance)
        x0 = data.sample(jax.random.key(0), 4)
        np.testing.assert_allclose(
            evaluate(schedule, spectrum, data, x0, num_steps=32),
            analytic(spectrum, x0, data),
            rtol=0,
            atol=1e-3,
            err_msg=spectrum,
        )


def density_of_the_model(schedule, spectrum, x0, data):
    """The law that the exact ODE generates from N(0, sigma_1^2 Sigma), per dimension.

    Per frequency the ODE keeps (x_t - alpha mu) / sqrt(alpha^2 S + sigma^2 lambda), so x_0 is an
    affine function of x_1.
    """
    alpha, sigma = linear_recursion.alpha_sigma(schedule, 1.0)
    noise = dense.full_grid(SPECTRA[spectrum].variance, SPATIAL) * np.ones(CHANNELS)
    power, on = dense.full_grid(data.variance, SPATIAL), noise > 0
    growth = np.where(on, np.sqrt((alpha**2 * power + sigma**2 * noise) / power), 0)
    mean = dense.spectral_filter(np.asarray(data.mean, np.float64), on * 1.0)
    x1 = alpha * mean + dense.spectral_filter(np.asarray(x0 - data.mean, np.float64), growth)
    log_det = np.sum(np.log(growth, where=on, out=np.zeros_like(growth)))
    value = dense.log_prob(x1.reshape(-1, SIZE), dense.matrix(sigma**2 * noise)) + log_det
    return value / SPECTRA[spectrum].rank(CHANNELS)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_density_is_that_of_what_the_model_generates(schedule):
    """With a mean, and to the accuracy of the integration: no bias from alpha_1 > 0."""
    for spectrum, covariance in SPECTRA.items():
        data = gaussian_data(covariance, mean_size=1.0)
        x0 = data.sample(jax.random.key(0), 4)
        np.testing.assert_allclose(
            evaluate(schedule, spectrum, data, x0, num_steps=32),
            density_of_the_model(schedule, spectrum, x0, data),
            rtol=0,
            atol=3e-4,
            err_msg=spectrum,
        )


def test_integration_is_of_fourth_order():
    data = gaussian_data(SPECTRA["low"], mean_size=1.0)
    x0 = data.sample(jax.random.key(0), 3)
    errors = []
    with float64.enabled():
        diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], SPECTRA["low"])
        for steps in (24, 48):
            value = log_likelihood(
                jax.random.key(0), data.denoiser(diffusion, "v"), diffusion, x0,
                num_steps=steps, prediction="v",
            )  # fmt: skip
            assert value.dtype == jnp.float64
            expected = density_of_the_model("rectified_flow", "low", x0, data)
            errors.append(np.max(np.abs(np.asarray(value) / SIZE - expected)))
    assert 12 < errors[0] / errors[1] < 24


def test_explicit_times():
    data = gaussian_data(SPECTRA["low"])
    x0 = data.sample(jax.random.key(0), 3)
    times = tuple(sagd.time_grids.edm(SCHEDULES["cosine"], 60))
    np.testing.assert_allclose(
        evaluate("cosine", "low", data, x0, times=times), analytic("low", x0, data), atol=1e-3
    )


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
@pytest.mark.parametrize("spectrum", ["low", "hole"])
def test_hutchinson_is_unbiased(spectrum, probe):
    data, count = gaussian_data(SPECTRA[spectrum]), 400
    x0 = data.sample(jax.random.key(0), 1)
    settings = {"num_steps": 32, "divergence": "hutchinson", "probe": probe}
    value = evaluate("cosine", spectrum, data, jnp.repeat(x0, count, axis=0), **settings)
    assert len(np.unique(value)) > count / 2
    error = 5 * np.std(value) / math.sqrt(count) + 1e-3
    np.testing.assert_allclose(np.mean(value), analytic(spectrum, x0, data)[0], rtol=0, atol=error)


def test_more_probes_have_less_variance_and_their_own_examples():
    data = gaussian_data(SPECTRA["low"])
    x0 = jnp.repeat(data.sample(jax.random.key(0), 1), 300, axis=0)
    settings = {"num_steps": 4, "divergence": "hutchinson"}
    one = evaluate("cosine", "low", data, x0, **settings)
    eight = evaluate("cosine", "low", data, x0, num_probes=8, **settings)
    # A ratio of two chi-squared variances of 299 degrees of freedom: relative error sqrt(4 / 299).
    assert abs(np.var(one) / np.var(eight) / 8 - 1) < 5 * math.sqrt(4 / 299)
    rest = evaluate("cosine", "low", data, x0[100:], offset=100, **settings)
    np.testing.assert_allclose(rest, one[100:], rtol=1e-5, atol=1e-5)


# --- Singular covariances ---------------------------------------------------------------------


def test_mixture_on_the_range():
    """The projected law of a mixture whose projected and omitted parts are correlated."""
    spatial, covariance = (3, 4), sagd.band_pass((3, 4), [(0, 0.7)])
    rng = np.random.default_rng(0)
    noise = dense.covariance_matrix(covariance, 1)
    project = dense.spectral_function(noise, np.ones_like)
    roots = rng.normal(size=(2, 12, 12)) / 4
    covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(12)
    means, weights = rng.normal(size=(2, 12)), np.array([0.6, 0.4])
    # A network that sees Pi x_t models Pi x_0. Its off-range part is given a law of its own, which
    # is the same for both components, only to keep the matrices invertible.
    seen = project @ covariances @ project + (np.eye(12) - project)
    data = oracle.GaussianMixture(
        *(
            jnp.asarray(v, jnp.float32)
            for v in (weights, (means @ project).reshape(2, 3, 4, 1), seen)
        )
    )
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], covariance)
    x0 = jnp.asarray(rng.normal(size=(4, *spatial, 1)), jnp.float32)
    settings = {"num_steps": 48, "prediction": "x0", "on_range": True}
    value = log_likelihood(
        jax.random.key(0), data.denoiser(diffusion, "x0"), diffusion, x0, **settings
    )
    x = np.asarray(x0, np.float64).reshape(4, 12) @ project
    logs = [
        np.log(weight) + dense.log_prob(x - mean @ project, project @ own @ project)
        for weight, mean, own in zip(weights, means, covariances, strict=True)
    ]
    np.testing.assert_allclose(value, np.logaddexp(*logs), rtol=0, atol=1e-3 * covariance.rank(1))


def test_singular_covariances_need_on_range():
    data = gaussian_data(SPECTRA["hole"])
    x0 = data.sample(jax.random.key(0), 2)

    def run(covariance):
        diffusion = sagd.Diffusion(SCHEDULES["cosine"], covariance)
        denoiser = data.denoiser(diffusion, "v")
        return log_likelihood(
            jax.random.key(0), denoiser, diffusion, x0, num_steps=4, prediction="v"
        )

    with pytest.raises(ValueError, match=r"singular.*on_range=True"):
        run(SPECTRA["hole"])
    traced = jax.jit(run)
    assert np.all(np.isnan(traced(SPECTRA["hole"])))
    assert np.all(np.isfinite(traced(SPECTRA["low"])))
    np.testing.assert_allclose(traced(SPECTRA["low"]), run(SPECTRA["low"]), rtol=1e-4)


# --- Discrete data ---------------------------------------------------------------------------


def test_bits_of_a_dequantised_uniform_pixel():
    # Density 1 / (256 * 2 / 255) on [-1 - 1/255, 1 + 1/255]: log2(256) bits for each of 12 values.
    nats = 12 * math.log(255 / 512)
    np.testing.assert_allclose(bits_per_dim(jnp.full(3, nats), (2, 2, 3)), 8.0, rtol=1e-6)
    # Pixels 0 to 255 as they are: bins of width 1.
    assert math.isclose(float(bits_per_dim(-12 * math.log(256), (2, 2, 3), bin_width=1.0)), 8.0)


def test_dequantisation_is_uniform_in_the_bin_and_per_example():
    pixels = np.linspace(-1, 1, 256, dtype=np.float32)
    x = jnp.asarray(np.tile(pixels, 40)).reshape(160, 8, 8, 1)
    noise = np.asarray(dequantize(jax.random.key(0), x) - x, np.float64) * 255 / 2
    assert np.all(np.abs(noise) <= 0.5 + 1e-4)
    count = noise.size
    assert abs(np.mean(noise)) < 5 * math.sqrt(1 / 12 / count)
    assert abs(np.mean(noise**2) - 1 / 12) < 5 * math.sqrt(1 / 180 / count)
    part = dequantize(jax.random.key(0), x[100:], offset=100)
    np.testing.assert_array_equal(part, dequantize(jax.random.key(0), x)[100:])


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence": "trace"}, "divergence='trace'.*'exact', 'hutchinson'"),
        ({"probe": "uniform"}, "probe='uniform'.*'rademacher', 'gaussian'"),
        ({"num_probes": 0}, "num_probes=0.*>= 1"),
        ({"prediction": "noise"}, "prediction='noise'"),
        ({"prediction": "epsilon"}, "epsilon.*x0, v or velocity"),
        ({"times": [0.9, 0.5, 0]}, "times: the first one is 0.9; expected 1"),
        ({"num_steps": 0}, "num_steps=0"),
    ],
)
def test_bad_arguments(settings, message):
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], sagd.white((4,)))
    settings = {"prediction": "v", **settings}
    with pytest.raises(ValueError, match=message):
        log_likelihood(
            jax.random.key(0), lambda x, t: x, diffusion, jnp.zeros((1, 4, 1)), **settings
        )


@pytest.mark.parametrize("width", [0.0, -1.0, math.inf])
def test_bin_width_is_checked(width):
    with pytest.raises(ValueError, match="bin_width"):
        bits_per_dim(0.0, (1,), width)
    with pytest.raises(ValueError, match="bin_width"):
        dequantize(jax.random.key(0), jnp.zeros((1, 1, 1)), width)
