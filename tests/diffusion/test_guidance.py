import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import guidance
from sagd_jax.diffusion.process import PREDICTIONS
from sagd_jax.diffusion.sampling import sample

SHAPE, CHANNELS, SIZE = (4, 5), 1, 20
TILTED = sagd.power_law(SHAPE, alpha=-0.5)
HOLE = sagd.band_pass(SHAPE, [(0, 0.4), (0.7, 1)])
T = jnp.array([0.2, 0.5, 0.8])


def signals(seed, count=3, scale=1.0):
    x = np.random.default_rng(seed).normal(size=(count, *SHAPE, CHANNELS))
    return (scale * x).astype(np.float32)


def gaussian_denoiser(diffusion, mean, power):
    """E[e | x_t] for data N(mean, power I), by dense algebra."""
    sigma_matrix = jnp.asarray(dense.covariance_matrix(diffusion.covariance, CHANNELS), jnp.float32)

    def denoiser(x, t):
        alpha, sigma = diffusion.alpha(t, x), diffusion.sigma(t, x)
        flat = (x - alpha * mean).reshape(-1, SIZE, 1)
        alpha, sigma = alpha.reshape(-1, 1, 1), sigma.reshape(-1, 1, 1)
        marginal = alpha**2 * power * jnp.eye(SIZE) + sigma**2 * sigma_matrix
        return (sigma * sigma_matrix @ jnp.linalg.solve(marginal, flat)).reshape(x.shape)

    return denoiser


def of_kind(denoiser, diffusion, kind):
    return lambda x, t: diffusion.convert(denoiser(x, t), x, t, "epsilon", kind)


