"""Files that are either whole or not there, and places that can be written or are refused."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import uuid
from pathlib import Path
from typing import Any

from sagd_jax.system.errors import ForPeople

_PROBE = bytes(2**14)  # a disk that is full may still take a name without contents


class PlaceError(ForPeople, OSError):
    """A place that cannot be written; the message is one line with its path."""


def write_whole(path: Any, content: str | bytes, *, alone: bool = True) -> None:
    """Writes a file under another name beside `path`, and renames it into place.

    A reader sees the file before or the file after, and a full disk leaves the one before. So does a
    kill, and the next write replaces what it left under the other name.

    Args:
      path: a `pathlib.Path` or an `epath.Path`, in a directory that exists.
      content: text (as UTF-8) or bytes. No view of a buffer: the traceback of a write that failed holds
        it in a circle, in which the collector of Python 3.12.0 and 3.12.1 crashes.
      alone: False where other processes, on any host, may write the same file at the same time.

    Raises:
      OSError: it cannot be written; nothing is left of it, and the error names `path`.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> write_whole(file, "1 2 3")
    >>> [found.name for found in file.parent.iterdir()], file.read_text()
    (['numbers.txt'], '1 2 3')
    """
    own = "" if alone else f".{uuid.uuid4().hex}"
    temporary = path.with_name(f".{path.name}{own}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def writable(path: str | os.PathLike[str], flag: str = "", *, folder: bool = True) -> None:
    """Refuses a place that cannot be written, before hours are spent on what shall go there.

    A few bytes are written and removed again, in the folder itself or, where that does not exist
    yet, in the nearest one above it that does; nothing is left. Object stores are not asked.

    Args:
      path: a folder to write to, or a file to write, which need not exist.
      flag: what named it, such as "--out", for the message.
      folder: whether a folder is meant, or a file.

    Raises:
      PlaceError: it, or something above it, is no folder (or, for a file, is one), or a write is
        refused: no permission, a file system that is full or read-only.

    >>> writable(tempfile.gettempdir())
    >>> writable("/dev/null/runs", "--out")
    Traceback (most recent call last):
    sagd_jax.system.files.PlaceError: --out=/dev/null/runs: cannot be written: /dev/null is not a folder
    """
    if "://" in os.fspath(path):
        return
    place = Path(path).expanduser()
    name = f"{flag}={os.fspath(path)}" if flag else os.fspath(path)
    try:
        kind = _kind(place)
        if kind is not None and stat.S_ISDIR(kind) != folder:
            found, meant = ("a folder", "a file") if not folder else ("a file", "a folder")
            raise PlaceError(f"{name}: this is {found}, expected {meant}")
        above = place if kind is not None and folder else place.parent
        while (kind := _kind(above)) is None:
            above = above.parent
        if not stat.S_ISDIR(kind):
            raise PlaceError(f"{name}: cannot be written: {above} is not a folder")
        with tempfile.NamedTemporaryFile(dir=above, prefix=".writable-") as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except PlaceError:
        raise
    except OSError as error:
        raise PlaceError(f"{name}: cannot be written: {error.strerror or error}") from error


def _kind(path: Path) -> int | None:
    """The mode of what is there; None for nothing, also below what is no folder."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise PlaceError(f"{path} is a link to nothing; remove it") from None
        return None
