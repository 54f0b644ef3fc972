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
"""

import contextlib
import dataclasses
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding

from sagd_jax.system import errors
from sagd_jax.system.errors import ForPeople
from sagd_jax.training import integrity
from sagd_jax.training.lock import WriterLock

PyTree = Any

_STAGING = "staging"
_DAMAGED = ".damaged"
_DIVERGED = ".diverged"
_ARRAYS = "arrays"
_RECORD = "record"
_RESERVED = (_ARRAYS, _RECORD, "default", "metrics")  # the last two are special to Orbax
_MAX_RECORD_BYTES = 16 << 20
_MAX_ARRAYS_BYTES = 256 << 20
_LARGEST_COMPRESSION = 1000  # of weights and moments that were trained at all

_log = logging.getLogger(__name__)


class CheckpointError(ForPeople, RuntimeError):
    """A checkpoint could not be saved, or those present cannot be used; the message is one line."""


class NoCheckpointError(ForPeople, FileNotFoundError):
    """Nothing was ever saved here: the one case in which starting afresh loses nothing."""


class Checkpoints:
    """Saves and opens the checkpoints below `<workdir>/checkpoints`.

    A writer holds the lock of `workdir` (`WriterLock`) until `close`. A reader (`read_only=True`)
    takes no lock and changes nothing; a step it is reading may be deleted by the writer, which
    keeps the newest ones.

    Args:
      workdir: directory of the run; a writer creates it.
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
        self._root = epath.Path(workdir).expanduser().resolve() / "checkpoints"
        self._staging = self._root / _STAGING
        self._keep, self._keep_every = keep, keep_every
        self._read_only = read_only
        self._saving: int | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
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

        Example::

          checkpoints.save(50, {"params": params}, arrays={"variance": variance}, record={})
        """
        if self._read_only:
            raise CheckpointError(f"{self._root} was opened to be read only")
        args = _save_args(step, items, arrays or {}, record or {})
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
        """
        if self._saving is None:
            return
        if self._thread is not None:
            self._thread.join()
        step, error = self._saving, self._error
        self._saving = self._thread = self._error = None
        if _everywhere(error is None):
            return
        # This manager would raise the error again and may still be writing; a new one does not.
        for finish in (self._manager.wait_until_finished, self._manager.close):
            with contextlib.suppress(Exception):
                finish()
        _on_first_process(self._free_space)
        self._manager = self._new_manager()
        newest = max(self.steps(), default=None)
        raise CheckpointError(
            f"saving step {step} failed ({_one_line(error or 'in another process')}); "
            + (f"the newest complete step is {newest}" if newest is not None else "none is saved")
        ) from error

    def open(self, step: int | None = None) -> "Checkpoint":
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
            return Checkpoint(chosen, path, _read_record(path), _read_arrays(path))
        except Exception as error:
            raise _unreadable(path, error) from error

    def go_back(self, before: int) -> "Checkpoint":
        """Opens the newest sound step below `before`, or the oldest there is, as `open` does.

        Newer ones are moved aside to `<step>.diverged`, so that the run can reach those steps again.

        Raises:
          NoCheckpointError, CheckpointError: as `open`; or this is a reader.
        """
        if self._read_only:
            raise CheckpointError(f"{self._root} was opened to be read only")
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
        return sorted(int(n) for n in names if n.isascii() and n.isdigit() and n == str(int(n)))

    def _problem(self, step: int, *, contents: bool = True) -> str | None:
        try:
            integrity.verify(self._root / str(step), step, contents=contents)
            if contents:
                _read_record(self._root / str(step))
        except integrity.IntegrityError as error:
            return _one_line(error)
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
            resources.enter_context(WriterLock(self._root.parent))
        self._staging.mkdir(parents=True, exist_ok=True)
        for name in self._clear_staging():
            _log.warning("removed what an interrupted save left: %s", self._staging / name)
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
            _log.warning("a failed save could not be removed: %s", _one_line(error))
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
                f"step {step} cannot be saved in {self._root} ({_one_line(error)})"
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
            _log.warning("old checkpoints could not be deleted: %s", _one_line(error))

    def _prune(self) -> None:
        for step in self.steps()[: -self._keep]:
            if self._keep_every is None or step % self._keep_every:
                # Moved before it is deleted: a kill in between leaves no half a checkpoint.
                doomed = self._staging / f"{step}.old"
                (self._root / str(step)).rename(doomed)
                doomed.rmtree()


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint, as returned by `Checkpoints.open`.

    Attributes:
      step: the training step.
      path: its directory.
      record: the JSON data given to `save`.
      arrays: the small NumPy arrays given to `save`.
    """

    step: int
    path: epath.Path
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def restore(
        self,
        abstract: Mapping[str, PyTree],
        *,
        finite: Collection[str] = ("params", "ema"),
    ) -> dict[str, PyTree]:
        """Reads some of the pytrees, onto whatever devices the templates ask for.

        Structure, shapes and dtypes are compared with what is stored before any array is read;
        nothing is cast, padded or dropped.

        Args:
          abstract: for each name to read, a pytree like the one saved. Leaves are
            `jax.ShapeDtypeStruct` or arrays; a leaf's sharding says where it goes, for any number
            of devices; without one it goes to the first local device. NumPy leaves stay NumPy.
          finite: names whose floating-point leaves must hold no NaN or infinity.

        Returns:
          The pytrees by name, in the structure of `abstract`.

        Raises:
          CheckpointError: an item is not stored, does not match its template, holds non-finite
            values, or cannot be read. Names the first leaf concerned.

        Example::

          ema = saved.restore({"ema": jax.eval_shape(init)})["ema"]
        """
        targets = {name: jax.tree.map(_target, tree) for name, tree in abstract.items()}
        restored = {}
        with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
            for name, target in targets.items():
                _check_matches(name, target, self._stored(handler, name))
                _check_size(self.path / name, target)
            for name, target in targets.items():
                try:
                    args = ocp.args.StandardRestore(target)
                    restored[name] = handler.restore(self.path / name, args=args)
                except Exception as error:
                    raise _unreadable(self.path / name, error) from error
        for name in restored:
            if name in finite:
                check_finite(name, restored[name])
        return restored

    def _stored(self, handler: ocp.StandardCheckpointHandler, name: str) -> PyTree:
        found = {path.parent.name for path in self.path.glob("*/_METADATA")} - set(_RESERVED)
        if name not in found:
            raise CheckpointError(f"{self.path} has no item {name!r}; it has {sorted(found)}")
        try:
            return handler.metadata(self.path / name).tree
        except Exception as error:
            raise _unreadable(self.path / name, error) from error


def check_finite(name: str, tree: PyTree) -> None:
    """Raises if a floating-point leaf of `tree` holds a NaN or an infinity.

    Args:
      name: what to call the tree in the message.
      tree: pytree of arrays of any shapes, sharded in any way.

    Raises:
      CheckpointError: names the first such leaf.

    Example::

      check_finite("params", params)
    """
    # One compiled call for all leaves on the same devices; a call per leaf would compile each.
    groups: dict[Any, list[tuple[str, Any]]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        on_device = isinstance(leaf, jax.Array)
        devices = frozenset(leaf.sharding.device_set) if on_device else None
        leaf = leaf if on_device else np.asarray(leaf)
        if jax.dtypes.issubdtype(leaf.dtype, np.inexact):
            groups.setdefault(devices, []).append((_name(path), leaf))
    for devices, group in groups.items():
        leaves = [leaf for _, leaf in group]
        flags = _finite_flags(leaves) if devices else [np.isfinite(x).all() for x in leaves]
        for (where, _), flag in zip(group, flags, strict=True):
            if not flag:
                raise CheckpointError(f"{name}/{where} holds non-finite values")


@jax.jit
def _finite_flags(leaves: list[Any]) -> list[Any]:
    return [jax.numpy.isfinite(leaf).all() for leaf in leaves]


def _save_args(
    step: int,
    items: Mapping[str, PyTree],
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> ocp.args.Composite:
    if step < 0:
        raise ValueError(f"step must not be negative, got {step}")
    for name, tree in items.items():
        if not name.isidentifier() or name in _RESERVED:
            raise ValueError(f"items must be named by identifiers other than {_RESERVED}: {name!r}")
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        if not leaves:
            raise ValueError(f"items[{name!r}] has no arrays")
        for path, leaf in leaves:
            if not isinstance(leaf, jax.Array) and np.asarray(leaf).dtype == object:
                raise ValueError(f"{name}/{_name(path)} is no array but a {type(leaf).__name__}")
    try:
        data = json.loads(json.dumps(dict(record), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"record must be JSON-able data: {error}") from error
    args: dict[str, Any] = {_RECORD: ocp.args.JsonSave(data)}
    if arrays:
        args[_ARRAYS] = ocp.args.StandardSave({k: np.array(v) for k, v in arrays.items()})
    for name, tree in items.items():
        # NumPy leaves are copied, since their owner may write to them while they are saved.
        own = jax.tree.map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, tree)
        args[name] = ocp.args.StandardSave(own)
    return ocp.args.Composite(**args)


def _read_record(path: epath.Path) -> dict[str, Any]:
    file = path / _RECORD / "metadata"
    try:
        if file.stat().length > _MAX_RECORD_BYTES:
            raise ValueError(f"larger than {_MAX_RECORD_BYTES} bytes")
        record = json.loads(file.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise integrity.IntegrityError(f"its record cannot be read: {error}") from error
    return record


def _read_arrays(path: epath.Path) -> dict[str, np.ndarray]:
    directory = path / _ARRAYS
    if not directory.exists():
        return {}
    with contextlib.closing(ocp.StandardCheckpointHandler()) as handler:
        stored = handler.metadata(directory).tree
        size = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(stored))
        if size > _MAX_ARRAYS_BYTES:
            raise ValueError(f"{_ARRAYS} claims {size} bytes, more than {_MAX_ARRAYS_BYTES}")
        target = {name: np.empty(x.shape, x.dtype) for name, x in stored.items()}
        return handler.restore(directory, args=ocp.args.StandardRestore(target))


def _target(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return np.asarray(leaf) if isinstance(leaf, np.generic) else leaf
    # Orbax would otherwise fall back on the devices of the machine that saved.
    sharding = leaf.sharding or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _check_matches(name: str, target: PyTree, stored: PyTree) -> None:
    expected, actual = _signature(target), _signature(stored)
    for leaf in [*expected, *actual]:
        wanted, found = (side.get(leaf, "no such leaf") for side in (expected, actual))
        if wanted != found:
            raise CheckpointError(f"{name}/{leaf}: the checkpoint has {found}, expected {wanted}")


def _check_size(path: epath.Path, target: PyTree) -> None:
    """Refuses a few bytes on disk that claim to be more than this machine can hold."""
    claimed = sum(
        math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
        for leaf in jax.tree.leaves(target)
        if hasattr(leaf, "shape") and not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )
    if claimed < _MAX_ARRAYS_BYTES:
        return
    stored = sum(
        (parent / name).stat().length for parent, _, names in path.walk() for name in names
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * jax.process_count()
    if claimed > memory or claimed > _LARGEST_COMPRESSION * stored:
        raise CheckpointError(
            f"{path} claims {claimed / 2**30:.1f} GiB of arrays in {stored / 2**30:.3g} GiB of files; "
            f"this machine has {memory / 2**30:.0f} GiB of memory"
        )


def _signature(tree: PyTree) -> dict[str, str]:
    signature = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not hasattr(leaf, "shape"):
            leaf = np.asarray(leaf)
        elif jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.eval_shape(jax.random.key_data, leaf)  # what Orbax stores
        signature[_name(path)] = f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"
    return signature


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _unreadable(path: epath.Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read: {_one_line(error)}")


def _one_line(error: object) -> str:
    kind = f"{type(error).__name__}: " if isinstance(error, OSError) else ""
    return errors.one_line(f"{kind}{error}", 400)


def _everywhere(value: bool) -> bool:
    """Whether `value` holds on every process."""
    if jax.process_count() == 1:
        return value
    return bool(np.all(multihost_utils.process_allgather(np.array(value))))


def _on_first_process(action: Callable[[], int]) -> int:
    """Runs `action` on process 0 alone; every process returns its result or raises with it."""
    if jax.process_count() == 1:
        return action()
    result, error = 0, None
    if jax.process_index() == 0:
        try:
            result = action()
        except Exception as raised:
            error = raised
    none_found = isinstance(error, NoCheckpointError)
    outcome = np.array([result, error is not None, none_found], np.int32)
    result, failed, none_found = multihost_utils.broadcast_one_to_all(outcome).tolist()
    if error is not None:
        raise error
    if none_found:
        raise NoCheckpointError("process 0 found no checkpoint")
    if failed:
        raise CheckpointError("process 0 failed; it has the reason")
    return result
