"""Sets that lie on the devices: the host says which examples, the compiled step picks and augments them.

A batch is then a few bytes per example, so that neither the one thread that makes batches of a set in memory
nor the way to the devices holds up a fast step. What `Resident.gather` makes is what `Source.fetch` would
have made on the host, bit for bit: the order, the flips and the crops are hashed on the host in either case
(`order.py`, `augment.py`), and only copied values move.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import Source

MIRRORED, CORNER = "mirrored", "corner"
CHOICES = (MIRRORED, CORNER)  # what may come with a batch of rows


@dataclasses.dataclass(frozen=True)
class Resident:
    """All examples of a set, and how batches of them are chosen.

    Attributes:
      examples: `(n, *shape)`, values as `fetch` has them.
      rows: a source of the same batches, with places in `examples`, `(b,)` int32, for `"x"`; where they are
        augmented `"mirrored"`, `(b,)` bool, and `"corner"`, `(b, axes)` int32, say how.
      axes: which of `shape` are cropped.
      padding: by how much these are padded on each side before.

    >>> from sagd_jax.data import ArraySource
    >>> source = ArraySource(np.arange(20, dtype=np.uint8).reshape(5, 4, 1), value_range=(0, 255))
    >>> resident = source.resident()
    >>> chosen = resident.rows.fetch(np.array([4, 0]))
    >>> resident.gather(resident.examples, chosen)["x"][..., 0].tolist()
    [[16, 17, 18, 19], [0, 1, 2, 3]]
    """

    examples: np.ndarray
    rows: Source
    axes: tuple[int, ...] = ()
    padding: int = 0

    def gather(
        self, examples: jax.Array, chosen: dict[str, jax.Array | np.ndarray]
    ) -> dict[str, jax.Array]:
        """The batches that `chosen` names, to be traced.

        Args:
          examples: the attribute, where it lies.
          chosen: of `rows`, with any axes in front, as of several batches.

        Returns:
          What the source would have fetched.
        """
        batch = {name: jnp.asarray(value) for name, value in chosen.items()}
        x = jnp.asarray(examples)[batch["x"]]
        if CORNER in batch:
            x = self._crop(x, batch.pop(CORNER))
        if MIRRORED in batch:
            mirrored = batch.pop(MIRRORED)
            mirrored = mirrored.reshape(mirrored.shape + (1,) * (examples.ndim - 1))
            x = jnp.where(mirrored, jnp.flip(x, -2), x)
        return {**batch, "x": x}

    def _crop(self, x: jax.Array, corners: jax.Array) -> jax.Array:
        shape = self.examples.shape[1:]
        around = [(self.padding,) * 2 if i in self.axes else (0, 0) for i in range(len(shape))]

        def crop(example: jax.Array, corner: jax.Array) -> jax.Array:
            starts = [0] * len(shape)
            for axis, start in zip(self.axes, corner, strict=True):
                starts[axis] = start
            return jax.lax.dynamic_slice(jnp.pad(example, around, mode="reflect"), starts, shape)

        for _ in range(corners.ndim - 1):
            crop = jax.vmap(crop)
        return crop(x, corners)
