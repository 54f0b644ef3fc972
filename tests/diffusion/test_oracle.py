import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import oracle
from sagd_jax.diffusion.process import PREDICTIONS
from sagd_jax.spectral.half_grid import conjugate, half_grid_shape

SPATIAL, CHANNELS = (3, 4), 2
SIZE = 24
COVARIANCES = {
    "low": sagd.power_law(SPATIAL, -0.5),
    "hole": sagd.band_pass(SPATIAL, [(0, 0.5), (0.8, 1)]),
}
SCHEDULE = sagd.schedules.linear_beta()


def fourier_gaussian(seed=0, holes=False):
    rng = np.random.default_rng(seed)
    variance = np.exp(rng.normal(size=(*half_grid_shape(SPATIAL), CHANNELS)))
    variance = np.sqrt(variance * conjugate(variance, SPATIAL))
    if holes:
        variance[0, 0] = variance[1, 2] = variance[2, 2] = 0  # (2, 2) is the conjugate of (1, 2)
    mean = rng.normal(size=(*SPATIAL, CHANNELS))
    return oracle.FourierGaussian(
        jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32)
    )


def dense_mixture(seed=1, count=3):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(count, SIZE, SIZE)) / np.sqrt(SIZE)
    covariances = roots @ roots.transpose(0, 2, 1) + 0.2 * np.eye(SIZE)
    means = 0.3 * rng.normal(size=(count, *SPATIAL, CHANNELS))
    weights = np.array([0.5, 0.3, 0.2])
    return oracle.GaussianMixture(
        *(jnp.asarray(values, jnp.float32) for values in (weights, means, covariances))
    )


def as_matrix(data):
    return dense.matrix(dense.full_grid(data.variance, SPATIAL))


def times_and_states(seed=2):
    rng = np.random.default_rng(seed)
    t = jnp.array([0.05, 0.3, 0.6, 1.0])
    return t, jnp.asarray(rng.normal(size=(4, *SPATIAL, CHANNELS)), jnp.float32)


def regression(mean, covariance, noise, alpha, sigma, x):
    """E[x_0 | x] and E[e | x] of jointly Gaussian vectors, by the textbook formula."""
    weights = np.linalg.pinv(alpha**2 * covariance + sigma**2 * noise, rcond=1e-6)
    centred = weights @ (x - alpha * mean)
    return mean + alpha * covariance @ centred, sigma * noise @ centred


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("name", COVARIANCES)
def test_fourier_gaussian_is_linear_regression(name, holes):
    covariance, data = COVARIANCES[name], fourier_gaussian(holes=holes)
    diffusion = sagd.Diffusion(SCHEDULE, covariance)
    t, x = times_and_states()
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    if holes:
        # Where neither data nor noise vary, x can only be the scaled mean.
        x = alpha.reshape(-1, 1, 1, 1) * data.mean + 0.2 * covariance.sample(
            jax.random.key(0), x.shape
        )
    noise = dense.covariance_matrix(covariance, CHANNELS)
    for prediction, which in [("x0", 0), ("epsilon", 1)]:
        result = data.denoiser(diffusion, prediction)(x, t)
        for i in range(4):
            expected = regression(
                np.asarray(data.mean, np.float64).ravel(),
                as_matrix(data),
                noise,
                float(alpha[i]),
                float(sigma[i]),
                np.asarray(x[i], np.float64).ravel(),
            )[which]
            np.testing.assert_allclose(np.ravel(result[i]), expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", COVARIANCES)
def test_every_kind_of_prediction_says_the_same(name):
    diffusion = sagd.Diffusion(SCHEDULE, COVARIANCES[name])
    data = fourier_gaussian()
    t = jnp.array([0.1, 0.5, 0.9])
    x0 = data.sample(jax.random.key(0), 3)
    x, _ = diffusion.diffuse(jax.random.key(1), x0, t)
    expected = data.denoiser(diffusion, "x0")(x, t)
    for kind in PREDICTIONS:
        result = diffusion.convert(data.denoiser(diffusion, kind)(x, t), x, t, kind, "x0")
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3, err_msg=kind)


def test_fourier_gaussian_draws_and_density():
    data = fourier_gaussian()
    x = np.asarray(data.sample(jax.random.key(0), 20_000), np.float64).reshape(-1, SIZE)
    sigma, mean = as_matrix(data), np.asarray(data.mean, np.float64).ravel()
    variances = np.diag(sigma)
    assert np.max(np.abs(x.mean(0) - mean) / np.sqrt(variances / len(x))) < 5
    error = np.sqrt((np.outer(variances, variances) + sigma**2) / len(x))
    assert np.max(np.abs(np.cov(x.T) - sigma) / error) < 5
    np.testing.assert_allclose(
        data.log_prob(jnp.asarray(x[:3], jnp.float32).reshape(3, *SPATIAL, CHANNELS)),
        dense.log_prob(x[:3] - mean, sigma),
        rtol=1e-4,
    )


def test_mixture_of_one_stationary_gaussian_is_the_fourier_gaussian():
    data = fourier_gaussian()
    mixture = oracle.GaussianMixture(
        jnp.ones(1), data.mean[None], jnp.asarray(as_matrix(data)[None], jnp.float32)
    )
    diffusion = sagd.Diffusion(SCHEDULE, COVARIANCES["low"])
    t, x = times_and_states()
    for prediction in ("x0", "epsilon", "v"):
        np.testing.assert_allclose(
            mixture.denoiser(diffusion, prediction)(x, t),
            data.denoiser(diffusion, prediction)(x, t),
            rtol=1e-3,
            atol=1e-3,
        )
    np.testing.assert_allclose(mixture.log_prob(x), data.log_prob(x), rtol=1e-5)


