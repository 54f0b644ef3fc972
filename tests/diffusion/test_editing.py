import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import editing, guidance
from sagd_jax.diffusion.process import PREDICTIONS
from sagd_jax.diffusion.sampling import sample

SHAPE, SIZE = (6, 6), 36
BAND = sagd.band_pass(SHAPE, [(0.3, 0.6)])  # noise here alone: the band to fill
EDM = sagd.schedules.edm(sigma_max=80.0)
STEPS = 64  # Heun's error of the variances is 1.6 % here, below one standard error of the draws


def data_covariance():
    """A dense, non-stationary Gaussian: its frequencies are correlated with each other."""
    basis = np.random.default_rng(0).normal(size=(SIZE, 12))
    brightness = np.diag(np.linspace(0.2, 2.0, SIZE))
    return brightness @ (basis @ basis.T / 12 + 0.1 * np.eye(SIZE)) @ brightness


DATA = data_covariance()
PROJECTOR = dense.spectral_function(dense.covariance_matrix(BAND, 1), np.ones_like)


def exact_denoiser(diffusion, data=DATA):
    """E[e | x_t] for data N(0, data): sigma Sigma (alpha^2 data + sigma^2 Sigma)^-1 x_t."""
    sigma_matrix = dense.covariance_matrix(diffusion.covariance, 1)

    def denoiser(x, t):
        alpha, sigma = diffusion.alpha(t[0], x), diffusion.sigma(t[0], x)
        marginal = alpha**2 * jnp.asarray(data, x.dtype) + sigma**2 * jnp.asarray(
            sigma_matrix, x.dtype
        )
        gain = sigma * jnp.asarray(sigma_matrix, x.dtype) @ jnp.linalg.inv(marginal)
        # At alpha = 0 the marginal is that of the noise, singular where Sigma is.
        return jnp.where(alpha > 0, (x.reshape(-1, SIZE) @ gain.T).reshape(x.shape), x / sigma)

    return denoiser


def draw_data(seed, count):
    root = np.linalg.cholesky(DATA)
    x = np.random.default_rng(seed).normal(size=(count, SIZE)) @ root.T
    return x.reshape(count, *SHAPE, 1).astype(np.float32)


def conditional(signal):
    """Mean and covariance of the band given the other frequencies of `signal`, in closed form."""
    clean = np.eye(SIZE) - PROJECTOR
    seen = clean @ DATA @ clean
    gain = PROJECTOR @ DATA @ clean @ dense.spectral_function(seen, lambda v: 1 / v)
    return gain @ (clean @ signal.reshape(SIZE)), PROJECTOR @ DATA @ PROJECTOR - (
        gain @ clean @ DATA @ PROJECTOR
    )


def agrees(filled, mean, covariance):
    """Whether draws have this mean and covariance, within 5 standard errors in every entry."""
    draws = np.asarray(filled, np.float64).reshape(-1, SIZE) @ PROJECTOR
    count = len(draws)
    diagonal = np.diag(covariance)
    mean_error = np.abs(draws.mean(axis=0) - mean) / np.sqrt(diagonal / count)
    deviation = draws - mean
    tolerance = np.sqrt((np.outer(diagonal, diagonal) + covariance**2) / count)
    covariance_error = np.abs(deviation.T @ deviation / count - covariance) / tolerance
    return mean_error.max() <= 5, covariance_error.max() <= 5


# --- Spectral inpainting ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def corrupted():
    """One signal, many times, with noise in the band to fill."""
    signal = draw_data(1, 1)
    noise = 3 * np.asarray(BAND.sample(jax.random.key(9), signal.shape))
    return signal, np.broadcast_to(signal + noise, (4_000, *SHAPE, 1))


def fill(denoiser, diffusion, signal, **options):
    run = jax.jit(
        lambda key, signal: editing.spectral_inpaint(key, denoiser, diffusion, signal, **options)
    )
    return run(jax.random.key(2), jnp.asarray(signal))


@pytest.mark.parametrize("options", [{"method": "heun"}, {"method": "sde", "churn": 10.0}])
def test_spectral_inpainting_draws_from_the_conditional_distribution(corrupted, options):
    signal, given = corrupted
    diffusion = sagd.Diffusion(EDM, BAND)
    filled = fill(exact_denoiser(diffusion), diffusion, given, num_steps=STEPS, **options)
    assert agrees(filled, *conditional(signal)) == (True, True)
    clean = np.eye(SIZE) - PROJECTOR
    off_range = (np.asarray(filled) - signal).reshape(-1, SIZE) @ clean
    np.testing.assert_allclose(off_range, 0, atol=1e-5)


def test_filling_the_band_independently_of_the_others_fails(corrupted):
    """The band's own marginal, exact, but blind to the clean frequencies."""
    signal, given = corrupted
    diffusion = sagd.Diffusion(EDM, BAND)
    clean = np.eye(SIZE) - PROJECTOR
    separate = PROJECTOR @ DATA @ PROJECTOR + clean @ DATA @ clean
    blind = exact_denoiser(diffusion, separate)
    filled = fill(blind, diffusion, given, num_steps=STEPS, method="heun")
    mean, covariance = conditional(signal)
    assert agrees(filled, mean, covariance) == (False, False)
    # It is the marginal that it draws from: the test rejects it for that alone.
    assert agrees(filled, np.zeros(SIZE), PROJECTOR @ DATA @ PROJECTOR) == (True, True)


