import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import losses
from sagd_jax.diffusion.process import PREDICTIONS

SHAPE, CHANNELS, SIZE = (4, 5), 2, 40
SCHEDULES = {
    "linear_beta": sagd.schedules.linear_beta(),
    "cosine": sagd.schedules.cosine(),
    "rectified_flow": sagd.schedules.rectified_flow(),
    "edm": sagd.schedules.edm(sigma_max=5.0),
}
TILTED = sagd.power_law(SHAPE, alpha=-0.5)
HOLE = sagd.band_pass(SHAPE, [(0, 0.4), (0.7, 1)])
T = np.array([0.3, 0.55, 0.8])


def signals(seed, count=3):
    return np.random.default_rng(seed).normal(size=(count, *SHAPE, CHANNELS)).astype(np.float32)


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


# --- Times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", losses.TIME_DRAWS)
def test_times_are_in_the_half_open_interval(method):
    for seed in range(3):
        times = losses.sample_times(jax.random.key(seed), 10_000, method=method, std=20.0)
        assert times.shape == (10_000,) and times.dtype == jnp.float32
        assert np.all((times > 0) & (times <= 1))
    extreme = losses.sample_times(jax.random.key(0), 100, method="logit_normal", mean=-500.0)
    assert np.all(extreme > 0)


def test_uniform_times_have_the_uniform_distribution():
    times = np.sort(losses.sample_times(jax.random.key(1), 20_000))
    # Kolmogorov: the largest deviation times sqrt(n) exceeds 2.5 with probability 7e-6.
    assert np.max(np.abs(times - np.arange(1, 20_001) / 20_000)) * 20_000**0.5 < 2.5


def test_stratified_times_have_one_in_each_interval():
    for batch in (1, 7, 64):
        times = np.asarray(losses.sample_times(jax.random.key(2), batch, method="stratified"))
        np.testing.assert_array_equal(np.ceil(times * batch * (1 - 1e-7)), np.arange(1, batch + 1))
    draws = jax.vmap(lambda key: losses.sample_times(key, 4, method="stratified"))(
        jax.random.split(jax.random.key(3), 20_000)
    )
    expected = (np.arange(4) + 0.5) / 4
    assert np.all(np.abs(draws.mean(axis=0) - expected) < 5 / 4 / np.sqrt(12 * 20_000))


def test_logit_normal_times_are_normal_behind_the_logit():
    times = np.float64(
        losses.sample_times(jax.random.key(4), 20_000, method="logit_normal", mean=0.4, std=0.8)
    )
    logits = np.log(times / (1 - times))
    assert abs(logits.mean() - 0.4) < 5 * 0.8 / np.sqrt(20_000)
    assert abs(logits.var() - 0.64) < 5 * 0.64 * np.sqrt(2 / 20_000)


def test_times_can_be_drawn_under_jit():
    for method in losses.TIME_DRAWS:
        key = jax.random.key(0)
        compiled = jax.jit(lambda key, method=method: losses.sample_times(key, 5, method=method))
        np.testing.assert_allclose(
            compiled(key), losses.sample_times(key, 5, method=method), rtol=1e-6
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"batch": 4, "method": "normal"}, r"method='normal'.*'uniform', 'stratified'"),
        ({"batch": 0}, "batch=0"),
        ({"batch": 4, "method": "logit_normal", "std": 0.0}, r"std=0\.0"),
        ({"batch": 4, "method": "logit_normal", "mean": float("nan")}, "mean=nan"),
    ],
)
def test_bad_draws_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.sample_times(jax.random.key(0), **arguments)


# --- Norms -----------------------------------------------------------------------------------


def test_the_default_is_the_plain_square_of_the_noise_error(schedule):
    diffusion = sagd.Diffusion(schedule, TILTED)
    noise, prediction = signals(1), signals(2)
    loss = losses.denoising_loss(diffusion, prediction, signals(0), noise, T)
    expected = np.mean((np.float64(prediction) - noise) ** 2, axis=(1, 2, 3))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    assert loss.dtype == jnp.float32


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("norm", losses.NORMS)
def test_the_loss_of_a_known_error_is_its_norm(schedule, kind, norm):
    if norm == "mahalanobis" and kind in ("score", "white_epsilon"):
        return
    for covariance in (TILTED, HOLE):
        diffusion = sagd.Diffusion(schedule, covariance)
        x0, error = signals(0), signals(3)
        _, noise = diffusion.diffuse(jax.random.key(0), x0, T)
        truth = diffusion.target(x0, noise, T, kind)
        loss = losses.denoising_loss(diffusion, truth + error, x0, noise, T, kind=kind, norm=norm)
        flat = np.float64(error).reshape(3, SIZE)
        if norm == "mahalanobis":
            sigma = dense.covariance_matrix(covariance, CHANNELS)
            flat = flat @ dense.spectral_function(sigma, lambda v: 1 / np.sqrt(v))
        # The target of a score is up to 1e3 here, and its rounding enters the error.
        tolerance = 2e-3 if kind == "score" else 2e-5
        np.testing.assert_allclose(loss, np.mean(flat**2, axis=1), rtol=tolerance)


