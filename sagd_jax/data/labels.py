"""Classes of examples: bounded, and those without an example named; and kinds, by their folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.data.source import DataError, Options

MAX_CLASSES = 2**24  # of a checkpoint's record; the network keeps a vector for each
_NAMED = 5  # of the classes without an example
_LOG = logging.getLogger(__name__)


def count_classes(labels: np.ndarray, length: int, where: str) -> int:
    """The number of classes of `length` examples: the largest label and one.

    Raises:
      DataError: unless there are as many whole numbers, from 0 to what a network can tell apart.
    """
    if labels.shape != (length,) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{where}: {labels.dtype} of shape {labels.shape}; expected {length} whole numbers >= 0"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MAX_CLASSES:
        raise DataError(
            f"{where}: holds {low if low < 0 else high}; expected whole numbers >= 0 and below "
            f"{MAX_CLASSES}; number the classes 0, 1, 2 and so on"
        )
    name_absent(labels, range(high + 1), where)
    return high + 1


def kinds_of(paths: Sequence[Path], config: Options) -> np.ndarray | None:
    """The kind of corruption of each file by `corrupted_folders`, 0 clean; None where there are none.

    Raises:
      DataError: a folder that holds no file, or more than one of them on the way to a file.
    """
    names = list(config.corrupted_folders)
    if not names:
        return None
    root = Path(config.dir).expanduser()
    kinds = np.zeros(len(paths), np.uint8)
    for i, path in enumerate(paths):
        parts = path.relative_to(root).parts[:-1]
        found = [kind for kind, name in enumerate(names, start=1) if name in parts]
        if len(found) > 1:
            raise DataError(f"data.corrupted_folders={names}: {path} is in several of them")
        kinds[i] = sum(found)
    for kind, name in enumerate(names, start=1):
        if not np.any(kinds == kind):
            raise DataError(
                f"data.corrupted_folders: no file below data.dir={config.dir!r} is in a folder {name!r}"
            )
    return kinds


def name_absent(labels: ArrayLike, names: Sequence[object], where: str) -> None:
    """Warns of the classes, by their names, that none of the examples has."""
    present = np.zeros(len(names), bool)
    present[np.asarray(labels, np.int64)] = True
    absent = np.flatnonzero(~present)
    if len(absent):
        first = ", ".join(str(names[number]) for number in absent[:_NAMED].tolist())
        more = ", ..." if len(absent) > _NAMED else ""
        _LOG.warning(
            "%s: %d of %d classes have no example: %s%s",
            where,
            len(absent),
            len(names),
            first,
            more,
        )