@pytest.mark.parametrize("schedule", ["linear_beta", "rectified_flow"])
def test_every_kind_of_prediction_fills_alike(corrupted, schedule):
    """From t = 1, where rectified flow has alpha = 0 and carries nothing of the clean band."""
    _, given = corrupted
    diffusion = sagd.Diffusion(getattr(sagd.schedules, schedule)(), BAND)
    exact = exact_denoiser(diffusion)
    results = []
    for kind in ("v", "x0", "velocity"):

        def denoiser(x, t, kind=kind):
            # At alpha = 0, e does not give x_0, whose mean is 0 there.
            noise = exact(x, t)
            alpha, sigma = diffusion.alpha(t, x), diffusion.sigma(t, x)
            x0 = jnp.where(alpha > 0, (x - sigma * noise) / jnp.where(alpha > 0, alpha, 1), 0)
            return diffusion.target(x0, noise, t, kind)

        results.append(fill(denoiser, diffusion, given[:4], num_steps=8, prediction=kind))
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], atol=2e-3)


def test_the_corrupted_band_has_no_influence(corrupted):
    signal, given = corrupted
    diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), BAND)
    denoiser = lambda x, t: jnp.tanh(x + jnp.roll(x, 1, axis=1))  # noqa: E731
    options = {"prediction": "velocity", "num_steps": 5}
    one = fill(denoiser, diffusion, given[:2], **options)
    other = fill(denoiser, diffusion, np.broadcast_to(signal, given[:2].shape), **options)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_network_sees_the_clean_band_scaled_by_alpha():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), BAND)
    signal, x, t = draw_data(3, 2), draw_data(4, 2), jnp.array([0.3, 0.7])
    seen = editing.condition_on_clean(lambda x, t: x, diffusion, signal)(x, t)
    alpha = np.cos(np.pi * np.array([0.3, 0.7]) / 2)[:, None]
    clean = np.eye(SIZE) - PROJECTOR
    expected = x.reshape(2, SIZE) @ PROJECTOR + alpha * (signal.reshape(2, SIZE) @ clean)
    np.testing.assert_allclose(seen.reshape(2, SIZE), expected, atol=1e-5)


def test_a_process_with_noise_everywhere_is_refused():
    diffusion = sagd.Diffusion(EDM, sagd.power_law(SHAPE, alpha=-0.5))
    with pytest.raises(ValueError, match=r"full rank.*lambda = 0.*replacement"):
        editing.spectral_inpaint(jax.random.key(0), lambda x, t: x, diffusion, draw_data(0, 2))


# --- With any model --------------------------------------------------------------------------

TILTED = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law(SHAPE, alpha=-0.3))
MASK = np.zeros((*SHAPE, 1), bool)
MASK[:, :3] = True


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("given", ["pixels", "band"])
def test_replacement_puts_the_given_part_into_x0(kind, given):
    projector = {
        "pixels": editing.pixels(MASK),
        "band": editing.frequencies_without_noise(BAND),
    }[given]
    signal, x0, x_t, t = draw_data(3, 2), draw_data(4, 2), draw_data(5, 2), jnp.array([0.3, 0.7])
    prediction = TILTED.convert(x0, x_t, t, "x0", kind)
    replaced = editing.replacement(lambda x, t: prediction, TILTED, signal, projector, kind)
    x0_hat, _ = TILTED.predict(replaced(x_t, t), x_t, t, kind)
    if given == "pixels":
        expected = np.where(MASK, signal, x0)
    else:
        mixed = signal.reshape(2, SIZE) @ (np.eye(SIZE) - PROJECTOR)
        expected = (mixed + x0.reshape(2, SIZE) @ PROJECTOR).reshape(x0.shape)
    np.testing.assert_allclose(x0_hat, expected, atol=5e-4)


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_replaced_pixels_are_in_the_sample(method):
    signal = np.broadcast_to(draw_data(6, 1), (64, *SHAPE, 1))
    denoiser = editing.replacement(exact_denoiser(TILTED), TILTED, signal, editing.pixels(MASK))
    filled = sample(jax.random.key(0), denoiser, TILTED, signal.shape, method=method, num_steps=20)
    known = np.broadcast_to(MASK, signal.shape)
    np.testing.assert_allclose(np.asarray(filled)[known], signal[known], atol=1e-5)
    assert np.std(np.asarray(filled)[~known]) > 0.1