def test_a_perfect_prediction_has_no_loss(schedule):
    diffusion = sagd.Diffusion(schedule, HOLE)
    x0 = signals(0)
    _, noise = diffusion.diffuse(jax.random.key(0), x0, T)
    for kind in PREDICTIONS:
        for weighting in losses.WEIGHTINGS:
            truth = diffusion.target(x0, noise, T, kind)
            loss = losses.denoising_loss(
                diffusion, truth, x0, noise, T, kind=kind, weighting=weighting
            )
            np.testing.assert_array_equal(loss, 0)


def test_whitened_data_and_network_give_the_loss_weighted_by_lambda():
    """With z = Sigma^{-1/2} x and xi(z) = Sigma^{-1/2} e(Sigma^{1/2} z), equation (12)."""
    tilted = sagd.Diffusion(SCHEDULES["cosine"], TILTED)
    isotropic = sagd.Diffusion(SCHEDULES["cosine"], sagd.white(SHAPE))
    network = lambda x, t: jnp.tanh(x) + t[:, None, None, None] * jnp.roll(x, 1, axis=1)  # noqa: E731
    x0, key, t = signals(0), jax.random.key(5), jnp.asarray(T, jnp.float32)
    x_t, noise = tilted.diffuse(key, x0, t)
    z0 = TILTED.pinv_sqrt(x0)
    z_t, white = isotropic.diffuse(key, z0, t)
    xi = TILTED.pinv_sqrt(network(TILTED.sqrt(z_t), t))
    # The l2 loss of the one is the l2 loss of the other with lambda as weight of each frequency;
    # its Mahalanobis loss is the plain isotropic one.
    plain = losses.denoising_loss(tilted, network(x_t, t), x0, noise, t)
    weighted = losses.denoising_loss(isotropic, TILTED.sqrt(xi), z0, TILTED.sqrt(white), t)
    np.testing.assert_allclose(plain, weighted, rtol=1e-5)
    whitened = losses.denoising_loss(tilted, network(x_t, t), x0, noise, t, norm="mahalanobis")
    np.testing.assert_allclose(
        whitened, losses.denoising_loss(isotropic, xi, z0, white, t), rtol=1e-5
    )
    assert not np.allclose(plain, whitened, rtol=1e-2)


def test_half_precision_predictions_are_compared_in_float32():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], TILTED)
    x0, noise = signals(0), signals(1)
    half = jnp.asarray(signals(2), jnp.bfloat16)
    loss = losses.denoising_loss(diffusion, half, x0, noise, T)
    expected = np.mean((np.float64(half) - noise) ** 2, axis=(1, 2, 3))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


# --- Weightings ------------------------------------------------------------------------------


def published(weighting, schedule, t):
    """The weights as their authors give them: (of |r_x0|^2, of |r_epsilon|^2), one is None."""
    alpha, sigma = np.float64(schedule.alpha(t)), np.float64(schedule.sigma(t))
    snr = (alpha / sigma) ** 2
    if weighting == "min_snr":
        return np.minimum(snr, 3.0)
    if weighting == "edm":
        s = sigma / alpha
        return (s**2 + 0.7**2) / (s * 0.7) ** 2
    step = 1e-5
    slope = (np.float64(schedule.log_snr(t + step)) - schedule.log_snr(t - step)) / (2 * step)
    return -slope / (1 + np.exp(np.log(snr) - 0.5)) * snr


