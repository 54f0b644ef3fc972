import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion.process import NEEDS_ALPHA, PREDICTIONS

SHAPE, CHANNELS = (4, 5), 2
SIZE = 40
SCHEDULES = {
    "linear_beta": sagd.schedules.linear_beta(),
    "cosine": sagd.schedules.cosine(),
    "rectified_flow": sagd.schedules.rectified_flow(),
    "edm": sagd.schedules.edm(sigma_max=5.0),
}
COVARIANCES = {
    "tilted": sagd.power_law(SHAPE, alpha=-0.5),
    "hole": sagd.band_pass(SHAPE, [(0, 0.4), (0.7, 1)]),
    "channels": sagd.from_variance(
        np.stack([np.ones((4, 3)), sagd.radial_frequency(SHAPE) ** 2], axis=-1), SHAPE
    ),
}
T = np.array([0.23, 0.51, 0.83])


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


@pytest.fixture(params=COVARIANCES)
def covariance(request):
    return COVARIANCES[request.param]


def scalars(schedule, t):
    """alpha, sigma and their derivatives in float64, from the formulas."""
    t = np.asarray(t, np.float64)
    if isinstance(schedule, sagd.schedules.LinearBeta):
        betas = np.linspace(1e-4, 0.02, 1000)
        log_bar = np.concatenate([[0], np.cumsum(np.log1p(-betas))])
        value = np.interp(t, np.arange(1001) / 1000, log_bar)
        slope = 1000 * np.log1p(-betas[np.minimum((t * 1000).astype(int), 999)])
        alpha, sigma = np.exp(value / 2), np.sqrt(1 - np.exp(value))
        return alpha, sigma, alpha * slope / 2, -(alpha**2) * slope / 2 / sigma
    if isinstance(schedule, sagd.schedules.Cosine):
        angle, rate = np.pi * t / 2, np.pi / 2
        return np.cos(angle), np.sin(angle), -rate * np.sin(angle), rate * np.cos(angle)
    if isinstance(schedule, sagd.schedules.RectifiedFlow):
        return 1 - t, t, -np.ones_like(t), np.ones_like(t)
    return np.ones_like(t), 5 * t**7, np.zeros_like(t), 35 * t**6


def signals(seed, count=3):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE, CHANNELS)).astype(np.float32)


def noise_in_range(covariance, seed=1):
    sigma = dense.covariance_matrix(covariance, CHANNELS)
    root = dense.spectral_function(sigma, np.sqrt)
    return (signals(seed).reshape(-1, SIZE) @ root).reshape(-1, *SHAPE, CHANNELS)


def all_kinds(schedule, covariance, x0, noise, t):
    """Each kind of prediction for the true x_0 and e, by its definition in float64."""
    alpha, sigma, alpha_prime, sigma_prime = (c.reshape(-1, 1, 1, 1) for c in scalars(schedule, t))
    matrix = dense.covariance_matrix(covariance, CHANNELS)
    inverse = dense.spectral_function(matrix, lambda v: 1 / v)
    whiten = dense.spectral_function(matrix, lambda v: 1 / np.sqrt(v))
    times = lambda m, x: (x.reshape(-1, SIZE) @ m).reshape(x.shape)  # noqa: E731
    kinds = {
        "epsilon": noise,
        "x0": x0,
        "v": alpha * noise - sigma * x0,
        "velocity": alpha_prime * x0 + sigma_prime * noise,
        "score": -times(inverse, noise) / sigma,
        "white_epsilon": times(whiten, noise),
    }
    return alpha * x0 + sigma * noise, kinds


# --- Forward ---------------------------------------------------------------------------------


def test_diffuse_mixes_data_and_the_noise_of_its_key(schedule):
    covariance = COVARIANCES["channels"]
    diffusion = sagd.Diffusion(schedule, covariance)
    x0, key = signals(0), jax.random.key(4)
    x_t, noise = diffusion.diffuse(key, x0, T)
    np.testing.assert_array_equal(noise, covariance.sample(key, x0.shape))
    alpha, sigma, *_ = (c.reshape(-1, 1, 1, 1) for c in scalars(schedule, T))
    np.testing.assert_allclose(x_t, alpha * x0 + sigma * np.asarray(noise), rtol=1e-4, atol=1e-5)
    clean, _ = diffusion.diffuse(key, x0, 0.0)
    np.testing.assert_array_equal(clean, x0)


