"""Numbers for people: a progress bar, log lines, `metrics.jsonl` and TensorBoard.

`metrics.jsonl` holds one JSON object per log line: `step`, and numbers by name. Those of the training
step have `loss` among them; metrics stand on lines of their own. A run that resumes from an older
checkpoint drops the lines beyond it, since it will write them again. A line is of all steps since the one
before, wherever the run was cut: what those before a checkpoint had stands in `unlogged.jsonl`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Self

import jax
import numpy as np
from etils import epath

from sagd_jax.show.bars import bar_class
from sagd_jax.system.errors import reason
from sagd_jax.system.files import PlaceError, write_whole
from sagd_jax.training import quarters
from sagd_jax.training.board import Board

METRICS_FILE = "metrics.jsonl"
UNLOGGED_FILE = "unlogged.jsonl"
BOARD_FOLDER = "tensorboard"
_HELD = 10  # newest checkpoints of which it is kept what was not logged yet
_OWN = ("loss", "gradient_norm", "skipped", *quarters.SUMS)

_log = logging.getLogger(__name__)


class Progress:
    """Writes a run's progress; a silent one (`active=False`) for processes other than the first.

    Args:
      workdir: directory of the run.
      start, stop: first step of this part of the run, and the step at which it ends.
      tensorboard: whether to write TensorBoard files.
      active: whether to write anything.
      quiet: whether to write into files alone.
    """

    def __init__(
        self,
        workdir: epath.Path,
        start: int,
        stop: int,
        *,
        tensorboard: bool,
        active: bool,
        quiet: bool = False,
    ) -> None:
        self._active, self._quiet = active, quiet
        self._stop = stop
        self._last = (start, time.monotonic(), 0.0)
        self._file: Any = None
        self._board: Board | None = None
        # On a terminal only: in a log file the lines below say the same.
        self._bar = bar_class()(
            total=stop,
            initial=start,
            unit="step",
            disable=None if active and not quiet else True,
            dynamic_ncols=True,
            smoothing=0.1,
        )
        if not active:
            return
        self._workdir, self._tensorboard = epath.Path(workdir), tensorboard
        try:
            self._open(start)
        except OSError as error:
            self._bar.close()
            raise PlaceError(f"metrics cannot be written: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
        self._close()

    def rewind(self, step: int) -> None:
        """Forgets what was written beyond `step`, from which the run goes on."""
        self._bar.update(step - self._bar.n)
        if self._active:
            self._close()
            with _no_error_but_a_warning():
                self._open(step)

    def say(self, line: str) -> None:
        """Prints a line, above the progress bar if there is one."""
        if self._active and not self._quiet:
            self._bar.write(line)
            sys.stdout.flush()  # a log file should show it now

    def advance(self, step: int) -> None:
        """Moves the progress bar."""
        self._bar.update(step - self._bar.n)

    def restart_clock(self, step: int, waited: float) -> None:
        """Leaves what went before out of the rates (compilation, a preview)."""
        self._last = (step, time.monotonic(), waited)
        self._bar.unpause()

    def log(self, step: int, values: dict[str, float], *, images: int, waited: float) -> None:
        """Writes one log line.

        Args:
          step: optimiser steps done.
          values: metrics by name.
          images: examples per step.
          waited: seconds that the loop has waited for data since it began.
        """
        if not self._active:
            return
        last_step, last_time, last_waited = self._last
        seconds = max(time.monotonic() - last_time, 1e-9)
        steps = step - last_step
        self._last = (step, time.monotonic(), waited)
        if steps > 0:
            rate = steps * images / seconds
            values = {
                **values,
                "images_per_second": rate,
                "images_per_second_per_device": rate / jax.device_count(),
                "data_wait_share": (waited - last_waited) / seconds,
            }
        self._write(step, values)
        left = (self._stop - step) * seconds / steps if steps > 0 else math.nan
        self.say(_words(step, self._stop, values, left))

    def hold(self, step: int, pending: Sequence[Any]) -> None:
        """Keeps, for a run that goes on from a checkpoint, what is not logged yet.

        Args:
          step: of the checkpoint.
          pending: metrics of the steps since the last log line, as for `averages`.
        """
        if not self._active:
            return
        path = self._workdir / UNLOGGED_FILE
        with _no_error_but_a_warning():
            # Of this step there may be a line from before the run went back, or logged at other steps.
            before = _lines(path)
            lines = [line for line in before if not line.startswith(f'{{"step": {step}, ')]
            if pending:
                held = {n: [str(x.dtype), x.tolist()] for n, x in _joined(pending).items()}
                lines.append(json.dumps({"step": step, "held": held}))
            if lines != before:
                write_whole(path, "".join(line + "\n" for line in lines[-_HELD:]))

    def held(self, step: int) -> list[Any]:
        """What `hold` has kept at a step: metrics to begin with; none where nothing was."""
        if not self._active:
            return []
        for line in reversed(_lines(self._workdir / UNLOGGED_FILE)):
            try:
                content = json.loads(line)
                if content["step"] == step:
                    return [
                        {name: np.array(x, kind) for name, (kind, x) in content["held"].items()}
                    ]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a line of something else
        return []

    def note(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers that are not of the training step itself, on a line of their own."""
        if not self._active:
            return
        self._write(step, values)
        self.say(
            "  ".join([f"step {step}/{self._stop}", *(f"{k} {v:.5g}" for k, v in values.items())])
        )

    def image(self, name: str, step: int, picture: np.ndarray) -> None:
        """Shows a picture `(height, width, 3 or 1)`, uint8, in TensorBoard."""
        if self._board is not None:
            with _no_error_but_a_warning():
                self._board.image(name, picture, step)

    def _write(self, step: int, values: dict[str, float]) -> None:
        line = {"step": step, **{k: _finite(v) for k, v in values.items()}}
        if self._file is not None:
            with _no_error_but_a_warning():
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
        if self._board is not None:
            with _no_error_but_a_warning():
                self._board.scalars(values, step)

    def _open(self, step: int) -> None:
        self._file = _open_from(self._workdir / METRICS_FILE, step)
        if self._tensorboard:
            self._board = Board(str(self._workdir / BOARD_FOLDER), step)

    def _close(self) -> None:
        if not self._active:
            return
        for opened in (self._file, self._board):
            if opened is not None:
                with _no_error_but_a_warning():
                    opened.close()
        self._file = self._board = None