def errors_of_the_mean(transform):
    """RMS distance of the unknown pixels' mean over samples to their conditional mean."""
    signal = np.broadcast_to(draw_data(6, 1), (512, *SHAPE, 1))
    known = MASK.ravel()
    gain = DATA[~known][:, known] @ np.linalg.inv(DATA[known][:, known])
    expected = gain @ signal[0].ravel()[known]
    denoiser = transform(exact_denoiser(TILTED), signal)
    filled = jax.jit(
        lambda key: sample(key, denoiser, TILTED, signal.shape, method="ddpm", num_steps=50)
    )(jax.random.key(0))
    mean = np.asarray(filled).mean(axis=0).ravel()[~known]
    return np.sqrt(np.mean((mean - expected) ** 2)), np.sqrt(np.mean(expected**2))


def test_replacement_and_guidance_approach_the_conditional_mean():
    given = editing.pixels(MASK)
    replaced, scale = errors_of_the_mean(
        lambda d, signal: editing.replacement(d, TILTED, signal, given)
    )
    guided, _ = errors_of_the_mean(
        lambda d, signal: editing.reconstruction_guidance(d, TILTED, signal, given)
    )
    ignored, _ = errors_of_the_mean(lambda d, signal: d)
    assert abs(ignored / scale - 1) < 0.2  # the unconditional mean is 0
    assert replaced < 0.8 * ignored and guided < 0.8 * ignored


@pytest.mark.parametrize("kind", ["epsilon", "x0", "v", "velocity"])
def test_reconstruction_guidance_is_exact_for_white_data(kind):
    """Data N(0, I) under white noise: known pixels are known, and say nothing of the others."""
    diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white(SHAPE))
    signal, x, t = draw_data(7, 2), draw_data(8, 2), jnp.array([0.3, 0.9])
    square = lambda t, x: diffusion.alpha(t, x) ** 2 + diffusion.sigma(t, x) ** 2  # noqa: E731
    posterior_mean = lambda x, t: diffusion.alpha(t, x) * x / square(t, x)  # noqa: E731
    denoiser = lambda x, t: diffusion.convert(posterior_mean(x, t), x, t, "x0", kind)  # noqa: E731
    guided = editing.reconstruction_guidance(
        denoiser, diffusion, signal, editing.pixels(MASK), prediction=kind
    )
    x0_hat, _ = diffusion.predict(guided(x, t), x, t, kind)
    expected = np.where(MASK, signal, posterior_mean(x, t))
    np.testing.assert_allclose(x0_hat, expected, atol=1e-4)


def test_the_gradient_of_the_guidance_is_that_of_the_density():
    """Against the score of N(P y; P x0_hat(x), r^2 P) by finite differences, times Sigma."""
    x, t = draw_data(8, 1), jnp.array([0.4])
    signal, denoiser = draw_data(7, 1), exact_denoiser(TILTED)
    with jax.enable_x64(True):
        x, signal, t = np.float64(x), np.float64(signal), jnp.asarray(t, jnp.float64)
        guided = editing.reconstruction_guidance(
            denoiser, TILTED, signal, editing.pixels(MASK), scale=0.7
        )
        alpha, sigma = float(TILTED.schedule.alpha(0.4)), float(TILTED.schedule.sigma(0.4))

        def log_density(x):
            x0 = TILTED.predict(denoiser(x, t), x, t)[0]
            residual = np.where(MASK, signal - x0, 0)
            return -0.5 * np.sum(np.square(residual)) * (alpha**2 + sigma**2) / sigma**2

        step = 1e-5
        slope = np.zeros(SIZE)
        for i in range(SIZE):
            shift = step * np.eye(SIZE)[i].reshape(x.shape)
            slope[i] = (log_density(x + shift) - log_density(x - shift)) / (2 * step)
        sigma_matrix = dense.covariance_matrix(TILTED.covariance, 1)
        expected = 0.7 * sigma**2 / alpha * sigma_matrix @ slope
        before = TILTED.predict(denoiser(x, t), x, t)[0]
        after = TILTED.predict(guided(x, t), x, t)[0]
        np.testing.assert_allclose((after - before).ravel(), expected, rtol=1e-3, atol=1e-6)


def test_no_pull_at_alpha_zero():
    diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white(SHAPE))
    signal, x = draw_data(7, 2), draw_data(8, 2)
    guided = editing.reconstruction_guidance(
        lambda x, t: 0 * x, diffusion, signal, editing.pixels(MASK), prediction="x0"
    )
    np.testing.assert_array_equal(guided(x, jnp.ones(2)), 0)


def test_editing_composes_with_guidance():
    diffusion = TILTED
    signal = draw_data(6, 2)
    denoiser = guidance.classifier_free(
        exact_denoiser(diffusion), exact_denoiser(diffusion, np.eye(SIZE)), 1.5
    )
    denoiser = guidance.clip_x0(denoiser, diffusion, low=-3, high=3)
    denoiser = editing.replacement(denoiser, diffusion, signal, editing.pixels(MASK))
    filled = sample(jax.random.key(0), denoiser, diffusion, signal.shape, num_steps=5)
    known = np.broadcast_to(MASK, signal.shape)
    np.testing.assert_allclose(np.asarray(filled)[known], signal[known], atol=1e-5)
