"""Schedules with parameters: the path that an array makes, and what follows from its ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import oracle

BASIS = sagd.bases.cosine((4, 4))


def test_the_levels_of_an_array():
    path = np.random.default_rng(0).normal(size=(3, 5))
    schedule = sagd.schedules.learned(BASIS, knots=3, pieces=5, path=path)
    shares = np.exp(path) / np.exp(path).sum(1, keepdims=True)
    nodes = np.concatenate([np.zeros((3, 1)), np.cumsum(shares, 1)], 1)
    place = BASIS.radius / BASIS.radius.max() * 2
    weights = np.stack([np.interp(place, [0, 1, 2], row) for row in np.eye(3)], -1)
    times = np.array([0.0, 0.13, 0.5, 0.77, 1.0], np.float32)
    done = np.stack([np.interp(times, np.linspace(0, 1, 6), row) for row in nodes], -1)
    expected = 13.3 - 21.3 * np.einsum("tj,hwcj->thwc", done, weights)
    np.testing.assert_allclose(schedule.log_snr(times), expected, atol=2e-4)
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-5)
    np.testing.assert_allclose(np.log(alpha**2 / sigma**2), expected, atol=1e-3)
    clock = schedule.clock
    np.testing.assert_allclose(clock.log_snr(times), 13.3 - 21.3 * done.mean(1), atol=1e-4)
    np.testing.assert_allclose(clock.time(clock.log_snr(times)), times, atol=1e-5)
    # The network is told the level, not the time.
    np.testing.assert_allclose(schedule.timestep(times), 1000 * done.mean(1) - 1, atol=1e-2)


def test_no_array_makes_a_level_rise():
    rng = np.random.default_rng(1)
    times = np.linspace(0, 1, 200, dtype=np.float32)
    for scale in (1.0, 30.0, 1e4):
        path = scale * rng.normal(size=(6, 8)).astype(np.float32)
        schedule = sagd.schedules.learned(BASIS, path=path)
        levels = np.asarray(schedule.log_snr(times))
        assert np.all(np.diff(levels, axis=0) <= 1e-5)
        np.testing.assert_allclose(
            levels[[0, -1]].reshape(2, -1), [[13.3] * 16, [-8] * 16], rtol=1e-5
        )
        assert np.all(np.isfinite(schedule.clock.time(np.array([14.0, 3.0, -9.0]))))


def test_the_likelihood_is_that_of_what_it_begins_with():
    schedule = sagd.schedules.learned(BASIS, log_snr_max=2.0, path=np.eye(6, 8))
    diffusion = sagd.Diffusion(schedule)
    power = jnp.asarray(0.3 / (0.2 + BASIS.radius))
    data = oracle.DiagonalGaussian(BASIS, jnp.zeros((4, 4, 1)), power)
    x = data.sample(jax.random.key(0), 2)
    found = sagd.log_likelihood(
        jax.random.key(0), data.denoiser(diffusion, "v"), diffusion, x, num_steps=48, prediction="v"
    )
    first = oracle.DiagonalGaussian(
        BASIS, data.mean, schedule.alpha(0.0) ** 2 * power + schedule.sigma(0.0) ** 2
    )
    np.testing.assert_allclose(found, first.log_prob(x), atol=0.02)


def test_the_likelihood_is_compiled_with_a_path_that_is_known():
    """As `sagd likelihood` does; the path decides at which times the flow is solved."""
    schedule = sagd.schedules.learned(BASIS, path=np.eye(6, 8))
    diffusion = sagd.Diffusion(schedule)
    x = jnp.ones((1, 4, 4, 1))

    def nats(x):
        return sagd.log_likelihood(
            jax.random.key(0), lambda x, t: 0 * x, diffusion, x, num_steps=4, prediction="v"
        )

    np.testing.assert_allclose(jax.jit(nats)(x), nats(x), rtol=1e-5)


def test_what_is_refused():
    learned = sagd.schedules.learned
    for call, words in (
        (lambda: learned(sagd.bases.sites((4,))), "what is learned depends on the frequency"),
        (lambda: learned(BASIS, knots=0), "knots=0: expected an integer >= 1"),
        (lambda: learned(BASIS, log_snr_max=-9.0), "log_snr_max=-9.0, log_snr_min=-8.0"),
        (lambda: learned(BASIS, path=np.full((6, 8), np.nan)), "expected finite numbers of shape"),
        (lambda: sagd.schedules.learned_slope(BASIS, path=np.zeros(2)), "of shape \\(1,\\)"),
        (lambda: learned(BASIS).with_path(np.zeros((2, 2))), "expected \\(6, 8\\)"),
        (
            lambda: sagd.Diffusion(learned(BASIS), sagd.power_law((4, 4), alpha=-0.5)),
            "Learned contains the spectrum of its noise",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