def test_marginal_has_the_stated_mean_and_covariance(schedule):
    covariance = COVARIANCES["tilted"]
    count, x0 = 20_000, signals(0, count=1)
    draws, _ = sagd.Diffusion(schedule, covariance).diffuse(
        jax.random.key(5), jnp.broadcast_to(x0, (count, *SHAPE, CHANNELS)), 0.6
    )
    draws = np.asarray(draws, np.float64).reshape(count, SIZE)
    alpha, sigma, *_ = scalars(schedule, 0.6)
    matrix = sigma**2 * dense.covariance_matrix(covariance, CHANNELS)
    deviation = draws - alpha * x0.reshape(SIZE)
    diagonal = np.diag(matrix)
    assert np.all(np.abs(deviation.mean(axis=0)) <= 5 * np.sqrt(diagonal / count))
    error = deviation.T @ deviation / count - matrix
    assert np.all(np.abs(error) <= 5 * np.sqrt((np.outer(diagonal, diagonal) + matrix**2) / count))


def test_diffuse_keeps_the_dtype():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], COVARIANCES["tilted"])
    x_t, noise = diffusion.diffuse(jax.random.key(0), jnp.asarray(signals(0), jnp.bfloat16), T)
    assert x_t.dtype == noise.dtype == jnp.bfloat16


# --- Prior -----------------------------------------------------------------------------------


def test_prior_sample_i_depends_on_the_key_and_i_alone(schedule):
    covariance = COVARIANCES["hole"]
    diffusion = sagd.Diffusion(schedule, covariance)
    key = jax.random.key(2)
    draws = diffusion.prior_sample(key, (5, *SHAPE, CHANNELS))
    later = diffusion.prior_sample(key, (2, *SHAPE, CHANNELS), offset=3)
    # Only the rounding of a matrix product depends on the batch.
    np.testing.assert_allclose(draws[3:], later, rtol=1e-5, atol=1e-5)
    _, sigma, *_ = scalars(schedule, 1.0)
    if isinstance(schedule, sagd.schedules.Cosine):
        sigma = np.sqrt(1 - 1e-4)
    for i in range(5):
        noise = covariance.sample(jax.random.fold_in(key, i), (*SHAPE, CHANNELS))
        np.testing.assert_allclose(draws[i], sigma * np.asarray(noise), rtol=1e-5, atol=1e-6)


def test_prior_log_prob_is_the_dense_density(covariance):
    diffusion = sagd.Diffusion(sagd.schedules.edm(sigma_max=5.0), covariance)
    x = 4 * signals(3)
    matrix = 25 * dense.covariance_matrix(covariance, CHANNELS)
    expected = dense.log_prob(x.reshape(-1, SIZE).astype(np.float64), matrix)
    np.testing.assert_allclose(diffusion.prior_log_prob(x), expected, rtol=1e-5)


# --- Conversions -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", PREDICTIONS)
def test_predictions_convert_into_each_other(schedule, source):
    # Every kind meets every schedule and every covariance, not all three at once.
    turn = list(SCHEDULES.values()).index(schedule) + PREDICTIONS.index(source)
    covariance = list(COVARIANCES.values())[turn % len(COVARIANCES)]
    diffusion = sagd.Diffusion(schedule, covariance)
    x0, noise = signals(0), noise_in_range(covariance)
    x_t, kinds = all_kinds(schedule, covariance, x0, noise, T)
    x_t = jnp.asarray(x_t, jnp.float32)
    given = jnp.asarray(kinds[source], jnp.float32)

    @jax.jit
    def compute(given, x_t, t):
        read = diffusion.predict(given, x_t, t, source)
        return read, {kind: diffusion.convert(given, x_t, t, source, kind) for kind in PREDICTIONS}

    (x0_hat, noise_hat), converted = compute(given, x_t, T)
    # sigma / alpha and alpha / sigma amplify rounding; both stay below 100 at these times, but the
    # variance-exploding schedule has sigma = 2e-4 at the first.
    for kind in PREDICTIONS:
        expected = kinds[kind]
        scale = np.abs(expected).max(axis=(1, 2, 3), keepdims=True)
        start = 1 if isinstance(schedule, sagd.schedules.Edm) else 0
        error = (np.abs(converted[kind] - expected) / scale)[start:]
        assert error.max() < 2e-4, (kind, error.max())
    np.testing.assert_allclose(x0_hat[1:], x0[1:], atol=2e-4)
    np.testing.assert_allclose(noise_hat[1:], noise[1:], atol=1e-3)
    eager = diffusion.convert(given, x_t, T, source, "v")
    np.testing.assert_allclose(eager, converted["v"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("source", PREDICTIONS)
def test_converter_cycles_return(source):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], COVARIANCES["tilted"])
    x_t, given = signals(5), signals(6)

    @jax.jit
    def cycles(given):
        there = {kind: diffusion.convert(given, x_t, T, source, kind) for kind in PREDICTIONS}
        return {kind: diffusion.convert(x, x_t, T, kind, source) for kind, x in there.items()}

    for kind, back in cycles(given).items():
        np.testing.assert_allclose(back, given, atol=2e-4, err_msg=kind)


