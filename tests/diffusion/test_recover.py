"""Finished samples and restorations against closed forms, with exact denoisers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import oracle, recover, schedules

pytestmark = pytest.mark.thorough

SHAPE = (8,)
BASIS = sagd.bases.cosine(SHAPE)
KEY = jax.random.key(0)
S = np.linspace(0.2, 2.0, 8).reshape(8, 1)
N = np.array([0, 0.1, 1, 9, 0, 0.5, 2, 0.01]).reshape(8, 1)
DATA = oracle.DiagonalGaussian(BASIS, jnp.zeros((8, 1)), jnp.asarray(S, jnp.float32))
DIFFUSION = sagd.Diffusion(
    schedules.capped(schedules.cosine(), sagd.white(SHAPE), N, margin=0.2, basis=BASIS)
)


def gain_of(function):
    """Gain per coordinate of what is affine in y."""
    probe = BASIS.inverse(jnp.ones((1, 8, 1)))
    return np.asarray(BASIS.forward(function(probe) - function(0 * probe)))[0]


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_posterior_mean_at_the_cap_and_on_the_path(prediction):
    at_cap, on_path = (
        gain_of(
            lambda y, kind=kind: recover.restore(
                KEY,
                DATA.denoiser(DIFFUSION.at(kind), prediction),
                DIFFUSION,
                y,
                kind,
                prediction=prediction,
            )
        )
        for kind in (1, 2)
    )
    np.testing.assert_allclose(at_cap, np.where(N > 0, S / (S + 1.2 * N), 1), rtol=1e-4)
    np.testing.assert_allclose(on_path, S / (S + N), rtol=1e-4)


def test_draws_of_correlated_coordinates_have_the_posterior_s_variance():
    """Noise on the first of two coordinates of correlation 0.9: the second says much of the first."""
    basis = sagd.bases.sites((2,))
    dense = jnp.array([[1.0, 0.9], [0.9, 1.0]])
    data = oracle.GaussianMixture(jnp.ones(1), jnp.zeros((1, 2, 1)), dense[None])
    schedule = schedules.capped(schedules.cosine(), sagd.white((2,)), [[1.0], [0.0]], basis=basis)
    diffusion = sagd.Diffusion(schedule)
    denoiser = data.denoiser(recover.process_of(diffusion, 1, num_steps=1), "v")
    y = jnp.broadcast_to(jnp.array([[0.7], [-0.4]]), (2000, 2, 1))
    draw = jax.jit(
        lambda key: recover.restore(key, denoiser, diffusion, y, 1, prediction="v", num_steps=400)
    )
    x = np.asarray(draw(KEY))[..., 0]
    # y_1 = x_1 + n with x_1 | x_2 ~ N(0.9 x_2, 0.19): variance 0.19 / 1.19 = 0.160.
    mean, variance = 0.9 * -0.4 + 0.19 / 1.19 * (0.7 - 0.9 * -0.4), 0.19 / 1.19
    np.testing.assert_array_equal(x[:, 1], np.float32(-0.4))
    assert abs(x[:, 0].mean() - mean) < 5 * np.sqrt(variance / len(x)) + 3e-3
    # A point estimate of x_0 in each step takes a share from the variance that falls as 1 / steps.
    assert abs(x[:, 0].var() / variance - 1) < 5 * np.sqrt(2 / len(x)) + 0.03


def test_em_by_draws_has_the_data_as_its_fixed_point_and_means_collapse():
    """The model of a round is the exact denoiser of the spectrum S_k that the last round gave."""
    basis = sagd.bases.sites((400,))
    s, n, count, steps = 0.3, 1.0, 40, 300
    diffusion = sagd.Diffusion(
        schedules.capped(
            schedules.cosine(), sagd.white((400,)), n + np.zeros((400, 1)), basis=basis
        )
    )
    data = oracle.DiagonalGaussian(basis, jnp.zeros((400, 1)), s + jnp.zeros((400, 1)))
    y = data.sample(jax.random.key(1), count) + sagd.white((400,)).sample(
        jax.random.key(2), (count, 400, 1)
    )
    s_y = float(jnp.mean(y**2))

    @functools.partial(jax.jit, static_argnums=1)
    def power(s_k, num_steps):
        model = oracle.DiagonalGaussian(basis, jnp.zeros((400, 1)), jnp.full((400, 1), s_k))
        kind = 1 if num_steps else 2
        denoiser = model.denoiser(recover.process_of(diffusion, kind, num_steps), "v")
        x = recover.restore(KEY, denoiser, diffusion, y, kind, prediction="v", num_steps=num_steps)
        return jnp.mean(x**2)

    def next_spectrum(s_k, num_steps):
        return float(power(jnp.float32(s_k), num_steps))

    tolerance = 5 * np.sqrt(2 / (400 * count))
    draws = means = 0.6
    for _ in range(3):
        expected = draws**2 * s_y / (draws + n) ** 2 + draws * n / (draws + n)
        draws = next_spectrum(draws, steps)
        assert abs(draws / expected - 1) < tolerance + 0.02
        expected = means**2 * s_y / (means + n) ** 2
        means = next_spectrum(means, 0)
        assert abs(means / expected - 1) < 1e-3
    assert abs(next_spectrum(s, steps) / s - 1) < tolerance + 0.02
    assert means < 0.01


@pytest.mark.parametrize("kind", [0, 1])
def test_samples_have_the_clean_spectrum_or_that_of_posterior_means(kind):
    own = DIFFUSION.at(kind)
    denoiser = DATA.denoiser(own, "v")
    count = 8000
    x = sagd.sample(KEY, denoiser, own, (count, 8, 1), prediction="v", method="heun", num_steps=40)
    done = recover.finish(denoiser, DIFFUSION, x, kind, prediction="v")
    found = np.mean(np.square(np.asarray(BASIS.forward(done), np.float64)), axis=0)
    expected = S * np.where((N > 0) & (kind == 1), S / (S + 1.2 * N), 1)
    assert np.all(np.abs(found / expected - 1) < 5 * np.sqrt(2 / count) + 5e-3)
    if kind == 0:
        np.testing.assert_allclose(done, x, atol=1e-5)


def test_where_n_is_infinite_the_rest_has_its_own_law_as_under_a_hole():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4)) / 2
    dense = root @ root.T + 0.1 * np.eye(4)
    data = oracle.GaussianMixture(jnp.ones(1), jnp.zeros((1, 4, 1)), jnp.asarray(dense[None]))
    basis = sagd.bases.sites((4,))
    n = np.array([[0.0], [np.inf], [0.0], [0.0]])
    diffusion = sagd.Diffusion(
        schedules.capped(schedules.rectified_flow(), sagd.white((4,)), n, basis=basis)
    )
    own, count = diffusion.at(1), 2000
    denoiser = data.denoiser(own, "v")
    x = sagd.sample(KEY, denoiser, own, (count, 4, 1), prediction="v", method="heun", num_steps=20)
    done = np.asarray(recover.finish(denoiser, diffusion, x, 1, prediction="v"))[..., 0]
    assert np.all(done[:, 1] == 0)
    rest = [0, 2, 3]
    found = np.cov(done[:, rest].T)
    marginal = dense[np.ix_(rest, rest)]
    scale = np.sqrt(np.outer(np.diag(marginal), np.diag(marginal)))
    assert np.max(np.abs(found - marginal) / scale) < 5 * np.sqrt(2 / count) + 5e-3


def test_an_example_is_restored_alike_in_any_batch():
    path = recover.process_of(DIFFUSION, 1, num_steps=4)
    denoiser = DATA.denoiser(path, "v")
    y = DATA.sample(KEY, 4)

    def restored(y, offset=0, **options):
        return recover.restore(
            KEY, denoiser, DIFFUSION, y, 1, prediction="v", num_steps=4, offset=offset, **options
        )

    whole = restored(y)
    np.testing.assert_allclose(restored(y[2:], offset=2), whole[2:], atol=1e-5)
    again = restored(y, times=np.linspace(1, 0, 5))
    assert again.shape == y.shape and not np.allclose(again, whole)
    clean = np.asarray(N == 0)
    np.testing.assert_allclose(
        np.asarray(BASIS.forward(whole))[:, clean],
        np.asarray(BASIS.forward(y))[:, clean],
        atol=1e-5,
    )


def test_what_is_refused_in_one_line():
    y = jnp.zeros((2, 8, 1))
    plain = sagd.Diffusion(schedules.cosine(), sagd.white(SHAPE))
    without = sagd.Diffusion(
        schedules.capped(schedules.cosine(), sagd.white(SHAPE), N, basis=BASIS, restoring=False)
    )

    def denoiser(x, t):
        return x

    for call, words in (
        (lambda: recover.restore(KEY, denoiser, plain, y, 1, prediction="v"), "no corrupted kinds"),
        (lambda: recover.finish(denoiser, plain, y, 1, prediction="v"), "no corrupted kinds"),
        (
            lambda: recover.restore(KEY, denoiser, without, y, 1, prediction="v", num_steps=5),
            "no restoring path",
        ),
        (
            lambda: recover.restore(KEY, denoiser, DIFFUSION, y, 0, prediction="v"),
            "expected corrupted kinds",
        ),
        (
            lambda: recover.restore(KEY, denoiser, DIFFUSION, y, np.array([1, 2]), prediction="v"),
            "on restoring paths or none",
        ),
        (lambda: recover.restore(KEY, denoiser, DIFFUSION, y, 7, prediction="v"), "kind: values"),
        (
            lambda: recover.restore(KEY, denoiser, DIFFUSION, y, 1, prediction="velocity"),
            "velocity",
        ),
    ):
        with pytest.raises(ValueError, match=words) as raised:
            call()
        assert "\n" not in str(raised.value)
