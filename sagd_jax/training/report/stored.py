"""What a work directory holds of a run, read for its report; what is damaged or missing is named.

Nothing here is computed, and no weights are read: of a checkpoint the record, and whether its files have
their sizes.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import re
from typing import Any

import numpy as np
from etils import epath

from sagd_jax.run import integrity, profiles
from sagd_jax.run.checkpoints import CHECKPOINTS_FOLDER, Checkpoints
from sagd_jax.run.items import read_record_of
from sagd_jax.run.profiles import Profile
from sagd_jax.run.record import Record, read_record
from sagd_jax.run.restore import CheckpointError
from sagd_jax.system.errors import ForPeople, one_line
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.progress import METRICS_FILE

Curves = dict[str, tuple[np.ndarray, np.ndarray]]
_MOST_NAMES = 200  # of numbers in metrics.jsonl
_MOST_EVALUATIONS = 50
_MAX_BYTES = 1 << 30  # of metrics.jsonl, and
_MAX_EVALUATION = 16 << 20  # of the file of an evaluation


class NoRunError(ForPeople, FileNotFoundError):
    """A directory that holds nothing of a run; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Kept:
    """A checkpoint: its step, its bytes, when it was written, and whether its files have their sizes."""

    step: int
    size: int
    written: str
    complete: bool


@dataclasses.dataclass(frozen=True)
class Stored:
    """What there is.

    Attributes:
      workdir: of the run.
      record: of its configuration and data; None where no checkpoint says it.
      curves: steps and values of each number of `metrics.jsonl`, by its name, in the order of the steps.
      pictures: the previews: name of a series ("step", "path"), step and file, in the order of the steps.
      spectra: of the samples of previews, by step.
      data: that of the data.
      evaluations: name of the folder, step and content of each `evaluation.json`.
      checkpoints: in the order of the steps.
      set_aside: names of directories of checkpoints that are damaged or diverged.
      troubles: what could not be read, a line each.
    """

    workdir: epath.Path
    record: Record | None
    curves: Curves
    pictures: list[tuple[str, int, epath.Path]]
    spectra: dict[int, Profile]
    data: Profile | None
    evaluations: list[tuple[str, int | None, dict[str, Any]]]
    checkpoints: list[Kept]
    set_aside: list[str]
    troubles: list[str]

    @property
    def step(self) -> int:
        """The last step that anything here is of."""
        steps = [int(steps[-1]) for steps, _ in self.curves.values() if len(steps)]
        return max([0, *steps, *(one.step for one in self.checkpoints)])


def read_stored(workdir: os.PathLike[str] | str, record: Record | None = None) -> Stored:
    """Reads what there is of a run.

    Args:
      workdir: of the run.
      record: of it, where the caller knows; by default that of the newest checkpoint that has one.

    Raises:
      NoRunError: there is nothing: no numbers, checkpoints or previews.
    """
    root = epath.Path(workdir).expanduser()
    troubles: list[str] = []
    curves = _curves(root / METRICS_FILE, troubles)
    checkpoints, set_aside = _checkpoints(root, troubles)
    pictures = _pictures(root / profiles.FOLDER, troubles)
    if not curves and not checkpoints and not pictures and record is None:
        raise NoRunError(
            f"--workdir={os.fspath(workdir)}: there is no run here: no {METRICS_FILE}, no "
            f"{CHECKPOINTS_FOLDER}, no {profiles.FOLDER}"
        )
    if record is None:
        record = _record(root, checkpoints, troubles)
    spectra, data = _spectra(root / profiles.FOLDER, troubles)
    return Stored(
        root,
        record,
        curves,
        pictures,
        spectra,
        data,
        _evaluations(root / "evaluation", troubles),
        checkpoints,
        set_aside,
        troubles,
    )


