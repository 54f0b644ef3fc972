"""Folders that results go to: found out to be of no use before anything is computed."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from sagd_jax.system.errors import ForPeople, reason

_PROBE = b"\0" * 4096  # a full disk still takes empty files


class PlaceError(ForPeople, OSError):
    """A place that cannot be written; the message is one line with its path."""


def check_place(name: str, folder: Path) -> None:
    """Finds out whether files can be written in a folder, which is made later if it is not there.

    A few bytes are written for that where it is, or in the nearest folder above it, and removed.

    Args:
      name: the flag that names it.

    Raises:
      PlaceError: they cannot.
    """
    with writing(f"{name}={folder}"):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            what = "this" if place == folder.absolute() else str(place)
            raise PlaceError(f"{name}={folder}: {what} is a file, expected a directory")
        probe = place / f".{uuid.uuid4().hex}.tmp"
        try:
            probe.write_bytes(_PROBE)
        finally:
            probe.unlink(missing_ok=True)


def check_outside(name: str, folder: Path, data: str | Path, what: str) -> None:
    """Raises PlaceError, one line, where results would lie among data; `what` names those, such as data.dir."""
    where, out = Path(data).expanduser().resolve(), folder.resolve()
    if data and (where == out or (where.is_dir() and where in out.parents)):
        raise PlaceError(f"{name}={str(folder)!r}: lies in {what}, where nothing is ever written")


@contextlib.contextmanager
def writing(place: str) -> Iterator[None]:
    """Turns an error of the system into one line that names the place."""
    try:
        yield
    except PlaceError:
        raise
    except OSError as error:
        raise PlaceError(f"{place} cannot be written: {reason(error)}") from error
