"""Where a user's caches are: a folder of the package below his own cache folder, or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def home_cache() -> Path | None:
    """`$XDG_CACHE_HOME/sagd_jax`, with ~/.cache unless that is set; None where nobody has a home."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # which the specification says to pass over
        base = Path(os.path.expanduser("~/.cache"))
    return base / "sagd_jax" if base.is_absolute() else None


def drop_unused(files: Iterable[Path], largest: int) -> None:
    """Deletes the files that were not used for longest, until the rest has at most `largest` bytes."""
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            # Reading a file sets the first, once a day or where files are mounted to say so.
            found.append((max(status.st_atime, status.st_mtime), status.st_size, file))
    size = 0
    for _, bytes_, file in sorted(found, reverse=True):
        size += bytes_
        if size > largest:
            with contextlib.suppress(OSError):
                file.unlink()
