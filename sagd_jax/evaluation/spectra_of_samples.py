"""How the power spectrum of samples differs from that of data, with uncertainties.

For signals x about the data's mean per channel, e_i(b) is the energy of example i in bin b (the mean
over channels, and over the frequencies of a ring where rings are asked for), unitary DFT; P(b) its mean
over examples. Between samples 1 and data 2, with weights w of sum 1,

    delta(b) = log P1(b) - log P2(b),   D^2 = sum_b w(b) delta(b)^2.

An example's energies go together, so their covariance counts: with z_i = e_i / P - 1,
V = Cov(z1) / n1 + Cov(z2) / n2 is that of the estimate of delta, and W = diag(w),

    E[D^2 estimated] = D^2 + tr(W V),   Var(D^2) = 4 c D^2 + 2 tr(W V W V),

with c = delta^T W V W delta / delta^T W delta. The interval holds all D^2 that this variance does not
refuse, since one about the estimate with the variance at the estimate is too short where that is too low.
The traces come from pairs of different examples, so there may be more bins than examples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import degrees_of_freedom, unique_bins
from sagd_jax.system.errors import check_choice

KINDS = ("radial", "full")
_NORMAL = 1.959963984540054  # two-sided, 95 %
_CHUNK = 256  # examples transformed at once


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval and, where it has a symmetric one, its standard error."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class SpectralDistance:
    """A distance between two power spectra, as a root mean square of log ratios of power.

    Attributes:
      value: sqrt(max(D^2, 0)), corrected for finite numbers of examples: 0.1 is about 10 % of power.
      low, high: 95 % interval.
      squared: the unbiased estimate of D^2, which can be negative.
      standard_error: of `squared`.
    """

    value: float
    low: float
    high: float
    squared: float
    standard_error: float


def spectral_distance(
    samples: ArrayLike, data: ArrayLike, *, kind: str = "radial"
) -> SpectralDistance:
    """The distance of two sets' power spectra, by rings or by single frequencies.

    The interval is that of many examples: with 100 of each it misses in 5 % of all cases, with 20 in 12 %.

    Args:
      samples, data: `(n, *spatial, channels)`, two examples at least.
      kind: `"radial"`, rings one bin of the longest axis wide, which weigh alike; or `"full"`, every
        frequency, which weighs as its degrees of freedom: it sees direction, and costs the square of
        the smaller of the numbers of bins and examples.

    Raises:
      ValueError: for other shapes, values that are not finite, or a bin without energy in one set.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 200, 8, 8, 1))
    >>> same, louder = spectral_distance(a, b), spectral_distance(1.2 * a, b)
    >>> same.low, bool(0.3 < louder.low < 2 * np.log(1.2) < louder.high)
    (0.0, True)
    """
    check_choice("kind", kind, KINDS)
    x, y = check_signals(samples, data)
    centre = channel_mean(y)
    bins = Rings.of(x.shape[1:-1]) if kind == "radial" else Frequencies.of(x.shape[1:-1])
    return distance_of_energies(bins.energies(x - centre), bins.energies(y - centre), bins.weights)


def distance_of_energies(
    energies1: np.ndarray, energies2: np.ndarray, weights: np.ndarray
) -> SpectralDistance:
    """The distance from energies `(n, bins)` and `(m, bins)` and weights `(bins,)` of sum 1."""
    powers = [energies.mean(axis=0) for energies in (energies1, energies2)]
    if not all(np.all(power > 0) for power in powers):
        raise ValueError("samples, data: a frequency has no energy in one of the two sets")
    delta = np.log(powers[0] / powers[1])
    root = np.sqrt(weights)
    # Rows whose products are those of z with W; sums over pairs divide by the degrees of freedom.
    rows = [
        (energies / power - 1) * root
        for energies, power in zip((energies1, energies2), powers, strict=True)
    ]
    own = [float(np.square(z).sum() / (len(z) * (len(z) - 1))) for z in rows]
    along = [float(np.square(z @ (root * delta)).sum() / (len(z) * (len(z) - 1))) for z in rows]
    traces = _pairs(rows[0], rows[0]) + 2 * _pairs(rows[0], rows[1]) + _pairs(rows[1], rows[1])
    # The log of a mean is low by half its relative variance.
    bias = [np.square(z / root).sum(axis=0) / (2 * len(z) * (len(z) - 1)) for z in rows]
    delta = delta + bias[0] - bias[1]
    biased = float(np.square(delta) @ weights)
    noise = sum(along) / biased if biased else 0.0
    squared, traces = biased - sum(own), max(traces, 0.0)
    error = float(np.sqrt(4 * noise * max(squared, 0.0) + 2 * traces))
    # All D^2 that are not refused: (squared - D^2)^2 <= z^2 Var(D^2).
    middle = squared + 2 * noise * _NORMAL**2
    reach = middle**2 - squared**2 + 2 * traces * _NORMAL**2
    reach = float(np.sqrt(max(reach, 0.0)))
    low, high, value = (
        float(np.sqrt(max(d, 0.0))) for d in (middle - reach, middle + reach, squared)
    )
    return SpectralDistance(value, low, high, squared, error)


def _pairs(a: np.ndarray, b: np.ndarray) -> float:
    """An unbiased estimate of tr(W Cov(z_a) W Cov(z_b)) / (n_a n_b), from pairs of two examples."""
    n, m = len(a), len(b)
    by_bins = a.shape[1] < min(n, m)
    if a is b:
        squares = np.square(a.T @ a).sum() if by_bins else np.square(a @ a.T).sum()
        own = np.square(np.square(a).sum(axis=1)).sum()
        return float(squares - own) / (n * (n - 1)) / n**2
    squares = np.sum((a.T @ a) * (b.T @ b)) if by_bins else np.square(a @ b.T).sum()
    return float(squares) / (n * m) / (n * m)


@dataclasses.dataclass(frozen=True)
class Rings:
    """Rings of frequencies one bin of the longest axis wide, without the zero frequency.

    Attributes:
      radius: of each, in cycles per sample.
      shares: `(rings, bins of the half grid)`, what each frequency counts in its ring's mean.
    """

    radius: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, spatial_shape: Sequence[int]) -> Rings:
        """Those of a grid."""
        radius = radial_frequency(spatial_shape)
        number = np.round(radius * max(spatial_shape)).astype(int)
        number[radius == 0] = -1
        counts = unique_bins(spatial_shape) * degrees_of_freedom(spatial_shape)
        sets = [counts * (number == ring) for ring in np.unique(number[number >= 0])]
        shares = np.stack([(s / s.sum()).reshape(-1) for s in sets])
        return cls(shares @ radius.reshape(-1), shares)

    @property
    def weights(self) -> np.ndarray:
        return np.full(len(self.radius), 1 / len(self.radius))

    def energies(self, centred: np.ndarray) -> np.ndarray:
        """Of signals about their mean: `(n, rings)`."""
        return np.concatenate([e.reshape(len(e), -1) @ self.shares.T for e in powers(centred)])


@dataclasses.dataclass(frozen=True)
class Frequencies:
    """Single frequencies, each of f and -f once, without zero."""

    chosen: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, spatial_shape: Sequence[int]) -> Frequencies:
        """Those of a grid."""
        chosen = unique_bins(spatial_shape)
        counts = degrees_of_freedom(spatial_shape)[chosen]
        return cls(chosen, counts / counts.sum())

    def energies(self, centred: np.ndarray) -> np.ndarray:
        """Of signals about their mean: `(n, bins)`."""
        return np.concatenate([e[:, self.chosen] for e in powers(centred)])


def powers(centred: np.ndarray) -> Any:
    """Yields |F x|^2, mean over channels, on the half grid, of some examples at a time."""
    axes = tuple(range(1, centred.ndim - 1))
    for first in range(0, len(centred), _CHUNK):
        x = np.asarray(centred[first : first + _CHUNK], np.float64)
        yield np.square(np.abs(np.fft.rfftn(x, axes=axes, norm="ortho"))).mean(axis=-1)


@dataclasses.dataclass(frozen=True)
class BandEnergies:
    """Energy per value in radial bands, of samples and of data.

    Attributes:
      edges: of the bands, in the unit `max`; the last band has its upper edge too.
      samples, data: mean energy of a coefficient, `(bands,)`; NaN for a band without frequencies.
      ratio: samples over data.
      ratio_error: its standard error.
    """

    edges: tuple[float, ...]
    samples: np.ndarray
    data: np.ndarray
    ratio: np.ndarray
    ratio_error: np.ndarray


def band_energies(samples: ArrayLike, data: ArrayLike, edges: Sequence[float]) -> BandEnergies:
    """The energies of two sets in the bands between `edges`, increasing, in [0, 1] of the unit `max`.

    Both are taken about the data's mean per channel. Raises ValueError as `spectral_distance`.

    >>> x = np.random.default_rng(0).normal(size=(2, 300, 8, 8, 1))
    >>> bands = band_energies(2 * x[0], x[1], (0.0, 0.5, 1.0))
    >>> bool(np.all(np.abs(bands.ratio - 4) < 5 * bands.ratio_error))
    True
    """
    x, y = check_signals(samples, data)
    centre = channel_mean(y)
    shares = band_shares(x.shape[1:-1], edges)
    sets = [
        np.concatenate([e.reshape(len(e), -1) @ shares.T for e in powers(z - centre)])
        for z in (x, y)
    ]
    mean = [e.mean(axis=0) for e in sets]
    spread = [e.var(axis=0, ddof=1) / len(e) for e in sets]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mean[0] / mean[1]
        error = ratio * np.sqrt(sum(s / m**2 for s, m in zip(spread, mean, strict=True)))
    return BandEnergies(tuple(map(float, edges)), mean[0], mean[1], ratio, error)


def band_shares(spatial_shape: Sequence[int], edges: Sequence[float]) -> np.ndarray:
    """What each frequency of the half grid counts in each band's mean, `(bands, bins)`; NaN if empty."""
    ends = np.asarray(edges, np.float64)
    if ends.ndim != 1 or len(ends) < 2 or np.any(np.diff(ends) <= 0):
        raise ValueError(f"edges={ends.tolist()}: expected two or more increasing numbers")
    radius = radial_frequency(spatial_shape, unit="max").reshape(-1)
    counts = _counts(spatial_shape).reshape(-1)
    # The radius of a band's edge may be off by rounding.
    inside = radius >= ends[:-1, None] - 1e-9
    inside &= (radius < ends[1:, None] - 1e-9) | ((ends[1:, None] >= 1) & (radius > 1 - 1e-9))
    sets = counts * inside
    with np.errstate(invalid="ignore"):
        return np.asarray(sets / sets.sum(axis=1, keepdims=True))


