"""Velocities of processes with a coefficient per coordinate: read where they tell, refused in words elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import oracle, schedules
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

BASIS = sagd.bases.cosine((4,))
ONES = jnp.ones((4, 1))


def draw(schedule, denoiser, prediction, num_steps):
    process = sagd.Diffusion(schedule)
    return sagd.sample(
        jax.random.key(0), denoiser, process, (2, 4, 1), prediction=prediction, num_steps=num_steps
    )


@pytest.mark.parametrize("num_steps", [2, 3, 10, 50])
@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (schedules.shortest_path([2.0, 0.5, 0.3, 0.1], BASIS), "alpha' is infinite at t = 1"),
        (
            schedules.capped(schedules.rectified_flow(), sagd.white((4,)), [[0, 0, 1.0, 0]]).at(1),
            "a coordinate stands still",
        ),
        (
            schedules.hierarchical(schedules.rectified_flow(), [0, 1, 2, 3], 1.0, BASIS),
            "a coordinate stands still",
        ),
    ],
    ids=["shortest path", "capped", "hierarchical"],
)
def test_it_is_refused_on_every_grid(schedule, words, num_steps):
    with pytest.raises(ValueError, match=words) as raised:
        draw(schedule, lambda x, t: x, "velocity", num_steps)
    assert "\n" not in str(raised.value) and "v or x0" in str(raised.value)


def test_moving_noise_on_a_straight_path_has_one():
    start, end = sagd.power_law((4,), 0.5), sagd.white((4,))
    schedule = schedules.moving(schedules.rectified_flow(), start, end)
    here = np.asarray(start.coefficients(schedule.basis))
    for t in (0.0, 0.4, 1.0):
        spectrum = (1 - t) * here + t
        slope = np.sqrt(spectrum) + t * (1 - here) / (2 * np.sqrt(spectrum))
        np.testing.assert_allclose(schedule.sigma(t), t * np.sqrt(spectrum), rtol=1e-5)
        np.testing.assert_allclose(schedule.sigma_prime(t), slope, rtol=1e-5)
    data = oracle.DiagonalGaussian(schedule.basis, 0 * ONES, ONES)
    process = sagd.Diffusion(schedule)
    by = {k: draw(schedule, data.denoiser(process, k), k, 20) for k in ("v", "velocity")}
    np.testing.assert_allclose(by["velocity"], by["v"], atol=1e-4)


def test_training_is_refused_before_it_begins():
    config = schema.build(RunConfig, {"model": {"prediction": "velocity"}})
    path = schedules.shortest_path([2.0, 0.5, 0.3, 0.1], BASIS)
    with pytest.raises(
        ConfigError, match=r"config.model.prediction='velocity'.*alpha' is infinite"
    ):
        build.check_kinds(config, path)
    build.check_kinds(config, schedules.shifted(schedules.rectified_flow(), ONES, BASIS))


def test_a_schedule_of_one_coefficient_needs_a_covariance():
    with pytest.raises(ValueError, match=r"covariance: Cosine.*expected a covariance"):
        sagd.Diffusion(schedules.cosine())
