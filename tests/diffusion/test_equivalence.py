"""Equation (12): for an invertible Sigma, anisotropic diffusion of x is isotropic diffusion of
z = Sigma^{-1/2} x, with the network xi(z) = Sigma^{-1/2} e_theta(Sigma^{1/2} z) and an l2 loss
whose frequencies are weighted by lambda.
"""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion.sampling import sample

SHAPE = (5, 6)
COLOURED = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law(SHAPE, alpha=-0.7))
ISOTROPIC = sagd.Diffusion(sagd.schedules.cosine(), sagd.white(SHAPE))


def network(x, t):
    weights = jnp.cos(jnp.arange(x[0].size, dtype=x.dtype)).reshape(x.shape[1:])
    return 0.6 * x + 0.4 * jnp.tanh(weights * x + t.reshape(-1, 1, 1, 1))


def whitened_network(z, t):
    covariance = COLOURED.covariance
    return covariance.pinv_sqrt(network(covariance.sqrt(z), t))


def test_losses_from_equal_draws_are_equal():
    rng = np.random.default_rng(0)
    x0 = jnp.asarray(rng.normal(size=(8, *SHAPE, 3)), jnp.float32)
    t = jnp.asarray(rng.uniform(0.02, 1, 8), jnp.float32)
    key = jax.random.key(3)
    x_t, noise = COLOURED.diffuse(key, x0, t)
    loss = np.sum(np.square(noise - network(x_t, t)), axis=(1, 2, 3))

    z0 = COLOURED.covariance.pinv_sqrt(x0)
    z_t, white = ISOTROPIC.diffuse(key, z0, t)
    np.testing.assert_allclose(z_t, COLOURED.covariance.pinv_sqrt(x_t), atol=1e-5)
    power = dense.power(white - whitened_network(z_t, t), (1, 2))
    weighted = np.sum(power * dense.full_grid(COLOURED.covariance.variance, SHAPE), axis=(1, 2, 3))
    np.testing.assert_allclose(loss, weighted, rtol=1e-5)
    assert np.max(np.abs(np.sum(power, axis=(1, 2, 3)) / loss - 1)) > 0.1  # the weights matter


@pytest.mark.parametrize("method", ["ddpm", "dpmpp_2m", "sde", "pc"])
def test_samples_from_equal_keys_are_equal(method):
    settings = {"method": method, "num_steps": 8, "churn": 4.0 if method == "sde" else 0.0}
    arguments = (jax.random.key(1), network, COLOURED, (3, *SHAPE, 1))
    x = sample(*arguments, prediction="v", **settings)
    z = sample(
        jax.random.key(1), whitened_network, ISOTROPIC, (3, *SHAPE, 1), prediction="v", **settings
    )
    np.testing.assert_allclose(COLOURED.covariance.sqrt(z), x, rtol=1e-4, atol=1e-4)
