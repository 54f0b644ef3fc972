"""One writer per work directory.

Two trainings in one directory would delete each other's checkpoints. The lock is `flock(2)` on
`<workdir>/writer.lock`: the kernel drops it when the process ends, however it ends, so a crash
leaves nothing that stops the next start. The file itself stays and only tells who holds or held
the lock; deleting it would let two processes lock two files of the same name. A holder whose file
was deleted, or moved with its directory, finds out by `require`, before it writes there again.

Readers need no lock. Object stores have none to give: `WriterLock` takes local paths only.
"""

import fcntl
import os
import pathlib
import socket
import weakref
from typing import Any, Self

from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import PlaceError

NAME = "writer.lock"


class LockedError(ForPeople, RuntimeError):
    """Another process writes to this work directory; the message names it in one line."""


class LostError(ForPeople, RuntimeError):
    """The work directory is not the one that was locked; the message is one line."""


class WriterLock:
    """Holds the writer's lock of a work directory until `release`, or the end of a `with`.

    Args:
      workdir: the directory to lock; created if missing.

    Raises:
      LockedError: another process, or another `WriterLock` of this one, holds it.
      ValueError: `workdir` is a URL.
      PlaceError: the lock file cannot be opened or its file system has no locks.

    Example::

      with WriterLock("/tmp/run"):
          train()
    """

    def __init__(self, workdir: str | os.PathLike[str]) -> None:
        if "://" in os.fspath(workdir):
            raise ValueError(f"workdir must be a local path to be locked, got {workdir!r}")
        path = pathlib.Path(workdir) / NAME
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Appending creates the file but never empties it: it may name the present holder.
            file = path.open("a+", errors="replace")
        except OSError as error:
            raise PlaceError(f"{path} cannot be opened: {error.strerror or error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = " ".join(file.read(200).split()) or "an unknown process"
            file.close()
            raise LockedError(
                f"{path.parent} is being written by {holder}; "
                "stop that run or choose another work directory"
            ) from None
        except OSError as error:
            file.close()
            raise PlaceError(f"{path} cannot be locked: {error.strerror or error}") from error
        except BaseException:
            file.close()
            raise
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file, self._path = file, path.absolute()
        _held.add(self)

    def require(self) -> None:
        """Raises LostError unless the file that is locked is still the one in the work directory."""
        held = os.fstat(self._file.fileno())
        try:
            there: os.stat_result | None = os.stat(self._path)
        except OSError:
            there = None
        if there is None or not os.path.samestat(held, there):
            raise LostError(
                f"{self._path.parent} was deleted, moved or replaced while this run wrote to it; "
                "nothing more is written"
            )

    def release(self) -> None:
        """Gives the lock back; does nothing the second time."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.release()


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _close_inherited() -> None:
    # The lock belongs to the open file, which a forked data worker shares: without this, a worker
    # that outlives a killed trainer would keep the lock.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_close_inherited)
