"""Properties that hold for every shape, spectrum, schedule and prediction."""

import dense
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import sagd_jax as sagd
from sagd_jax.diffusion.process import NEEDS_ALPHA, PREDICTIONS
from sagd_jax.spectral.half_grid import conjugate, half_grid_shape

# Compilation of a new shape takes most of the time: few examples, no deadline.
few = settings(max_examples=15, deadline=None, derandomize=True, database=None)
many = settings(few, max_examples=100)

shapes = st.one_of(
    st.tuples(st.integers(1, 12)),
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)),
)
schedules = st.one_of(
    st.just(sagd.schedules.linear_beta()),
    st.just(sagd.schedules.cosine()),
    st.just(sagd.schedules.rectified_flow()),
    st.builds(sagd.schedules.edm, st.floats(1.0, 100.0), st.floats(1.0, 8.0)),
    st.builds(
        sagd.schedules.linear_beta,
        st.floats(1e-5, 1e-3),
        st.floats(1e-2, 0.1),
        st.integers(20, 2000),
    ),
)


@st.composite
def covariances(draw, shape=None, zeros=True):
    """Any valid spectrum: random powers over three decades, and holes."""
    shape = draw(shapes) if shape is None else shape
    channels = draw(st.sampled_from([1, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = 10 ** rng.uniform(-1.5, 1.5, (*half_grid_shape(shape), channels))
    values = np.sqrt(values * conjugate(values, shape))
    if zeros:
        keep = rng.random(values.shape) < draw(st.sampled_from([1.0, 0.7]))
        values = values * (keep & conjugate(keep, shape))
        assume(values.any())
    return sagd.from_variance(values, shape)


@pytest.mark.thorough
@few
@given(covariance=covariances(), seed=st.integers(0, 2**32 - 1))
def test_operators_act_on_each_frequency_alone(covariance, seed):
    shape = covariance.spatial_shape
    x = np.random.default_rng(seed).normal(size=(*shape, 2)).astype(np.float32)
    full = dense.full_grid(covariance.variance, shape)
    np.testing.assert_allclose(np.mean(full), 1, rtol=1e-5)
    for name, function in (
        ("apply", lambda v: v),
        ("sqrt", np.sqrt),
        ("pinv", lambda v: 1 / v),
        ("pinv_sqrt", lambda v: 1 / np.sqrt(v)),
        ("project", np.ones_like),
    ):
        gain = dense.on_support(full, function)
        expected = dense.spectral_filter(np.float64(x), np.broadcast_to(gain, x.shape))
        tolerance = 1e-5 * max(1, np.abs(expected).max())
        np.testing.assert_allclose(getattr(covariance, name)(x), expected, atol=tolerance)
    channels = covariance.variance.shape[-1]
    assert covariance.rank(channels) == np.sum(full > 0)
    log_det = np.sum(dense.on_support(full, np.log))
    np.testing.assert_allclose(covariance.log_det(channels), log_det, rtol=1e-4, atol=1e-4)


@few
@given(shape=shapes, alpha=st.floats(-1.0, 1.0), dc=st.sampled_from(["nearest", "unit"]))
def test_power_laws_of_opposite_slope_are_inverse(shape, alpha, dc):
    up, down = (sagd.power_law(shape, a, dc=dc).variance for a in (alpha, -alpha))
    product = np.float64(up) * np.float64(down)
    np.testing.assert_allclose(product, product.flat[0], rtol=1e-4)


@few
@given(
    shape=shapes,
    low=st.floats(0, 0.9),
    width=st.floats(0.05, 1),
    unit=st.sampled_from(["max", "cycles"]),
)
def test_a_band_and_its_complement_partition_the_grid(shape, low, width, unit):
    radius = sagd.radial_frequency(shape, unit)
    high = low + width
    inside = (radius >= low) & ((radius < high) | (high >= radius.max()))
    if not inside.any():
        with pytest.raises(ValueError, match="holds no frequency"):
            sagd.band_pass(shape, [(low, high)], unit)
        return
    band = sagd.band_pass(shape, [(low, high)], unit)
    np.testing.assert_array_equal(np.asarray(band.variance[..., 0]) > 0, inside)
    x = np.random.default_rng(0).normal(size=(*shape, 1)).astype(np.float32)
    rest = x - band.project(x)
    if inside.all():
        np.testing.assert_array_equal(rest, 0)
    else:
        complement = sagd.from_variance(~inside, shape)
        np.testing.assert_allclose(rest, complement.project(x), atol=1e-5)


@few
@given(schedule=schedules, t=st.floats(1e-3, 0.99))
def test_schedules_are_monotonic_and_invertible(schedule, t):
    later = t + 0.005
    assert schedule.alpha(later) <= schedule.alpha(t) <= 1
    assert schedule.sigma(later) >= schedule.sigma(t) >= 0
    log_snr = schedule.log_snr(t)
    assume(np.isfinite(log_snr))
    np.testing.assert_allclose(schedule.time(log_snr), t, rtol=2e-3, atol=2e-6)


@many
@given(
    schedule=schedules,
    covariance=covariances(shape=(4, 5), zeros=False),
    t=st.floats(1e-3, 1.0),
    source=st.sampled_from(PREDICTIONS),
    target=st.sampled_from(PREDICTIONS),
    seed=st.integers(0, 2**32 - 1),
)
def test_conversions_return_where_alpha_and_sigma_are_not_tiny(
    schedule, covariance, t, source, target, seed
):
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    assume(alpha >= 1e-3 and sigma >= 1e-3)
    diffusion = sagd.Diffusion(schedule, covariance)
    rng = np.random.default_rng(seed)
    x0 = rng.normal(size=(1, 4, 5, 2)).astype(np.float32)
    noise = covariance.sqrt(rng.normal(size=x0.shape).astype(np.float32))
    x_t = alpha * x0 + sigma * noise
    truth = {kind: diffusion.target(jnp.asarray(x0), noise, t, kind) for kind in (source, target)}
    there = diffusion.convert(truth[source], x_t, t, source, target)
    back = diffusion.convert(there, x_t, t, target, source)
    # What float32 leaves: its rounding of x_t is magnified by 1 / alpha in x_0, 1 / sigma in e, and
    # by Sigma^+ where the noise is weakest.
    magnified = max(1, sigma / alpha, alpha / sigma, 1 / alpha, 1 / sigma)
    if {source, target} & {"score", "white_epsilon"}:
        magnified *= float(covariance.variance.max() / covariance.variance.min())
    for result, kind in ((there, target), (back, source)):
        scale = float(jnp.abs(truth[kind]).max()) + 1
        limit = 2e-6 * magnified * scale
        assert float(jnp.abs(result - truth[kind]).max()) <= limit, kind


@few
@given(schedule=schedules, t=st.floats(0.01, 1.0), ratio=st.floats(0.0, 0.99))
def test_the_posterior_keeps_the_marginal(schedule, t, ratio):
    """Drawing x_t given x_0 and then x_s from the posterior gives alpha_s and sigma_s."""
    s = t * ratio
    diffusion = sagd.Diffusion(schedule, sagd.white((1,)))
    one, zero = jnp.ones((1, 1, 1)), jnp.zeros((1, 1, 1))
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    assume(sigma > 1e-4)
    of_data = float(diffusion.posterior(one, alpha * one, s, t)[0][0, 0, 0])
    mean, scale = diffusion.posterior(zero, sigma * one, s, t)
    np.testing.assert_allclose(of_data, schedule.alpha(s), rtol=1e-4, atol=1e-5)
    variance = float(mean[0, 0, 0]) ** 2 + float(jnp.squeeze(scale)) ** 2
    np.testing.assert_allclose(variance, float(schedule.sigma(s)) ** 2, rtol=1e-3, atol=1e-6)


@few
@given(schedule=schedules, source=st.sampled_from(NEEDS_ALPHA))
def test_noise_at_alpha_zero_is_an_error_exactly_where_alpha_is_zero(schedule, source):
    diffusion = sagd.Diffusion(schedule, sagd.white((3,)))
    x = jnp.ones((1, 3, 1))
    if float(schedule.alpha(1.0)) == 0:
        with pytest.raises(ValueError, match="x0, v or velocity"):
            diffusion.predict(x, x, 1.0, source)
    else:
        assert np.all(np.isfinite(diffusion.predict(x, x, 1.0, source)[0]))
