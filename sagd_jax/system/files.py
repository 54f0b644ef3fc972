"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from typing import Any


def write_whole(path: Any, content: str | bytes | memoryview) -> None:
    """Writes a file under another name beside `path`, and renames it into place.

    A reader sees the file before or the file after, and a kill or a full disk leaves the one before.
    Several processes may write the same file at the same time.

    Args:
      path: a `pathlib.Path` or an `epath.Path`, in a directory that exists.
      content: text (as UTF-8) or bytes.

    Raises:
      OSError: it cannot be written; nothing is left of it.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> write_whole(file, "1 2 3")
    >>> [found.name for found in file.parent.iterdir()], file.read_text()
    (['numbers.txt'], '1 2 3')
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
