import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import schedules

ALL = {
    "linear_beta": schedules.linear_beta(),
    "linear_beta_50": schedules.linear_beta(1e-3, 0.3, num_steps=50),
    "cosine": schedules.cosine(),
    "rectified_flow": schedules.rectified_flow(),
    "edm": schedules.edm(),
    "edm_linear": schedules.edm(sigma_max=10, rho=1),
}
CLIP = 2 * math.acos(1e-2) / math.pi  # cosine: the time from which nothing changes


@pytest.fixture(params=ALL)
def schedule(request):
    return ALL[request.param]


def times(count=200):
    # No knot of the discrete tables, where the derivative jumps.
    return np.linspace(0.0113, 0.9871, count)


# --- Values against independent tables --------------------------------------------------------


@pytest.mark.parametrize("low, high, steps", [(1e-4, 0.02, 1000), (1e-3, 0.3, 50), (0.1, 0.1, 1)])
def test_linear_beta_is_the_discrete_table(low, high, steps):
    alpha_bar = np.cumprod(1 - np.linspace(low, high, steps))
    schedule = schedules.linear_beta(low, high, steps)
    t = (np.arange(steps) + 1) / steps
    np.testing.assert_allclose(schedule.alpha(t), np.sqrt(alpha_bar), rtol=2e-5)
    np.testing.assert_allclose(schedule.sigma(t), np.sqrt(1 - alpha_bar), rtol=2e-5)
    np.testing.assert_allclose(schedule.timestep(t), np.arange(steps), atol=1e-3)
    assert schedule.alpha(0) == 1 and schedule.sigma(0) == 0
    # Between two steps the logarithm of alpha-bar is halfway.
    if steps > 1:
        halfway = np.sqrt(np.sqrt(alpha_bar[10] * alpha_bar[11]))
        np.testing.assert_allclose(schedule.alpha((t[10] + t[11]) / 2), halfway, rtol=1e-5)


def test_cosine():
    t = np.linspace(0, CLIP, 30)
    schedule = schedules.cosine()
    np.testing.assert_allclose(schedule.alpha(t), np.cos(np.pi * t / 2), atol=2e-7)
    np.testing.assert_allclose(schedule.sigma(t), np.sin(np.pi * t / 2), atol=2e-7)
    beyond = np.array([CLIP + 1e-4, 0.999, 1.0])
    np.testing.assert_allclose(schedule.alpha(beyond), 1e-2, rtol=1e-4)
    np.testing.assert_allclose(schedule.sigma(beyond), math.sqrt(1 - 1e-4), rtol=1e-6)


def test_rectified_flow():
    t = np.linspace(0, 1, 11)
    np.testing.assert_allclose(schedules.rectified_flow().alpha(t), 1 - t, atol=1e-7)
    np.testing.assert_allclose(schedules.rectified_flow().sigma(t), t, atol=1e-7)
    assert schedules.rectified_flow().alpha(1.0) == 0


def test_edm_at_uniform_times_is_the_grid_of_its_paper():
    # Karras et al., equation 5, with sigma_min = 0.
    steps = 18
    i = np.arange(steps + 1)
    grid = (80 ** (1 / 7) + i / steps * (0 - 80 ** (1 / 7))) ** 7
    schedule = schedules.edm()
    np.testing.assert_allclose(schedule.sigma(1 - i / steps), grid, rtol=2e-5, atol=1e-12)
    np.testing.assert_array_equal(schedule.alpha(1 - i / steps), 1)


# --- What holds for all -----------------------------------------------------------------------


def test_ranges(schedule):
    t = np.linspace(0, 1, 401)
    alpha, sigma = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))
    log_snr = np.asarray(schedule.log_snr(t))
    assert alpha[0] == 1 and sigma[0] == 0 and log_snr[0] == np.inf
    assert np.all((alpha >= 0) & (alpha <= 1)) and np.all(sigma[1:] > 0)
    assert np.all(np.diff(alpha) <= 0) and np.all(np.diff(sigma) >= 0)
    moving = t[1:] < CLIP if isinstance(schedule, schedules.Cosine) else t[1:] <= 1
    assert np.all(np.diff(log_snr)[moving] < 0)


