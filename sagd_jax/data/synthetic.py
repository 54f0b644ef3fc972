"""Gaussian fields with a known power-law spectrum, for tests and for trying things out.

Example i is a draw of `power_law(spatial_shape, alpha)` (amplitude r^alpha, power r^(2 alpha)), of
unit variance per site on average, keyed by `fold_in(key(field_seed), i)`. Its values are unbounded:
the declared range (-4, 4) means four standard deviations, so the network sees fields of standard
deviation 1/4, and values beyond map outside [-1, 1]; nothing is clipped. The split `test` holds
as many further examples, with indices after those of `train`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.source import ArraySource, DataError, Options
from sagd_jax.spectral import spectra
from sagd_jax.system.host import on_host
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import LARGEST_SEED, field

VALUE_RANGE = (-4.0, 4.0)


def load_synthetic(config: Options) -> ArraySource:
    """The source `synthetic`; raises DataError for an unknown split or shape."""
    if config.split not in ("train", "test"):
        raise DataError(f"data.split={config.split!r}: synthetic has the splits 'train', 'test'")
    try:
        covariance = spectra.power_law(config.field_shape, config.field_alpha)
    except ValueError as error:
        raise DataError(f"data.field_shape, data.field_alpha: {error}") from None
    shape = (*config.field_shape, config.channels or 1)
    first = 0 if config.split == "train" else config.num_examples

    @jax.jit
    def draw(indices):
        key = jax.random.key(config.field_seed)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(indices)
        return covariance.sample(keys, shape)

    # In pieces of one size, so that one compilation serves and memory stays bounded.
    piece = min(256, config.num_examples)
    x = np.empty((config.num_examples, *shape), np.float32)
    with on_host():
        for start in range(0, config.num_examples, piece):
            stop = min(start + piece, config.num_examples)
            x[start:stop] = draw(first + start + jnp.arange(piece))[: stop - start]
    return ArraySource(x, value_range=VALUE_RANGE, kind="field")


SOURCE = kind(
    load_synthetic,
    split=fields.SPLIT,
    channels=fields.CHANNELS,
    field_shape=field((32, 32), "spatial shape of synthetic fields", low=1, hint=tuple[int, ...]),
    field_alpha=field(-1.0, "slope of their amplitude, r^alpha"),
    field_seed=field(0, "seed of the set of fields", low=0, high=LARGEST_SEED),
    num_examples=field(4096, "number of synthetic fields", low=1),
)
