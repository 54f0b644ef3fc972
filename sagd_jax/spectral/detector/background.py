"""The local background of a spectrum: what a bin would hold if it were like its neighbours.

A running median of the logarithm of the power over neighbouring frequencies, without the bin itself and
those that a taper mixes with it, and as scale the running median of the absolute difference. No law for
all frequencies at once is assumed. Bins on an axis, or next to one, where pictures of upright things have a
ridge, are compared along that axis alone; so are those of clips on a plane.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sagd_jax.spectral.half_grid import to_full_grid, to_half_grid

_REACH = {1: (15, 2), 2: (4, 1), 3: (2, 1)}  # bins: of the neighbourhood, and of its hole
_LOWEST = 5  # bins next to zero have too few neighbours below them
_PASSES, _OUT = 2, 3.0  # how often it is made anew without what is this many scales above it
_SCALE = 201  # bins of like radius over which the scale is taken
_GAUSSIAN = 1.4826  # standard deviations in a median absolute deviation
_WIDE_AXIS = 6  # shorter ones have no bins beside their zero that count as on the axis


def local_background(
    values: np.ndarray, spatial_shape: Sequence[int], least: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """The running median around each bin, and the scale of the differences from it.

    Args:
      values: logarithms on the half grid, without a channel axis.
      spatial_shape: of the signals.
      least: the scale is nowhere below this, such as the standard error of `values`.

    Returns:
      (background, scale), float64 on the half grid. Where a bin has no neighbours to compare with (the
      lowest frequencies), the scale is infinite.

    >>> values = np.zeros(129)
    >>> values[40] = 3.0
    >>> background, scale = local_background(values, (256,), least=0.1)
    >>> float(background[40]), float(scale[40])
    (0.0, 0.1)
    """
    filled = np.array(values, np.float64)
    for _ in range(_PASSES):
        background, scale = _once(filled, tuple(spatial_shape))
        # What stands out is no background of its neighbours.
        filled = np.where(values - background > _OUT * scale, background, values)
    return background, np.maximum(scale, least)


def _once(values: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    if len(shape) == 1:
        distance = np.arange(len(values))
        background = _running_median(values, distance, *_reach_along(len(values)), "reflect")
        scale = _running_scale(values - background, distance)
        scale[: 1 + min(_LOWEST, len(values) // 8)] = np.inf
        return background, scale
    full = to_full_grid(values, shape)
    background, scale = np.zeros(shape), np.full(shape, np.inf)
    steps = np.meshgrid(*[np.rint(np.fft.fftfreq(n) * n) for n in shape], indexing="ij")
    radius = np.sqrt(sum((s / n) ** 2 for s, n in zip(steps, shape, strict=True)))
    for fixed in itertools.product(*[_places(n) for n in shape]):
        where = tuple(slice(None) if k is None else k for k in fixed)
        free = [axis for axis, k in enumerate(fixed) if k is None]
        if not free:
            continue
        part = full[where]
        near = _near_axes([shape[axis] for axis in free])
        if near.all():
            continue
        own = _background_of(part, near)
        background[where] = np.where(near, background[where], own)
        order = np.argsort(radius[where][~near], kind="stable")
        found = np.full(part.shape, np.inf)
        found[~near] = _running_scale((part - own)[~near], order)
        scale[where] = np.where(near, scale[where], found)
    lowest = radius * min(n for n in shape if n > 1) < 3.5
    scale[lowest] = np.inf
    return to_half_grid(background), to_half_grid(scale)


def _places(n: int) -> list[int | None]:
    """Along one axis: anywhere, or fixed at one of the bins that lie on the axis across."""
    return [None, 0, 1, n - 1] if n >= _WIDE_AXIS else [None, 0] if n > 1 else [0]


def _near_axes(sizes: Sequence[int]) -> np.ndarray:
    near = np.zeros(sizes, bool)
    for axis, n in enumerate(sizes):
        for k in _places(n):
            if k is not None:
                near[(slice(None),) * axis + (k,)] = True
    return near


def _background_of(part: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Running medians in a grid of one or more axes; bins near an axis do not count."""
    filled = part.copy()
    for axis, n in enumerate(part.shape):
        places = [k for k in _places(n) if k is not None]
        inner = 2 if len(places) > 1 else 1
        for k in places:
            sides = [(inner if k < n / 2 else n - inner) % n]
            if k == 0:
                sides = [inner % n, -inner % n]
            mean = np.mean([np.take(filled, side, axis) for side in sides], axis=0)
            filled[(slice(None),) * axis + (k,)] = mean
    if part.ndim == 1:
        distance = np.abs(np.rint(np.fft.fftfreq(part.size) * part.size)).astype(int)
        return _running_median(part, distance, *_reach_along(part.size), "wrap")
    reach, hole = _REACH[part.ndim]
    reaches = [range(-min(reach, (n - 1) // 2), min(reach, (n - 1) // 2) + 1) for n in part.shape]
    axes = tuple(range(part.ndim))
    around = [
        np.roll(filled, shift, axis=axes).astype(np.float32)
        for shift in itertools.product(*reaches)
        if max(map(abs, shift)) > hole
    ]
    return np.median(around, axis=0) if around else np.full(part.shape, np.median(part))


def _reach_along(size: int) -> tuple[int, int]:
    """(reach, hole) along one axis: shorter ones are compared with nearer bins."""
    reach, hole = _REACH[1]
    reach = int(np.clip(size // 8, 3, reach))
    return reach, hole if reach > 4 else 1


def _running_median(
    values: np.ndarray, distance: np.ndarray, reach: int, hole: int, mode: str
) -> np.ndarray:
    """Medians over bins on both sides, as many on each, none beyond zero, from which bins have a distance.

    So the median of a spectrum that falls or rises is its value in the middle, however steep it is.
    """
    if len(values) <= reach:
        return np.full(values.shape, np.median(values))
    windows = sliding_window_view(np.pad(values, reach, mode=mode), 2 * reach + 1)  # type: ignore[call-overload]
    offset = np.abs(np.arange(-reach, reach + 1))
    distance = np.minimum(distance, reach + 1)[:, None]
    inner = np.where(distance > reach, hole, np.clip(distance - 2, 0, hole))
    beside = (offset > inner) & (offset < np.maximum(distance, 2))
    ordered = np.sort(np.where(beside, windows, np.inf), axis=-1)
    count = beside.sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, k, -1)[:, 0] for k in ((count - 1) // 2, count // 2)]
    return (middle[0] + middle[1]) / 2


def _running_scale(difference: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The median absolute difference over the neighbours in an order, as a standard deviation."""
    size = min(_SCALE, len(order) - 1 + len(order) % 2)
    half = size // 2
    sorted_ = np.abs(difference.ravel()[order])
    if half == 0:
        return np.full(difference.shape, np.inf)
    padded = np.pad(sorted_, half, mode="reflect")
    median = np.median(sliding_window_view(padded, 2 * half + 1), axis=-1)
    scale = np.zeros(difference.size)
    scale[order] = _GAUSSIAN * median
    return scale.reshape(difference.shape)
