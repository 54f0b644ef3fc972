"""Trained runs that come with the package, by name: `--workdir=digits`, `sagd.load("digits")`.

A folder of that name comes first, and nothing is ever written into the package: what a program makes of such
a run goes beside the folder from which it was started. `scripts/ship_checkpoint.py` puts a run there.
"""

from __future__ import annotations

import os
from pathlib import Path

from sagd_jax.run.restore import NoCheckpointError
from sagd_jax.system.files import PlaceError

READY = Path(__file__).parents[1] / "pretrained"


def ready_runs() -> list[str]:
    """The names of the runs that come with the package.

    >>> "digits" in ready_runs()
    True
    """
    return sorted(path.parent.name for path in READY.glob("*/checkpoints"))


def is_ready(workdir: str | os.PathLike[str]) -> bool:
    """Whether a work directory is the name of such a run, and not that of something that is here.

    >>> is_ready("digits"), is_ready("./digits"), is_ready("runs/digits")
    (True, False, False)
    """
    name = os.fspath(workdir)
    return name in ready_runs() and not os.path.lexists(name)


def place_of(workdir: str | os.PathLike[str]) -> str:
    """Where a run's checkpoints are to be read: the directory as given, or the one in the package."""
    name = os.fspath(workdir)
    return str(READY / name) if is_ready(name) else name


def results_of(workdir: str | os.PathLike[str], what: str = "") -> Path:
    """Where results go that are given no place: into the work directory, never into the package.

    Raises:
      PlaceError: the work directory is in an object store.

    >>> str(results_of("runs/a", "samples")), str(results_of("digits", "samples"))
    ('runs/a/samples', 'digits_samples')
    """
    name = os.fspath(workdir)
    if is_ready(name):
        return Path("_".join(filter(None, (name, what or "results"))))
    if "://" in name:
        raise PlaceError(f"--workdir={name}: not a folder of this machine; say --out=FOLDER")
    return Path(name).expanduser() / what


def words_of(workdir: str | os.PathLike[str]) -> str:
    """How to name a work directory to people."""
    name = os.fspath(workdir)
    return f"{name}, which comes with the package" if is_ready(name) else name


def no_checkpoint(workdir: str | os.PathLike[str], error: NoCheckpointError) -> NoCheckpointError:
    """The error with what else the work directory may have meant."""
    name = os.fspath(workdir)
    if name in ready_runs():
        return NoCheckpointError(
            f"{error}; this folder comes before the run {name!r} of the package: move it, or start elsewhere"
        )
    if os.path.exists(name):
        return error
    return NoCheckpointError(
        f"{error}: no such folder; the package itself has: {', '.join(ready_runs())}"
    )
