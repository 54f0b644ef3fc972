"""What lies in the directory of a checkpoint: pytrees, small arrays and a record, and their names."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from sagd_jax.run import integrity
from sagd_jax.run.record import MAX_BYTES

PyTree = Any

ARRAYS = "arrays"
RECORD = "record"
RESERVED = (ARRAYS, RECORD, "default", "metrics")  # the last two are special to Orbax
MAX_ARRAYS_BYTES = 256 << 20


def save_args(
    step: int,
    items: Mapping[str, PyTree],
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> ocp.args.Composite:
    """What to give to Orbax to write all of this; raises ValueError for what cannot be saved."""
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    for name, tree in items.items():
        if not name.isidentifier() or name in RESERVED:
            raise ValueError(f"items must be named by identifiers other than {RESERVED}: {name!r}")
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        if not leaves:
            raise ValueError(f"items[{name!r}] has no arrays")
        for path, leaf in leaves:
            if not isinstance(leaf, jax.Array) and np.asarray(leaf).dtype == object:
                raise ValueError(
                    f"{name}/{leaf_name(path)} is no array but a {type(leaf).__name__}"
                )
    try:
        data = json.loads(json.dumps(dict(record), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"record must be JSON-able data: {error}") from error
    args: dict[str, Any] = {RECORD: ocp.args.JsonSave(data)}
    if arrays:
        args[ARRAYS] = ocp.args.StandardSave({k: np.array(v) for k, v in arrays.items()})
    for name, tree in items.items():
        args[name] = ocp.args.StandardSave(jax.tree.map(_to_save, tree))
    return ocp.args.Composite(**args)


def _to_save(leaf: Any) -> Any:
    if isinstance(leaf, np.ndarray):
        return leaf.copy()  # its owner may write to it while it is saved
    # Of copies within one process one is enough; Orbax would cut each into parts, one per device, which
    # took half of the time for which a save holds up training.
    alone = isinstance(leaf, jax.Array) and jax.process_count() == 1
    return leaf.addressable_data(0) if alone and leaf.is_fully_replicated else leaf


def read_record_of(path: epath.Path) -> dict[str, Any]:
    """The record in a step's directory; raises IntegrityError."""
    file = path / RECORD / "metadata"
    try:
        if file.stat().length > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        record = json.loads(file.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise integrity.IntegrityError(f"its record cannot be read: {error}") from error
    return record


def read_arrays_of(path: epath.Path) -> dict[str, np.ndarray]:
    """The small arrays in a step's directory; raises ValueError for more than it reads."""
    directory = path / ARRAYS
    if not directory.exists():
        return {}
    with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
        stored = handler.metadata(directory).tree
        size = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(stored))
        if size > MAX_ARRAYS_BYTES:
            raise ValueError(f"{ARRAYS} claims {size} bytes, more than {MAX_ARRAYS_BYTES}")
        target = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
        return handler.restore(directory, args=ocp.args.StandardRestore(target))


def leaf_name(path: Any) -> str:
    """The name of a leaf of a pytree, such as `conv_in/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
