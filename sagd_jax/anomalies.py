"""What does not belong in a power spectrum: bands, wedges and lines, and the mask that omits them.

log V (or log S, see `power_spectrum.py`) is regressed on a smooth background, a polynomial in log r
whose coefficients vary slowly with direction, and, one at a time (forward selection), on the
indicator of the set of bins that lowers the squared residual most: a radial band, an oriented
wedge, or a line. A set counts if its excess is large (`MIN_EXCESS`), large against its standard
error (`MIN_SCORE`), and, for bands and wedges, if the power falls at once outside of it, as that of
a smooth hump does not.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from sagd_jax.frequencies import frequency_vectors, half_grid_shape, in_wedge, radial_frequency
from sagd_jax.power_spectrum import (
    PowerSpectrum,
    degrees_of_freedom,
    energy_share,
    opposite,
    to_full_grid,
    unique_bins,
)

MIN_EXCESS = 0.25  # of the logarithm of the power
MIN_SCORE = 6.0  # standard errors
MIN_SCORE_SMALL = 4.5  # the same where there are few bins, and few sets to choose from
MAX_ANOMALIES = 16
_SMALL = 100  # bins
_LOWS = (0.0, 0.15, 0.3, 0.5)  # inner radii that wedges are tried with first, in `max`
_EDGES = 44  # radii between which bands are tried first
_CHUNK = 128  # sets rated at once
# Powers of log r: how far the dependence of the smooth spectrum on direction, and on
# grids of few bins the spectrum itself, may bend.
_NEARLY_FLAT, _CURVED = 1, 2


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """Frequencies with more power than the smooth spectrum around them.

    Attributes:
      kind: `"band"`, `"wedge"` or `"line"`.
      mask: its bins on the half grid, bool, without a channel axis.
      low, high: of its radial frequency over `axes`, in cycles per sample: low <= r < high for a
        band that does not reach the end of the grid.
      axes: spatial axes that the radial frequency is over.
      frequency: of a line, one number per axis, in cycles per sample; else empty.
      angle, width: of a wedge, in degrees, the angle from the last axis towards the first; else 0.
      excess: mean of the logarithm of the power above the smooth spectrum.
      score: that, in standard errors of the regression.
      energy: share of the data's energy in its bins, corrupted or not.
    """

    kind: str
    mask: np.ndarray
    low: float
    high: float
    axes: tuple[int, ...]
    excess: float
    score: float
    energy: float
    frequency: tuple[float, ...] = ()
    angle: float = 0.0
    width: float = 0.0


def find_anomalies(spectrum: PowerSpectrum) -> list[Anomaly]:
    """Bands, wedges (of images) and lines that stand out, in the order in which they explain most.

    Bands and wedges are searched in the innovation spectrum if there is one, else in the power
    spectrum, and lines in both. Grids of fewer than a dozen frequencies have no smooth background
    to stand out of: nothing is found there.

    >>> import jax, sagd_jax as sagd
    >>> from sagd_jax.power_spectrum import estimate
    >>> white = sagd.white((16, 16)).sample(jax.random.key(0), (200, 16, 16, 1))
    >>> band = sagd.band_pass((16, 16), [(0.4, 0.5)]).sample(jax.random.key(1), white.shape)
    >>> len(find_anomalies(estimate(np.asarray(white))))
    0
    >>> [found.kind for found in find_anomalies(estimate(np.asarray(white + band)))]
    ['band']
    """
    shape = spectrum.spatial_shape
    families: list[_Family] = [_Bands(shape, tuple(range(len(shape))))]
    if len(shape) == 2:
        families.append(_Wedges(shape))
    if len(shape) == 3:
        families += [_Bands(shape, (0,)), _Bands(shape, (1, 2))]
    power = spectrum.power.mean(axis=-1)
    taken = np.zeros(power.shape, bool)
    found: list[Anomaly] = []
    if spectrum.innovation is not None:
        search = _Search(spectrum, spectrum.innovation, taken, smooth=_NEARLY_FLAT)
        found += itertools.islice(search.run(families, leaky=False), MAX_ANOMALIES)
        for anomaly in found:
            taken |= _surroundings(anomaly.mask, shape)
        # A frequency between two bins is seen in both of them, so they predict each other, and so
        # do those of a pattern that all examples share: only the power shows such a line.
        families = []
    search = _Search(spectrum, power, taken, smooth=_CURVED)
    found += itertools.islice(search.run(families, leaky=True), MAX_ANOMALIES - len(found))
    return found


def suggested_mask(
    spectrum: PowerSpectrum, anomalies: Sequence[Anomaly], margin: float = 1.0
) -> np.ndarray:
    """The bins that stay once all anomalies are omitted, with a margin.

    Args:
      margin: bins this near (in bins, Euclidean) go too. The zero frequency stays.

    Returns:
      float64 on the half grid, 1 where the noise stays and 0 in the holes: an argument of
      `from_variance`, or a factor on one.

    Raises:
      ValueError: for a negative margin.
    """
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin={margin}: expected a number of bins >= 0")
    shape = spectrum.spatial_shape
    hole = np.zeros(half_grid_shape(shape), bool)
    for anomaly in anomalies:
        hole |= anomaly.mask
    kept = ~_to_half(_dilate(to_full_grid(hole, shape), margin))
    kept[(0,) * len(shape)] = True
    return kept.astype(np.float64)


class _Family(Protocol):
    """A kind of set of bins, by its parameters."""

    def mask(self, parameters: Any) -> np.ndarray: ...

    def coarse(self) -> Iterable[Any]: ...

    def near(self, parameters: Any) -> Iterable[Any]: ...

    def describe(self, parameters: Any, mask: np.ndarray) -> dict[str, Any]: ...


class _Bands:
    """Radial bands over some axes, by (low, high) in cycles per sample."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]):
        self._axes = axes
        self._radius = radial_frequency(shape, axes=axes)
        # Radii that differ by rounding only are one. A band that goes down to the lowest has no edge
        # there: it is the shape of the spectrum itself.
        lowest = 1.99 / max(shape[axis] for axis in axes)
        self._levels = np.unique(np.round(self._radius[self._radius >= lowest], 9))
        self._end = float(self._levels.max(initial=0.0)) + 1e-6

    def mask(self, parameters: tuple[float, float]) -> np.ndarray:
        low, high = parameters
        radius = np.round(self._radius, 9)
        return (radius >= low) & (radius < high) & (radius > 0)

    def coarse(self) -> Iterable[tuple[float, float]]:
        levels = self._levels
        if len(levels) > _EDGES:
            levels = np.linspace(levels[0], levels[-1], _EDGES)
        return itertools.combinations([*levels.tolist(), self._end], 2)

    def near(self, parameters: tuple[float, float]) -> Iterable[tuple[float, float]]:
        reach = float(np.ptp(self._levels)) / _EDGES
        lows, highs = ([edge, *self._close(edge, reach), self._end] for edge in parameters)
        return ((low, high) for low in lows for high in highs if low < high)

    def describe(self, parameters: tuple[float, float], mask: np.ndarray) -> dict[str, Any]:
        inside = np.round(self._radius[mask], 9)
        above = self._levels[self._levels > inside.max()]
        high = float(above[0]) if len(above) else float(inside.max())
        return {"kind": "band", "low": float(inside.min()), "high": high, "axes": self._axes}

    def _close(self, edge: float, reach: float) -> list[float]:
        close = self._levels[np.abs(self._levels - edge) <= reach]
        if len(close) > 24:
            close = close[np.linspace(0, len(close) - 1, 24).astype(int)]
        return close.tolist()