@pytest.mark.parametrize("source", PREDICTIONS)
def test_on_a_singular_covariance_predictions_are_read_on_the_range(source):
    covariance = COVARIANCES["hole"]
    schedule = list(SCHEDULES.values())[PREDICTIONS.index(source) % len(SCHEDULES)]
    diffusion = sagd.Diffusion(schedule, covariance)
    x_t, given = signals(7), signals(8)
    x0, noise = jax.jit(lambda p: diffusion.predict(p, x_t, T, source))(given)
    alpha, *_ = (c.reshape(-1, 1, 1, 1) for c in scalars(schedule, T))
    matrix = dense.covariance_matrix(covariance, CHANNELS)
    hole = np.eye(SIZE) - dense.spectral_function(matrix, np.ones_like)
    off_range = lambda x: np.reshape(x, (-1, SIZE)) @ hole  # noqa: E731
    scale = np.abs(noise).max()
    np.testing.assert_allclose(off_range(noise), 0, atol=1e-5 * scale)
    np.testing.assert_allclose(off_range(x0), off_range(x_t / alpha), atol=2e-5 * np.abs(x0).max())
    assert np.all(np.isfinite(x0))


def test_target_is_what_the_definitions_say(schedule):
    covariance = COVARIANCES["hole"]
    diffusion = sagd.Diffusion(schedule, covariance)
    x0, noise = signals(0), np.asarray(noise_in_range(covariance), np.float32)
    _, kinds = all_kinds(schedule, covariance, x0, noise, T)
    for kind, expected in kinds.items():
        result = diffusion.target(x0, noise, T, kind)
        scale = np.abs(expected).max(axis=(1, 2, 3), keepdims=True)
        assert np.max(np.abs(result - expected) / scale) < 1e-4, kind


def test_predictions_at_the_start_of_rectified_flow():
    covariance = COVARIANCES["hole"]
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], covariance)
    x0, noise = signals(0), np.asarray(noise_in_range(covariance), np.float32)
    x0 = np.asarray(covariance.project(x0))  # off the range, x_1 = 0 says nothing of x_0
    for kind, prediction in (("x0", x0), ("v", -x0), ("velocity", noise - x0)):
        x0_hat, noise_hat = diffusion.predict(prediction, noise, 1.0, kind)
        np.testing.assert_allclose(x0_hat, x0, atol=1e-5)
        np.testing.assert_allclose(noise_hat, noise, atol=1e-5)


@pytest.mark.parametrize("source", PREDICTIONS)
def test_data_that_are_known_off_the_range_are_not_read_from_the_state(source):
    covariance = COVARIANCES["hole"]
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], covariance)
    x_t, prediction, other = signals(1), signals(2), signals(3)
    known = other - covariance.project(other)
    x0, noise = diffusion.predict(prediction, x_t, T, source, clean=known)
    read, same_noise = diffusion.predict(prediction, x_t, T, source)
    np.testing.assert_allclose(x0 - covariance.project(x0), known, atol=1e-5)
    np.testing.assert_allclose(covariance.project(x0), covariance.project(read), atol=2e-5)
    np.testing.assert_array_equal(noise, same_noise)
    off = diffusion.off_range(x_t, T)
    np.testing.assert_allclose(read - covariance.project(read), off, atol=2e-5)


@pytest.mark.parametrize("kind", NEEDS_ALPHA)
def test_noise_says_nothing_of_the_data_at_alpha_zero(kind):
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], COVARIANCES["tilted"])
    x = signals(0)
    for t in (1.0, np.array([0.3, 1.0, 0.4])):
        with pytest.raises(ValueError, match=f"source='{kind}'.*alpha = 0.*x0, v or velocity"):
            diffusion.predict(x, x, t, kind)
    assert np.all(np.isfinite(diffusion.convert(x, x, 0.99, kind, "x0")))
    assert diffusion.convert(x, x, 1.0, "x0", kind).shape == x.shape  # the noise itself exists


def test_quantities_that_do_not_exist_at_sigma_zero(schedule):
    diffusion = sagd.Diffusion(schedule, COVARIANCES["tilted"])
    x = signals(0)
    with pytest.raises(ValueError, match=r"source='x0'.*sigma = 0"):
        diffusion.predict(x, x, 0.0, "x0")
    with pytest.raises(ValueError, match=r"target='score'.*sigma = 0.*use t > 0"):
        diffusion.convert(x, x, 0.0, "epsilon", "score")
    with pytest.raises(ValueError, match=r"kind='score'.*sigma = 0"):
        diffusion.target(x, x, np.array([0.1, 0.0, 0.2]), "score")
    # Both are known from epsilon at t = 0: the data are x itself.
    x0, noise = diffusion.predict(x, x, 0.0, "epsilon")
    np.testing.assert_array_equal(x0, x)
    np.testing.assert_array_equal(noise, x)


