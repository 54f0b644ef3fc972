"""Orders of convergence of the deterministic samplers, in float64, on Gaussian data.

The exact solution of the probability-flow ODE is known there: per frequency, with variance
V(t) = alpha^2 S + sigma^2 lambda, (x_t - alpha mu) / sqrt(V) is constant.
"""

import dense
import float64
import jax
import jax.numpy as jnp
import linear_recursion
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import oracle
from sagd_jax.diffusion.sampling import sample
from sagd_jax.spectral.half_grid import conjugate

SCHEDULES = {"linear_beta": sagd.schedules.linear_beta(), "edm": sagd.schedules.edm()}
T_MIN, SPATIAL = 0.05, (6, 5)


def errors(schedule, method, steps, covariance, variance, mean, seed=0):
    """RMS distance to the exact solution at T_MIN, for each number of steps."""
    t_max = 0.99 if schedule == "linear_beta" else 1.0  # where log-SNR >= -10
    ends = np.array([t_max, T_MIN])
    alpha, sigma = linear_recursion.alpha_sigma(schedule, ends)
    assert 2 * np.log(alpha / sigma)[0] >= -10
    noise = dense.full_grid(covariance.variance, SPATIAL)
    data = dense.full_grid(variance, SPATIAL)
    total = [a**2 * data + s**2 * noise for a, s in zip(alpha, sigma, strict=True)]
    centred = dense.spectral_filter(
        np.random.default_rng(seed).normal(size=(3, *SPATIAL, 1)), np.sqrt(total[0])
    )
    start = alpha[0] * mean + centred
    exact = alpha[1] * mean + dense.spectral_filter(centred, np.sqrt(total[1] / total[0]))
    result = []
    with float64.enabled():
        diffusion = sagd.Diffusion(SCHEDULES[schedule], covariance)
        data = oracle.FourierGaussian(jnp.asarray(mean), jnp.asarray(variance))
        denoiser = data.denoiser(diffusion)
        for n in steps:
            # The grid ends in 0, so the state of interest is the last but one.
            times = np.append(np.linspace(t_max, T_MIN, n + 1), 0.0)
            states = sample(
                jax.random.key(0), denoiser, diffusion, start.shape, method=method, times=times,
                start=start, trajectory=True,
            )  # fmt: skip
            assert states.dtype == np.float64
            result.append(np.sqrt(np.mean((np.asarray(states[-2]) - exact) ** 2)))
    return np.array(result)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_order_of_convergence(method, order, schedule):
    rng = np.random.default_rng(1)
    variance = np.exp(rng.uniform(np.log(0.3), np.log(3), (6, 3, 1)))
    variance = np.sqrt(variance * conjugate(variance, SPATIAL))
    mean = rng.normal(size=(*SPATIAL, 1))
    steps = np.array([160, 320])
    error = errors(schedule, method, steps, sagd.power_law(SPATIAL, -0.3), variance, mean)
    slopes = np.log2(error[:-1] / error[1:])
    np.testing.assert_allclose(slopes, order, atol=0.2)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("method", ["ddim", "heun", "dpmpp_2m"])
def test_float64_is_computed_in_float64(method, schedule):
    covariance = sagd.power_law(SPATIAL, -0.5)
    axes, times = (1, 2), np.linspace(1, 0, 8)
    mean, variance = np.ones((*SPATIAL, 1)), np.full((6, 3, 1), 0.5)
    start = np.random.default_rng(0).normal(size=(2, *SPATIAL, 1))
    gaussian = linear_recursion.Gaussian(
        np.fft.fftn(mean, axes=(0, 1)),
        dense.full_grid(variance, SPATIAL),
        dense.full_grid(covariance.variance, SPATIAL),
    )
    expected = linear_recursion.run(
        gaussian, schedule, times, np.fft.fftn(start, axes=axes), method
    )
    with float64.enabled():
        diffusion = sagd.Diffusion(SCHEDULES[schedule], covariance)
        data = oracle.FourierGaussian(jnp.asarray(mean), jnp.asarray(variance))
        result = sample(
            jax.random.key(0), data.denoiser(diffusion), diffusion, start.shape, method=method,
            times=times, start=start,
        )  # fmt: skip
    np.testing.assert_allclose(result, np.fft.ifftn(expected, axes=axes).real, atol=1e-11)