@pytest.mark.parametrize("weighting", ["min_snr", "sigmoid", "edm"])
def test_weightings_are_those_published_for_every_kind(schedule, weighting):
    """One error of x_0, in any disguise, has the loss that the published weight gives it."""
    with jax.enable_x64(True):
        white = sagd.white(SHAPE)
        diffusion = sagd.Diffusion(schedule, white)
        t = jnp.asarray(T + 0.0003)  # no knot of the table
        x0, x0_hat = np.float64(signals(0)), np.float64(signals(1))
        x_t, noise = diffusion.diffuse(jax.random.key(0), x0, t)
        error = np.mean((x0_hat - x0) ** 2, axis=(1, 2, 3))
        expected = published(weighting, schedule, np.asarray(t)) * error
        options = {"weighting": weighting, "gamma": 3.0, "bias": 0.5, "sigma_data": 0.7}
        for kind in PREDICTIONS:
            prediction = diffusion.convert(x0_hat, x_t, t, "x0", kind)
            loss = losses.denoising_loss(diffusion, prediction, x0, noise, t, kind=kind, **options)
            np.testing.assert_allclose(loss, expected, rtol=1e-4, err_msg=kind)


def test_weights_known_by_hand():
    """At alpha = 3/4 and sigma = 1/4 the SNR is 9."""
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], TILTED)
    weight = lambda *a, **k: float(losses.loss_weight(diffusion, 0.25, *a, **k))  # noqa: E731
    assert weight("v") == weight("epsilon", "uniform") == 1
    assert weight("x0", "min_snr") == pytest.approx(5)
    assert weight("epsilon", "min_snr") == pytest.approx(5 / 9)
    assert weight("x0", "min_snr", gamma=20.0) == pytest.approx(9)
    # s = 1/3 and sigma_data = 1: (1/9 + 1) / (1/9) = 10.
    assert weight("x0", "edm", sigma_data=1.0) == pytest.approx(10)
    # d log-SNR / dt = -2 / (t (1 - t)) = -32/3; sigmoid(log 9 - log 9) = 1/2.
    assert weight("epsilon", "sigmoid", bias=float(np.log(9))) == pytest.approx(16 / 3)
    # r_velocity = r_x0 (-1 - 3): alpha' = -1, sigma' = 1, r_epsilon = -3 r_x0.
    assert weight("velocity", "min_snr") == pytest.approx(5 / 16)


def test_weights_are_finite_at_alpha_zero_where_the_loss_is():
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], TILTED)
    for weighting in losses.WEIGHTINGS:
        for kind in ("x0", "v", "velocity"):
            assert np.isfinite(losses.loss_weight(diffusion, 1.0, kind, weighting))
    assert losses.loss_weight(diffusion, 1.0, "epsilon", "min_snr") == 1


def test_weights_are_finite_where_the_cosine_is_clipped():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], TILTED)
    for weighting in losses.WEIGHTINGS:
        for kind in PREDICTIONS:
            weight = losses.loss_weight(diffusion, jnp.array([0.995, 1.0]), kind, weighting)
            assert np.all(np.isfinite(weight) & (weight > 0)), (kind, weighting)


def test_the_loss_goes_through_jit_and_grad():
    diffusion = sagd.Diffusion(SCHEDULES["linear_beta"], HOLE)
    x0, t = signals(0), jnp.asarray(T, jnp.float32)
    _, noise = diffusion.diffuse(jax.random.key(0), x0, t)

    @jax.jit
    def gradient(scale, t):
        loss = lambda s: jnp.sum(  # noqa: E731
            losses.denoising_loss(diffusion, s * x0, x0, noise, t, kind="v", weighting="min_snr")
        )
        return jax.grad(loss)(scale)

    assert np.isfinite(gradient(0.5, t))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "l1"}, r"norm='l1'.*'l2', 'mahalanobis'"),
        ({"kind": "noise"}, r"kind='noise'.*'epsilon'"),
        ({"weighting": "snr"}, r"weighting='snr'.*'min_snr', 'sigmoid', 'edm'"),
        ({"gamma": 0.0}, r"gamma=0\.0"),
        ({"sigma_data": -1.0}, r"sigma_data=-1\.0"),
        ({"norm": "mahalanobis", "kind": "score"}, "score is whitened already"),
        ({"norm": "mahalanobis", "kind": "white_epsilon"}, "white_epsilon is whitened already"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], TILTED)
    x = signals(0)
    with pytest.raises(ValueError, match=message):
        losses.denoising_loss(diffusion, x, x, x, T, **options)


def test_an_unknown_kind_has_no_weight():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], TILTED)
    with pytest.raises(ValueError, match="kind='noise'"):
        losses.loss_weight(diffusion, 0.5, "noise", "edm")
