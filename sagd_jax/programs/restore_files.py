"""The files that `python -m sagd_jax.restore` reads and writes: images, arrays, sound.

Each is read as signals `(n, *spatial, channels)` in the network's range and written back in its own format,
size and dtype. Pictures are 8-bit PNG, JPEG (quality 95) or WebP (lossless); they are saved upright and in
sRGB, without their metadata. A `.npy` holds one signal, with or without its channel axis, or a stack of them:
floats in the range of the run's data, or uint8. Sound is WAV or FLAC at the run's sample rate.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data.audio import read_header
from sagd_jax.data.files import Tally, Unreadable, read_npy, reading
from sagd_jax.data.image_files import SUFFIXES as PICTURES
from sagd_jax.data.image_files import check_image, is_clear, prepare, read_image
from sagd_jax.data.source import denormalise, normalise
from sagd_jax.run.record import DataRecord
from sagd_jax.system.files import write_whole
from sagd_jax.system.late import optional

SOUNDS = (".wav", ".flac")
ARRAYS = (".npy",)
_MEGAPIXELS = 178
_BYTES = (0, 255)
_FAR = 2.0  # of the network's range [-1, 1]: corruption leads beyond it, but values of another unit farther


@dataclasses.dataclass(frozen=True)
class File:
    """A file of signals, as its header tells.

    Attributes:
      path: where it is.
      shape: of each of its signals, `(*spatial, channels)`.
      count: of its signals; None: it is one.
      info: of its format: the dtype and shape of an array, the sample rate and encoding of sound.
    """

    path: Path
    shape: tuple[int, ...]
    count: int | None
    info: dict[str, Any]


def suffixes(data: DataRecord) -> tuple[str, ...]:
    """Of the files that may hold signals like those of a run."""
    axes = len(data.shape) - 1
    return ARRAYS + (PICTURES if axes == 2 else SOUNDS if axes == 1 else ())


def look(path: Path, data: DataRecord, own_scale: bool = False) -> File:
    """What a file holds, by its header.

    Args:
      own_scale: whether pictures are taken as they are though the run's were scaled to one size.

    Raises:
      Unreadable: it cannot be read, or holds no signals like those of the run; one line.
    """
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        prepare(_MEGAPIXELS)
        file = File(path, check_image(path, _MEGAPIXELS, Tally()), None, {})
        if data.scaled and not own_scale and min(file.shape[:2]) != min(data.shape[:2]):
            raise Unreadable(
                path,
                f"size {_sizes(file.shape)}; the run's pictures were scaled to {min(data.shape[:2])} pixels "
                "(data.image_size), and what it knows of the corruption is per pixel of those; scale the "
                "files likewise, or give --own_scale if they have that scale already",
            )
    elif suffix in SOUNDS:
        file = _look_at_sound(path, data)
    else:
        file = _look_at_array(path, data)
    if file.shape[-1] != data.shape[-1]:
        raise Unreadable(path, f"{file.shape[-1]} channels; the run's data has {data.shape[-1]}")
    small = [n for n, size in zip(file.shape[:-1], data.shape[:-1], strict=True) if n < size]
    if small:
        raise Unreadable(
            path,
            f"size {_sizes(file.shape)}; expected at least {_sizes(data.shape)}, that of the run's data",
        )
    return file


def read(file: File, data: DataRecord) -> np.ndarray:
    """Its signals, `(n, *spatial, channels)` float32 in the network's range.

    Raises:
      Unreadable: it cannot be decoded, has transparent pixels, or holds values that are not finite.
    """
    suffix = file.path.suffix.lower()
    if suffix in PICTURES:
        if is_clear(file.path, _MEGAPIXELS):
            raise Unreadable(
                file.path, "has transparent pixels, which would be lost; save it without"
            )
        raw: Any = read_image(file.path, file.shape, False, _MEGAPIXELS)[None]  # type: ignore[arg-type]
    elif suffix in SOUNDS:
        with optional("reading sounds"):
            import soundfile

        with reading(file.path):
            raw = soundfile.read(str(file.path), dtype="float32", always_2d=True)[0][None]
    else:
        raw = np.asarray(read_npy(file.path)).reshape(-1, *file.shape)
    x = np.asarray(normalise(raw, _range_of(raw, data)))
    if not np.isfinite(x).all():
        raise Unreadable(file.path, "NaN or infinite values")
    if np.abs(x).max() > _FAR:
        low, high = (np.ravel(edge) for edge in data.value_range)
        raise Unreadable(
            file.path,
            f"values {raw.min():g} to {raw.max():g}; those of the run's data lie in {low.min():g} to {high.max():g}: "
            "bring the file to their unit",
        )
    return x


def write(path: Path, x: np.ndarray, file: File, data: DataRecord) -> None:
    """Writes signals in the network's range as the file was that they come from."""
    suffix = file.path.suffix.lower()
    buffer = io.BytesIO()
    if suffix in PICTURES:
        _write_picture(buffer, _raw(x, _BYTES, np.uint8)[0], suffix)
    elif suffix in SOUNDS:
        with optional("writing sounds"):
            import soundfile

        raw = np.clip(_raw(x, data.value_range, np.float32)[0], -1, 1)
        kind = {".wav": "WAV", ".flac": "FLAC"}[suffix]
        soundfile.write(buffer, raw, file.info["rate"], subtype=file.info["subtype"], format=kind)
    else:
        dtype = file.info["dtype"]
        limits = _BYTES if dtype == np.uint8 else data.value_range
        np.save(buffer, _raw(x, limits, dtype).reshape(file.info["shape"]))
    write_whole(path, buffer.getvalue())


