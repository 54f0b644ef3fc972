"""What examples say about each frequency: the power's mean and quantiles over them, how often it stands out.

Gathered in one pass of bounded memory: per bin a histogram of log power with fixed buckets, sums of the
power and of the coefficient, and the shares of examples in which the bin stands out of its neighbours in
the same example, by so much or more. Of each set of `families.py` the power in every example is kept.
Evidence of two processes, or of two parts of the data, adds up (`merge`).

The 10 % quantile shows what is there even where the data are quiet: noise that was added. The mean shows
what loud examples have, and the share above the neighbours what only some have.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral.detector.clipping import AtLimits
from sagd_jax.spectral.detector.families import families
from sagd_jax.spectral.half_grid import half_grid_shape, unique_bins

BUCKETS = 128
_LOWEST, _HIGHEST = math.log(1e-13), math.log(1e6)  # of the log power in the buckets
_STEP = (_HIGHEST - _LOWEST) / BUCKETS
_BLANK = 1e-9  # mean power of an example that has none
# Times its neighbours' geometric mean; white noise stands out so in 6 %, 0.02 % and none of the examples.
STANDS_OUT = (5.0, 15.0, 50.0)
# Red, green and blue as an observer has them: two orthonormal differences beside the brightness.
_CHROMA = {
    "chroma 1": np.array([1, -1, 0]) / math.sqrt(2),
    "chroma 2": np.array([1, 1, -2]) / math.sqrt(6),
}


def views(channels: int) -> dict[str, np.ndarray | None]:
    """What is looked at, and how it is made of the channels: all of them (None: their mean power), each, colours.

    >>> list(views(1)), list(views(3))
    (['all'], ['all', '0', '1', '2', 'chroma 1', 'chroma 2'])
    """
    result: dict[str, np.ndarray | None] = {"all": None}
    if channels > 1:
        result |= {str(c): np.eye(channels)[c] for c in range(channels)}
    if channels == 3:
        result |= _CHROMA
    return result


@dataclasses.dataclass
class View:
    """Of one view. All but `rings` lie on the half grid.

    Attributes:
      histogram: examples per bin and bucket of the log power, int32 `(*half, BUCKETS)`.
      total: sum of the power; squares, of its square.
      coherent: sum of the coefficients, complex, `(*half, parts)`, one part or one per channel.
      out: number of examples in which the bin stands out of its neighbours so far, `(heights, *half)`.
      sets: power of the sets of each family in each example, float32 `(examples, sets)`, in pieces.
    """

    histogram: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    coherent: np.ndarray
    out: np.ndarray
    sets: list[list[np.ndarray]]


class Evidence:
    """Gathers what examples of one shape say; see the module.

    >>> evidence = Evidence((32,), 1)
    >>> evidence.add(np.random.default_rng(0).normal(size=(500, 32, 1)))
    >>> evidence.count, bool(abs(evidence.mean("all")[5] - 1) < 0.2)
    (500, True)
    >>> bool(abs(evidence.quantile("all", 0.1)[5] + np.log(-np.log(0.9))) > 0)
    True
    """

    def __init__(
        self,
        spatial_shape: Sequence[int],
        channels: int,
        offset: np.ndarray | float = 0.0,
        taper: np.ndarray | float = 1.0,
    ):
        """`offset` is subtracted from the examples, `(channels,)` or with sites; then they are tapered."""
        self.shape = tuple(spatial_shape)
        self.channels = channels
        self.count = 0
        self.blank: list[np.ndarray] = []  # bool, one per example
        self.at_limits = AtLimits()  # of those that are not blank
        self._offset, self._taper = offset, taper
        self.tapered = bool(np.ptp(taper) > 0)
        half = half_grid_shape(self.shape)
        self.families = families(self.shape)
        self._members = [
            [np.flatnonzero(own) for own in self._sets(family.index, len(family.low))]
            for family in self.families
        ]
        self.view = {
            name: View(
                np.zeros((*half, BUCKETS), np.int32),
                np.zeros(half),
                np.zeros(half),
                np.zeros((*half, channels if mix is None else 1), complex),
                np.zeros((len(STANDS_OUT), *half)),
                [[] for _ in self.families],
            )
            for name, mix in views(channels).items()
        }

    def _sets(self, index: np.ndarray, count: int) -> list[np.ndarray]:
        """The bins of each set of a family, each pair {f, -f} once."""
        chosen = np.where(unique_bins(self.shape), index, -1).ravel()
        return [chosen == number for number in range(count)]

    def add(self, x: np.ndarray) -> None:
        """Counts examples `(n, *spatial, channels)` in; those without any variation are left out.

        Raises:
          ValueError: for values that are not finite.
        """
        spectrum = self.coefficients(x)
        if not np.isfinite(spectrum).all():
            raise ValueError(
                "examples: some of their values are not finite, or too large to square"
            )
        power = np.square(np.abs(spectrum))
        blank = power.mean(axis=tuple(range(1, power.ndim))) < _BLANK
        self.blank.append(blank)
        spectrum, power = spectrum[~blank], power[~blank]
        self.count += len(power)
        if not len(power):
            return
        self.at_limits.add(np.asarray(x)[~blank])
        for name, mix in views(self.channels).items():
            own = spectrum if mix is None else (spectrum @ mix)[..., None]
            values = power.mean(axis=-1) if mix is None else np.square(np.abs(own[..., 0]))
            self._count_in(self.view[name], own, values)

    def coefficients(self, x: np.ndarray) -> np.ndarray:
        """The unitary DFT of examples as they are analysed, `(n, *half, channels)`."""
        axes = tuple(range(1, len(self.shape) + 1))
        tapered = (np.asarray(x, np.float64) - self._offset) * self._taper
        return np.fft.rfftn(tapered, axes=axes, norm="ortho")

    def _count_in(self, view: View, coefficients: np.ndarray, power: np.ndarray) -> None:
        view.total += power.sum(axis=0)
        view.squares += np.square(power).sum(axis=0)
        view.coherent += coefficients.sum(axis=0)
        logs = np.log(np.maximum(power, 1e-300))
        bucket = np.clip((logs - _LOWEST) / _STEP, 0, BUCKETS - 1).astype(np.int64)
        bins = bucket[0].size
        flat = np.arange(bins) * BUCKETS + bucket.reshape(len(power), bins)
        added = np.bincount(flat.ravel(), minlength=bins * BUCKETS)
        view.histogram += added.reshape(view.histogram.shape).astype(np.int32)
        neighbours = around_each(np.maximum(logs, _LOWEST), self.shape)
        above = logs - neighbours
        view.out += np.stack([(above > math.log(height)).sum(axis=0) for height in STANDS_OUT])
        flat_power, flat_logs = power.reshape(len(power), -1), logs.reshape(len(power), -1)
        for family, members, kept in zip(self.families, self._members, view.sets, strict=True):
            values = flat_logs if family.geometric else flat_power
            means = np.stack([values[:, own].mean(axis=1) for own in members], axis=1)
            kept.append((np.exp(means) if family.geometric else means).astype(np.float32))

    def merge(self, other: Evidence) -> None:
        """Adds what another has gathered of examples of the same shape, as if its had been added here.

        Raises:
          ValueError: for another shape or number of channels.
        """
        if (self.shape, self.channels) != (other.shape, other.channels):
            raise ValueError(
                f"other: of shape {(*other.shape, other.channels)}, not {(*self.shape, self.channels)}"
            )
        self.count += other.count
        self.blank += other.blank
        self.at_limits.merge(other.at_limits)
        for name, view in self.view.items():
            more = other.view[name]
            for field in ("histogram", "total", "squares", "coherent", "out"):
                getattr(view, field).__iadd__(getattr(more, field))
            for own, added in zip(view.sets, more.sets, strict=True):
                own += added

    def mean(self, view: str) -> np.ndarray:
        """Mean power, on the half grid."""
        return self.view[view].total / max(self.count, 1)

    def relative_error(self, view: str) -> np.ndarray:
        """Standard error of `mean`, relative to it."""
        mean = self.mean(view)
        spread = np.maximum(self.view[view].squares / max(self.count, 1) - mean**2, 0)
        return np.sqrt(spread / max(self.count - 1, 1)) / np.maximum(mean, 1e-300)

    def quantile(self, view: str, q: float) -> np.ndarray:
        """The q-quantile over examples of the log power, on the half grid."""
        return histogram_quantile(self.view[view].histogram, q)

    def share_out(self, view: str) -> np.ndarray:
        """Shares of the examples in which a bin stands out of its neighbours so far, `(heights, *half)`."""
        return self.view[view].out / max(self.count, 1)

    def coherence(self, view: str) -> np.ndarray:
        """|mean F|^2 n / mean |F|^2: about 1 for phases that are independent, n for one in all examples."""
        own = self.view[view]
        mean = np.square(np.abs(own.coherent)).mean(axis=-1) / max(self.count, 1)
        return mean / np.maximum(own.total, 1e-300) * self.count

    def set_sizes(self, family: int) -> np.ndarray:
        """Number of bins, each pair {f, -f} once, in each set of a family."""
        return np.array([len(own) for own in self._members[family]])

    def set_powers(self, view: str, family: int) -> np.ndarray:
        """Power of each set of a family in each example that is not blank, float32 `(examples, sets)`."""
        return np.concatenate(self.view[view].sets[family])


def histogram_quantile(histogram: np.ndarray, q: float) -> np.ndarray:
    """The q-quantile of values counted in the buckets along the last axis, between buckets linearly."""
    cumulated = np.cumsum(histogram, axis=-1, dtype=np.int64)
    wanted = q * cumulated[..., -1:]
    bucket = np.minimum((cumulated < wanted).sum(axis=-1, keepdims=True), BUCKETS - 1)
    below = np.where(bucket > 0, np.take_along_axis(cumulated, np.maximum(bucket - 1, 0), -1), 0)
    within = np.maximum(np.take_along_axis(histogram, bucket, -1), 1)
    return (_LOWEST + _STEP * (bucket + (wanted - below) / within))[..., 0]


def around_each(logs: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean log power of each bin's neighbours in the same example: a box without its centre."""
    outer, inner = {1: (12, 2), 2: (4, 1), 3: (2, 1)}[len(shape)]
    wide, wide_count = _box(logs, outer)
    near, near_count = _box(logs, inner)
    return (wide - near) / np.maximum(wide_count - near_count, 1)


def _box(values: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """(sums, numbers) of the bins within `reach` along every axis but the first; no wrapping."""
    number: np.ndarray = np.ones(())
    for axis in range(1, values.ndim):
        n = values.shape[axis]
        low = np.maximum(np.arange(n) - reach, 0)
        high = np.minimum(np.arange(n) + reach + 1, n)
        zero = np.zeros((*values.shape[:axis], 1, *values.shape[axis + 1 :]))
        cumulated = np.concatenate([zero, np.cumsum(values, axis=axis)], axis=axis)
        values = np.take(cumulated, high, axis) - np.take(cumulated, low, axis)
        number = number * (high - low).reshape(-1, *[1] * (values.ndim - axis - 1))
    return values, number
