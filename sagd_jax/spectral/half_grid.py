"""The half grid of frequencies that a real FFT keeps, and the whole one.

Arrays on the *half grid* have shape `(*spatial[:-1], spatial[-1] // 2 + 1)`: the last axis keeps
only the non-negative frequencies, because a real signal's other half is their conjugate. Sums over
the full grid are therefore sums over the half grid weighted by `hermitian_multiplicity`.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


def check_spatial_shape(spatial_shape: Sequence[int]) -> tuple[int, ...]:
    """`spatial_shape` as a tuple of ints; raises ValueError unless it is 1 to 3 sizes >= 1."""
    try:
        shape = tuple(operator.index(n) for n in spatial_shape)
    except TypeError:
        shape = ()
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(
            f"spatial_shape={spatial_shape!r}: expected a tuple of one to three sizes, each >= 1"
        )
    return shape


def half_grid_shape(spatial_shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the half grid of `spatial_shape`.

    >>> half_grid_shape((7, 10))
    (7, 6)
    """
    *leading, last = check_spatial_shape(spatial_shape)
    return (*leading, last // 2 + 1)


def hermitian_multiplicity(spatial_shape: Sequence[int]) -> np.ndarray:
    """How many bins of the full grid each bin of the half grid stands for (1 or 2).

    Returns:
      A float64 array of shape `(spatial_shape[-1] // 2 + 1,)`, along the last spatial axis: 1 on
      its DC and (for even sizes) Nyquist planes, which hold both of a conjugate pair, else 2.

    >>> hermitian_multiplicity((8,)), hermitian_multiplicity((7,))
    (array([1., 2., 2., 2., 1.]), array([1., 2., 2., 2.]))
    """
    last = check_spatial_shape(spatial_shape)[-1]
    multiplicity = np.full(last // 2 + 1, 2.0)
    multiplicity[0] = 1.0
    if last % 2 == 0:
        multiplicity[-1] = 1.0
    return multiplicity


def conjugate(values: np.ndarray, spatial_shape: Sequence[int]) -> np.ndarray:
    """Half-grid `values` (with a channel axis last) at -f, on the planes where -f is on the half
    grid.

    Elsewhere the values themselves are returned. A spectrum of real noise equals its conjugate.
    """
    *leading, last = check_spatial_shape(spatial_shape)
    result = np.array(values)
    planes = [0, last // 2] if last % 2 == 0 else [0]
    for k in planes:
        plane = values[..., k, :]
        for axis, n in enumerate(leading):
            plane = np.take(plane, -np.arange(n) % n, axis=axis)
        result[..., k, :] = plane
    return result


def grid_size(spatial_shape: Sequence[int]) -> int:
    """Number of sites d of the grid."""
    return math.prod(check_spatial_shape(spatial_shape))


def to_full_grid(values: np.ndarray, spatial_shape: Sequence[int]) -> np.ndarray:
    """Half-grid values without a channel axis on the whole grid, at f and -f alike.

    >>> to_full_grid(np.array([1.0, 2.0, 3.0]), (5,))
    array([1., 2., 3., 3., 2.])
    """
    shape = check_spatial_shape(spatial_shape)
    half = shape[-1] // 2 + 1
    full = np.zeros(shape, values.dtype)
    full[..., :half] = values
    full[..., half:] = opposite(full)[..., half:]
    return full


def whole_from_half(values: Any, spatial_shape: Sequence[int]) -> Any:
    """Half-grid values `(..., *half, channels)` on the whole grid, at f and -f alike.

    >>> whole_from_half(np.array([[1.0], [2.0], [3.0]]), (5,))[:, 0]
    array([1., 2., 3., 3., 2.])
    """
    shape = check_spatial_shape(spatial_shape)
    half = half_grid_shape(shape)
    number = to_full_grid(np.arange(math.prod(half)).reshape(half), shape)
    array = values if hasattr(values, "reshape") else np.asarray(values)
    batch = array.shape[: -len(half) - 1]
    flat = array.reshape(*batch, math.prod(half), array.shape[-1])
    return flat[..., number.reshape(-1), :].reshape(*batch, *shape, array.shape[-1])


def to_half_grid(full: np.ndarray) -> np.ndarray:
    """Whole-grid values, without a channel axis, on the half grid."""
    return full[..., : full.shape[-1] // 2 + 1]


def opposite(full: np.ndarray) -> np.ndarray:
    """Values on the whole grid at -f."""
    return full[np.ix_(*(-np.arange(n) % n for n in full.shape))]


def left_to_right(half: np.ndarray, spatial_shape: Sequence[int]) -> np.ndarray:
    """Values on the half grid, `(*half, ...)`, that are as large at f and at -f, of examples mirrored along the last axis.

    >>> values = np.arange(12.0).reshape(4, 3)
    >>> left_to_right(values, (4, 4))[:, 1]
    array([ 1., 10.,  7.,  4.])
    """
    for axis, n in enumerate(spatial_shape[:-1]):
        half = np.take(half, -np.arange(n) % n, axis)
    return half


def unique_bins(spatial_shape: Sequence[int]) -> np.ndarray:
    """Which bins of the half grid to use so that each pair {f, -f} but zero comes once: bool."""
    half = half_grid_shape(spatial_shape)
    number = np.arange(math.prod(half), dtype=np.float64).reshape(*half, 1)
    bins = (number <= conjugate(number, spatial_shape))[..., 0]
    bins[(0,) * len(half)] = False
    return bins


def degrees_of_freedom(spatial_shape: Sequence[int]) -> np.ndarray:
    """Of the coefficient in each bin of the half grid: 2, or 1 where f = -f and it is real."""
    half = half_grid_shape(spatial_shape)
    number = np.arange(math.prod(half), dtype=np.float64).reshape(*half, 1)
    own = (number == conjugate(number, spatial_shape))[..., 0]
    planes = hermitian_multiplicity(spatial_shape) == 1
    return np.where(own & planes, 1.0, 2.0)


def dilate(full: np.ndarray, distance: float) -> np.ndarray:
    """All bins within `distance` bins of those that are True; the grid is periodic."""
    reach = range(-math.floor(distance), math.floor(distance) + 1)
    result = np.zeros_like(full)
    for shift in itertools.product(reach, repeat=full.ndim):
        if math.hypot(*shift) <= distance:
            result |= np.roll(full, shift, axis=tuple(range(full.ndim)))
    return result
