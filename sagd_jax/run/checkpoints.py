"""The checkpoints of one work directory: saved in the background, verified before use.

A save goes through `<workdir>/checkpoints/staging/`. Orbax writes and commits the arrays there
without holding up training; then, still in the background, every file is hashed into a manifest
inside the step's directory (see `integrity`), and one rename moves that directory to
`checkpoints/<step>/`. Only then are older steps deleted. Hence

* a directory named like a step is complete from the moment it exists, and whatever a killed
  process leaves lies in `staging`, which the next writer empties;
* a directory named like a step that has no manifest, or differs from it, was damaged later. It is
  never loaded and never deleted: reading falls back to the next older sound step, and a later
  save that reaches the same step moves it aside to `<step>.damaged`.

Keeping the manifest inside the directory lets the pair be copied, moved and deleted as one.

In a step's directory each pytree is an Orbax item of its own, next to `arrays` (small NumPy
arrays) and `record` (JSON). Reading the EMA parameters thus needs no knowledge of the optimiser.

With several processes each calls every method, in the same order. Process 0 alone hashes,
renames, deletes and decides which step to open. If one process fails to write, the others learn
of it when Orbax's barrier times out, 20 minutes later.

Renames are atomic on a local or network file system; what a power cut kept from the disk, the
checksums find. Object stores are untested and unlocked.

(This file is long for its docstrings.)
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from sagd_jax.run import integrity
from sagd_jax.run.items import PyTree, read_arrays_of, read_record_of, save_args
from sagd_jax.run.lock import LostError, WriterLock
from sagd_jax.run.restore import (
    Checkpoint,
    CheckpointError,
    NoCheckpointError,
    one_line_of,
    unreadable,
)
from sagd_jax.run.rounds import CHECKPOINTS_FOLDER, of_last_round
from sagd_jax.system import processes
from sagd_jax.system.files import PlaceError

_STAGING = "staging"
_DAMAGED = ".damaged"
_DIVERGED = ".diverged"
_log = logging.getLogger(__name__)


class Checkpoints:
    """Saves and opens the checkpoints below `<workdir>/checkpoints`.

    A writer holds the lock of `workdir` (`WriterLock`) until `close`. A reader (`read_only=True`)
    takes no lock and changes nothing; a step it is reading may be deleted by the writer, which
    keeps the newest ones.

    Args:
      workdir: directory of the run; a writer creates it. A reader of one with rounds (`rounds.py`) reads
        the last of them.
      keep: how many of the newest complete steps to keep, at least 1.
      keep_every: also keep every step divisible by this number.
      read_only: refuse to save.

    Raises:
      ValueError: `keep` or `keep_every` is below 1.
      LockedError: another process writes to `workdir`.

    Example::

      with Checkpoints("/tmp/run", keep=3) as checkpoints:
          checkpoints.save(50, {"params": params, "ema": ema}, record={"seed": 0})
          checkpoints.wait()
          saved = checkpoints.open()
          ema = saved.restore({"ema": jax.eval_shape(lambda: ema)})["ema"]
    """

    def __init__(
        self,
        workdir: epath.PathLike,
        *,
        keep: int = 3,
        keep_every: int | None = None,
        read_only: bool = False,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every must be None or at least 1, got {keep_every}")
        # Orbax refuses relative paths.
        place = epath.Path(workdir).expanduser().resolve()
        self._root = (of_last_round(place) if read_only else place) / CHECKPOINTS_FOLDER
        self._staging = self._root / _STAGING
        self._keep, self._keep_every = keep, keep_every
        self._read_only = read_only
        self._saving: int | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._lock: WriterLock | None = None  # of process 0
        self._resources = contextlib.ExitStack()
        if not read_only:
            with contextlib.ExitStack() as resources:
                _on_first_process(lambda: self._take_over(resources))
                self._manager = self._new_manager()
                resources.callback(lambda: self._manager.close())
                self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: Any) -> None:
        # After an error of this process alone, the others may be anywhere: closing, which waits for
        # them, could hang. The process is about to end, and with it its lock.
        if kind is None or jax.process_count() == 1:
            self.close()

    def close(self) -> None:
        """Waits as `wait` does, with its errors, and gives the lock back."""
        with self._resources:
            self.wait()

    def require_workdir(self) -> None:
        """Raises unless the work directory is the one that was locked; every process calls it.

        To be called before anything is written there besides checkpoints.

        Raises:
          LostError: it was deleted, moved or replaced since.
        """
        _on_first_process(self._require_lock)

    def steps(self) -> list[int]:
        """The complete steps in increasing order: manifest present, every file of its size.

        The contents are not read here; `open` does that.
        """
        return [step for step in self._present() if self._problem(step, contents=False) is None]

    def save(
        self,
        step: int,
        items: Mapping[str, PyTree],
        *,
        arrays: Mapping[str, np.ndarray] | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> bool:
        """Starts saving `step` and returns once the values are copied, before anything is on disk.

        The step is complete when a later `save`, `wait` or `close` returns without an error. A
        save still running is waited for first, so at most one is under way. The arrays may be
        donated or changed as soon as this returns.

        Args:
          step: non-negative training step.
          items: pytrees of arrays of any shapes and dtypes by name, such as "params", "ema" and
            "opt_state"; names are identifiers. The same on every process.
          arrays: small NumPy arrays by name, read back by `open` without a template.
          record: what describes the run (configuration, data shape, seed, versions), as
            JSON-able data; read back by `open`.

        Returns:
          True if a save was started; False if this step is already there and sound, in which case
          nothing is written.

        Raises:
          ValueError: an argument cannot be saved.
          CheckpointError: the previous save failed in the background (it names that step; the
            next call can succeed), this one could not be started, a newer sound step exists, or
            this is a reader.
          LostError: the work directory was deleted, moved or replaced; nothing is written.

        Example::

          checkpoints.save(50, {"params": params}, arrays={"variance": variance}, record={})
        """
        if self._read_only:
            raise CheckpointError(f"{self._root} was opened to be read only")
        args = save_args(step, items, arrays or {}, record or {})
        self.require_workdir()
        self.wait()
        if not _on_first_process(lambda: self._make_way(step)):
            return False
        try:
            self._manager.reload()  # it does not see the moves out of staging
            self._manager.save(step, args=args, force=True)
        except Exception as error:
            self._saving, self._error = step, error
            self.wait()
        thread = threading.Thread(target=self._finish, args=(step,), name="checkpoint")
        thread.start()
        self._saving, self._thread = step, thread
        return True

    def wait(self) -> None:
        """Blocks until the save under way, if any, is complete.

        Raises:
          CheckpointError: it failed; names the step, the cause and the newest complete step.
          LostError: it failed since the work directory was deleted, moved or replaced.
        """
        if self._saving is None:
            return
        if self._thread is not None:
            self._thread.join()
        step, error = self._saving, self._error
        self._saving = self._thread = self._error = None
        if processes.everywhere(error is None):
            return
        # This manager would raise the error again and may still be writing; a new one does not.
        for finish in (self._manager.wait_until_finished, self._manager.close):
            with contextlib.suppress(Exception):
                finish()
        self.require_workdir()
        _on_first_process(self._free_space)
        self._manager = self._new_manager()
        newest = max(self.steps(), default=None)
        raise CheckpointError(
            f"saving step {step} failed ({one_line_of(error or 'in another process')}); "
            + (f"the newest complete step is {newest}" if newest is not None else "none is saved")
        ) from error

    def open(self, step: int | None = None) -> Checkpoint:
        """Verifies a checkpoint and returns it with its record and small arrays.

        Every file is compared with its checksum. Without `step` the newest sound one is taken;
        each newer one passed over is named with its reason in a warning.

        Args:
          step: the step to open, or None for the newest sound one.

        Raises:
          NoCheckpointError: there is no checkpoint of any kind.
          CheckpointError: there are some but none is sound, or `step` is missing or damaged.

        Example::

          saved = Checkpoints("/tmp/run", read_only=True).open()
        """
        self.wait()
        chosen = _on_first_process(lambda: self._choose(step))
        path = self._root / str(chosen)
        try:
            return Checkpoint(chosen, path, read_record_of(path), read_arrays_of(path))
        except Exception as error:
            raise unreadable(path, error) from error

    def go_back(self, before: int) -> Checkpoint:
        """Opens the newest sound step below `before`, or the oldest there is, as `open` does.

        Newer ones are moved aside to `<step>.diverged`, so that the run can reach those steps again.

        Raises:
          NoCheckpointError, CheckpointError: as `open`; or this is a reader.
          LostError: the work directory was deleted, moved or replaced.
        """
        if self._read_only:
            raise CheckpointError(f"{self._root} was opened to be read only")
        self.require_workdir()
        self.wait()

        def choose() -> int:
            sound = [step for step in self._present() if self._problem(step) is None]
            if not sound:
                return self._choose(None)  # which says why
            chosen = max((step for step in sound if step < before), default=sound[0])
            for step in self._present():
                if step > chosen:
                    self._set_aside(step, _DIVERGED)
            return chosen

        return self.open(_on_first_process(choose))

    def _new_manager(self) -> ocp.CheckpointManager:
        # Which steps to keep and what counts as one is decided here, not by Orbax, to which any
        # directory with a number for a name is a checkpoint.
        options = ocp.CheckpointManagerOptions(
            create=False,
            save_root_metadata=False,
            # Made in the background, a directory that cannot be made leaves Orbax's writers
            # waiting for it for minutes, even at exit.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        return ocp.CheckpointManager(self._staging, options=options)

    def _present(self) -> list[int]:
        # Listing an absent directory must mean "nothing", but one that cannot be read must not.
        try:
            names = [path.name for path in self._root.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self._root} cannot be read: {one_line_of(error)}") from error
        return sorted(int(n) for n in names if n.isascii() and n.isdigit() and n == str(int(n)))

    def _problem(self, step: int, *, contents: bool = True) -> str | None:
        try:
            integrity.verify(self._root / str(step), step, contents=contents)
            if contents:
                read_record_of(self._root / str(step))
        except integrity.IntegrityError as error:
            return one_line_of(error)
        return None

    def _choose(self, step: int | None) -> int:
        present = self._present()
        if step is not None:
            reason = self._problem(step) if step in present else "there is no such step"
            if reason is None:
                return step
            raise CheckpointError(
                f"step {step} in {self._root} cannot be used: {reason}; "
                f"complete steps: {[s for s in self.steps() if s != step]}"
            )
        reasons = []
        for candidate in reversed(present):
            reason = self._problem(candidate)
            if reason is None:
                return candidate
            _log.warning("skipping checkpoint %s: %s", self._root / str(candidate), reason)
            reasons.append(f"step {candidate}: {reason}")
        if self._root.exists():
            aside = sorted(p.name for p in self._root.iterdir() if _DAMAGED in p.name)
            reasons += [f"{name} was moved aside" for name in aside]
        if reasons:
            raise CheckpointError(f"no checkpoint in {self._root} is sound: {'; '.join(reasons)}")
        raise NoCheckpointError(f"there is no checkpoint in {self._root}")

    def _take_over(self, resources: contextlib.ExitStack) -> int:
        if "://" not in str(self._root):
            self._lock = resources.enter_context(WriterLock(self._root.parent))
        try:
            self._staging.mkdir(parents=True, exist_ok=True)
            removed = self._clear_staging()
        except OSError as error:
            raise PlaceError(f"{self._staging} cannot be used: {one_line_of(error)}") from error
        for name in removed:
            _log.warning("removed what an interrupted save left: %s", self._staging / name)
        return 0

    def _require_lock(self) -> int:
        if self._lock is not None:
            self._lock.require()
        return 0

    def _clear_staging(self) -> list[str]:
        paths = list(self._staging.iterdir())
        for path in paths:
            path.rmtree() if path.is_dir() else path.unlink()
        return [path.name for path in paths]

    def _free_space(self) -> int:
        try:
            self._clear_staging()
        except OSError as error:
            _log.warning("a failed save could not be removed: %s", one_line_of(error))
        return 0

    def _make_way(self, step: int) -> bool:
        try:
            self._staging.mkdir(exist_ok=True)
            for other in reversed(self._present()):
                if other < step:
                    break
                reason = self._problem(other)
                if reason is None:
                    if other == step:
                        return False
                    raise CheckpointError(
                        f"step {step} is older than step {other} in {self._root}, from which this "
                        "run would resume; continue from there or use another work directory"
                    )
                self._move_aside(other, reason)
        except OSError as error:
            raise CheckpointError(
                f"step {step} cannot be saved in {self._root} ({one_line_of(error)})"
            ) from error
        return True

    def _move_aside(self, step: int, reason: str) -> None:
        aside = self._set_aside(step, _DAMAGED)
        _log.warning("moved a damaged checkpoint to %s: %s", aside, reason)

    def _set_aside(self, step: int, why: str) -> epath.Path:
        path = self._root / str(step)
        aside = path.with_name(path.name + why)
        while aside.exists():
            aside = aside.with_name(aside.name + "+")
        path.rename(aside)
        return aside

    def _finish(self, step: int) -> None:
        """Runs in the background: completes the step once Orbax has committed it, then prunes."""
        try:
            self._manager.wait_until_finished()
            if jax.process_index() != 0:
                return
            integrity.seal(self._staging / str(step), step)
            (self._staging / str(step)).rename(self._root / str(step))
        except BaseException as error:
            self._error = error
            return
        try:
            self._prune()
        except OSError as error:
            _log.warning("old checkpoints could not be deleted: %s", one_line_of(error))

    def _prune(self) -> None:
        for step in self.steps()[: -self._keep]:
            if self._keep_every is None or step % self._keep_every:
                # Moved before it is deleted: a kill in between leaves no half a checkpoint.
                doomed = self._staging / f"{step}.old"
                (self._root / str(step)).rename(doomed)
                doomed.rmtree()


def _on_first_process(action: Callable[[], int]) -> int:
    errors: dict[type[Exception], str] = {
        NoCheckpointError: "process 0 found no checkpoint",
        LostError: "process 0 found another work directory than it had locked",
        CheckpointError: "process 0 failed; it has the reason",
    }
    return processes.on_first_process(action, errors)
