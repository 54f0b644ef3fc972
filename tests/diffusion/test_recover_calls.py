"""What `recover` takes for granted where nothing is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import oracle, recover, schedules

BASIS = sagd.bases.cosine((4,))
N = np.array([0, 0, 1.0, 0]).reshape(4, 1)
DIFFUSION = sagd.Diffusion(
    schedules.capped(schedules.cosine(), sagd.white((4,)), N, basis=BASIS, restoring=True)
)
DATA = oracle.DiagonalGaussian(BASIS, jnp.zeros((4, 1)), jnp.array([[2.0], [0.5], [0.3], [0.1]]))
KEY = jax.random.key(0)
Y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 1)), jnp.float32)


def network(kind):
    """An exact one that does not say what it predicts."""
    own = DATA.denoiser(DIFFUSION.at(kind), "v")
    return lambda x, t: own(x, t)


def test_a_network_that_says_nothing_predicts_v():
    for found, told in (
        (
            recover.finish(network(1), DIFFUSION, Y, 1),
            recover.finish(network(1), DIFFUSION, Y, 1, prediction="v"),
        ),
        (
            recover.restore(KEY, network(2), DIFFUSION, Y, 2),
            recover.restore(KEY, network(2), DIFFUSION, Y, 2, prediction="v"),
        ),
    ):
        np.testing.assert_array_equal(found, told)
    # The Wiener filter, in the corrupted coordinate.
    state = BASIS.forward(recover.restore(KEY, network(2), DIFFUSION, Y, 2))
    np.testing.assert_allclose(state[:, 2], BASIS.forward(Y)[:, 2] * 0.3 / 1.3, rtol=1e-4)


def test_times_are_steps():
    times = np.linspace(1, 0, 6)
    by_times = recover.restore(KEY, network(2), DIFFUSION, Y, 1, times=times)
    counted = recover.restore(KEY, network(2), DIFFUSION, Y, 1, times=times, num_steps=3)
    np.testing.assert_array_equal(by_times, counted)
    assert np.abs(by_times - recover.restore(KEY, network(2), DIFFUSION, Y, 2)).max() > 0.1
    with pytest.raises(ValueError, match=r"times=.*at least two"):
        recover.restore(KEY, network(2), DIFFUSION, Y, 1, times=[1.0])