def write_spread(path: Path, spread: np.ndarray, file: File, data: DataRecord) -> None:
    """Writes a standard deviation per value, in the units of the file, as a float32 `.npy`."""
    dtype = file.info.get("dtype", np.uint8 if file.path.suffix.lower() in PICTURES else np.float32)
    low, high = (
        np.asarray(e, np.float32) for e in (_BYTES if dtype == np.uint8 else data.value_range)
    )
    buffer = io.BytesIO()
    values = np.asarray(spread * (high - low) / 2, np.float32)
    np.save(buffer, values.reshape(file.info.get("shape", values.shape[1:])))
    write_whole(path, buffer.getvalue())


def _look_at_array(path: Path, data: DataRecord) -> File:
    x = read_npy(path)
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise Unreadable(path, f"dtype {x.dtype}; expected uint8 or floats")
    axes, shape = len(data.shape), x.shape
    if not x.size:
        raise Unreadable(path, f"shape {shape}: it is empty")
    info = {"dtype": x.dtype, "shape": shape}
    if x.ndim == axes + 1:
        return File(path, shape[1:], shape[0], info)
    if x.ndim == axes:
        return File(path, shape, None, info)
    if x.ndim == axes - 1 and data.shape[-1] == 1:
        return File(path, (*shape, 1), None, info)
    raise Unreadable(
        path,
        f"shape {shape}; expected one signal like {data.shape} of the run's data, or a stack of them",
    )


def _look_at_sound(path: Path, data: DataRecord) -> File:
    with optional("reading sounds"):
        import soundfile

    rate, channels, frames = read_header(path)
    with reading(path), soundfile.SoundFile(str(path)) as sound:
        subtype = sound.subtype
    if data.sample_rate and rate != data.sample_rate:
        raise Unreadable(path, f"{rate} Hz; the run's data has {data.sample_rate:g} Hz")
    return File(path, (frames, channels), None, {"rate": rate, "subtype": subtype})


def _write_picture(buffer: io.BytesIO, image: np.ndarray, suffix: str) -> None:
    with optional("writing pictures"):
        from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if suffix == ".png":
        picture.save(buffer, format="PNG")
    elif suffix == ".webp":
        picture.save(buffer, format="WEBP", lossless=True)
    else:
        picture.save(buffer, format="JPEG", quality=95, subsampling=0)


def _range_of(raw: np.ndarray, data: DataRecord) -> Any:
    return _BYTES if raw.dtype == np.uint8 else data.value_range


def _raw(x: np.ndarray, limits: Any, dtype: Any) -> np.ndarray:
    return np.asarray(denormalise(x, limits, np.uint8 if dtype == np.uint8 else np.float32)).astype(
        dtype
    )


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:-1]))