def _curves(file: epath.Path, troubles: list[str]) -> Curves:
    try:
        if not file.exists():
            troubles.append(f"{METRICS_FILE} is not there: no curves")
            return {}
        if file.stat().length > _MAX_BYTES:
            troubles.append(
                f"{METRICS_FILE} is larger than {_MAX_BYTES >> 20} MiB, and is not read"
            )
            return {}
        lines = file.read_bytes().splitlines()
    except OSError as error:
        troubles.append(f"{METRICS_FILE} cannot be read: {one_line(error)}")
        return {}
    try:
        entries = json.loads(b"[" + b",".join(lines) + b"]")  # as fast as can be
        bad = 0
    except (ValueError, RecursionError):
        entries = [_parsed(line) for line in lines]
        bad = sum(entry is None for entry in entries)
    found: dict[str, list[tuple[int, float]]] = {}
    for entry in entries:
        if entry is None:
            continue
        step = entry.get("step") if isinstance(entry, dict) else None
        if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < 2**53:
            bad += 1
            continue
        for name, value in entry.items():
            if name == "step" or (name not in found and len(found) >= _MOST_NAMES):
                continue
            number = math.nan
            if type(value) in (float, int) and abs(value) < 1e300:
                number = float(value)
            found.setdefault(name, []).append((step, number))
    if bad:
        troubles.append(f"{METRICS_FILE}: {bad} of {len(lines)} lines are damaged, and left out")
    return {name: _in_order(points) for name, points in found.items()}


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _in_order(points: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    steps, values = (np.array(part, np.float64) for part in zip(*points, strict=True))
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def _pictures(folder: epath.Path, troubles: list[str]) -> list[tuple[str, int, epath.Path]]:
    found = []
    for path in _listed(folder, troubles):
        match = re.fullmatch(r"(step|path)_(\d{1,15})\.png", path.name)
        if match:
            found.append((match[1], int(match[2]), path))
    return sorted(found, key=lambda one: one[:2])


def _spectra(folder: epath.Path, troubles: list[str]) -> tuple[dict[int, Profile], Profile | None]:
    data, spectra = None, {}
    for path in _listed(folder, []):
        match = re.fullmatch(r"step_(\d{1,15})\.json", path.name)
        if match is None and path.name != profiles.DATA_FILE:
            continue
        try:
            profile = profiles.read(path)
        except (OSError, ValueError) as error:
            troubles.append(f"{folder.name}/{path.name} cannot be read: {one_line(error)}")
            continue
        if match is None:
            data = profile
        else:
            spectra[int(match[1])] = profile
    return dict(sorted(spectra.items())), data


def _evaluations(
    folder: epath.Path, troubles: list[str]
) -> list[tuple[str, int | None, dict[str, Any]]]:
    found: list[tuple[str, int | None, dict[str, Any]]] = []
    folders = [folder, *_listed(folder, [])]
    for one in folders:
        file = one / "evaluation.json"
        name = "evaluation" if one == folder else f"evaluation/{one.name}"
        try:
            if not file.exists():
                continue
            if file.stat().length > _MAX_EVALUATION:
                raise ValueError("too large")
            content = json.loads(file.read_bytes())
            results, step = content["results"], content["settings"].get("step")
            if not all(isinstance(m, dict) for b in results.values() for m in b.values()):
                raise ValueError("no results")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            troubles.append(f"{name}/evaluation.json cannot be read, and is left out")
            continue
        found.append((name, step if isinstance(step, int) else None, results))
    found.sort(key=lambda one: (-1 if one[1] is None else one[1], one[0]))
    return found[-_MOST_EVALUATIONS:]


def _checkpoints(root: epath.Path, troubles: list[str]) -> tuple[list[Kept], list[str]]:
    folder = root / CHECKPOINTS_FOLDER
    try:
        complete = set(Checkpoints(root, read_only=True).steps())
    except (CheckpointError, OSError) as error:
        troubles.append(f"{CHECKPOINTS_FOLDER} cannot be read: {one_line(error)}")
        return [], []
    kept, aside = [], []
    for path in _listed(folder, []):
        if not path.name.isascii() or not path.name.isdigit():
            if re.fullmatch(r"\d+\.(damaged|diverged).*", path.name):
                aside.append(path.name)
            continue
        step = int(path.name)
        manifest = path / integrity.MANIFEST
        size, when = _size_and_time(manifest)
        kept.append(Kept(step, size, when, step in complete))
        if step not in complete:
            troubles.append(f"{CHECKPOINTS_FOLDER}/{path.name} is incomplete or damaged")
    return sorted(kept, key=lambda one: one.step), sorted(aside)


def _size_and_time(manifest: epath.Path) -> tuple[int, str]:
    """Bytes of all files, as the manifest says, and when it was written; 0 and nothing if it does not."""
    try:
        files = json.loads(manifest.read_bytes())["files"]
        size = sum(int(entry["bytes"]) for entry in files.values())
        when = datetime.datetime.fromtimestamp(manifest.stat().mtime or 0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return 0, ""
    return size, when.strftime("%Y-%m-%d %H:%M")


def _record(root: epath.Path, checkpoints: list[Kept], troubles: list[str]) -> Record | None:
    for one in reversed(checkpoints):
        try:
            return read_record(read_record_of(root / CHECKPOINTS_FOLDER / str(one.step)))
        except (integrity.IntegrityError, ConfigError) as error:
            troubles.append(f"{CHECKPOINTS_FOLDER}/{one.step}: {one_line(error)}")
    troubles.append("no checkpoint says what the configuration was")
    return None


def _listed(folder: epath.Path, troubles: list[str]) -> list[epath.Path]:
    """What is in a folder, by name; nothing where it is none."""
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name) if folder.is_dir() else []
    except OSError as error:
        troubles.append(f"{folder.name} cannot be read: {one_line(error)}")
        return []
