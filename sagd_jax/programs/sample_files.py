"""The files of a set of samples: arrays in numbered files, and what people look at and listen to.

Each file is renamed into place when it is whole, so that a set can be completed later.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.run.record import DataRecord
from sagd_jax.show import media, pictures
from sagd_jax.system.files import write_whole

GRID = 100  # samples shown in grid.png, at most


def shards_of(count: int, size: int) -> list[tuple[str, int, int]]:
    """The files: name, first sample, and the one after the last.

    >>> shards_of(64, 5000)
    [('samples.npz', 0, 64)]
    >>> shards_of(12, 5)[1:]
    [('samples-00001-of-00003.npz', 5, 10), ('samples-00002-of-00003.npz', 10, 12)]
    """
    if count <= size:
        return [("samples.npz", 0, count)]
    starts = range(0, count, size)
    return [
        (f"samples-{i:05d}-of-{len(starts):05d}.npz", first, min(first + size, count))
        for i, first in enumerate(starts)
    ]


def is_whole(file: Path, count: int) -> bool:
    """Whether a file of so many samples is there and undamaged."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open("samples.npy") as member:
            np.lib.format.read_magic(member)
            shape = np.lib.format.read_array_header_1_0(member)[0]
            return bool(shape[0] == count) and archive.testzip() is None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return False


def write_npz(file: Path, samples: np.ndarray, labels: np.ndarray | None) -> None:
    """Writes samples `(n, *spatial, channels)` and, if there are any, their classes `(n,)`."""
    arrays: dict[str, Any] = {"samples": samples}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(file, buffer.getbuffer())


def write_for_people(out: Path, samples: np.ndarray, data: DataRecord) -> None:
    """Writes the first samples of a set: `grid.png`, and a WAV or GIF each for audio and video."""
    shown = data.for_people(samples)
    pictures.write_png(out / "grid.png", pictures.grid(shown))
    if data.kind in ("audio", "video") and data.sample_rate:
        suffix = {"audio": "wav", "video": "gif"}[data.kind]
        (out / suffix).mkdir(exist_ok=True)
        for i, sample in enumerate(shown):
            path = out / suffix / f"{i:04d}.{suffix}"
            if data.kind == "audio":
                media.write_wav(path, sample, data.sample_rate)
            else:
                media.write_gif(path, pictures.to_uint8(sample), data.sample_rate)


def write_pngs(out: Path, samples: np.ndarray, first: int, count: int, data: DataRecord) -> None:
    """Writes samples `first` and following, of `count` in all, as numbered PNGs."""
    digits = len(str(count - 1))
    for i, sample in enumerate(samples, start=first):
        picture = pictures.image(data.for_people(sample))
        pictures.write_png(out / "png" / f"{i:0{digits}d}.png", picture)
