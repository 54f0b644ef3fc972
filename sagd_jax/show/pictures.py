"""Samples as pictures: a grid of images, of frames, or of curves; needs NumPy alone."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sagd_jax.system.files import write_whole

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SMALLEST_SIDE = 48  # pixels; smaller images are enlarged by whole factors
_GAP = 2
_CURVE = (64, 160)  # height and width of a one-dimensional signal's panel


def grid(samples: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Arranges samples in a grid.

    Args:
      samples: `(n, *spatial, channels)`, uint8 or floats in [-1, 1], with one, two or three spatial
        axes. One-dimensional signals are drawn as curves, three-dimensional ones as a row of at
        most eight slices along their first axis. Channels other than 1 and 3: the first three, or
        the first.
      columns: of the grid; None for a square one.

    Returns:
      `(height, width, 3)`, uint8; `(height, width, 1)` for images and slices in grey.
    """
    panels = _panels(samples)
    count, height, width, colours = panels.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, colours), 255, np.uint8
    )
    for i, panel in enumerate(panels):
        top = _GAP + (i // columns) * (height + _GAP)
        left = _GAP + (i % columns) * (width + _GAP)
        canvas[top : top + height, left : left + width] = panel
    return canvas


def image(sample: np.ndarray) -> np.ndarray:
    """One image `(height, width, channels)`, uint8 or floats in [-1, 1], as uint8 of 3 or 1 channels."""
    return _shown(to_uint8(sample))


def write_png(path: str | Path, picture: np.ndarray) -> None:
    """Writes `(height, width, 3 or 1)` uint8 as an RGB or grey PNG, replacing the file in one step."""
    from etils import epath

    file = epath.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, png(picture))


def png(picture: np.ndarray, level: int = -1) -> bytes:
    """A PNG file (ISO/IEC 15948) of 8 bits per value, each row as it is (filter 0); `level` is zlib's."""
    height, width, channels = picture.shape
    kind = {1: 0, 3: 2}[channels]  # grey, or red, green and blue
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # the first byte names the filter
    rows[:, 1:] = picture.reshape(height, -1)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes(), level)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def read_png(content: bytes) -> np.ndarray:
    """The picture in a file as `png` makes it, `(height, width, 3 or 1)`, uint8.

    Raises:
      ValueError: for any other PNG, or one that is damaged or cut.

    >>> read_png(png(np.full((2, 3, 1), 7, np.uint8))).ravel().tolist()
    [7, 7, 7, 7, 7, 7]
    """
    try:
        chunks = dict(_chunks(content))
        width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
        channels = {(8, 0, 0, 0, 0): 1, (8, 2, 0, 0, 0): 3}[tuple(kind)]
        expected = height * (1 + width * channels)
        rows = zlib.decompressobj().decompress(chunks[b"IDAT"], expected + 1)
        flat = np.frombuffer(rows, np.uint8).reshape(height, 1 + width * channels)
        if flat[:, 0].any():
            raise ValueError("filters")
    except (KeyError, ValueError, struct.error, zlib.error) as error:
        raise ValueError("no PNG of this program, or a damaged one") from error
    return flat[:, 1:].reshape(height, width, channels)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The names and contents of a PNG's chunks; ValueError for one whose checksum is wrong."""
    if content[:8] != _SIGNATURE:
        raise ValueError("signature")
    at = 8
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        name, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        (sum_,) = struct.unpack(">I", content[at + 8 + size : at + 12 + size])
        if sum_ != zlib.crc32(name + body):
            raise ValueError("checksum")
        yield name, body
        at += 12 + size


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """uint8 as it is; floats from [-1, 1] to 0 ... 255, ValueError where one is not finite."""
    if samples.dtype == np.uint8:
        return samples
    if not np.isfinite(samples).all():  # it would be cast to 0, and look like black
        bad = np.sum(~np.isfinite(samples))
        raise ValueError(f"samples: {bad} of {samples.size} values are not finite")
    return np.clip(np.round((np.asarray(samples, np.float64) + 1) * 127.5), 0, 255).astype(np.uint8)


def _panels(samples: np.ndarray) -> np.ndarray:
    spatial = samples.ndim - 2
    if spatial == 1:
        return np.stack([curve(sample) for sample in samples])
    images = to_uint8(samples)
    if spatial == 3:
        depth = images.shape[1]
        slices = np.linspace(0, depth - 1, min(depth, 8)).round().astype(int)
        images = np.concatenate([images[:, i] for i in slices], axis=2)
    images = _shown(images)
    factor = max(1, math.ceil(_SMALLEST_SIDE / images.shape[1]))
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def _shown(images: np.ndarray) -> np.ndarray:
    return images[..., :3] if images.shape[-1] >= 3 else images[..., :1]


def curve(sample: np.ndarray) -> np.ndarray:
    """A one-dimensional signal `(length, channels)`, uint8 or floats in [-1, 1], as a picture of its first channel."""
    # The envelope of the samples that fall on each column, scaled to the signal's own maximum.
    height, width = _CURVE
    values = np.asarray(to_uint8(sample), np.float64)[:, 0] / 127.5 - 1
    values = values / max(np.abs(values).max(), 1e-6)
    columns = np.array_split(
        np.interp(
            np.linspace(0, 1, max(width, len(values))), np.linspace(0, 1, len(values)), values
        ),
        width,
    )
    panel = np.full((height, width, 3), 240, np.uint8)
    for x, column in enumerate(columns):
        top = int((1 - column.max()) / 2 * (height - 1))
        bottom = int((1 - column.min()) / 2 * (height - 1))
        panel[top : bottom + 1, x] = (40, 60, 120)
    return panel
