"""What tells a set of data from another of the same shape and number: a few lines of hashes.

A record keeps them, so that a run does not go on over data that changed under it. A set is cut into
at most 64 parts, each with a hash of its own, which tells where two sets differ. Files are told by
their names below the folder, their sizes and their order, which takes a million of them seconds;
arrays by their values. Where the folder lies, and whether the set is held in memory, does not matter.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sagd_jax.data.source import DataError

Fingerprint = tuple[str, ...]  # "what and where: its hash", part by part

_PARTS = 64
_PIECE = 2**22  # values hashed in one go
_LONGEST = 100  # characters of a name that a line shows


def of_files(
    paths: Sequence[Any], root: Any, size: Callable[[Any], int] = lambda path: path.stat().st_size
) -> Fingerprint:
    """Of files in their order: names relative to `root`, and sizes.

    Raises:
      DataError: one of them cannot be looked at any more.
    """
    above = f"{str(root).rstrip('/')}/"
    lines = []
    for start, stop in _parts(len(paths)):
        digest = hashlib.blake2b(digest_size=8)
        names = [str(path).removeprefix(above) for path in paths[start:stop]]
        for path, name in zip(paths[start:stop], names, strict=True):
            try:
                digest.update(f"{name}\0{size(path)}\0".encode("utf-8", "surrogateescape"))
            except OSError as error:
                raise DataError(f"data: cannot read {path}: {error.strerror or error}") from None
        shown = names[0].encode("ascii", "backslashreplace").decode()[-_LONGEST:]
        where = f"file {start}, " if stop - start == 1 else f"files {start} to {stop - 1}, from "
        lines.append(f"{where}{shown}: {digest.hexdigest()}")
    return tuple(lines)


def of_array(x: np.ndarray, labels: np.ndarray | None = None) -> Fingerprint:
    """Of the values of an array `(n, ...)`, uint8 or as float32, and of its labels.

    It is read in pieces, by several threads: a memory map need not fit in memory.
    """
    dtype = np.uint8 if x.dtype == np.uint8 else np.float32
    rows = max(1, _PIECE // max(1, x[:1].size))

    def line(part: tuple[int, int]) -> str:
        start, stop = part
        digest = hashlib.blake2b(digest_size=8)
        for first in range(start, stop, rows):
            piece = np.ascontiguousarray(x[first : min(first + rows, stop)], dtype)
            digest.update(piece.reshape(-1).view(np.uint8).data)
        where = f"example {start}" if stop - start == 1 else f"examples {start} to {stop - 1}"
        return f"{where}: {digest.hexdigest()}"

    with concurrent.futures.ThreadPoolExecutor() as pool:
        lines = tuple(pool.map(line, _parts(len(x))))
    return lines if labels is None else (*lines, *of_values("labels", labels))


def of_values(what: str, values: np.ndarray) -> Fingerprint:
    """Of a few values, whole numbers or booleans, in one line."""
    digest = hashlib.blake2b(np.ascontiguousarray(values, np.int64).tobytes(), digest_size=8)
    return (f"{what}: {digest.hexdigest()}",)


def difference(before: Fingerprint, now: Fingerprint) -> str:
    """Where two sets of data differ, in words; nothing if they do not, or if one is not known.

    >>> difference(("file 0, a.png: 12", "file 1, b.png: 34"), ("file 0, a.png: 12", "file 1, c.png: 3"))
    'the data had file 1, b.png, has file 1, c.png'
    >>> difference(("examples 0 to 4: 12", "labels: 7"), ("examples 0 to 4: 12", "labels: 8"))
    "the data's labels are others than before"
    """
    if not before or not now or before == now:
        return ""
    pairs = list(itertools.zip_longest(before, now, fillvalue="nothing more: "))
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    old, new = (line.rpartition(":")[0] for line in changed[0])
    more = f" ({len(changed)} of {len(pairs)} parts of it)" if len(changed) > 1 else ""
    if old != new:
        return f"the data had {old}, has {new}{more}"
    kind = " in name, size or order" if old.startswith("file") else ""
    if old.startswith(("file ", "example ")):
        return f"the data's {old} is another one than before{kind}{more}"
    return f"the data's {old} are others than before{kind}{more}"


def _parts(count: int) -> Iterator[tuple[int, int]]:
    number = min(count, _PARTS)
    for i in range(number):
        yield i * count // number, (i + 1) * count // number
