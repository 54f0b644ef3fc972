"""Samples that others drew: a folder of images, a set of sample.py, or an `.npz`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax import data
from sagd_jax.data.config import DataConfig
from sagd_jax.data.files import Unreadable, natural_key, reading
from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.run.record import DataRecord

_KEYS = ("samples", "x", "arr_0")


def read_samples(place: Path, record: DataRecord, most: int | None = None) -> np.ndarray:
    """Samples `(n, *shape)` in the data's own range and dtype.

    Args:
      place: an `.npz`, a folder with such files of sample.py's names, or a folder of images.
      record: of the run's data, whose shape and dtype they must have.
      most: the first so many; None: all.

    Raises:
      EvaluationError: one line: nothing there, other shapes or dtype, or values that are not finite.
    """
    if place.is_file() and place.suffix.lower() != ".npz":
        raise EvaluationError(
            f"--samples={place}: expected an .npz with an array named samples (np.savez(FILE, samples=x)), or a "
            "folder of such files or of images"
        )
    if place.is_file():
        samples = _read_npz([place], most)
    elif place.is_dir():
        sets = sorted(place.glob("samples*.npz"), key=lambda path: natural_key(path.name))
        samples = _read_npz(sets, most) if sets else _read_images(place, record, most)
    else:
        raise EvaluationError(f"--samples={place}: does not exist")
    if samples.shape[1:] != record.shape:
        raise EvaluationError(
            f"--samples={place}: examples of shape {samples.shape[1:]}, the run's have {record.shape}"
        )
    floats = np.issubdtype(samples.dtype, np.floating)
    if floats == (record.dtype == "uint8") or not (floats or samples.dtype == np.uint8):
        raise EvaluationError(
            f"--samples={place}: values of {samples.dtype}, the run's are {record.dtype}; "
            "sagd.to_uint8 makes bytes of what sagd.sample returns"
            if record.dtype == "uint8"
            else f"--samples={place}: values of {samples.dtype}, the run's are floats in their own range"
        )
    if floats and not np.isfinite(samples).all():
        bad = ~np.isfinite(samples.reshape(len(samples), -1)).all(axis=1)
        raise EvaluationError(
            f"--samples={place}: {bad.sum()} of {len(samples)} samples are not finite, the first is "
            f"number {int(np.argmax(bad))}"
        )
    return samples


def _read_npz(files: list[Path], most: int | None) -> np.ndarray:
    parts: list[np.ndarray] = []
    count = 0
    for file in files:
        try:
            with reading(file), np.load(file, allow_pickle=False) as content:
                if not hasattr(content, "files"):
                    raise EvaluationError(f"--samples={file}: is no .npz")
                names = [name for name in _KEYS if name in content.files]
                if not names and len(content.files) == 1:
                    names = content.files
                if not names:
                    raise EvaluationError(
                        f"--samples={file}: has the arrays {', '.join(content.files)}; expected one "
                        "of name samples"
                    )
                parts.append(content[names[0]])
        except Unreadable as error:
            raise EvaluationError(f"--samples={file}: cannot be read: {error.why}") from None
        if parts[-1].shape[1:] != parts[0].shape[1:] or parts[-1].ndim < 2:
            raise EvaluationError(f"--samples={file}: its samples have shape {parts[-1].shape[1:]}")
        count += len(parts[-1])
        if most is not None and count >= most:
            break
    return np.concatenate(parts)[:most]


def _size(record: DataRecord) -> str:
    return "x".join(map(str, reversed(record.shape[:-1])))


def _read_images(folder: Path, record: DataRecord, most: int | None) -> np.ndarray:
    images = folder / "png" if (folder / "png").is_dir() else folder
    try:
        fields: dict[str, Any] = {"dir": str(images), "channels": record.shape[-1]}
        source = data.open_source(DataConfig(name="folder", **fields))
    except data.DataError as error:
        # The flags have another name for it, and the size is that of the run.
        words = str(error).removeprefix(f"data.dir={str(images)!r}: ")
        words = words.replace(
            "set data.image_size", f"expected all of {_size(record)}, the run's size"
        )
        raise EvaluationError(f"--samples={folder}: {words}") from None
    count = len(source) if most is None else min(most, len(source))
    return source.fetch(np.arange(count))["x"]
