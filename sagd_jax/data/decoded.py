"""Sets that took long to decode are kept as arrays: the next program that reads one starts at once.

Only sets that never change under their name are kept: those of tensorflow-datasets, told by version,
files and sizes. They lie in `~/.cache/sagd_jax/decoded`, the least used go above 2 GiB;
`SAGD_JAX_DECODED_CACHE` names another folder, or `off`. A file is whole or not there, and its checksums
are compared when it is read; one that cannot be read or written is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sagd_jax.system.home_cache import drop_unused, home_cache
from sagd_jax.version import __version__

VARIABLE = "SAGD_JAX_DECODED_CACHE"
WORTH = 5.0  # seconds
_LARGEST = 2 * 2**30

Arrays = tuple[np.ndarray, np.ndarray]


def kept(what: Sequence[str], shape: tuple[int, ...], decode: Callable[[], Arrays]) -> Arrays:
    """What `decode` gives, examples and labels; from the cache if it is there.

    Args:
      what: everything that the result depends on.
      shape: of the examples with their number in front, to be sure.
      decode: called where there is nothing; what takes it longer than `WORTH` seconds is kept.
    """
    folder = _folder()
    if folder is None:
        return decode()
    digest = hashlib.blake2b("\0".join((__version__, *what)).encode(), digest_size=12).hexdigest()
    file = folder / f"{digest}.npz"
    # Many kinds of error mean that there is no such file, or that it is of no use.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        with np.load(file, allow_pickle=False) as arrays:
            x, labels = arrays["x"], arrays["labels"]
        if x.shape == shape and labels.shape == shape[:1]:
            return x, labels
    begun = time.monotonic()
    x, labels = decode()
    if time.monotonic() - begun > WORTH and x.shape == shape:
        with contextlib.suppress(OSError):
            _write(file, x, labels)
            drop_unused(folder.glob("*.npz"), _LARGEST)
    return x, labels


def _folder() -> Path | None:
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        return None
    if chosen:
        return Path(chosen).expanduser()
    home = home_cache()
    return None if home is None else home / "decoded"


def _write(file: Path, x: np.ndarray, labels: np.ndarray) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, x=x, labels=labels)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
