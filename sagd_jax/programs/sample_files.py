"""The files of a set of samples: arrays in numbered files, and what people look at and listen to.

Each file is renamed into place when it is whole, so that a set can be completed later. A folder holds
one set; pictures and sounds bear the index of their sample.
"""

from __future__ import annotations

import functools
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.run.profiles import Profile, profile_of
from sagd_jax.run.record import DataRecord
from sagd_jax.show import media, pictures
from sagd_jax.show.spectra_charts import spectra_chart
from sagd_jax.system.files import write_whole

# What a set of samples may consist of, besides its settings.
FILES = (
    "samples.npz",
    "samples-*-of-*.npz",
    "grid.png",
    "spectrum.svg",
    "trajectory.gif",
    "png/*.png",
    "wav/*.wav",
    "gif/*.gif",
)
GRID = 100  # samples shown in grid.png, at most
SPECTRUM = 1024  # whose spectrum is drawn, at most
FRAME_RATE = 12.0  # of the way of samples, in frames per second

Writer = Callable[[np.ndarray], None]


def shards_of(start: int, count: int, size: int) -> list[tuple[str, int, int]]:
    """The files: name, first sample, and the one after the last.

    >>> shards_of(0, 64, 5000)
    [('samples.npz', 0, 64)]
    >>> shards_of(7, 12, 5)[1:]
    [('samples-00001-of-00003.npz', 12, 17), ('samples-00002-of-00003.npz', 17, 19)]
    """
    if count <= size:
        return [("samples.npz", start, start + count)]
    firsts = range(start, start + count, size)
    return [
        (f"samples-{i:05d}-of-{len(firsts):05d}.npz", first, min(first + size, start + count))
        for i, first in enumerate(firsts)
    ]


def present(out: Path) -> bool:
    """Whether any file of a set is in a folder."""
    return any(True for pattern in FILES for _ in out.glob(pattern))


def is_whole(file: Path, count: int, data: DataRecord, labelled: bool) -> bool:
    """Whether a file of so many samples of such data is there and undamaged."""
    expected = {"samples": ((count, *data.shape), np.dtype(data.dtype))}
    if labelled:
        expected["labels"] = ((count,), np.dtype(np.int32))
    try:
        with zipfile.ZipFile(file) as archive:
            return (
                all(_header(archive, name) == header for name, header in expected.items())
                and archive.testzip() is None
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return False


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(f"{name}.npy") as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        return shape, dtype


def read_samples(file: Path) -> np.ndarray:
    """The samples of a whole file."""
    with np.load(file, allow_pickle=False) as content:
        return np.asarray(content["samples"])


def write_npz(file: Path, samples: np.ndarray, labels: np.ndarray | None) -> None:
    """Writes samples `(n, *spatial, channels)` and, if there are any, their classes `(n,)`."""
    arrays: dict[str, Any] = {"samples": samples}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(file, buffer.getvalue())


def for_people(
    out: Path,
    first: int,
    last: int,
    data: DataRecord,
    *,
    head: bool,
    png: bool,
    reference: Profile | None = None,
) -> dict[Path, Writer]:
    """What is to be looked at and listened to of samples `first` to `last` - 1.

    Args:
      out: folder of the set.
      head: whether they are the first file of the set, of which the grid, the spectrum, and a WAV or
        GIF each for audio and video, are made.
      png: whether each sample shall have its own picture.
      reference: the data's spectrum, where it is known.

    Returns:
      The files, and what writes each from the samples `(last - first, *spatial, channels)`.
    """
    files: dict[Path, Writer] = {}
    if head:
        files[out / "grid.png"] = functools.partial(_write_grid, out / "grid.png", data)
        if last - first >= 2:
            spectrum = out / "spectrum.svg"
            files[spectrum] = functools.partial(_write_spectrum, spectrum, data, reference)
        suffix = {"audio": "wav", "video": "gif"}.get(data.kind)
        if suffix and data.sample_rate:
            write = {"wav": _write_wav, "gif": _write_gif}[suffix]
            for i in range(min(last - first, GRID)):
                path = out / suffix / f"{first + i:04d}.{suffix}"
                files[path] = functools.partial(write, path, data, i)
    if png:
        for i in range(last - first):
            path = out / "png" / f"{first + i:06d}.png"
            files[path] = functools.partial(_write_png, path, data, i)
    return files


def _write_grid(path: Path, data: DataRecord, samples: np.ndarray) -> None:
    pictures.write_png(path, pictures.grid(data.for_people(samples[:GRID])))


def _write_spectrum(
    path: Path, data: DataRecord, reference: Profile | None, samples: np.ndarray
) -> None:
    shown = data.for_people(samples[:SPECTRUM])
    found = profile_of(shown / 127.5 - 1 if shown.dtype == np.uint8 else shown)
    lines = {} if reference is None else {"data": reference.lines}
    if found is not None:
        lines[f"{found.count} samples"] = found.lines
    write_whole(path, spectra_chart(lines, alone=True) + "\n")


def write_trajectory(path: Path, states: np.ndarray) -> None:
    """The way of some samples as a GIF: grids of their states `(frames, n, *spatial, channels)`.

    The last one, the samples, stays a while.
    """
    # Noise exceeds the data's range: what does is black or white.
    frames = [pictures.grid(np.clip(state, -1, 1)) for state in states]
    stay = [frames[-1]] * max(1, len(frames) // 3)
    media.write_gif(path, np.stack([*frames, *stay]), FRAME_RATE)


def _write_png(path: Path, data: DataRecord, i: int, samples: np.ndarray) -> None:
    pictures.write_png(path, pictures.image(data.for_people(samples[i])))


def _write_wav(path: Path, data: DataRecord, i: int, samples: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    media.write_wav(path, data.for_people(samples[i]), data.sample_rate or 0)


def _write_gif(path: Path, data: DataRecord, i: int, samples: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    clip = pictures.to_uint8(data.for_people(samples[i]))
    media.write_gif(path, clip, data.sample_rate or 0)
