"""One large picture or recording, cut into pieces that count as examples."""

from __future__ import annotations

import itertools

import numpy as np

_WANTED = 64  # pieces
_SIZES = (256, 128, 64, 32)
_LENGTHS = (16384, 8192, 4096, 2048, 1024, 512, 256)


def cut(x: np.ndarray, size: int | None = None) -> np.ndarray:
    """Cuts a signal `(*spatial, channels)` in pieces that overlap by half.

    Args:
      x: one to three spatial axes.
      size: of the pieces along each axis (shorter axes are taken whole); by default the largest power of
        two that makes 64 pieces, at most 256 along an axis of a picture and 16,384 of a recording.

    Returns:
      `(pieces, *sizes, channels)`.

    Raises:
      ValueError: for a shape without a channel axis, or a size that is no positive integer.

    >>> cut(np.zeros((630, 474, 1))).shape
    (234, 64, 64, 1)
    """
    x = np.asarray(x)
    if not 2 <= x.ndim <= 4:
        raise ValueError(f"x.shape={x.shape}: expected (*spatial, channels)")
    if size is not None and size < 1:
        raise ValueError(f"size={size}: expected a number of sites >= 1")
    spatial = x.shape[:-1]
    sizes = _LENGTHS if len(spatial) == 1 else _SIZES
    if size is None:
        size = next((s for s in sizes if len(_starts(spatial, s)) >= _WANTED), sizes[-1])
    starts = _starts(spatial, size)
    lengths = [min(size, n) for n in spatial]
    return np.stack(
        [x[tuple(slice(a, a + m) for a, m in zip(s, lengths, strict=True))] for s in starts]
    )


def _starts(spatial: tuple[int, ...], size: int) -> list[tuple[int, ...]]:
    step = max(size // 2, 1)
    return list(itertools.product(*[range(0, max(n - size, 0) + 1, step) for n in spatial]))
