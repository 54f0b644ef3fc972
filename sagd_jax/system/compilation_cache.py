"""A persistent compilation cache that a killed process cannot spoil.

JAX (JAX_COMPILATION_CACHE_DIR) writes an entry in place and never replaces one that exists, so a
process killed in mid-write leaves a torn file, which every later run reads in vain. Here a process
gives JAX a directory of its own instead, with hard links to all entries there are, and publishes what
it has added by links of whole files: an entry in the shared directory is complete from the moment it
exists. What a killed process leaves is removed by the next one, which tells by an operating-system
lock that its owner is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PRIVATE = "writing"
_LOCK = "owner.lock"


@contextlib.contextmanager
def protected() -> Iterator[None]:
    """Protects JAX's compilation cache, if a local one is set, until the end of the `with`.

    To be entered before anything is compiled. `publish` may be called in between, whenever nothing is
    being compiled.
    """
    import jax

    shared = _directory()
    if not shared or "://" in shared:
        yield
        return
    try:
        own = _private_copy(Path(shared))
    except OSError:  # not writable, or no links there: JAX says so itself, or reads only
        yield
        return
    with own as directory:
        jax.config.update("jax_compilation_cache_dir", str(directory))
        # XLA's own caches for GPUs lie below this directory, and its name would get into every key.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
        try:
            yield
        finally:
            publish()
            jax.config.update("jax_compilation_cache_dir", shared)


def publish() -> None:
    """Makes what this process has compiled so far available to others."""
    directory = _directory()
    if not directory or Path(directory).parent.name != _PRIVATE:
        return
    shared = Path(directory).parent.parent
    for entry in Path(directory).iterdir():
        if entry.is_file() and entry.name != _LOCK:
            # It may be there, from before or from another process, and is as good as this one.
            with contextlib.suppress(OSError):
                os.link(entry, shared / entry.name)


def _directory() -> str | None:
    import jax

    directory: str | None = getattr(jax.config, "jax_compilation_cache_dir", None)
    return directory


@contextlib.contextmanager
def _private_copy(shared: Path) -> Iterator[Path]:
    folder = shared / _PRIVATE
    folder.mkdir(parents=True, exist_ok=True)
    _remove_orphans(folder)
    own = Path(tempfile.mkdtemp(dir=folder))
    with (own / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in shared.iterdir():
            if entry.is_file():
                with contextlib.suppress(OSError):
                    os.link(entry, own / entry.name)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)


def _remove_orphans(folder: Path) -> None:
    for orphan in folder.iterdir():
        try:
            with (orphan / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(orphan, ignore_errors=True)
        except FileNotFoundError:
            # Being made just now, or being removed; an empty one is harmless.
            with contextlib.suppress(OSError):
                orphan.rmdir()
        except OSError:
            continue  # its owner is alive
