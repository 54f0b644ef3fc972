"""Reading one verified checkpoint: its record, its small arrays, and the pytrees that are asked for.

Everything is compared with what is expected before a byte of an array is read, and nothing is cast,
padded or dropped. Which checkpoint to read, and that its files are what was written, is decided in
`checkpoints.py` and `integrity.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import SingleDeviceSharding

from sagd_jax.run.items import MAX_ARRAYS_BYTES, RESERVED, PyTree, leaf_name
from sagd_jax.system import errors
from sagd_jax.system.errors import ForPeople

_LARGEST_COMPRESSION = 1000  # of weights and moments that were trained at all


class CheckpointError(ForPeople, RuntimeError):
    """A checkpoint could not be saved, or those present cannot be used; the message is one line."""


class NoCheckpointError(ForPeople, FileNotFoundError):
    """Nothing was ever saved here: the one case in which starting afresh loses nothing."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint, as returned by `Checkpoints.open`.

    Attributes:
      step: the training step.
      path: its directory.
      record: the JSON data given to `save`.
      arrays: the small NumPy arrays given to `save`.
    """

    step: int
    path: epath.Path
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def restore(
        self,
        abstract: Mapping[str, PyTree],
        *,
        finite: Collection[str] = ("params", "ema"),
    ) -> dict[str, PyTree]:
        """Reads some of the pytrees, onto whatever devices the templates ask for.

        Structure, shapes and dtypes are compared with what is stored before any array is read;
        nothing is cast, padded or dropped.

        Args:
          abstract: for each name to read, a pytree like the one saved. Leaves are
            `jax.ShapeDtypeStruct` or arrays; a leaf's sharding says where it goes, for any number
            of devices; without one it goes to the first local device. NumPy leaves stay NumPy.
          finite: names whose floating-point leaves must hold no NaN or infinity.

        Returns:
          The pytrees by name, in the structure of `abstract`.

        Raises:
          CheckpointError: an item is not stored, does not match its template, holds non-finite
            values, or cannot be read. Names the first leaf concerned.

        Example::

          ema = saved.restore({"ema": jax.eval_shape(init)})["ema"]
        """
        targets = {name: jax.tree.map(_target, tree) for name, tree in abstract.items()}
        restored = {}
        with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
            for name, target in targets.items():
                _check_matches(name, target, self._stored(handler, name))
                _check_size(self.path / name, target)
            for name, target in targets.items():
                try:
                    args = ocp.args.StandardRestore(target)
                    restored[name] = handler.restore(self.path / name, args=args)
                except Exception as error:
                    raise unreadable(self.path / name, error) from error
        for name in restored:
            if name in finite:
                check_finite(name, restored[name])
        return restored

    def _stored(self, handler: ocp.StandardCheckpointHandler, name: str) -> PyTree:
        found = {path.parent.name for path in self.path.glob("*/_METADATA")} - set(RESERVED)
        if name not in found:
            raise CheckpointError(f"{self.path} has no item {name!r}; it has {sorted(found)}")
        try:
            return handler.metadata(self.path / name).tree
        except Exception as error:
            raise unreadable(self.path / name, error) from error


def check_finite(name: str, tree: PyTree) -> None:
    """Raises if a floating-point leaf of `tree` holds a NaN or an infinity.

    Args:
      name: what to call the tree in the message.
      tree: pytree of arrays of any shapes, sharded in any way.

    Raises:
      CheckpointError: names the first such leaf.

    Example::

      check_finite("params", params)
    """
    # One compiled call for all leaves on the same devices; a call per leaf would compile each.
    groups: dict[Any, list[tuple[str, Any]]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        on_device = isinstance(leaf, jax.Array)
        devices = frozenset(leaf.sharding.device_set) if on_device else None
        leaf = leaf if on_device else np.asarray(leaf)
        if jax.dtypes.issubdtype(leaf.dtype, np.inexact):
            groups.setdefault(devices, []).append((leaf_name(path), leaf))
    for devices, group in groups.items():
        leaves = [leaf for _, leaf in group]
        flags = _finite_flags(leaves) if devices else [np.isfinite(x).all() for x in leaves]
        for (where, _), flag in zip(group, flags, strict=True):
            if not flag:
                raise CheckpointError(f"{name}/{where} holds non-finite values")


@jax.jit
def _finite_flags(leaves: list[Any]) -> list[Any]:
    return [jax.numpy.isfinite(leaf).all() for leaf in leaves]


def _target(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf
    # Orbax would otherwise fall back on the devices of the machine that saved.
    sharding = leaf.sharding or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _check_matches(name: str, target: PyTree, stored: PyTree) -> None:
    expected, actual = _signature(target), _signature(stored)
    for leaf in [*expected, *actual]:
        wanted, found = (side.get(leaf, "no such leaf") for side in (expected, actual))
        if wanted != found:
            raise CheckpointError(f"{name}/{leaf}: the checkpoint has {found}, expected {wanted}")


def _check_size(path: epath.Path, target: PyTree) -> None:
    """Refuses a few bytes on disk that claim to be more than this machine can hold."""
    claimed = sum(
        math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(target)
        if hasattr(leaf, "shape") and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )
    if claimed < MAX_ARRAYS_BYTES:
        return
    stored = sum(
        (parent / name).stat().length for parent, _, names in path.walk() for name in names
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * jax.process_count()
    if claimed > memory or claimed > _LARGEST_COMPRESSION * stored:
        raise CheckpointError(
            f"{path} claims {claimed / 2**30:.1f} GiB of arrays in {stored / 2**30:.3g} GiB of files; "
            f"this machine has {memory / 2**30:.0f} GiB of memory"
        )


def _signature(tree: PyTree) -> dict[str, str]:
    signature = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not hasattr(leaf, "shape"):
            leaf = np.asarray(leaf)
        elif jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)  # what Orbax stores
        signature[leaf_name(path)] = f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
    return signature


def unreadable(path: epath.Path, error: Exception) -> CheckpointError:
    """What to raise for a file that a library could not read."""
    return CheckpointError(f"{path} cannot be read: {one_line_of(error)}")


def one_line_of(error: object) -> str:
    """What an error says, on one line, with the kind of an OSError."""
    kind = f"{type(error).__name__}: " if isinstance(error, OSError) else ""
    return errors.one_line(f"{kind}{error}", 400)
