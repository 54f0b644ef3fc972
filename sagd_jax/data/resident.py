"""Sets that lie on the devices: the host says which examples, the compiled step picks and augments them.

A batch is then a few bytes per example, so that neither the one thread that makes batches of a set in memory
nor the way to the devices holds up a fast step. What `gather` makes of the rows of a `Resident` is what
`Source.fetch` would have made on the host, bit for bit: the order, the flips and the crops are hashed on the
host in either case (`order.py`, `augment.py`), and only copied values move.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

MIRRORED, CORNER = "mirrored", "corner"
CHOICES = (MIRRORED, CORNER)  # what may come with a batch of rows


def gather(
    examples: jax.Array | np.ndarray,
    chosen: Mapping[str, jax.Array | np.ndarray],
    axes: Sequence[int] = (),
    padding: int = 0,
) -> dict[str, jax.Array]:
    """The batches that rows of a set name, to be traced.

    Args:
      examples: of a `Resident`, where they lie.
      chosen: of its `rows`, with any axes in front, as of several batches. `"mirrored"`, `(b,)` bool, and
        `"corner"`, `(b, axes)` int32, say what is done to each example.
      axes, padding: its own.

    Returns:
      What the source of the set would have fetched.

    >>> from sagd_jax.data import ArraySource
    >>> source = ArraySource(np.arange(20, dtype=np.uint8).reshape(5, 4, 1), value_range=(0, 255))
    >>> resident = source.resident()
    >>> chosen = resident.rows.fetch(np.array([4, 0]))
    >>> gather(resident.examples, chosen)["x"][..., 0].tolist()
    [[16, 17, 18, 19], [0, 1, 2, 3]]
    """
    batch = {name: jnp.asarray(value) for name, value in chosen.items()}
    x = jnp.asarray(examples)[batch["x"]]
    if CORNER in batch:
        x = _cropped(x, batch.pop(CORNER), examples.shape[1:], axes, padding)
    if MIRRORED in batch:
        mirrored = batch.pop(MIRRORED)
        mirrored = mirrored.reshape(mirrored.shape + (1,) * (examples.ndim - 1))
        x = jnp.where(mirrored, jnp.flip(x, -2), x)
    return {**batch, "x": x}


def _cropped(
    x: jax.Array, corners: jax.Array, shape: Sequence[int], axes: Sequence[int], padding: int
) -> jax.Array:
    around = [(padding,) * 2 if i in axes else (0, 0) for i in range(len(shape))]

    def crop(example: jax.Array, corner: jax.Array) -> jax.Array:
        starts = [0] * len(shape)
        for axis, start in zip(axes, corner, strict=True):
            starts[axis] = start
        return jax.lax.dynamic_slice(jnp.pad(example, around, mode="reflect"), starts, shape)

    for _ in range(corners.ndim - 1):
        crop = jax.vmap(crop)
    return crop(x, corners)