def averages(pending: list[Any]) -> dict[str, float]:
    """What a log line says of the steps whose metrics these are, but for those that were skipped.

    Of what an objective reports besides quarters of t it is the mean over the steps.
    """
    joined = _joined(pending)
    finite = ~joined["skipped"]
    used = {name: values[finite] for name, values in joined.items()}
    return {
        "loss": float(np.mean(used["loss"])) if finite.any() else math.nan,
        **quarters.means(used),
        **{name: float(np.mean(used[name])) for name in used if name not in _OWN and finite.any()},
        "gradient_norm": float(np.mean(used["gradient_norm"])) if finite.any() else math.nan,
        "skipped": float(np.sum(~finite)),
    }


def _joined(pending: Sequence[Any]) -> dict[str, np.ndarray]:
    """Metrics of several calls, by name, a number for each step."""
    host = jax.device_get(list(pending))
    return {name: np.concatenate([m[name] for m in host]) for name in host[0]}


def _lines(path: epath.Path) -> list[str]:
    return path.read_bytes().decode(errors="replace").splitlines() if path.exists() else []


@contextlib.contextmanager
def _no_error_but_a_warning() -> Iterator[None]:
    # Numbers for people must not end a run: that is for the checkpoints to decide.
    try:
        yield
    except OSError as error:
        _log.warning("metrics could not be written: %s", reason(error))


def _words(step: int, stop: int, values: dict[str, float], left: float) -> str:
    parts = [
        f"step {step}/{stop}",
        f"loss {values['loss']:.4f}",
        *quarters.words(values),
        f"grad {values['gradient_norm']:.3f}",
    ]
    if "images_per_second" in values:
        parts.append(f"{values['images_per_second']:.0f} images/s")
        parts.append(f"waiting for data {values['data_wait_share']:.1%}")
    if math.isfinite(left):
        parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
    if values.get("skipped"):
        parts.append(f"SKIPPED {values['skipped']:.0f} steps that were not finite")
    return "  ".join(parts)


def _finite(value: float) -> float | None:
    # JSON has no NaN; a reader of the file should not have to know Python's.
    return float(value) if math.isfinite(value) else None


def _open_from(path: epath.Path, step: int) -> Any:
    kept = []
    for line in _lines(path):
        try:
            if json.loads(line)["step"] <= step and step > 0:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line cut by a kill
    if "://" in str(path):
        return _Rewritten(path, kept)
    write_whole(path, "".join(kept))
    return path.open("a")


class _Rewritten(io.StringIO):
    """A file in an object store, which knows no appending."""

    def __init__(self, path: epath.Path, lines: list[str]) -> None:
        super().__init__()
        self._path = path
        self.write("".join(lines))

    def flush(self) -> None:
        self._path.write_text(self.getvalue())
