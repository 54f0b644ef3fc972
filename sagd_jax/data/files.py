"""Finding files in a folder that is only ever read, and dealing with those that cannot be."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sagd_jax.data.source import DataError

_LOG = logging.getLogger(__name__)

# What Pillow and libsndfile raise for files they cannot read (SyntaxError: a broken PNG).
READ_ERRORS = (OSError, ValueError, RuntimeError, SyntaxError)


def find_files(directory: str, suffixes: Sequence[str], what: str) -> list[Path]:
    """All files with one of `suffixes` below `directory`, in natural order of their relative paths.

    Hidden files are passed over; other files are too, with a warning that counts them.

    Raises:
      DataError: for a folder that is not there, is empty, or holds no such file.
    """
    if not directory:
        raise DataError(f"data.dir: expected a folder of {what}")
    root = Path(directory).expanduser()
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data.dir={directory!r}: {state}; expected a folder of {what}")
    entries = [path for path in _walk(root) if not path.name.startswith(".")]
    found = [path for path in entries if path.suffix.lower() in suffixes]
    others = [path for path in entries if path.suffix.lower() not in suffixes]
    kinds = ", ".join(suffixes)
    if not entries:
        raise DataError(f"data.dir={directory!r}: the folder is empty; expected {what} ({kinds})")
    if not found:
        raise DataError(
            f"data.dir={directory!r}: none of its {len(others)} files is of {what} ({kinds}); "
            f"the first is {others[0].name}"
        )
    if others:
        _LOG.warning(
            "%s: passed over %d other files, such as %s", root, len(others), others[0].name
        )
    return sorted(found, key=lambda path: natural_key(path.relative_to(root).as_posix()))


def natural_key(name: str) -> tuple[Any, ...]:
    """Sorts numbers inside names by value: frame 9 before frame 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part), part) if i % 2 else part for i, part in enumerate(parts))


def keep_readable(
    items: Sequence[Any], check: Callable[[Any], Any], on_error: str, what: str
) -> list[tuple[Any, Any]]:
    """Pairs (item, check(item)) of the items whose check does not raise.

    `check` raises OSError or ValueError for an item that cannot be used.

    Raises:
      DataError: with `on_error="stop"` if any item fails; with `"skip"` only if all do. It names
        the first and counts the others.
    """

    def attempt(item: Any) -> tuple[bool, Any]:
        try:
            return True, check(item)
        except READ_ERRORS as error:
            return False, reason(error)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = [
            (item, *result) for item, result in zip(items, pool.map(attempt, items), strict=True)
        ]
    good = [(item, value) for item, sound, value in results if sound]
    bad = [(item, value) for item, sound, value in results if not sound]
    if not bad:
        return good
    message = f"{len(bad)} of {len(results)} {what} cannot be used; first {bad[0][0]}: {bad[0][1]}"
    if on_error == "stop" or not good:
        hint = "; data.on_error='skip' leaves them out" if good else ""
        raise DataError(f"data: {message}{hint}")
    _LOG.warning("left out %s", message)
    return good


def reason(error: Exception) -> str:
    """The first line of what an exception says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _walk(root: Path) -> list[Path]:
    paths = []
    for directory, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(directory) / name for name in sorted(files)]
    return paths