def test_log_snr_is_that_of_alpha_and_sigma(schedule):
    with jax.enable_x64(True):
        t = times()
        expected = 2 * np.log(np.asarray(schedule.alpha(t)) / np.asarray(schedule.sigma(t)))
        np.testing.assert_allclose(schedule.log_snr(t), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(schedule.log_snr(t), expected, rtol=2e-4, atol=2e-4)


def test_variance_is_preserved_where_it_should_be(schedule):
    if isinstance(schedule, (schedules.LinearBeta, schedules.Cosine)):
        t = times()
        np.testing.assert_allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=1e-6)


def test_time_inverts_log_snr(schedule):
    with jax.enable_x64(True):
        t = times()
        np.testing.assert_allclose(schedule.time(schedule.log_snr(t)), t, rtol=1e-9)
    back = schedule.time(schedule.log_snr(t))
    assert back.dtype == jnp.float32
    np.testing.assert_allclose(back, t, rtol=2e-4)


def test_time_beyond_the_range_is_its_nearest_end(schedule):
    last = CLIP if isinstance(schedule, schedules.Cosine) else 1
    np.testing.assert_allclose(schedule.time(np.array([1e3, -1e3])), [0, last], atol=1e-6)


def test_bisection_finds_the_same_times(schedule):
    # What a schedule of one's own gets that does not know its inverse.
    inside = schedule.log_snr(np.linspace(0.02, 0.98, 25))
    np.testing.assert_allclose(
        schedules.Schedule.time(schedule, inside), schedule.time(inside), atol=2e-5
    )
    ends = schedules.Schedule.time(schedule, jnp.array([1e9, -1e9]))
    assert ends[0] < 1e-6
    # Where a schedule ends by standing still, all of these times are its end.
    np.testing.assert_allclose(schedule.log_snr(ends[1]), schedule.log_snr(1.0), rtol=1e-5)


def test_derivatives_are_those_of_finite_differences(schedule):
    with jax.enable_x64(True):
        t, step = times(), 1e-6
        for function, derivative in (
            (schedule.alpha, schedule.alpha_prime),
            (schedule.sigma, schedule.sigma_prime),
        ):
            difference = (np.asarray(function(t + step)) - function(t - step)) / (2 * step)
            result = np.asarray(derivative(t))
            # A knot of the table between t - step and t + step would be a coincidence: none is.
            np.testing.assert_allclose(result, difference, rtol=1e-5, atol=1e-8)


def test_shapes_and_dtypes(schedule):
    for t in (0.3, jnp.float32(0.3), jnp.full((4,), 0.3), jnp.full((2, 3), 0.3)):
        for name in ("alpha", "sigma", "log_snr", "alpha_prime", "sigma_prime", "timestep"):
            result = getattr(schedule, name)(t)
            assert result.shape == jnp.shape(t) and result.dtype == jnp.float32, name
    assert schedule.alpha(1).dtype == jnp.float32  # a whole number is a time too


def test_schedules_are_static_and_compare_by_value(schedule):
    with pytest.raises(AttributeError):
        schedule.beta_min = 1.0
    assert hash(schedule) == hash(schedule)
    assert schedules.edm(80, 7) == schedules.edm() != schedules.edm(70)
    value = jax.jit(lambda s, t: s.alpha(t), static_argnums=0)(schedule, 0.3)
    np.testing.assert_allclose(value, schedule.alpha(0.3), rtol=1e-6)


def test_the_timestep_of_a_continuous_schedule_counts_to_a_thousand():
    assert sagd.schedules.cosine().timestep(1.0) == 999
    assert sagd.schedules.linear_beta(num_steps=50).timestep(1.0) == 49


def test_a_schedule_without_its_functions_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        schedules.Schedule()


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: schedules.linear_beta(0, 0.02), "beta_min=0"),
        (lambda: schedules.linear_beta(0.03, 0.02), "beta_min=0.03, beta_max=0.02"),
        (lambda: schedules.linear_beta(1e-4, 1.0), "beta_max=1.0"),
        (lambda: schedules.linear_beta(num_steps=0), "num_steps=0"),
        (lambda: schedules.linear_beta(num_steps=10.5), "num_steps=10.5"),
        (lambda: schedules.edm(sigma_max=0), "sigma_max=0"),
        (lambda: schedules.edm(sigma_max=float("inf")), "sigma_max=inf"),
        (lambda: schedules.edm(rho=0.5), "rho=0.5"),
        (lambda: schedules.edm(rho=float("nan")), "rho=nan"),
    ],
)
def test_bad_arguments_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