class _Wedges:
    """Oriented wedges of images, by (angle, width) in degrees and (low, high) in `max`."""

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._radius = radial_frequency(shape, unit="max")
        self._scale = float(radial_frequency(shape).max())
        self._cones: dict[tuple[float, float], np.ndarray] = {}

    def mask(self, parameters: tuple[float, ...]) -> np.ndarray:
        angle, width, low, high = parameters
        if (angle, width) not in self._cones:
            direction = (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
            self._cones[angle, width] = in_wedge(self._shape, direction, width)
        return self._cones[angle, width] & (self._radius >= low) & (self._radius < high)

    def coarse(self) -> Iterable[tuple[float, ...]]:
        angles = np.arange(0, 180, 7.5).tolist()
        return itertools.product(angles, (8.0, 16.0, 24.0, 32.0, 40.0, 48.0), _LOWS, (1.01,))

    def near(self, parameters: tuple[float, ...]) -> Iterable[tuple[float, ...]]:
        angle, width, low, high = parameters
        angles = [angle + step for step in (-5.0, -2.5, -1.0, 0.0, 1.0, 2.5, 5.0)]
        widths = [width + step for step in (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0)]
        lows = {*_LOWS, *(max(low + step, 0.0) for step in (-0.08, -0.03, 0.0, 0.03, 0.08))}
        highs = {1.01, high, *(high - step for step in (0.05, 0.2, 0.4))}
        return itertools.product(angles, [w for w in widths if w >= 1], sorted(lows), sorted(highs))

    def describe(self, parameters: tuple[float, ...], mask: np.ndarray) -> dict[str, Any]:
        inside = self._radius[mask] * self._scale
        return {
            "kind": "wedge",
            "low": float(inside.min()),
            "high": float(inside.max()),
            "axes": (0, 1),
            "angle": parameters[0] % 180,
            "width": parameters[1],
        }


@dataclasses.dataclass(frozen=True)
class _Rated:
    """A candidate: how much of the squared residual it explains, and its excess and score."""

    drop: float
    parameters: Any
    excess: float
    score: float


class _Search:
    """Forward selection on one spectrum. Its vectors run over `bins`, times the root of the degrees
    of freedom, to which the variance of the logarithm of an estimated power is inversely
    proportional."""

    def __init__(self, spectrum: PowerSpectrum, values: np.ndarray, taken: np.ndarray, smooth: int):
        self._spectrum = spectrum
        self._shape = spectrum.spatial_shape
        self._smooth = smooth
        # The lowest ring tells how large objects are and whether they are centred: not searched.
        lowest = radial_frequency(self._shape) * max(self._shape) < 1.5
        self._bins = unique_bins(self._shape) & (values > 0) & ~lowest
        self._small = int(self._bins.sum()) < _SMALL
        self._log = np.log(np.where(values > 0, values, values[values > 0].min(initial=1.0)))
        # Along one axis a few bins side by side are a line, however it spreads.
        self._fewest = 2 if len(self._shape) > 1 else int(np.clip(self._bins.sum() / 64, 3, 8))
        self._contrast = self._log - _local_median(self._log, self._shape)
        self._bins &= ~taken

    def run(self, families: Sequence[_Family], leaky: bool) -> Iterator[Anomaly]:
        """Yields anomalies; `leaky`: lines between two bins spread over the grid."""
        while self._fit():
            line = self._best_line(leaky)
            sets = [self._best_of(family) for family in families]
            found = [candidate for candidate in (line, *sets) if candidate is not None]
            if not found:
                return
            anomaly = max(found, key=lambda candidate: candidate[0])[1]
            # The neighbours share in what was found; the search goes on without them.
            self._bins &= ~_surroundings(anomaly.mask, self._shape)
            yield anomaly

    def _fit(self) -> bool:
        """Fits the smooth spectrum to the bins that are left; False if they are too few."""
        if self._bins.sum() < 12:
            return False
        columns = _background(self._shape, self._bins, self._smooth, self._small)
        if len(columns) < 2 * columns.shape[1]:
            return False
        self._root = np.sqrt(degrees_of_freedom(self._shape)[self._bins])
        left, values, _ = np.linalg.svd(columns * self._root[:, None], full_matrices=False)
        self._basis = left[:, values > 1e-6 * values.max()]
        self._y = self._log[self._bins] * self._root
        self._residual = self._y - self._basis @ (self._basis.T @ self._y)
        return True

    def _rate(
        self, free: np.ndarray, own: np.ndarray, dot: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(drop, coefficient, score) of columns with the residual's products `dot`.

        `own` and `free` are their squared norms before and after the smooth part is taken out.
        """
        usable = free > 0.05 * own  # Else the smooth spectrum explains the set as well.
        free = np.where(usable, free, 1.0)
        coefficient = np.where(usable, dot / free, 0.0)
        drop = coefficient**2 * free
        degrees = max(len(self._y) - self._basis.shape[1] - 1, 1)
        noise = np.maximum(np.square(self._residual).sum() - drop, 1e-12) / degrees
        return drop, coefficient, coefficient * np.sqrt(free / noise)

    def _passes(self, excess: np.ndarray, score: np.ndarray) -> np.ndarray:
        return (excess > MIN_EXCESS) & (score > (MIN_SCORE_SMALL if self._small else MIN_SCORE))

    def _best_of(self, family: _Family) -> tuple[float, Anomaly] | None:
        """The best set of a family: first among coarse parameters, then near the best of them."""
        best, candidates, shape = None, family.coarse(), np.ones(len(self._y))
        for _ in range(6):
            better = self._best_among(family, candidates, shape)
            if better is None or (best is not None and better.parameters == best.parameters):
                break
            best, candidates = better, family.near(better.parameters)
            shape = self._expected(family.mask(best.parameters)[self._bins])
        if best is None:
            return None
        mask = family.mask(best.parameters)
        anomaly = Anomaly(
            mask=mask,
            excess=best.excess,
            score=best.score,
            energy=energy_share(self._spectrum, mask),
            **family.describe(best.parameters, mask),
        )
        return best.drop, anomaly

    def _expected(self, row: np.ndarray) -> np.ndarray:
        """log(1 + c / B): how added power c shows over the smooth power B, given one set's bins."""
        column = row * self._root
        free = column - self._basis @ (self._basis.T @ column)
        excess = free @ self._residual / (free @ free)
        smooth = self._basis @ (self._basis.T @ (self._y - excess * column)) / self._root
        added = np.median(np.exp(self._y / self._root)[row] - np.exp(smooth[row]))
        return np.log1p(np.maximum(added, 1e-3 * np.exp(smooth[row]).min()) / np.exp(smooth))

    def _best_among(
        self, family: _Family, candidates: Iterable[Any], shape: np.ndarray
    ) -> _Rated | None:
        distinct: dict[bytes, tuple[Any, np.ndarray]] = {}
        for parameters in candidates:
            row = family.mask(parameters)[self._bins]
            if self._fewest <= row.sum() <= 0.6 * len(row):
                distinct.setdefault(np.packbits(row).tobytes(), (parameters, row))
        rated = []
        sets = list(distinct.values())
        for start in range(0, len(sets), _CHUNK):
            chunk = sets[start : start + _CHUNK]
            rows = np.array([row for _, row in chunk])
            columns = rows * (shape * self._root)
            own = np.square(columns).sum(axis=1)
            free = own - np.square(columns @ self._basis).sum(axis=1)
            drop, coefficient, score = self._rate(free, own, columns @ self._residual)
            excess = coefficient * (rows @ shape) / rows.sum(axis=1)
            rated += [
                _Rated(float(drop[i]), chunk[i][0], float(excess[i]), float(score[i]))
                for i in np.flatnonzero(self._passes(excess, score))
            ]
        rated.sort(key=lambda candidate: -candidate.drop)
        best = next((r for r in rated if self._is_sharp(family.mask(r.parameters))), None)
        if best is None:
            return None
        # Bins that show nothing either way (added power is lost where there is much of it) are left
        # out: of sets that explain equally well to two standard errors, the smallest.
        noise = (best.excess / best.score) ** 2 * best.drop / best.excess**2
        equal = [r for r in rated if r.drop > best.drop - 4 * noise]
        sizes = [(family.mask(r.parameters)[self._bins].sum(), i) for i, r in enumerate(equal)]
        smallest = equal[min(sizes)[1]]
        return smallest if self._is_sharp(family.mask(smallest.parameters)) else best

    def _is_sharp(self, mask: np.ndarray) -> bool:
        full = to_full_grid(mask, self._shape)
        outside = _to_half(_dilate(full, 1) & ~full)[self._bins]
        inside = _to_half(_dilate(~full, 1) & full)[self._bins]
        if not outside.any() or not inside.any():
            return True
        values = self._residual / self._root
        return values[inside].mean() - values[outside].mean() > MIN_EXCESS / 2

    def _best_line(self, leaky: bool) -> tuple[float, Anomaly] | None:
        """The best single bin, with the bins that it spreads to."""
        own = self._root**2
        free = own * (1 - np.square(self._basis).sum(axis=1))
        drop, excess, score = self._rate(free, own, self._root * self._residual)
        passes = self._passes(excess, score) & (self._contrast[self._bins] > MIN_EXCESS)
        if not passes.any():
            return None
        peak = int(np.argmax(np.where(passes, drop, 0)))
        place: tuple[Any, ...] = tuple(np.argwhere(self._bins)[peak])
        values = np.zeros(half_grid_shape(self._shape))
        values[self._bins] = self._residual / self._root
        mask = np.zeros_like(values, bool)
        mask[place] = True
        spread = _surroundings(mask, self._shape)
        # Of its bins, the line is nearest to the one with the most power, not the most excess.
        added = np.exp(self._log) * -np.expm1(-np.maximum(values, 0))
        place = np.unravel_index(int(np.argmax(np.where(spread, added, 0))), added.shape)
        if leaky:
            spread |= added < 2 * added[place] * _leakage(place, self._shape)
        mask |= spread & (values > max(MIN_EXCESS, 0.0 if leaky else 0.2 * excess[peak]))
        full = to_full_grid(mask, self._shape)
        mask = _to_half(full | opposite(full))
        vectors = frequency_vectors(self._shape)
        frequency = tuple(float(np.broadcast_to(f, mask.shape)[place]) for f in vectors)
        anomaly = Anomaly(
            kind="line",
            mask=mask,
            low=math.hypot(*frequency),
            high=math.hypot(*frequency),
            axes=tuple(range(len(self._shape))),
            frequency=frequency,
            excess=float(excess[peak]),
            score=float(score[peak]),
            energy=energy_share(self._spectrum, mask),
        )
        return float(drop[peak]), anomaly


def _background(shape: tuple[int, ...], bins: np.ndarray, smooth: int, small: bool) -> np.ndarray:
    """Columns of the smooth spectrum: powers of log r, and even polynomials of the direction."""
    radius = radial_frequency(shape)[bins]
    log_r = np.log(radius)
    log_r = (log_r - log_r.mean()) / log_r.std()
    if small:  # Few bins allow few columns.
        return np.stack([log_r**power for power in range(smooth + 1)], axis=1)
    columns = [log_r**power for power in range(5)]
    cosines = [np.broadcast_to(f, bins.shape)[bins] / radius for f in frequency_vectors(shape)]
    pairs = []
    for a, b in itertools.combinations_with_replacement(range(len(shape)), 2):
        value = cosines[a] * cosines[b]
        if a != b:
            # On a Nyquist plane the sign of that component is not defined, nor that of the product.
            nyquist = np.maximum(np.abs(cosines[a]), np.abs(cosines[b])) * radius
            value = np.where(nyquist > 0.5 - 1e-9, 0.0, value)
        pairs.append(value)
    directions = pairs[:-1]  # The squares of all cosines add up to 1.
    products = [a * b for a, b in itertools.combinations_with_replacement(directions, 2)]
    # What is built and drawn is upright: photographs have a ridge along each axis.
    ridges = [np.exp(-((1 - np.square(c)) / 0.03)) for c in cosines] if len(shape) == 2 else []
    for power in range(smooth):
        columns += [value * log_r**power for value in (*directions, *products)]
    columns += [value * log_r**power for value in ridges for power in range(2)]
    return np.stack(columns, axis=1)


def _local_median(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Median around each bin, without the bin and its nearest neighbours."""
    inner, outer = {1: (2, 12), 2: (1, 3), 3: (1, 2)}[len(shape)]
    full = to_full_grid(values, shape)
    reaches = [range(-min(outer, n // 2), min(outer, n // 2) + 1) for n in shape]
    around = [
        _to_half(np.roll(full, shift, axis=tuple(range(len(shape)))))
        for shift in itertools.product(*reaches)
        if max(map(abs, shift)) > inner
    ]
    return np.median(around, axis=0) if around else np.full(values.shape, np.median(values))


def _dilate(full: np.ndarray, distance: float) -> np.ndarray:
    """All bins within `distance` bins of those that are True; the grid is periodic."""
    reach = range(-math.floor(distance), math.floor(distance) + 1)
    result = np.zeros_like(full)
    for shift in itertools.product(reach, repeat=full.ndim):
        if math.hypot(*shift) <= distance:
            result |= np.roll(full, shift, axis=tuple(range(full.ndim)))
    return result


def _surroundings(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A set on the half grid, with the bins within two of it."""
    return _to_half(_dilate(to_full_grid(mask, shape), 2))


def _leakage(place: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Largest share of a peak's power that a frequency off the grid puts into every other bin."""
    share = np.ones(half_grid_shape(shape))
    for axis, (n, k) in enumerate(zip(shape, place, strict=True)):
        bins = np.arange(share.shape[axis])
        gap = np.abs(bins - k)
        gap = np.maximum(np.minimum(gap, n - gap), 1)
        # |sinc| falls as 1 / distance, and the peak itself is at most half a bin off.
        share *= ((0.5 / (gap - 0.5)) ** 2).reshape(-1, *[1] * (share.ndim - axis - 1))
    return share


def _to_half(full: np.ndarray) -> np.ndarray:
    return full[..., : full.shape[-1] // 2 + 1]
