"""Sets of frequencies side by side: rings of the radius, sectors of the direction, steps along some axes.

A band is a run of rings, a wedge a run of sectors. Each family numbers the bins of the half grid; the power
of each of its sets is kept for every example, so that quantiles over examples are those of a whole set,
without the chance of a single coefficient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral.frequencies import frequency_vectors, radial_frequency
from sagd_jax.spectral.half_grid import unique_bins

_MOST_RINGS = 256
_LONG, _COARSE = 128, 4  # samples; times as wide
_FEWEST_BINS = 6  # of a set; the last rings of a plane, in its corners, have fewer
_SECTOR = 7.5  # degrees
_SMALLEST_PLANE = 16  # sites along an axis, for sectors


@dataclasses.dataclass(frozen=True)
class Family:
    """Attributes:
    kind: `"band"` or `"wedge"`.
    axes: that the radius is over.
    index: number of each bin's set on the half grid, -1 for none.
    low, high: of each set: of the radius in cycles per sample, or of the angle in degrees.
    circular: whether the last set lies beside the first.
    geometric: whether a set's power is the geometric mean of its bins, for sets that hold bins of all
      radii, most of whose power is in few of them.
    """

    kind: str
    axes: tuple[int, ...]
    index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    circular: bool = False
    geometric: bool = False

    @property
    def centre(self) -> np.ndarray:
        return (self.low + self.high) / 2

    def mask(self, first: int, last: int) -> np.ndarray:
        """The bins of the sets from first to last, both included; past the end of a circle it goes on."""
        count = len(self.low)
        chosen = np.arange(first, last + 1) % count
        return np.isin(self.index, chosen)


def families(spatial_shape: Sequence[int]) -> list[Family]:
    """Rings over all axes, of sounds in two widths; of images sectors too; of clips steps in time, and rings in space."""
    shape = tuple(spatial_shape)
    result = [_rings(shape, tuple(range(len(shape))))]
    if len(shape) == 1 and shape[0] >= _LONG:
        # A set of a single bin or few is uncertain: a weak band is seen in wider ones.
        result.append(_rings(shape, (0,), _COARSE))
    if len(shape) == 2 and min(shape) >= _SMALLEST_PLANE:
        result.append(_sectors(shape))
    if len(shape) == 3:
        result += [_rings(shape, axes) for axes in ((0,), (1, 2)) if _long_enough(shape, axes)]
    return result


def _long_enough(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    return max(shape[axis] for axis in axes) >= _SMALLEST_PLANE


def _rings(shape: tuple[int, ...], axes: tuple[int, ...], width: int = 1) -> Family:
    radius = radial_frequency(shape, axes=axes)
    step = width * max(1 / max(shape[axis] for axis in axes), radius.max() / _MOST_RINGS)
    number = np.maximum(np.rint(radius / step).astype(int), 1)
    # Bins on the axis across, where most of a clip's power is, are not comparable with the others.
    number[radius == 0] = 0
    counts = np.bincount(number[unique_bins(shape)], minlength=number.max() + 1)
    last = number.max()
    while last > 1 and counts[last:].sum() < _FEWEST_BINS and len(shape) > 1:
        last -= 1
    number = np.minimum(number, last)
    _, compact = np.unique(number, return_inverse=True)
    index = compact.reshape(number.shape) - 1
    places = np.unique(number)[1:]
    low, high = (places - 0.5) * step, (places + 0.5) * step
    high[-1] = max(high[-1], radius.max())
    return Family("band", axes, index, low, high, geometric=len(axes) < len(shape))


def _sectors(shape: tuple[int, ...]) -> Family:
    radius = radial_frequency(shape)
    first, last = frequency_vectors(shape)
    angle = np.degrees(np.arctan2(first, last)) % 180
    count = round(180 / _SECTOR)
    # The first sector is centred on the last axis.
    index = np.rint(np.broadcast_to(angle, radius.shape) / _SECTOR).astype(int) % count
    index = np.where((radius >= 0.15) & (radius <= 0.5), index, -1)
    low = np.arange(count) * _SECTOR - _SECTOR / 2
    return Family("wedge", (0, 1), index, low, low + _SECTOR, circular=True, geometric=True)
