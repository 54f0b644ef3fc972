"""Fields and digits with a corruption planted in them, and how well it was found."""

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax import data, power_law
from sagd_jax.data import DataConfig, corruptions
from sagd_jax.spectral.half_grid import to_full_grid

ENERGY = 0.05  # of a planted corruption, relative to the data's


def fields(shape, alpha, n, seed=0, channels=1):
    covariance = power_law(shape, alpha)
    return np.asarray(covariance.sample(jax.random.key(seed), (n, *shape, channels)))


def digits():
    source = data.open_source(DataConfig(split="all"))
    return np.asarray(data.normalise(source.fetch(np.arange(1797))["x"], (0, 255)))


def keys(x):
    return corruptions.example_keys(0, jnp.arange(len(x)))


def amplitude(x):
    return float(np.sqrt(ENERGY * x.var()))


def plant(x, covariance):
    return np.asarray(corruptions.shaped_noise(keys(x), x, covariance, amplitude(x)))


def support(covariance):
    return np.asarray(covariance.variance)[..., 0] > 0


def within_one_bin(a, b):
    """Whether each bin of the half-grid set `a` has one of `b` next to it or in its place."""
    return not np.any(a & ~wider(b))


def wider(mask):
    shape = (*mask.shape[:-1], 2 * (mask.shape[-1] - 1))
    full = to_full_grid(mask, shape)
    for axis in range(full.ndim):
        full = full | np.roll(full, 1, axis) | np.roll(full, -1, axis)
    return full[..., : mask.shape[-1]]