def mask_shares(spatial_shape: Sequence[int], mask: np.ndarray) -> np.ndarray:
    """The same of any set of frequencies, bool on the half grid: `(1, bins)`."""
    counts = np.where(mask, _counts(spatial_shape), 0.0).reshape(1, -1)
    if not counts.sum():
        raise ValueError("mask: no frequency is in it")
    return counts / counts.sum()


def _counts(spatial_shape: Sequence[int]) -> np.ndarray:
    """Degrees of freedom per bin of the half grid, zero frequency included."""
    counts = unique_bins(spatial_shape) * degrees_of_freedom(spatial_shape)
    counts[(0,) * counts.ndim] = 1
    return counts


def left_over(
    samples: ArrayLike, clean: ArrayLike, corrupted: ArrayLike, mask: np.ndarray
) -> Interval:
    """The share of a corruption's energy in a set of frequencies that samples still have.

        (E[samples] - E[clean]) / (E[corrupted] - E[clean]) in the set: 0 is none, 1 all of it.

    Args:
      samples, clean, corrupted: `(n, *spatial, channels)` each.
      mask: the set, bool on the half grid.

    Raises:
      ValueError: for other shapes, or where the corruption puts no energy there.

    >>> rng = np.random.default_rng(0)
    >>> clean, noise = rng.normal(size=(2, 500, 8, 8, 1))
    >>> share = left_over(clean + noise / 2, clean, clean + noise, np.ones((8, 5), bool))
    >>> share.low < 0.25 < share.high
    True
    """
    x, y = check_signals(samples, clean)
    z, _ = check_signals(corrupted, clean)
    centre = channel_mean(y)
    shares = mask_shares(x.shape[1:-1], mask)
    energies = [
        np.concatenate([(e.reshape(len(e), -1) @ shares.T)[:, 0] for e in powers(signals - centre)])
        for signals in (x, y, z)
    ]
    own, base, full = (float(e.mean()) for e in energies)
    own_error, base_error, full_error = (float(e.var(ddof=1) / len(e)) for e in energies)
    added = full - base
    if added <= 0:
        raise ValueError("corrupted: has no more energy in these frequencies than the clean data")
    share = (own - base) / added
    # The clean energy stands above and below the line.
    variance = own_error + (1 - share) ** 2 * base_error + share**2 * full_error
    error = _NORMAL * float(np.sqrt(variance)) / added
    return Interval(share, share - error, share + error)


def channel_mean(x: np.ndarray) -> np.ndarray:
    """The mean of each channel, `(channels,)`."""
    return np.asarray(x.mean(axis=tuple(range(x.ndim - 1)), dtype=np.float64))


def check_signals(samples: ArrayLike, data: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of signals of one shape, two or more each, finite."""
    sets = [np.asarray(x) for x in (samples, data)]
    for name, x in zip(("samples", "data"), sets, strict=True):
        if not 3 <= x.ndim <= 5 or x.shape[1:] != sets[0].shape[1:] or len(x) < 2:
            raise ValueError(
                f"{name}: shape {x.shape}; expected (n, *spatial, channels), n >= 2, of one shape"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"{name}: some values are not finite")
    return sets[0], sets[1]
