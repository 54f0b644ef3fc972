"""Signals larger than a network's: cut into overlapping tiles, and put together again.

Tiles lie evenly over each axis, the first at its beginning and the last at its end. In an overlap they are
mixed by weights that fall linearly towards a tile's border.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

Places = list[tuple[int, ...]]


def places(spatial: Sequence[int], tile: Sequence[int], overlap: Sequence[int]) -> Places:
    """Where tiles begin in a signal of these sizes.

    Args:
      spatial: at least those of the tile.
      overlap: of neighbours, at least, less than the tile.

    >>> places((20,), (8,), (2,))
    [(0,), (6,), (12,)]
    """
    axes = []
    for n, size, common in zip(spatial, tile, overlap, strict=True):
        count = math.ceil((n - common) / (size - common)) if n > size else 1
        axes.append(np.linspace(0, n - size, count).round().astype(int).tolist())
    return list(itertools.product(*axes))


def cut(x: np.ndarray, tile: Sequence[int], at: Places) -> np.ndarray:
    """The tiles `(n, *tile, channels)` of a signal `(*spatial, channels)` at these places."""
    return np.stack([x[_window(place, tile)] for place in at])


def join(
    tiles: np.ndarray, spatial: Sequence[int], at: Places, overlap: Sequence[int]
) -> np.ndarray:
    """The signal `(*spatial, channels)` that tiles at these places make.

    >>> x = np.arange(20.0)[:, None]
    >>> at = places((20,), (8,), (2,))
    >>> bool(np.allclose(join(cut(x, (8,), at), (20,), at, (2,)), x))
    True
    """
    if len(tiles) == 1:
        return tiles[0]
    tile = tiles.shape[1:-1]
    weight = np.ones((*tile, 1))
    for axis, (size, common) in enumerate(zip(tile, overlap, strict=True)):
        site = np.arange(size)
        ramp = np.minimum(1, (np.minimum(site, size - 1 - site) + 1) / (common + 1))
        weight = weight * ramp.reshape(-1, *(1,) * (len(tile) - axis))
    total, weights = np.zeros((*spatial, tiles.shape[-1])), np.zeros((*spatial, 1))
    for one, place in zip(tiles, at, strict=True):
        total[_window(place, tile)] += weight * one
        weights[_window(place, tile)] += weight
    return (total / weights).astype(tiles.dtype)


def _window(place: Sequence[int], tile: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(place, tile, strict=True))
