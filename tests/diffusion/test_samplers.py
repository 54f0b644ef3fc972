"""Samplers against the linear recursion that they are on Gaussian data."""

import itertools
import random

import dense
import jax
import jax.numpy as jnp
import linear_recursion
import numpy as np
import pytest
from sampler_cases import SCHEDULES, SPECTRA, VARIANTS, options

import sagd_jax as sagd
from sagd_jax.diffusion import oracle, samplers
from sagd_jax.diffusion.process import fold_in_range
from sagd_jax.diffusion.sampling import sample
from sagd_jax.spectral.half_grid import conjugate, half_grid_shape

FACTORS = {
    "spatial": [(9,), (8, 8), (7, 10), (4, 5, 6)],
    "channels": [1, 3],
    "schedule": list(SCHEDULES),
    "variant": list(VARIANTS),
    "grid": ["uniform", "log_snr", "edm"],
}
PREDICTIONS = ["x0", "v", "velocity", "epsilon", "score", "white_epsilon"]


def pairwise(factors, seed=0):
    """A short list of cases in which every pair of two factors' values occurs."""
    choose = random.Random(seed)
    missing = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(factors, 2)
        for i, j in itertools.product(factors[a], factors[b])
    }
    cases = []
    while missing:
        needed = choose.choice(sorted(missing, key=str))
        best = set()
        for _ in range(60):
            case = {name: choose.choice(values) for name, values in factors.items()}
            case.update(needed)
            covered = missing & set(itertools.combinations(case.items(), 2))
            if len(covered) > len(best):
                best, best_case = covered, case
        cases.append(best_case)
        missing -= best
    for index, case in enumerate(cases):
        kinds = {
            "rectified_flow": PREDICTIONS[:3],  # the others do not determine x_0 at alpha = 0
        }.get(case["schedule"], PREDICTIONS)
        case["prediction"] = kinds[index % len(kinds)]
    return cases


def case_id(case):
    return "-".join(str(value).replace(" ", "") for value in case.values())


def gaussian_data(shape, channels, seed=0):
    rng = np.random.default_rng(seed)
    variance = np.exp(rng.uniform(np.log(0.02), np.log(3), (*half_grid_shape(shape), channels)))
    variance = np.sqrt(variance * conjugate(variance, shape))
    mean = 0.5 * rng.normal(size=(*shape, channels))
    return oracle.FourierGaussian(
        jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32)
    )


def on_full_grid(data, covariance):
    """The same data and noise for `linear_recursion`."""
    spatial = covariance.spatial_shape
    return linear_recursion.Gaussian(
        np.fft.fftn(np.asarray(data.mean, np.float64), axes=range(len(spatial))),
        np.broadcast_to(dense.full_grid(data.variance, spatial), data.mean.shape),
        np.broadcast_to(dense.full_grid(covariance.variance, spatial), data.mean.shape),
    )


def draws(key, diffusion, shape, steps):
    """What `sample` documents: a sample's key draws its start; folded with n, step n's noise."""
    keys = fold_in_range(key, 0, shape[0])

    def noise(n):
        own = jax.vmap(lambda k: jax.random.fold_in(k, n))(keys)
        return diffusion.covariance.sample(own, shape[1:])

    return diffusion.prior_sample(key, shape), jax.lax.map(noise, jnp.arange(steps))


