"""Devices: one mesh with two named axes, and the rule by which arrays are laid over it.

The mesh has the axes `data` and `fsdp`. A batch is split over both, so every device works on its
own examples. A parameter (and its average and its optimiser moments, which have its shape) is split
over `fsdp` along its largest dimension that this axis divides, and replicated over `data`; small
ones are replicated whole, since a gather would cost more than the memory. With `fsdp = 1` this is
plain data parallelism.

The compiler does the rest from these layouts: with `Auto` axes it inserts the gradient reductions
and the gathers and scatters of the parameters. (`Explicit` axes, the default of `jax.make_mesh`,
refuse convolutions with split kernels.)
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sagd_jax.run.config import MeshConfig
from sagd_jax.system.schema import ConfigError

BATCH_AXES = ("data", "fsdp")
SMALLEST_SPLIT = 2**14  # entries; below this a parameter is replicated


def make_mesh(config: MeshConfig, batch_size: int, accumulate: int = 1) -> Mesh:
    """The mesh of `config.mesh` over all devices of all processes.

    Raises:
      ConfigError: if the axes do not fill the devices, or the batch does not divide over them.
    """
    devices = jax.device_count()
    data = devices // config.fsdp if config.data == -1 else config.data
    if data < 1 or data * config.fsdp != devices:
        raise ConfigError(
            f"config.mesh: data={config.data} x fsdp={config.fsdp} does not make the {devices} "
            "devices there are; use data=-1 and an fsdp that divides them"
        )
    if batch_size % (devices * accumulate):
        parts = "" if accumulate == 1 else f" times config.train.accumulate={accumulate}"
        raise ConfigError(
            f"config.train.batch_size={batch_size}: expected a multiple of the {devices} devices"
            + parts
        )
    return jax.make_mesh((data, config.fsdp), BATCH_AXES, axis_types=(AxisType.Auto,) * 2)


def local_mesh(fsdp: int = 1) -> Mesh:
    """A mesh over the devices of this process alone, for work in which processes do not meet."""
    devices = jax.local_devices()
    if len(devices) % fsdp:
        raise ConfigError(f"--fsdp={fsdp}: expected a divisor of the {len(devices)} devices here")
    grid = np.asarray(devices).reshape(-1, fsdp)
    return Mesh(grid, BATCH_AXES, axis_types=(AxisType.Auto,) * 2)


def whole_mesh() -> Mesh:
    """All devices of all processes, for a batch alone."""
    return make_mesh(MeshConfig(), jax.device_count())


def rounded_up(count: int, mesh: Mesh) -> int:
    """The smallest batch of at least `count` rows that divides over the devices of `mesh`."""
    return -(-count // mesh.size) * mesh.size


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """Splits the batch axis, the one after `leading` others, over the whole mesh."""
    return NamedSharding(mesh, PartitionSpec(*(None,) * leading, BATCH_AXES))


def local_rows(sharding: NamedSharding, batch_size: int) -> slice:
    """The rows of a batch that this process' devices hold; the batch is the last sharded axis."""
    axis = len(sharding.spec) - 1
    shape = (1,) * axis + (batch_size,)
    shards = sharding.addressable_devices_indices_map(shape).values()
    bounds = [index[axis].indices(batch_size)[:2] for index in shards if index is not None]
    return slice(min(low for low, _ in bounds), max(high for _, high in bounds))


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def everywhere(values: np.ndarray, mesh: Mesh) -> jax.Array:
    """An array that each process has, whole on every device; nothing is sent between processes."""
    return jax.make_array_from_callback(
        values.shape, replicated(mesh), lambda index: values[index], dtype=values.dtype
    )


def with_layout(state: Any, mesh: Mesh) -> Any:
    """The shapes of a training state, or a part of it, each with its sharding by the rule above."""

    def place(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, _split(leaf.shape, mesh))
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(place, state)


def gathered(params: Any) -> Any:
    """The parameters whole on every device, under the mesh set as context.

    Left alone, the compiler may move activations between devices instead, to multiply them with the
    part of a kernel that lies there; that takes all-to-alls in every layer.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.shape.get("fsdp", 1) == 1:
        return params
    return jax.lax.with_sharding_constraint(params, PartitionSpec())


def _split(shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    size = mesh.shape["fsdp"]
    if size == 1 or np.prod(shape, dtype=np.int64) < SMALLEST_SPLIT:
        return PartitionSpec()
    candidates = [(n, axis) for axis, n in enumerate(shape) if n % size == 0]
    if not candidates:
        return PartitionSpec()
    _, axis = max(candidates)
    return PartitionSpec(*("fsdp" if i == axis else None for i in range(axis + 1)))