# --- Extrapolation ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", [guidance.classifier_free, guidance.autoguidance])
def test_guidance_extrapolates(function):
    a, b, x = signals(0), signals(1), signals(2)
    for scale in (0.0, 1.0, 2.5, np.array([0.0, 1.0, 3.0])):
        guided = function(lambda x, t: a, lambda x, t: b, scale)(x, T)
        expected = b + np.reshape(scale, (-1, 1, 1, 1)) * (a - b)
        np.testing.assert_allclose(guided, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_guiding_any_kind_is_guiding_all(kind):
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    first, second = (gaussian_denoiser(diffusion, m, p) for m, p in ((0.5, 0.3), (0.0, 1.0)))
    x = signals(3)
    of_noise = guidance.classifier_free(first, second, 3.0)(x, T)
    guided = guidance.classifier_free(
        of_kind(first, diffusion, kind), of_kind(second, diffusion, kind), 3.0
    )(x, T)
    back = diffusion.convert(guided, x, T, kind, "epsilon")
    np.testing.assert_allclose(back, of_noise, atol=5e-5)


def test_guided_gaussians_have_the_tilted_score():
    """score = score_2 + w (score_1 - score_2), from the densities of the two marginals."""
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    sigma_matrix = dense.covariance_matrix(TILTED, CHANNELS)
    parameters = ((0.5, 0.3), (0.0, 1.0))
    guided = guidance.autoguidance(*(gaussian_denoiser(diffusion, *p) for p in parameters), 2.0)
    x, t = signals(4, count=1), jnp.array([0.4])
    alpha, sigma = np.cos(0.2 * np.pi), np.sin(0.2 * np.pi)
    scores = [
        -np.linalg.solve(
            alpha**2 * power * np.eye(SIZE) + sigma**2 * sigma_matrix,
            x.reshape(SIZE) - alpha * mean,
        )
        for mean, power in parameters
    ]
    score = diffusion.convert(guided(x, t), x, t, "epsilon", "score")
    expected = scores[1] + 2 * (scores[0] - scores[1])
    np.testing.assert_allclose(score.reshape(SIZE), expected, rtol=1e-3, atol=1e-4)


def test_outside_the_interval_the_conditional_denoiser_is_untouched():
    a, b, x = signals(0), signals(1), signals(2)
    guided = guidance.classifier_free(lambda x, t: a, lambda x, t: b, 4.0, interval=(0.3, 0.6))
    result = guided(x, T)
    np.testing.assert_array_equal(result[0], a[0])
    np.testing.assert_allclose(result[1], b[1] + 4 * (a[1] - b[1]), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(result[2], a[2])


def test_outside_the_interval_the_other_denoiser_is_not_evaluated():
    calls = []

    def other(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return x

    guided = jax.jit(guidance.autoguidance(lambda x, t: 2 * x, other, 4.0, interval=(0.3, 0.6)))
    for t, expected in ((0.2, 0), (0.5, 1), (0.9, 1)):
        jax.block_until_ready(guided(signals(0), jnp.full((3,), t)))
        jax.effects_barrier()
        assert len(calls) == expected


@pytest.mark.parametrize("interval", [(0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.8, 0.2)])
def test_bad_intervals_are_refused(interval):
    with pytest.raises(ValueError, match="interval="):
        guidance.classifier_free(lambda x, t: x, lambda x, t: x, 2.0, interval=interval)


# --- Bounds on x0_hat ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_clipping_bounds_x0_for_every_kind(kind):
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    x0, x_t = signals(5, scale=2.0), signals(6)
    prediction = diffusion.convert(x0, x_t, T, "x0", kind)
    clipped = guidance.clip_x0(lambda x, t: prediction, diffusion, kind)(x_t, T)
    x0_hat, noise_hat = diffusion.predict(clipped, x_t, T, kind)
    np.testing.assert_allclose(x0_hat, np.clip(x0, -1, 1), atol=2e-4)
    # e_hat follows, so that x_t stays what it is.
    alpha, sigma = diffusion.alpha(T, x_t), diffusion.sigma(T, x_t)
    np.testing.assert_allclose(alpha * x0_hat + sigma * noise_hat, x_t, atol=1e-4)


def test_clipping_within_the_bounds_changes_nothing():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    x0, x_t = np.clip(signals(5), -0.9, 0.9), signals(6)
    prediction = diffusion.convert(x0, x_t, T, "x0", "v")
    for function in (guidance.clip_x0, guidance.dynamic_threshold):
        result = function(lambda x, t: prediction, diffusion, "v")(x_t, T)
        np.testing.assert_allclose(result, prediction, atol=1e-5)


def test_bounds_may_be_asymmetric():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    x0 = signals(5)
    result = guidance.clip_x0(lambda x, t: x0, diffusion, "x0", low=0.0, high=0.5)(signals(6), T)
    np.testing.assert_allclose(result, np.clip(x0, 0, 0.5), atol=1e-6)


def test_dynamic_threshold_scales_by_the_quantile():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    x0 = signals(5, scale=3.0)
    x0[0] *= 0.05  # below the bound: clipping to it alone
    threshold = guidance.dynamic_threshold(lambda x, t: x0, diffusion, "x0", quantile=0.9)
    result = threshold(signals(6), T)
    for i in range(3):
        limit = max(np.quantile(np.abs(x0[i]), 0.9), 1.0)
        expected = np.clip(x0[i], -limit, limit) / limit
        np.testing.assert_allclose(result[i], expected, atol=1e-5)


def test_on_a_hole_clipping_leaves_what_has_no_noise():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), HOLE)
    x_t = signals(6)
    clipped = guidance.clip_x0(lambda x, t: signals(5), diffusion)(x_t, T)
    x0_hat, _ = diffusion.predict(clipped, x_t, T)
    off_range = lambda x: x - HOLE.project(x)  # noqa: E731
    expected = off_range(x_t / diffusion.alpha(T, x_t))
    np.testing.assert_allclose(off_range(x0_hat), expected, atol=1e-5)


def test_a_clipped_sampler_ends_within_the_bounds_under_jit():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    denoiser = guidance.clip_x0(gaussian_denoiser(diffusion, 0.0, 4.0), diffusion)
    draw = jax.jit(lambda key: sample(key, denoiser, diffusion, (8, *SHAPE, 1), num_steps=10))
    draws = draw(jax.random.key(0))
    assert np.max(np.abs(draws)) <= 1 + 1e-5
    assert np.mean(np.abs(draws) > 0.999) > 0.1


def test_predictions_keep_their_dtype():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), TILTED)
    half = jnp.asarray(signals(5, scale=2.0), jnp.bfloat16)
    result = guidance.clip_x0(lambda x, t: half, diffusion, "x0")(signals(6), T)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_array_equal(result, jnp.clip(half, -1, 1))
    guided = guidance.classifier_free(lambda x, t: half, lambda x, t: half, 2.0)(signals(6), T)
    assert guided.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda d, p: guidance.clip_x0(d, p, low=1, high=1), "low=1, high=1"),
        (lambda d, p: guidance.dynamic_threshold(d, p, quantile=0), "quantile=0"),
        (lambda d, p: guidance.dynamic_threshold(d, p, quantile=1.5), r"quantile=1\.5"),
        (lambda d, p: guidance.dynamic_threshold(d, p, bound=0.0), r"bound=0\.0"),
    ],
)
def test_bad_bounds_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build(lambda x, t: x, sagd.Diffusion(sagd.schedules.cosine(), TILTED))


# --- Projection ------------------------------------------------------------------------------


def test_the_network_sees_the_projection():
    projector = dense.spectral_function(dense.covariance_matrix(HOLE, CHANNELS), np.ones_like)
    x = signals(7)
    seen = guidance.project_input(lambda x, t: x, HOLE)(x, T)
    expected = (x.reshape(-1, SIZE) @ projector).reshape(x.shape)
    np.testing.assert_allclose(seen, expected, atol=1e-6)


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_what_the_projection_hides_does_not_change_the_sample(kind):
    """A denoiser that acts on the range alone reads the same from the projection, for any kind."""
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), HOLE)
    base = gaussian_denoiser(diffusion, 0.0, 0.5)
    on_range = lambda x, t: base(HOLE.project(x), t)  # noqa: E731
    denoiser = of_kind(on_range, diffusion, kind)
    x = signals(8)
    plain = diffusion.predict(denoiser(x, T), x, T, kind)
    projected = diffusion.predict(guidance.project_input(denoiser, HOLE)(x, T), x, T, kind)
    for one, other in zip(plain, projected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
