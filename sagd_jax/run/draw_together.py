"""Samples of several runs by one program: their weights and processes stacked, the draw mapped over them.

Sample i of each is what `Drawer` draws, to rounding: the noise behind it is that of (seed, i), one draw for
all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagd_jax.diffusion.samplers import Sampler
from sagd_jax.models.layers import by_patches
from sagd_jax.run import stacks
from sagd_jax.run.draw import draw_function, sampled_kind
from sagd_jax.run.saved import Run

_AT_ONCE = 1 << 21  # values of samples in one batch: bounds the memory


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What is drawn of a run.

    Attributes:
      sampler, num_steps, times, seed, clip: as of `Drawer`.
      count: samples, from the first one on.
    """

    run: Run
    sampler: Sampler
    num_steps: int
    times: np.ndarray | None
    count: int
    seed: int
    clip: bool


def groups(asked: Sequence[Drawn]) -> list[list[int]]:
    """The indices of those that are one program."""
    return stacks.groups(range(len(asked)), lambda index: _kind(asked[index]))


def draw(group: Sequence[Drawn], mesh: Mesh) -> Iterator[np.ndarray | None]:
    """The samples of each of one group, `(count, *shape)`, in the data's own range and dtype.

    Those of a run may be not finite; None stands for them.
    """
    first = group[0]
    record, classes = first.run.record, first.run.model.num_classes
    size = max(1, _AT_ONCE // (len(group) * int(np.prod(record.data.shape))))
    size = min(size, first.count)
    function = draw_function(
        record,
        first.run.model,
        mesh,
        size,
        sampler=first.sampler,
        num_steps=first.num_steps,
        times=first.times,
        clip=first.clip,
        returns="watched",
        kind=sampled_kind(first.run.diffusion),
    )

    structure = jax.tree.structure(first.run.diffusion)

    def one(params: Any, leaves: Any, key: jax.Array, offset: jax.Array, label: jax.Array) -> Any:
        return function(params, jax.tree.unflatten(structure, leaves), key, offset, label)

    def all_of_them(params: Any, processes: Any, *common: jax.Array) -> Any:
        with by_patches():
            return jax.vmap(one, in_axes=(0, 0, None, None, None))(params, processes, *common)

    compiled = jax.jit(all_of_them)
    params = stacks.stacked([one.run.params for one in group])
    # Leaves alone: stacked, they are no process.
    processes = stacks.stacked([jax.tree.leaves(one.run.diffusion) for one in group])
    key = jax.random.key(first.seed)
    parts = []
    with jax.set_mesh(mesh):
        for begin in range(0, first.count, size):
            label = (
                np.arange(begin, begin + size) % max(classes, 1) if classes else np.full(size, -1)
            )
            raw, finite, _ = compiled(
                params, processes, key, jnp.int32(begin), jnp.asarray(label, jnp.int32)
            )
            parts.append((np.asarray(raw), np.asarray(finite)))
    for i in range(len(group)):
        samples = np.concatenate([raw[i] for raw, _ in parts])[: first.count]
        whole = np.concatenate([finite[i] for _, finite in parts])[: first.count].all()
        yield samples if whole else None


def _kind(one: Drawn) -> Any:
    """What all of a group have in common; to be compared, not hashed."""
    leaves, structure = jax.tree.flatten(one.run.diffusion)
    return (
        structure,
        [np.shape(leaf) for leaf in leaves],
        jax.tree.map(np.shape, one.run.params),
        one.run.model,
        one.run.config.model,
        one.run.record.data.shape,
        one.run.record.data.value_range,
        one.sampler,
        one.num_steps,
        None if one.times is None else tuple(map(float, one.times)),
        one.count,
        one.seed,
        one.clip,
    )
