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
from typing import Any

import numpy as np

from sagd_jax.spectral.bands_and_wedges import Bands, Family, Wedges
from sagd_jax.spectral.frequencies import frequency_vectors, radial_frequency
from sagd_jax.spectral.half_grid import (
    degrees_of_freedom,
    dilate,
    half_grid_shape,
    opposite,
    to_full_grid,
    to_half_grid,
    unique_bins,
)
from sagd_jax.spectral.power_spectrum import PowerSpectrum, energy_share

MIN_EXCESS = 0.25  # of the logarithm of the power
MIN_SCORE = 6.0  # standard errors
MIN_SCORE_SMALL = 4.5  # the same where there are few bins, and few sets to choose from
MAX_ANOMALIES = 16
_SMALL = 100  # bins
_CHUNK = 128  # sets rated at once
# Powers of log r: how far the dependence of the smooth spectrum on direction, and on
# grids of few bins the spectrum itself, may bend.
_NEARLY_FLAT, _CURVED = 1, 2


@dataclasses.dataclass(frozen=True)
class Anomaly:
    """Frequencies with more power than the smooth spectrum around them, as `find_anomalies` lists them.

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

    Raises:
      ValueError: for a spectrum in another basis than Fourier's, where stationary noise is no line.

    >>> import jax, sagd_jax as sagd
    >>> from sagd_jax.spectral.power_spectrum import estimate
    >>> white = sagd.white((16, 16)).sample(jax.random.key(0), (200, 16, 16, 1))
    >>> band = sagd.band_pass((16, 16), [(0.4, 0.5)]).sample(jax.random.key(1), white.shape)
    >>> len(find_anomalies(estimate(np.asarray(white))))
    0
    >>> [found.kind for found in find_anomalies(estimate(np.asarray(white + band)))]
    ['band']
    """
    if spectrum.basis != "fourier":
        raise ValueError(
            f"spectrum: in the basis {spectrum.basis!r}; anomalies are looked for in 'fourier' alone"
        )
    shape = spectrum.spatial_shape
    families: list[Family] = [Bands(shape, tuple(range(len(shape))))]
    if len(shape) == 2:
        families.append(Wedges(shape))
    if len(shape) == 3:
        families += [Bands(shape, (0,)), Bands(shape, (1, 2))]
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
      spectrum, anomalies: as for `find_anomalies`, and what it returns.
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
    kept = ~to_half_grid(dilate(to_full_grid(hole, shape), margin))
    kept[(0,) * len(shape)] = True
    return kept.astype(np.float64)


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

    def run(self, families: Sequence[Family], leaky: bool) -> Iterator[Anomaly]:
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

    def _best_of(self, family: Family) -> tuple[float, Anomaly] | None:
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
        self, family: Family, candidates: Iterable[Any], shape: np.ndarray
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
        outside = to_half_grid(dilate(full, 1) & ~full)[self._bins]
        inside = to_half_grid(dilate(~full, 1) & full)[self._bins]
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
        mask = to_half_grid(full | opposite(full))
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
        to_half_grid(np.roll(full, shift, axis=tuple(range(len(shape)))))
        for shift in itertools.product(*reaches)
        if max(map(abs, shift)) > inner
    ]
    return np.median(around, axis=0) if around else np.full(values.shape, np.median(values))


def _surroundings(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A set on the half grid, with the bins within two of it."""
    return to_half_grid(dilate(to_full_grid(mask, shape), 2))


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
