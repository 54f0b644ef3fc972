"""All samplers under all spectral schedules, with the exact denoiser of Gaussian data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectral_cases
from spectral_cases import SHAPE, Recursion, spectrum

import sagd_jax as sagd
from sagd_jax import oracle

CASES = spectral_cases.schedules()
COUNT = 4000
KEY = jax.random.key(0)


def gaussian(basis):
    mean = jnp.zeros((*SHAPE, 1))
    return oracle.DiagonalGaussian(basis, mean, jnp.asarray(spectrum(basis), jnp.float32))


def exact_flow(schedule, basis, x, t, r):
    """The probability-flow map from t to r, equation (23), for data without a mean."""
    total = [
        np.asarray(schedule.alpha(u)) ** 2 * spectrum(basis) + np.asarray(schedule.sigma(u)) ** 2
        for u in (t, r)
    ]
    return basis.inverse(np.sqrt(total[1] / total[0]) * basis.forward(x))


def errors(name, method, steps, low=0.1, high=0.97):
    """RMS distance from the exact flow between two inner times, in float32, for numbers of steps."""
    basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    denoiser = gaussian(basis).denoiser(diffusion, "v")
    start = diffusion.prior_sample(KEY, (8, *SHAPE, 1))
    found = []
    for n in steps:
        times = np.append(np.linspace(high, low, n + 1), 0.0)
        states = jax.jit(
            lambda start, times=times: sagd.sample(
                KEY, denoiser, diffusion, start.shape, method=method, times=times, prediction="v",
                start=start, trajectory=True,
            )
        )(start)  # fmt: skip
        exact = exact_flow(schedule, basis, start, high, low)
        found.append(float(jnp.sqrt(jnp.mean((states[-2] - exact) ** 2))))
    return found


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("heun", 2), ("dpmpp_2m", 2)])
def test_deterministic_samplers_reach_the_exact_flow_at_their_order(name, method, order):
    coarse, fine = errors(name, method, (24, 48))
    # A hierarchical schedule has kinks, at which a step is of first order.
    expected = 1 if name == "hierarchical" else order
    assert fine < 0.06
    assert coarse / fine > 2 ** (expected - 0.5)


def test_heun_in_the_angle_is_better_than_ddim_under_blurring():
    (heun,), (ddim,) = errors("blurring", "heun", (20,)), errors("blurring", "ddim", (20,))
    assert heun < ddim / 5


def stochastic(name):
    basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    return basis, schedule, diffusion, gaussian(basis).denoiser(diffusion, "v")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("method", "options"), [("ddpm", {}), ("ddim", {"eta": 0.6}), ("pc", {"snr": 0.2})]
)
def test_stochastic_samplers_are_the_linear_recursion_of_their_grid(name, method, options):
    basis, schedule, diffusion, denoiser = stochastic(name)
    times = np.linspace(1, 0, 11)
    samples = jax.jit(
        lambda key: sagd.sample(
            key, denoiser, diffusion, (COUNT, *SHAPE, 1), method=method, num_steps=10,
            prediction="v", **options,
        )
    )(KEY)  # fmt: skip
    exact = Recursion(schedule.alpha, schedule.sigma, spectrum(basis))
    _mean, prior = (0.0, schedule.sigma(1.0) ** 2)
    if schedule.prior() is not None:
        _mean, extra = schedule.prior()
        prior = prior + extra
    step = {
        "ddpm": exact.ddpm,
        "ddim": lambda t, s: exact.ddim(t, s, options["eta"]),
        "pc": lambda t, s: exact.pc(t, s, options["snr"]),
    }[method]
    expected = exact.final_variance(prior, times, step)
    found = np.mean(np.square(np.asarray(basis.forward(samples), np.float64)), axis=0)
    error = expected * np.sqrt(2 / COUNT)
    assert np.all(np.isfinite(found))
    np.testing.assert_array_less(np.abs(found - expected), 5 * error + 1e-6)


def test_churn_keeps_the_law_of_the_data():
    """With many steps, EDM's sampler gives the data's spectrum, whatever the churn."""
    basis, _schedule, diffusion, denoiser = stochastic("equal_snr")
    samples = jax.jit(
        lambda key: sagd.sample(
            key, denoiser, diffusion, (COUNT, *SHAPE, 1), method="sde", churn=20.0, num_steps=60,
            prediction="v",
        )
    )(KEY)  # fmt: skip
    found = np.mean(np.square(np.asarray(basis.forward(samples))), axis=0)
    np.testing.assert_allclose(found, spectrum(basis), rtol=5 * np.sqrt(2 / COUNT) + 0.02)


def test_churn_is_refused_where_coordinates_are_finished():
    _basis, _, diffusion, denoiser = stochastic("hierarchical")
    with pytest.raises(ValueError, match="finished before t = 0"):
        sagd.sample(
            KEY, denoiser, diffusion, (1, *SHAPE, 1), method="sde", churn=1.0, prediction="v"
        )


@pytest.mark.parametrize(
    ("name", "method"),
    [("blurring", "heun"), ("shortest_path", "dpmpp_2m"), ("hierarchical", "ddim")],
)
def test_data_that_are_correlated_across_coordinates(name, method):
    """A dense Gaussian: x_t is Gaussian with known law, and the flow keeps it."""
    _basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    rng = np.random.default_rng(2)
    size = int(np.prod(SHAPE))
    root = rng.normal(size=(size, size)) / np.sqrt(size)
    dense = root @ root.T + 0.05 * np.eye(size)
    data = oracle.GaussianMixture(
        jnp.ones(1), jnp.zeros((1, *SHAPE, 1)), jnp.asarray(dense[None], jnp.float32)
    )
    samples = jax.jit(
        lambda key: sagd.sample(
            key, data.denoiser(diffusion, "v"), diffusion, (1000, *SHAPE, 1), method=method,
            num_steps=100 if method == "ddim" else 50, prediction="v",
        )
    )(KEY)  # fmt: skip
    flat = np.asarray(samples, np.float64).reshape(1000, size)
    found = flat.T @ flat / 1000
    spread = np.sqrt((np.outer(np.diag(dense), np.diag(dense)) + dense**2) / 1000)
    bias = {"ddim": 0.12, "heun": 0.06, "dpmpp_2m": 0.06}[method] * np.diag(dense).max()
    np.testing.assert_array_less(np.abs(found - dense), 5 * spread + bias)


@pytest.mark.parametrize("method", ["ddim", "ddpm", "heun"])
def test_shifted_under_white_is_the_scalar_schedule_under_its_covariance(method):
    """`Diffusion(shifted(base, -log lambda), white)` is `Diffusion(base, Sigma)` up to a scale."""
    base, covariance = sagd.schedules.cosine(), sagd.power_law(SHAPE, alpha=-0.6)
    basis = sagd.bases.fourier(SHAPE)
    scalar = sagd.Diffusion(base, covariance)
    spectral = sagd.Diffusion(
        sagd.schedules.shifted(base, -np.log(covariance.coefficients(basis)), basis)
    )
    data = gaussian(basis)
    samples = [
        jax.jit(
            lambda key, d=d: sagd.sample(
                key, data.denoiser(d, "x0"), d, (4, *SHAPE, 1), method=method, prediction="x0",
                num_steps=80 if method == "heun" else 20,
            )
        )(KEY)
        for d in (scalar, spectral)
    ]  # fmt: skip
    # Heun goes in the angle in one and in sigma / alpha in the other: equal to second order.
    np.testing.assert_allclose(*samples, atol=0.02 if method == "heun" else 2e-4)


def test_a_later_start_and_a_trajectory_are_signals():
    basis, _schedule, diffusion, denoiser = stochastic("blurring")
    x0 = gaussian(basis).sample(KEY, 3)
    x_t, _ = diffusion.diffuse(jax.random.key(1), x0, 0.4)
    states = sagd.sample(
        KEY, denoiser, diffusion, x0.shape, times=[0.4, 0.2, 0.0], start=x_t, prediction="v",
        trajectory=True,
    )  # fmt: skip
    np.testing.assert_allclose(states[0], x_t, atol=1e-5)
    assert states.shape == (3, *x0.shape)


def test_heat_needs_a_start_or_a_spectrum():
    basis = spectral_cases.COSINE
    diffusion = sagd.Diffusion(sagd.schedules.heat(basis, 3.0, 0.05))
    with pytest.raises(ValueError, match="give start="):
        sagd.sample(KEY, lambda x, t: x, diffusion, (1, *SHAPE, 1), prediction="v")
    start = jnp.ones((1, *SHAPE, 1))
    out = sagd.sample(
        KEY, lambda x, t: x, diffusion, start.shape, prediction="x0", start=start, num_steps=3
    )
    assert np.all(np.isfinite(out))
