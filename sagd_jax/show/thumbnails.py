"""Pictures made small enough for a page, from the PNG files that `pictures.py` writes."""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.show import pictures

_LARGEST_READ = 64 << 20  # bytes of a file


def small_png(content: bytes, most_bytes: int, most_pixels: int = 640) -> bytes:
    """The picture in a PNG file with at most so many bytes and pixels across, by means over squares.

    Args:
      content: of a file that `pictures.write_png` wrote; one that is small enough is returned as it is.

    Raises:
      ValueError: for any other file, or one that is damaged.

    >>> large = pictures.png(np.zeros((800, 800, 1), np.uint8))
    >>> pictures.read_png(small_png(large, 10_000)).shape
    (400, 400, 1)
    """
    if len(content) > _LARGEST_READ:
        raise ValueError(f"{len(content)} bytes, more than are read")
    picture = pictures.read_png(content)
    factor = max(1, math.ceil(picture.shape[1] / most_pixels))
    if factor == 1 and len(content) <= most_bytes:
        return content
    while True:
        found = pictures.png(_reduced(picture, factor))
        if len(found) <= most_bytes or min(picture.shape[:2]) < 2 * factor:
            return found
        factor = max(factor + 1, math.ceil(factor * math.sqrt(len(found) / most_bytes)))


def _reduced(picture: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return picture
    factor = min(factor, *picture.shape[:2])
    height, width = (n // factor for n in picture.shape[:2])
    whole = picture[: height * factor, : width * factor].astype(np.float32)
    squares = whole.reshape(height, factor, width, factor, -1).mean(axis=(1, 3))
    return np.round(squares).astype(np.uint8)
