"""A denoiser that says its kind of prediction is asked as that kind, whatever it is wrapped in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import editing, guidance
from sagd_jax.diffusion.denoisers import kind_of, noted, of_kind
from sagd_jax.diffusion.process import PREDICTIONS

DIFFUSION = sagd.Diffusion(sagd.schedules.linear_beta(), sagd.power_law((4, 4), -0.5))
HOLE = sagd.Diffusion(sagd.schedules.linear_beta(), sagd.band_pass((4, 4), [(0, 0.6)]))
SHAPE = (3, 4, 4, 1)


def x0_hat(x, t):
    return jnp.tanh(x) * 3


def as_kind(kind, diffusion=DIFFUSION, x0=x0_hat):
    return of_kind(lambda x, t: diffusion.convert(x0(x, t), x, t, "x0", kind), kind)


def test_the_kind_goes_along():
    denoiser = as_kind("v")
    labelled = of_kind(lambda x, t, label=None: x, "v")
    signal = jnp.zeros(SHAPE)
    for wrapped in (
        functools.partial(labelled, label=None),
        jax.jit(denoiser),
        guidance.classifier_free(denoiser, denoiser, 2.0),
        guidance.autoguidance(denoiser, lambda x, t: x, 2.0),
        guidance.clip_x0(denoiser, DIFFUSION),
        guidance.dynamic_threshold(denoiser, DIFFUSION),
        guidance.project_input(denoiser, DIFFUSION.covariance),
        editing.replacement(denoiser, DIFFUSION, signal, lambda x: x),
        editing.reconstruction_guidance(denoiser, DIFFUSION, signal, lambda x: x),
        editing.condition_on_clean(denoiser, HOLE, signal),
    ):
        assert kind_of(wrapped) == "v"
    assert noted(lambda x, t: x) is None


def test_contradictions_are_errors():
    with pytest.raises(ValueError, match="prediction='epsilon': this denoiser predicts 'v'"):
        sagd.sample(jax.random.key(0), as_kind("v"), DIFFUSION, SHAPE, prediction="epsilon")
    with pytest.raises(ValueError, match="this denoiser predicts 'v'"):
        sagd.log_likelihood(
            jax.random.key(0), as_kind("v"), DIFFUSION, jnp.zeros(SHAPE), prediction="x0"
        )
    with pytest.raises(ValueError, match="the denoisers predict v and x0"):
        guidance.classifier_free(as_kind("v"), as_kind("x0"), 2.0)


def test_it_is_read_as_what_it_says():
    said = as_kind("v")
    silent = lambda x, t: said(x, t)  # noqa: E731
    draw = functools.partial(sagd.sample, jax.random.key(0), num_steps=4)
    np.testing.assert_array_equal(
        draw(said, DIFFUSION, SHAPE), draw(silent, DIFFUSION, SHAPE, prediction="v")
    )
    x0 = jnp.ones(SHAPE)
    value = functools.partial(sagd.log_likelihood, jax.random.key(0), num_steps=2)
    np.testing.assert_array_equal(
        value(said, DIFFUSION, x0), value(silent, DIFFUSION, x0, prediction="v")
    )


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_clipped_samples_are_those_of_the_clipped_x0_of_any_kind(kind):
    """Of whatever kind the prediction is, also with the inverse of an ill-conditioned Sigma."""
    steep = sagd.Diffusion(sagd.schedules.linear_beta(), sagd.power_law((4, 4), 3.0))
    draw = functools.partial(
        sagd.sample, jax.random.key(0), diffusion=steep, shape=SHAPE, num_steps=5
    )
    clipped = draw(denoiser=as_kind(kind, steep), clip=(-1, 0.5))
    expected = draw(
        denoiser=of_kind(lambda x, t: jnp.clip(x0_hat(x, t), -1, 0.5), "x0"),
    )
    tolerance = 0.02 if kind in ("score", "white_epsilon") else 1e-3
    np.testing.assert_allclose(clipped, expected, atol=tolerance)
    assert float(clipped.min()) > -1.001 and float(clipped.max()) < 0.501


def test_clipping_on_a_singular_covariance_keeps_what_is_off_its_range():
    start = sagd.sample(jax.random.key(1), lambda x, t: 0 * x, DIFFUSION, SHAPE, num_steps=1)
    covariance = HOLE.covariance
    samples = sagd.sample(
        jax.random.key(0), as_kind("v", HOLE), HOLE, SHAPE, num_steps=4, start=start, clip=(-1, 1)
    )
    alpha = float(HOLE.schedule.alpha(1.0))
    np.testing.assert_allclose(
        samples - covariance.project(samples),
        (start - covariance.project(start)) / alpha,
        rtol=1e-3,
        atol=1e-3 / alpha,
    )
    free = sagd.sample(jax.random.key(0), as_kind("v", HOLE), HOLE, SHAPE, clip=(-1, 1))
    np.testing.assert_allclose(free, covariance.project(free), atol=1e-5)


def test_an_overflow_is_not_clipped_into_a_sample():
    x = sagd.sample(
        jax.random.key(0), lambda x, t: x * jnp.inf, DIFFUSION, SHAPE, num_steps=2, clip=(-1, 1)
    )
    assert not np.isfinite(x).any()


@pytest.mark.parametrize("clip", [3, (1, 2, 3), (0, float("inf")), (1, -1), (float("nan"), 1)])
def test_bounds_that_are_none_are_refused(clip):
    with pytest.raises(ValueError, match=r"clip=.*expected two finite|expected low < high"):
        sagd.sample(jax.random.key(0), as_kind("x0"), DIFFUSION, SHAPE, clip=clip)


def test_a_clipped_denoiser_must_keep_the_shape():
    with pytest.raises(ValueError, match="denoiser: it returned shape"):
        sagd.sample(
            jax.random.key(0), lambda x, t: x[..., :1], DIFFUSION, (2, 4, 4, 3), clip=(-1, 1)
        )
