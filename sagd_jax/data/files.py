"""Finding files in a folder that is only ever read, and dealing with those that cannot be.

Libraries that decode files raise nearly anything for damaged bytes. `reading` stands around every call
of one, and is the one place that decides what means "this file cannot be read": all that they raise
becomes an `Unreadable`, which the sources stop at or leave out.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import os
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data.source import DataError
from sagd_jax.system.errors import one_line

_LOG = logging.getLogger(__name__)
_OURS = (ImportError, NameError)  # of the program or its installation, never of a file
_LONGEST = 300  # characters of what a library says
# Exceptions whose text is made for people; of others (KeyError: 'IHDR') the name is needed too.
_WORDED = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
)


class Unreadable(DataError):
    """A file, or a part of one, that cannot be used; the message is `path: why`, in one line."""

    def __init__(self, path: Any, why: str):
        super().__init__(f"{path}: {why}")
        self.why = why


@contextlib.contextmanager
def reading(path: Any) -> Iterator[None]:
    """Around calls of a library that reads the file `path`: whatever they raise is its fault.

    `DataError`s pass as they are.

    Raises:
      Unreadable: instead of any other exception.

    >>> with reading("x.wav"):
    ...     raise KeyError("fmt ")
    Traceback (most recent call last):
    sagd_jax.data.files.Unreadable: x.wav: KeyError: 'fmt '
    """
    try:
        yield
    except (DataError, *_OURS):
        raise
    except Exception as error:
        raise Unreadable(path, reason(error)) from None


def reason(error: Exception) -> str:
    """What an exception says, in one line of bounded length."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    name = type(error).__name__
    # libsndfile's own words stand apart; around them the path is said again.
    text = one_line(getattr(error, "error_string", error), _LONGEST)
    if isinstance(error, _WORDED):
        return text or name
    return f"{name}: {text}" if text else name


class Tally:
    """What is found in files, to be said once for all of them. Threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, list[Any]] = {}

    def add(self, what: str, path: Any) -> None:
        """Notes that the file `path` ... `what`, as in "has several pictures"."""
        with self._lock:
            self._found.setdefault(what, []).append(path)

    def log(self) -> None:
        """Says what was found, and how often, and forgets it."""
        with self._lock:
            found, self._found = self._found, {}
        for what, paths in sorted(found.items()):
            first = min(paths, key=lambda path: natural_key(str(path)))
            more = f" (and {len(paths) - 1} other files)" if len(paths) > 1 else ""
            _LOG.warning("%s%s: %s", first, more, what)


def find_files(directory: str, suffixes: Sequence[str], what: str) -> list[Path]:
    """All files with one of `suffixes` below `directory`, in natural order of their relative paths.

    Links to folders are followed, but no folder is read twice. Hidden files are passed over; other
    files are too, with a warning that counts them.

    Raises:
      DataError: for a folder that is not there, cannot be listed, is empty, or holds no such file.
    """
    if not directory:
        raise DataError(f"data.dir: expected a folder of {what}")
    root = Path(directory).expanduser()
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise DataError(f"data.dir={directory!r}: {state}; expected a folder of {what}")
    entries = _walk(root)
    kinds = ", ".join(suffixes)
    if not entries:
        raise DataError(f"data.dir={directory!r}: the folder is empty; expected {what} ({kinds})")
    fits = [sound and path.suffix.lower() in suffixes for path, sound in entries]
    found = [path for (path, _), taken in zip(entries, fits, strict=True) if taken]
    others = [path for (path, _), taken in zip(entries, fits, strict=True) if not taken]
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
    """Pairs (item, check(item)) of the items whose check does not raise `Unreadable`.

    Raises:
      DataError: with `on_error="stop"` if any item fails; with `"skip"` only if all do. It names
        the first and counts the others.
    """

    def attempt(item: Any) -> tuple[Any, Unreadable | None]:
        try:
            return check(item), None
        except Unreadable as error:
            return None, error

    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(attempt, items))
    left_out([error for _, error in results if error], len(items), on_error, what)
    pairs = zip(items, results, strict=True)
    return [(item, value) for item, (value, error) in pairs if error is None]


def left_out(errors: Sequence[Unreadable], total: int, on_error: str | None, what: str) -> None:
    """Says, or stops with, what cannot be used of `total` items, if there is anything.

    Raises:
      DataError: unless `on_error="skip"` and something is left.
    """
    if not errors:
        return
    message = f"{len(errors)} of {total} {what} cannot be used; first {errors[0]}"
    left = len(errors) < total
    if on_error != "skip" or not left:
        hint = "; config.data.on_error=skip leaves them out" if left and on_error else ""
        raise DataError(f"data: {message}{hint}")
    _LOG.warning("left out: %s", message)


def read_npy(path: Path) -> np.ndarray:
    """The array in an `.npy` file, memory-mapped where it can be.

    Raises:
      Unreadable: for a file that is not one, is cut off or longer than its header says, or holds
        Python objects.
    """
    with reading(path):
        with open(path, "rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise ValueError("is no .npy file")
        x = np.load(path, mmap_mode="r", allow_pickle=False)
        surplus = path.stat().st_size - x.offset - x.nbytes if isinstance(x, np.memmap) else 0
        if surplus:
            raise ValueError(f"has {surplus} bytes more than its header says")
        return x


def _walk(root: Path) -> list[tuple[Path, bool]]:
    """All below `root` that is no folder and not hidden, and whether reading it will not wait."""
    found: list[tuple[Path, bool]] = []
    seen: set[tuple[int, int]] = set()
    again: list[Path] = []
    waiting = [root]
    while waiting:
        links: list[Path] = []
        while waiting:
            folder = waiting.pop()
            state = folder.stat()
            if (state.st_dev, state.st_ino) in seen:
                again.append(folder)
                continue
            seen.add((state.st_dev, state.st_ino))
            for entry in _listed(folder):
                path = folder / entry.name
                if entry.is_symlink() and path.is_dir():
                    links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    found.append((path, _is_plain(entry, path)))
        # A folder's own name counts, not that of a link to it, whichever sorts first.
        waiting = links[::-1]
    if again:
        _LOG.warning(
            "%s: passed over %d links to folders that are read already, such as %s",
            root,
            len(again),
            min(again).relative_to(root),
        )
    return sorted(found)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"data.dir: cannot list {folder}: {reason(error)}") from None
    return sorted(entries, key=lambda entry: entry.name)


def _is_plain(entry: os.DirEntry[str], path: Path) -> bool:
    """Whether it is a file, or a link to one or to nothing, but no pipe, socket or device."""
    if entry.is_symlink():
        return path.is_file() or not path.exists()
    return entry.is_file(follow_symlinks=False)
