"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any


def write_whole(path: Any, content: str | bytes | memoryview, *, alone: bool = True) -> None:
    """Writes a file under another name beside `path`, and renames it into place.

    A reader sees the file before or the file after, and a full disk leaves the one before. So does a
    kill, and the next write replaces what it left under the other name.

    Args:
      path: a `pathlib.Path` or an `epath.Path`, in a directory that exists.
      content: text (as UTF-8) or bytes.
      alone: False where other processes, on any host, may write the same file at the same time.

    Raises:
      OSError: it cannot be written; nothing is left of it.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> write_whole(file, "1 2 3")
    >>> [found.name for found in file.parent.iterdir()], file.read_text()
    (['numbers.txt'], '1 2 3')
    """
    own = "" if alone else f".{uuid.uuid4().hex}"
    temporary = path.with_name(f".{path.name}{own}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else bytes(content))
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