def test_velocity_does_not_exist_where_sigma_grows_like_a_root():
    diffusion = sagd.Diffusion(SCHEDULES["linear_beta"], COVARIANCES["tilted"])
    x = signals(0)
    for call in (
        lambda: diffusion.predict(x, x, 0.0, "velocity"),
        lambda: diffusion.target(x, x, 0.0, "velocity"),
        lambda: diffusion.convert(x, x, 0.0, "epsilon", "velocity"),
    ):
        with pytest.raises(ValueError, match=r"sigma' is infinite at t = 0\.0"):
            call()


def test_a_velocity_gives_the_data_also_where_the_cosine_is_clipped():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], COVARIANCES["tilted"])
    x0 = signals(0)
    for t in (0.995, 1.0):
        x_t, noise = diffusion.diffuse(jax.random.key(0), x0, t)
        velocity = diffusion.target(x0, noise, t, "velocity")
        x0_hat, noise_hat = diffusion.predict(velocity, x_t, t, "velocity")
        np.testing.assert_allclose(x0_hat, x0, atol=1e-4)
        np.testing.assert_allclose(noise_hat, noise, atol=1e-4)


def test_unknown_kinds_are_refused():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], COVARIANCES["tilted"])
    x = signals(0)
    for call, name in (
        (lambda: diffusion.predict(x, x, 0.5, "noise"), "source='noise'"),
        (lambda: diffusion.convert(x, x, 0.5, "epsilon", "noise"), "target='noise'"),
        (lambda: diffusion.target(x, x, 0.5, "noise"), "kind='noise'"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected one of 'epsilon', 'x0', 'v'"):
            call()


# --- Posterior -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "s, t, covariance", [(0.3, 0.31, "channels"), (0.2, 0.9, "hole"), (0.5, 1.0, "tilted")]
)
def test_posterior_is_bayes_rule(schedule, s, t, covariance):
    if isinstance(schedule, sagd.schedules.Cosine):
        t = min(t, 0.98)
    covariance = COVARIANCES[covariance]
    diffusion = sagd.Diffusion(schedule, covariance)
    x0, noise = signals(0), noise_in_range(covariance)
    alpha_s, sigma_s, *_ = scalars(schedule, s)
    alpha_t, sigma_t, *_ = scalars(schedule, t)
    x_t = (alpha_t * x0 + sigma_t * noise).astype(np.float32)
    mean, scale = diffusion.posterior(x0, x_t, s, t)

    # Joint Gaussian of (x_s, x_t) given x_0, with x_t = a x_s + noise of covariance v Sigma.
    matrix = dense.covariance_matrix(covariance, CHANNELS)
    ratio = alpha_t / alpha_s
    added = sigma_t**2 - ratio**2 * sigma_s**2
    prior = sigma_s**2 * matrix
    evidence = ratio**2 * prior + added * matrix
    gain = ratio * prior @ dense.spectral_function(evidence, lambda v: 1 / v)
    flat = lambda x: np.asarray(x, np.float64).reshape(-1, SIZE)  # noqa: E731
    innovation = flat(x_t) - ratio * alpha_s * flat(x0)
    np.testing.assert_allclose(
        flat(mean), alpha_s * flat(x0) + innovation @ gain.T, rtol=1e-4, atol=2e-5
    )
    expected = prior - ratio * gain @ prior
    np.testing.assert_allclose(
        np.asarray(scale, np.float64) ** 2 * matrix, expected, rtol=2e-3, atol=1e-6
    )


def test_posterior_at_time_zero_is_the_data(schedule):
    diffusion = sagd.Diffusion(schedule, COVARIANCES["tilted"])
    x0, x_t = signals(0), signals(1)
    mean, scale = diffusion.posterior(x0, x_t, 0.0, T)
    np.testing.assert_allclose(mean, x0, atol=1e-6)
    np.testing.assert_array_equal(scale, 0)


def test_posterior_of_a_batch_of_times_is_one_per_example(schedule):
    diffusion = sagd.Diffusion(schedule, COVARIANCES["tilted"])
    x0, x_t = signals(0), signals(1)
    mean, scale = diffusion.posterior(x0, x_t, T / 2, T)
    assert scale.shape == (3, 1, 1, 1)
    for i in range(3):
        one_mean, one_scale = diffusion.posterior(x0[i : i + 1], x_t[i : i + 1], T[i] / 2, T[i])
        np.testing.assert_allclose(mean[i : i + 1], one_mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scale[i], one_scale, rtol=1e-5)


def test_a_diffusion_goes_through_jit():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], COVARIANCES["tilted"])
    x = signals(0)
    result = jax.jit(lambda d, x: d.prior_log_prob(x))(diffusion, x)
    np.testing.assert_allclose(result, diffusion.prior_log_prob(x), rtol=1e-6)
