"""Frequencies of a grid of coordinates: Fourier's, on the half grid that a real FFT keeps, or cosines.

(1) r(f) = |f|, with f_i = fftfreq(n_i) in cycles per sample along each spatial axis, or, in the cosine
    basis of `bases.py`, f_i = k_i / (2 n_i), whose lowest is half of Fourier's. Units: `cycles` per sample (Nyquist of one axis = 0.5), `nyquist` (Nyquist of one axis = 1), `max` (the
    largest r of the grid = 1), `hz` (cycles per second, given the axes' sample rate).

Fourier's arrays lie on the half grid, see `half_grid.py`, those of cosines on the whole one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.spectral import arguments
from sagd_jax.spectral.half_grid import check_spatial_shape, half_grid_shape
from sagd_jax.system.errors import check_choice

UNITS = ("cycles", "nyquist", "max", "hz")
BASES = ("fourier", "cosine")  # whose coordinates have a frequency along each axis


def frequency_vectors(
    spatial_shape: Sequence[int], basis: str = "fourier"
) -> tuple[np.ndarray, ...]:
    """Signed frequency along each axis in cycles per sample, broadcastable to the grid of the basis.

    Args:
      spatial_shape: one to three sizes.
      basis: "fourier", on the half grid, or "cosine", on the whole one.

    >>> [f.shape for f in frequency_vectors((4, 6))]
    [(4, 1), (1, 4)]
    """
    check_choice("basis", basis, BASES)
    shape = check_spatial_shape(spatial_shape)
    axes: list[np.ndarray]
    if basis == "cosine":
        axes = [np.arange(n) / (2 * n) for n in shape]
    else:
        axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def radial_frequency(
    spatial_shape: Sequence[int],
    unit: str = "cycles",
    *,
    sample_rate: float | Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    basis: str = "fourier",
) -> np.ndarray:
    """Radial frequency r(f) of equation (1) on the half grid, or the whole one of cosines.

    Args:
      spatial_shape: one to three sizes, odd ones and 1 included.
      unit: `"cycles"`, `"nyquist"`, `"max"` or `"hz"`, as in (1).
      sample_rate: samples per second, for `"hz"` and only there: one number, or one per axis in
        use.
      axes: the spatial axes that count (all by default): `(0,)` of a clip (time, height, width) is
        its temporal frequency alone, `(1, 2)` its spatial one.
      basis: `"fourier"`, or `"cosine"`, whose lowest frequency is 1 / (2 n), half of Fourier's.

    Returns:
      A float64 NumPy array of shape `(*spatial_shape[:-1], spatial_shape[-1] // 2 + 1)`; for cosines
      `spatial_shape`.

    Raises:
      ValueError: for an unknown unit or basis, an invalid shape or axis, or a sample rate that is missing,
        not positive, or given with another unit.

    >>> radial_frequency((8,), unit="nyquist")
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> radial_frequency((8,), unit="hz", sample_rate=16000)
    array([   0., 2000., 4000., 6000., 8000.])
    """
    check_choice("unit", unit, UNITS)
    vectors = frequency_vectors(spatial_shape, basis)
    chosen = _check_axes(axes, len(vectors))
    rates = check_rates(sample_rate, unit, len(chosen))
    square = sum((vectors[axis] * rate) ** 2 for axis, rate in zip(chosen, rates, strict=True))
    grid = half_grid_shape(spatial_shape) if basis == "fourier" else tuple(spatial_shape)
    radius = np.broadcast_to(np.sqrt(square), grid).copy()
    if unit == "nyquist":
        return radius / 0.5
    if unit == "max" and radius.max() > 0:
        return radius / radius.max()
    return radius


def _check_axes(axes: Sequence[int] | None, count: int) -> tuple[int, ...]:
    try:
        chosen = tuple(range(count)) if axes is None else tuple(axes)
    except TypeError:
        chosen = ()
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(count)):
        raise ValueError(f"axes={axes!r}: expected distinct spatial axes among 0 to {count - 1}")
    return chosen


def check_rates(
    sample_rate: float | Sequence[float] | None, unit: str, count: int
) -> tuple[float, ...]:
    """Sample rate of each of `count` axes: 1 unless the unit is `hz`."""
    if unit != "hz":
        if sample_rate is not None:
            raise ValueError(f"sample_rate={sample_rate!r}: only for unit='hz', not {unit!r}")
        return (1.0,) * count
    given = np.nan if sample_rate is None else sample_rate
    rates = np.atleast_1d(arguments.numbers("sample_rate", given))
    if rates.shape not in ((1,), (count,)) or not np.all(np.isfinite(rates) & (rates > 0)):
        raise ValueError(
            f"sample_rate={sample_rate!r}: unit='hz' needs a number > 0, or one per axis ({count})"
        )
    return tuple(float(rate) for rate in np.broadcast_to(rates, (count,)))


def in_wedge(spatial_shape: Sequence[int], direction: ArrayLike, width: float) -> np.ndarray:
    """Which bins of the half grid lie within `width / 2` degrees of +-`direction`; never DC.

    Args:
      spatial_shape: one to three sizes.
      direction: a vector of as many numbers, of any length.
      width: in degrees.

    >>> in_wedge((4, 4), (0, 1), 10).astype(int)  # along the last axis
    array([[0, 1, 1],
           [0, 0, 0],
           [0, 0, 0],
           [0, 0, 0]])
    """
    axis = np.asarray(direction, np.float64) / np.linalg.norm(np.asarray(direction, np.float64))
    vectors = frequency_vectors(spatial_shape)
    radius = radial_frequency(spatial_shape)
    selected = np.zeros(radius.shape, bool)
    # On the Nyquist planes +1/2 and -1/2 are one frequency: it is in if either of them is.
    for signs in itertools.product((1, -1), repeat=len(vectors)):
        images = [np.where(np.abs(f) == 0.5, s * f, f) for f, s in zip(vectors, signs, strict=True)]
        along = np.abs(sum(f * a for f, a in zip(images, axis, strict=True)))
        selected |= along >= radius * np.cos(np.radians(width / 2)) * (1 - 1e-12)
    return selected & (radius > 0)