def mixture_log_prob(data, noise, alpha, sigma, x):
    logs = [
        np.log(weight)
        + dense.log_prob(
            np.asarray(x, np.float64).reshape(-1, SIZE) - alpha * np.asarray(mean).ravel(),
            alpha**2 * np.asarray(covariance, np.float64) + sigma**2 * noise,
        )
        for weight, mean, covariance in zip(data.weights, data.means, data.covariances, strict=True)
    ]
    return np.stack(logs, axis=-1)


@pytest.mark.parametrize("name", COVARIANCES)
def test_mixture_density_and_responsibilities(name):
    data, covariance = dense_mixture(), COVARIANCES[name]
    diffusion = sagd.Diffusion(SCHEDULE, covariance)
    noise = dense.covariance_matrix(covariance, CHANNELS)
    _, x = times_and_states()
    for t in (0.0, 0.4):
        logs = mixture_log_prob(data, noise, float(SCHEDULE.alpha(t)), float(SCHEDULE.sigma(t)), x)
        arguments = (x, diffusion, t) if t else (x,)
        total = np.logaddexp.reduce(logs, axis=-1)
        np.testing.assert_allclose(data.log_prob(*arguments), total, rtol=1e-4)
        np.testing.assert_allclose(
            data.responsibilities(*arguments), np.exp(logs - total[:, None]), atol=1e-3
        )


@pytest.mark.parametrize("name", COVARIANCES)
def test_mixture_predictions_follow_from_its_density(name):
    """Score = grad log q_t, Tweedie's formula, and equation (7), with JAX's derivative of q_t."""
    data, covariance = dense_mixture(), COVARIANCES[name]
    diffusion = sagd.Diffusion(SCHEDULE, covariance)
    t, x = times_and_states()
    t = t[:-1]  # at t = 1 Tweedie's formula divides by alpha = 0.006
    x = x[:-1]
    score = jax.grad(lambda x: jnp.sum(data.log_prob(x, diffusion, t)))(x)
    np.testing.assert_allclose(data.score(x, diffusion, t), score, rtol=1e-3, atol=1e-3)
    alpha, sigma = diffusion.alpha(t, x), diffusion.sigma(t, x)
    noise = -sigma * covariance.apply(score)
    x0 = (x + sigma**2 * covariance.apply(score)) / alpha
    if covariance.is_full_rank:
        np.testing.assert_allclose(data.denoiser(diffusion)(x, t), noise, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            data.denoiser(diffusion, "score")(x, t), score, rtol=5e-3, atol=5e-3
        )
    else:
        np.testing.assert_allclose(
            data.denoiser(diffusion, "score")(x, t), covariance.project(score), rtol=5e-3, atol=5e-3
        )
    np.testing.assert_allclose(data.denoiser(diffusion, "x0")(x, t), x0, rtol=1e-3, atol=1e-3)


def test_mixture_draws():
    data, count = dense_mixture(), 20_000
    x, component = data.sample(jax.random.key(0), count)
    x, component = np.asarray(x, np.float64).reshape(count, SIZE), np.asarray(component)
    shares = np.bincount(component, minlength=3) / count
    weights = np.asarray(data.weights, np.float64)
    assert np.max(np.abs(shares - weights) / np.sqrt(weights * (1 - weights) / count)) < 5
    for k in range(3):
        own, sigma = x[component == k], np.asarray(data.covariances[k], np.float64)
        variances = np.diag(sigma)
        mean = np.asarray(data.means[k]).ravel()
        assert np.max(np.abs(own.mean(0) - mean) / np.sqrt(variances / len(own))) < 5
        error = np.sqrt((np.outer(variances, variances) + sigma**2) / len(own))
        assert np.max(np.abs(np.cov(own.T) - sigma) / error) < 5


def test_dense_is_the_matrix_of_the_covariance():
    for covariance in COVARIANCES.values():
        np.testing.assert_allclose(
            oracle.dense(covariance, CHANNELS),
            dense.covariance_matrix(covariance, CHANNELS),
            atol=1e-5,
        )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: oracle.FourierGaussian(jnp.zeros((3, 4, 2)), jnp.ones((3, 4, 2))),
         r"variance.*\(3, 4, 2\).*\(3, 3, 1\) or \(3, 3, 2\)"),
        (lambda: oracle.FourierGaussian(jnp.zeros(4), jnp.ones(3)), "variance"),
        (lambda: oracle.GaussianMixture(jnp.ones(2), jnp.zeros((3, 4, 1)), jnp.ones((3, 4, 4))),
         r"weights.*\(2,\).*\(3,\)"),
        (lambda: oracle.GaussianMixture(jnp.ones(3), jnp.zeros((3, 4, 1)), jnp.ones((3, 2, 2))),
         r"covariances.*\(3, 2, 2\).*\(3, 4, 4\)"),
    ],
)  # fmt: skip
def test_bad_arguments(build, message):
    with pytest.raises(ValueError, match=message):
        build()
