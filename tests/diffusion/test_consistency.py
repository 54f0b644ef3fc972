"""Consistency functions, their loss and their samples against the closed forms of Gaussian data."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectral_cases

import sagd_jax as sagd
from sagd_jax import consistency, oracle

S, LAMBDA, LAST = 0.3, 1.7, 3.0
EXPLODING = sagd.Diffusion(
    sagd.schedules.edm(sigma_max=LAST, rho=1.0), sagd.from_variance([[LAMBDA], [0.3]], (2,))
)
COSINE = sagd.Diffusion(sagd.schedules.cosine(), EXPLODING.covariance)
# x_0, the draw e and another draw, all signs of each: their second moments are those of the law.
X0, E, OTHER = (
    jnp.asarray(np.array(list(itertools.product((-1, 1), repeat=3)))[:, i], jnp.float32)[
        :, None, None
    ]
    * jnp.full((2, 1), np.sqrt(variance / 2), jnp.float32)
    for i, variance in enumerate((S, LAMBDA, LAMBDA))
)


def minimiser(diffusion, times, noise_at_r=E):
    """c_N of D(x, t_i) = c_i x, each c_i the minimiser of the mean loss given the one before."""

    def mean_loss(c, before, t, r):
        def target(x, t):
            # As if x_r had been made with another draw.
            return before * (x + diffusion.sigma(t, x) * (noise_at_r - E))

        ones = jnp.ones(len(X0))
        return jnp.mean(
            consistency.loss(lambda x, t: c * x, target, diffusion, X0, E, t * ones, r * ones)
        )

    slope = jax.grad(mean_loss)

    def advance(before, pair):
        at_0, at_1 = (slope(c, before, *pair) for c in (0.0, 1.0))
        return -at_0 / (at_1 - at_0), None  # the loss is a square, its slope a line

    pairs = jnp.asarray(np.stack([times[1:], times[:-1]], 1), jnp.float32)
    return float(jax.jit(lambda: jax.lax.scan(advance, jnp.float32(1), pairs)[0])())


@pytest.mark.parametrize(
    ("diffusion", "count", "expected"),
    [(EXPLODING, 10, 0.1038), (EXPLODING, 100, 0.1348), (COSINE, 10, 0.353), (COSINE, 100, 0.413)],
)
def test_the_minimiser_on_a_grid(diffusion, count, expected):
    last = float(diffusion.schedule.time(diffusion.schedule.log_snr(1.0)))
    found = minimiser(diffusion, np.linspace(0, last, count + 1))
    assert found == pytest.approx(expected, abs=6e-4 if diffusion is COSINE else 6e-5)


def test_another_draw_at_r_has_another_minimiser():
    times = np.linspace(0, 1, 11)
    assert minimiser(EXPLODING, times, noise_at_r=OTHER) < 1e-9  # an independent one
    white = minimiser(EXPLODING, times, noise_at_r=E / np.sqrt(LAMBDA))
    assert white == pytest.approx(0.0134, abs=2e-4)


@pytest.mark.parametrize(("q", "expected"), [(2, 0.1170), (16, 0.1365), (256, 0.1385)])
def test_pairs_of_a_fixed_q_lose_variance(q, expected):
    times = np.append(0, (1 - 1 / q) ** np.arange(8 * q)[::-1])
    assert minimiser(EXPLODING, times) == pytest.approx(expected, abs=1e-4)
    t = jnp.asarray(times[2:], jnp.float32)
    # n of the source is 1 far out, where sigma / alpha is large.
    r = consistency.earlier(EXPLODING, jnp.float32(1), q=q, position="ratio")
    n = 1 + 8 / (1 + np.exp(LAST))
    assert float(r) == pytest.approx(max(1 - n / q, 0), abs=1e-5)
    angles = jnp.arctan(LAST * consistency.earlier(EXPLODING, t, q=q))
    np.testing.assert_allclose(angles, (1 - 1 / q) * jnp.arctan(LAST * t), rtol=2e-4)


def test_stages_bring_the_times_together():
    t = jnp.array([0.01, 0.5, 1.0])
    for diffusion in (COSINE, sagd.Diffusion(sagd.schedules.rectified_flow(), COSINE.covariance)):
        for position in consistency.POSITIONS:
            gaps = [
                np.asarray(t - consistency.earlier(diffusion, t, q=4, stage=k, position=position))
                for k in range(4)
            ]
            assert all((a >= b).all() and (b >= 0).all() for a, b in itertools.pairwise(gaps))
    first = consistency.earlier(COSINE, t, q=4, position="ratio")
    assert float(first[0]) == 0  # 1 - 5 / 4 < 0: ordinary training on x_0


def test_the_loss_is_what_it_says():
    t, r = jnp.array([0.8, 0.5]), jnp.array([0.6, 0.0])
    x0, noise = X0[:2] * jnp.array([1.0, 2.0])[:, None, None], E[:2]

    def f(x, t):
        return x * (1 + t)[:, None, None]

    def of(**options):
        return np.asarray(consistency.loss(f, f, COSINE, x0, noise, t, r, **options))

    high, low = COSINE.noised(x0, noise, t)[0], COSINE.noised(x0, noise, r)[0]
    square = np.mean((f(high, t) - f(low, r)) ** 2, axis=(1, 2))
    np.testing.assert_allclose(of(weighting="uniform"), square, rtol=1e-5)
    np.testing.assert_allclose(of(), square / (np.pi / 2 * (t - r)), rtol=1e-5)
    ratio = np.tan(np.pi / 2 * t) - np.tan(np.pi / 2 * r)
    np.testing.assert_allclose(of(weighting="ratio"), square / ratio, rtol=1e-5)
    huber = np.sqrt(square + 0.01) - 0.1
    found = of(norm="pseudo_huber", c=0.1, weighting="uniform")
    np.testing.assert_allclose(found, huber, rtol=1e-5)
    # Where nothing is left to learn the slope is 0, also at c = 0; r = 0 asks no function.
    exact = jax.grad(
        lambda k: jnp.sum(
            consistency.loss(
                lambda x, t: k * x0,
                lambda x, t: x0 / (t > 0.55)[:, None, None],
                COSINE,
                x0,
                noise,
                t,
                r,
                norm="pseudo_huber",
            )
        )
    )(1.0)
    assert float(exact) == 0.0


def test_only_one_side_learns():
    t, r = jnp.full(8, 0.8), jnp.full(8, 0.5)

    def of(c, target):
        return jnp.sum(
            consistency.loss(lambda x, t: c * x, lambda x, t: target * x, COSINE, X0, E, t, r)
        )

    assert float(jax.grad(of, 1)(0.5, 0.7)) == 0 != float(jax.grad(of, 0)(0.5, 0.7))


@pytest.mark.parametrize("prediction", ["v", "velocity", "epsilon", "score", "white_epsilon"])
def test_a_singular_covariance_keeps_what_has_no_noise(prediction):
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.band_pass((8,), [(0.3, 0.8)]))
    f = consistency.function(lambda x, t: jnp.sin(3 * x), diffusion, prediction)
    x0 = jax.random.normal(jax.random.key(0), (4, 8, 1))
    t = jnp.array([0.2, 0.4, 0.6, 0.8])
    x_t, _ = diffusion.diffuse(jax.random.key(1), x0, t)
    off = x0 - diffusion.covariance.project(x0)
    found = f(x_t, t)
    np.testing.assert_allclose(found - diffusion.covariance.project(found), off, atol=1e-5)
    if prediction == "v":  # and where there is none at all, x itself
        np.testing.assert_allclose(f(x0, jnp.zeros(4)), x0, atol=1e-6)


@pytest.mark.parametrize("name", ["blurring", "shortest_path"])
def test_the_exact_function_is_the_flow_of_the_exact_denoiser(name):
    basis, schedule = spectral_cases.schedules()[name]
    diffusion = sagd.Diffusion(schedule)
    data = oracle.DiagonalGaussian(
        basis,
        0.3 * jnp.ones((*spectral_cases.SHAPE, 1)),
        jnp.asarray(spectral_cases.spectrum(basis)),
    )
    start = diffusion.prior_sample(jax.random.key(0), (4, *spectral_cases.SHAPE, 1))
    t = jnp.ones(4)
    flow = sagd.sample(
        jax.random.key(0), data.denoiser(diffusion, "v"), diffusion, start.shape,
        method="heun", num_steps=200, prediction="v", start=start,
    )  # fmt: skip
    np.testing.assert_allclose(data.consistency(diffusion)(start, t), flow, atol=8e-3)
    # At t = 0 it is the identity, and on one trajectory it is one number.
    np.testing.assert_allclose(data.consistency(diffusion)(flow, 0 * t), flow, atol=1e-5)


def test_fourier_data_have_the_same_function():
    half = jnp.array([0.0, 0.3, 0.4, 0.2, 0.1])[:, None]
    data = oracle.FourierGaussian(0.5 * jnp.ones((8, 1)), half)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.band_pass((8,), [(0.3, 0.8)]))
    x0 = data.sample(jax.random.key(0), 3)
    t = jnp.full(3, 0.4)
    x_t, _ = diffusion.diffuse(jax.random.key(1), x0, t)
    found = data.consistency(diffusion)(x_t, t)
    alpha, sigma = float(diffusion.schedule.alpha(0.4)), float(diffusion.schedule.sigma(0.4))
    lam = np.asarray(diffusion.covariance.variance)[:, 0]
    total = alpha**2 * half[:, 0] + sigma**2 * lam
    gain = np.where(total > 0, np.sqrt(half[:, 0] / np.where(total > 0, total, 1)), 0)
    centred = np.fft.rfft(np.asarray(x_t)[..., 0] - alpha * 0.5, axis=-1)
    expected = 0.5 + np.fft.irfft(gain * centred, 8, axis=-1)
    np.testing.assert_allclose(found[..., 0], expected, atol=2e-5)


def test_two_steps_have_the_variance_of_noise_added_anew():
    power = jnp.array([0.5, 0.3, 0.2, 0.1, 0.05])[:, None]
    data = oracle.FourierGaussian(jnp.zeros((8, 1)), power)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8,), alpha=-0.7))
    middle, count = 0.5, 20_000
    samples = consistency.sample(
        jax.random.key(3), data.consistency(diffusion), diffusion, (count, 8, 1), times=(1, middle)
    )
    lam, s = np.asarray(diffusion.covariance.variance)[:, 0], np.asarray(power)[:, 0]

    def gain2(t):
        alpha, sigma = float(diffusion.schedule.alpha(t)), float(diffusion.schedule.sigma(t))
        return s / (alpha**2 * s + sigma**2 * lam)

    def expected(again):
        one = gain2(1.0) * float(diffusion.schedule.sigma(1.0)) ** 2 * lam
        alpha, sigma = (
            float(f(middle)) for f in (diffusion.schedule.alpha, diffusion.schedule.sigma)
        )
        return gain2(middle) * (alpha**2 * one + sigma**2 * again)

    found = np.mean(np.abs(np.fft.rfft(np.asarray(samples)[..., 0], axis=-1)) ** 2, axis=0) / 8
    degrees = np.array([1, 2, 2, 2, 1])
    error = found * np.sqrt(2 / (degrees * count))
    assert np.all(np.abs(found - expected(lam)) < 5 * error)
    assert np.any(np.abs(found - expected(np.ones(5))) > 20 * error)  # noise that is white


def test_samples_depend_on_their_own_number_alone():
    f = oracle.FourierGaussian(jnp.zeros((4, 1)), jnp.full((3, 1), 0.3)).consistency(
        diffusion := sagd.Diffusion(
            sagd.schedules.rectified_flow(), sagd.power_law((4,), alpha=0.5)
        )
    )
    key = jax.random.key(0)
    whole = consistency.sample(key, f, diffusion, (5, 4, 1), times=(1, 0.6, 0.2))
    same = consistency.sample(key, f, diffusion, (5, 4, 1), times=(1, 0.6, 0.2, 0))
    part = consistency.sample(key, f, diffusion, (2, 4, 1), times=(1, 0.6, 0.2), offset=3)
    np.testing.assert_array_equal(whole, same)
    np.testing.assert_allclose(whole[3:], part, atol=1e-6)
    one = consistency.sample(key, f, diffusion, (5, 4, 1), times=(1,))
    prior = diffusion.prior_sample(key, (5, 4, 1))
    np.testing.assert_allclose(one, f(prior, jnp.ones(5)), atol=1e-6)


def test_what_is_refused():
    white = sagd.white((4,))
    cosine, flow = (
        sagd.Diffusion(s, white) for s in (sagd.schedules.cosine(), sagd.schedules.rectified_flow())
    )

    def nothing(x, t):
        return x

    with pytest.raises(ValueError, match="prediction='x0': it does not turn into x itself"):
        consistency.function(nothing, cosine, "x0")
    with pytest.raises(ValueError, match="alpha is 0"):
        consistency.function(nothing, flow, "epsilon")
    _basis, still = spectral_cases.schedules()["hierarchical"]
    with pytest.raises(ValueError, match="stands still"):
        consistency.function(nothing, sagd.Diffusion(still), "velocity")
    with pytest.raises(
        ValueError, match=r"times=\(0.5, 0\): expected numbers that decrease from 1"
    ):
        consistency.sample(jax.random.key(0), nothing, cosine, (1, 4, 1), times=(0.5, 0))
    with pytest.raises(ValueError, match="q=1"):
        consistency.earlier(cosine, 0.5, q=1)
    t = jnp.ones(8)
    with pytest.raises(ValueError, match="norm='l1'"):
        consistency.loss(nothing, nothing, COSINE, X0, E, t, t / 2, norm="l1")