def check_against_recursion(case, steps=9, atol=2e-4):
    spatial, channels, kwargs = case["spatial"], case["channels"], options(case["variant"])
    schedule = SCHEDULES[case["schedule"]]
    data = gaussian_data(spatial, channels)
    times = {
        "uniform": lambda: sagd.time_grids.uniform(steps),
        "log_snr": lambda: sagd.time_grids.uniform_log_snr(schedule, steps),
        "edm": lambda: sagd.time_grids.edm(schedule, steps),
    }[case["grid"]]()
    # The times that a float32 sampler is at: close to t = 1 their rounding alone changes the few
    # digits of alpha = 1 - t of the rectified flow.
    times = times.astype(np.float32).astype(np.float64)
    shape, axes = (2, *spatial, channels), tuple(range(1, len(spatial) + 1))

    @jax.jit
    def run(key, diffusion):
        denoiser = data.denoiser(diffusion, case["prediction"])
        settings = {"times": times, "prediction": case["prediction"], **kwargs}
        result = sample(key, denoiser, diffusion, shape, **settings)
        return result, *draws(key, diffusion, shape, steps)

    for name, build in SPECTRA.items():
        covariance = build(spatial)
        result, start, noises = run(jax.random.key(7), sagd.Diffusion(schedule, covariance))
        gaussian = on_full_grid(data, covariance)
        # The float32 draws, without their rounding off the range (1e-7, there exactly zero in the
        # product): as data of a tiny alpha, the recursion would make it 1e-4.
        start, *noises = (
            np.where(gaussian.noise > 0, np.fft.fftn(np.asarray(x, np.float64), axes=axes), 0)
            for x in (start, *noises)
        )
        expected = linear_recursion.run(
            gaussian, case["schedule"], times, start, noises=noises, **kwargs
        )
        expected = np.fft.ifftn(expected, axes=axes).real
        np.testing.assert_allclose(result, expected, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", pairwise(FACTORS), ids=case_id)
def test_samplers_follow_the_linear_recursion_on_gaussian_data(case):
    check_against_recursion(case)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("spatial", FACTORS["spatial"], ids=str)
def test_samplers_follow_the_linear_recursion_everywhere(spatial, schedule, variant):
    for channels, grid in itertools.product(FACTORS["channels"], FACTORS["grid"]):
        case = {"spatial": spatial, "channels": channels, "schedule": schedule}
        case |= {"variant": variant, "grid": grid, "prediction": "x0"}
        check_against_recursion(case)


# --- Statistics of stochastic samplers -------------------------------------------------------

STOCHASTIC = ["ddim with eta", "ddpm", "sde", "pc"]


def impulse_responses(gaussian, schedule, times, **kwargs):
    """Mean of the result, and its derivatives by the start and by every step's noise."""
    steps, zero = len(times) - 1, np.zeros_like(gaussian.noise)
    one = np.ones_like(zero)

    def run(start, noises):
        return linear_recursion.run(gaussian, schedule, times, start, noises=noises, **kwargs)

    mean = run(zero, [zero] * steps)
    unit = [[one if m == n else zero for m in range(steps)] for n in range(steps)]
    return mean, [run(one, [zero] * steps) - mean] + [run(zero, noises) - mean for noises in unit]


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_stochastic_samplers_have_the_exact_mean_and_variance(variant):
    steps, count, spatial = 6, 4000, (6, 7)
    data, kwargs = gaussian_data(spatial, 1), options(variant)

    @jax.jit
    def run(key, diffusion):
        denoiser = data.denoiser(diffusion)
        return sample(key, denoiser, diffusion, (count, *spatial, 1), num_steps=steps, **kwargs)

    for name in ("low", "hole"):
        covariance = SPECTRA[name](spatial)
        diffusion = sagd.Diffusion(SCHEDULES["edm"], covariance)
        x = np.fft.fftn(np.asarray(run(jax.random.key(3), diffusion), np.float64), axes=(1, 2))
        gaussian = on_full_grid(data, covariance)
        times = np.linspace(1, 0, steps + 1)
        mean, (by_start, *by_noise) = impulse_responses(gaussian, "edm", times, **kwargs)
        squares = (80 * by_start) ** 2 + sum(np.square(derivative) for derivative in by_noise)
        variance = squares * gaussian.noise * np.prod(spatial)  # of the unnormalised transform
        on = np.broadcast_to(gaussian.noise > 0, variance.shape)
        power = np.mean(np.abs(x - mean) ** 2, axis=0)
        real = dense.is_own_conjugate(spatial)[..., None]
        error = np.sqrt(np.where(real, 2, 1) / count)
        assert np.max(np.abs(power / np.where(on, variance, 1) - 1)[on] / error[on]) < 5, name
        z = np.abs(np.mean(x, axis=0) - mean)[on] / np.sqrt(variance[on] / count)
        assert np.max(z) < 5, name
        assert np.max(power[~on], initial=0) < 1e-8 * np.max(power), name


def test_eta_one_is_ddpm():
    covariance = SPECTRA["low"]((8,))
    diffusion = sagd.Diffusion(SCHEDULES["linear_beta"], covariance)
    denoiser = gaussian_data((8,), 1).denoiser(diffusion)
    arguments = (jax.random.key(0), denoiser, diffusion, (3, 8, 1))
    np.testing.assert_allclose(
        sample(*arguments, eta=1.0), sample(*arguments, method="ddpm"), atol=2e-5
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_churn_never_passes_the_noisy_end_of_the_schedule(schedule):
    covariance = SPECTRA["low"]((8,))
    diffusion = sagd.Diffusion(SCHEDULES[schedule], covariance)
    data = gaussian_data((8,), 1)
    predict = samplers.predictor(data.denoiser(diffusion, "x0"), diffusion, "x0")
    x = 5 * covariance.sample(jax.random.key(0), (2, 8, 1))
    noise = covariance.sample(jax.random.key(1), (2, 8, 1))
    # At the end itself nothing can be added: the step is Heun's, whatever the noise.
    for factor in (0.0, 3.0):
        step = samplers.sde_step(predict, diffusion, x, 1.0, 0.6, factor * noise, churn=0.3)
        np.testing.assert_allclose(
            step, samplers.heun_step(predict, diffusion, x, 1.0, 0.6), rtol=1e-4, atol=1e-4
        )
    if schedule != "rectified_flow":  # whose end is infinitely far away in sigma / alpha
        alpha, sigma = linear_recursion.alpha_sigma(schedule, np.array([0.9925, 0.6]))
        ratio, last = sigma / alpha, np.divide(*linear_recursion.alpha_sigma(schedule, 1.0)[::-1])
        assert last < 1.4 * ratio[0]
        u, z = (np.fft.fft(np.asarray(v, np.float64), axis=1) for v in (x / alpha[0], noise))
        u = linear_recursion._step(
            on_full_grid(data, covariance), u, *ratio, "sde", z, 0, churn=0.4, snr=0, limit=last
        )
        step = samplers.sde_step(predict, diffusion, x, 0.9925, 0.6, noise, churn=0.4)
        np.testing.assert_allclose(
            step, alpha[1] * np.fft.ifft(u, axis=1).real, rtol=1e-4, atol=1e-4
        )
