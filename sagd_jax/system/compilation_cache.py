"""A persistent compilation cache that a killed process cannot spoil.

JAX writes an entry in place and never replaces one that exists, so a process killed in mid-write leaves
a torn file, which every later run reads in vain. Here a process gives JAX a directory of its own
instead, with hard links to all entries there are, and publishes what it has added by links of whole
files: an entry in the shared directory is complete from the moment it exists. What a killed process
leaves is removed by the next one, which tells by an operating-system lock that its owner is gone.

The shared directory is, in this order,

    JAX_COMPILATION_CACHE_DIR     JAX's own variable, empty for none (or its configuration)
    SAGD_JAX_COMPILATION_CACHE    a directory, or `off`
    $XDG_CACHE_HOME/sagd_jax      with XDG_CACHE_HOME = ~/.cache unless it is set

and none where JAX_ENABLE_COMPILATION_CACHE is false. In the last two, compiled code lies in a folder
for each kind of processor, since a home may be shared by machines of several kinds, on which code for
another can crash; and what was not used for longest goes when they hold more than 1 GiB.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sagd_jax.system.errors import ForPeople
from sagd_jax.system.home_cache import drop_unused, home_cache
from sagd_jax.system.malloc import give_back_freed_memory

VARIABLE = "SAGD_JAX_COMPILATION_CACHE"
_OFF = "off"
_LARGEST = 2**30  # bytes, of a cache that is ours to bound
_FOLDER = "compiled-for-"  # and the kind of processor
_PRIVATE = "writing"
_SECONDS = 0.05  # what took less to compile is not kept; JAX keeps what took a second
_LOCK = "owner.lock"


class CacheError(ForPeople, ValueError):
    """A compilation cache that was asked for in words that name none; one line."""


@contextlib.contextmanager
def protected() -> Iterator[None]:
    """A compilation cache, until the end of the `with`; where it cannot be written, a word and none.

    To be entered before anything is compiled. `publish` may be called in between, whenever nothing is
    being compiled.

    Raises:
      CacheError: the variable does not hold an absolute path.
    """
    import jax

    before = _directory()
    seconds: float = getattr(jax.config, "jax_persistent_cache_min_compile_time_secs", 1.0)
    shared, bounded = _chosen(before)
    if shared is None or not getattr(jax.config, "jax_enable_compilation_cache", True):
        yield
        return
    with contextlib.ExitStack() as resources:
        try:
            own = resources.enter_context(_private_copy(shared, 0o700 if bounded else 0o777))
        except OSError as error:
            reason = error.strerror or error
            print(
                f"no compilation cache in {shared}: {reason} ({VARIABLE}: another directory, or off)",
                file=sys.stderr,
                flush=True,
            )
            jax.config.update("jax_compilation_cache_dir", None)
        else:
            jax.config.update("jax_compilation_cache_dir", str(own))
            # XLA's own caches for GPUs lie below this directory, and its name would get into every key.
            jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
            # A run's start has dozens of programs that take a tenth of one.
            jax.config.update("jax_persistent_cache_min_compile_time_secs", min(seconds, _SECONDS))
        try:
            yield
        finally:
            publish()
            if bounded:
                prune(shared.parent)
            jax.config.update("jax_compilation_cache_dir", before)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)
            _forget()


def publish() -> None:
    """Makes what this process has compiled so far available to others."""
    directory = _directory()
    if not directory or Path(directory).parent.name != _PRIVATE:
        return
    shared = Path(directory).parent.parent
    for entry in _entries(Path(directory)):
        if not (shared / entry.name).exists():
            # It may come from another process meanwhile, and is as good as this one.
            with contextlib.suppress(OSError):
                if _is_whole(entry):
                    _to_disk(entry)
                    os.link(entry, shared / entry.name)


def prune(root: Path, largest: int = _LARGEST) -> None:
    """Deletes the entries below `root` that were not used for longest, until the rest is small enough.

    Processes that use one of them have a link of their own.
    """
    folders = root.glob(f"{_FOLDER}*")
    drop_unused((entry for folder in folders for entry in _entries(folder)), largest)


@contextlib.contextmanager
def announced(words: str, say: Callable[[str], None], after: str = "compiled") -> Iterator[None]:
    """Says what is being compiled, and afterwards how long it took; then publishes it.

    The memory that the compiler took goes back to the kernel.

    >>> with announced("compiling the training step", print):
    ...     pass
    compiling the training step (minutes on a CPU, once)
    compiled in 0 s
    """
    say(f"{words} (minutes on a CPU, once)")
    start = time.monotonic()
    yield
    say(f"{after} in {time.monotonic() - start:.0f} s")
    publish()
    give_back_freed_memory()


def _directory() -> str | None:
    """That of JAX's configuration, which its own variable sets."""
    import jax

    directory: str | None = getattr(jax.config, "jax_compilation_cache_dir", None)
    return directory


def _chosen(of_jax: str | None) -> tuple[Path | None, bool]:
    """The directory to share, if any, and whether it is ours: bounded, and open to its user alone."""
    if of_jax or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return (Path(of_jax) if of_jax and "://" not in of_jax else None), False
    ours = os.environ.get(VARIABLE, "")
    if ours == _OFF:
        return None, False
    if ours:
        root = Path(ours).expanduser()
        if not root.is_absolute():
            raise CacheError(f"{VARIABLE}={ours}: expected an absolute path, or {_OFF}")
    else:
        home = home_cache()
        if home is None:
            return None, False
        root = home
    return root / f"{_FOLDER}{_processor()}", True


def _processor() -> str:
    """A name for all machines that can run each other's code."""
    words = [platform.machine()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        features = ("model name", "flags", "Features", "CPU part")
        words += sorted({line for line in file if line.startswith(features)})
    digest = hashlib.blake2b("".join(words).encode(), digest_size=6).hexdigest()
    return f"{platform.machine()}-{digest}"


def _forget() -> None:
    # JAX keeps the directory that it has found first.
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.name != _LOCK and path.is_file()]
    except OSError:
        return []


def _is_whole(entry: Path) -> bool:
    """Whether JAX could read an entry: a disk that is full cuts one short, and leaves it."""
    try:
        from jax._src.compilation_cache import decompress_executable
    except ImportError:  # JAX has no public name for it
        return True
    try:
        return bool(decompress_executable(entry.read_bytes()))
    except Exception:  # zlib and two packages for zstd each have their own
        return False


def _to_disk(entry: Path) -> None:
    # A power cut must not leave the name of an entry without its contents.
    descriptor = os.open(entry, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _private_copy(shared: Path, mode: int) -> Iterator[Path]:
    folder = shared / _PRIVATE
    shared.mkdir(mode=mode, parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    _remove_orphans(folder)
    own = Path(tempfile.mkdtemp(dir=folder))
    try:
        with (own / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for entry in _entries(shared):
                with contextlib.suppress(OSError):
                    os.link(entry, own / entry.name)
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
