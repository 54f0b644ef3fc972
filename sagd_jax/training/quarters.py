"""The loss by quarter of t: summed in the step, averaged for the log, and put in words.

Which times a network has learned shows far earlier in four numbers than in one.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

QUARTERS = 4
SUMS = ("quarter_loss", "quarter_count")
_NAMES = tuple(f"loss_t{i + 1}of{QUARTERS}" for i in range(QUARTERS))


def sums(per_example: jax.Array, t: jax.Array) -> dict[str, jax.Array]:
    """Of losses at times t in (0, 1], both `(batch,)`: their sum and number in each quarter."""
    quarter = jax.nn.one_hot(jnp.ceil(t * QUARTERS).astype(int) - 1, QUARTERS)
    return {"quarter_loss": per_example @ quarter, "quarter_count": jnp.sum(quarter, axis=0)}


def means(stacked: Mapping[str, np.ndarray]) -> dict[str, float]:
    """From the sums of several steps, `(steps, 4)` each; NaN where a quarter has no example.

    Nothing for an objective that does not report them.
    """
    if not set(SUMS) <= stacked.keys():
        return {}
    with np.errstate(invalid="ignore"):
        values = stacked["quarter_loss"].sum(axis=0) / stacked["quarter_count"].sum(axis=0)
    return dict(zip(_NAMES, map(float, values), strict=True))


def words(values: Mapping[str, float]) -> list[str]:
    """For the log line, if there are any."""
    if not set(_NAMES) <= values.keys():
        return []
    return ["by quarter of t " + " ".join(f"{values[name]:.3f}" for name in _NAMES)]
