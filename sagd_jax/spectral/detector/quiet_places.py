"""Lines in the quietest place of each example, where little of the data hides what was added.

A tone is as strong in every part of an example; what data are made of is not. Of windows w of half an example's
size, which overlap by half, each frequency has

    g_i = min_w log |F_iw|^2,                                                                  (D2)

F_iw the tapered DFT of window w of example i, no less than what rounding to 8 bits leaves. Wherever an example
has a flat part (a sky, a wall, a black ground) g_i is low but for what is added. A tone stands out of the g_i around it
in some examples, all by the same power; what goes with the g_i around it, or is one of several such
frequencies, is a texture. Of two and three axes alone: sounds pause in their own way, which the 10 % quantile shows.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.candidate import Candidate
from sagd_jax.spectral.detector.candidates import bins_of_line
from sagd_jax.spectral.detector.evidence import Evidence, around_each
from sagd_jax.spectral.detector.finding import CORRUPTION, UNKNOWN
from sagd_jax.spectral.detector.lines import (
    MEAN,
    Line,
    frequency_at,
    kernel,
    refined,
    standing_out,
)
from sagd_jax.spectral.detector.places import point
from sagd_jax.spectral.detector.responses import Response
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import degrees_of_freedom, half_grid_shape, unique_bins

PLACES = "quiet places"
_SMALLEST = 24  # sites along an axis that is cut
_LOWEST = math.log((2 / 255) ** 2 / 12)  # of rounding to 8 bits, per coefficient
_MEAN_OF_LOGS = math.exp(np.euler_gamma)  # mean of exponential numbers over their geometric mean
_OUTLIER, _ALIKE = 5.0, 0.15  # standard deviations; relative one of N from example to example
_ROUNDS = 5
_HEIGHTS = (1.0, 1.5, 2.5, 4.0)  # nats above those around
_SCORE, _MOST = 8.0, 4
_LOWEST_BIN, _APART = 4, 3  # bins of a window
_HAS = 2.0  # nats
_FEWEST = 6  # examples
_FOLLOWS, _VARIES = 0.75, 0.85  # correlation with what is around; scatter of the level, in nats
_FOREMOST = 2.5  # over the largest bin beside
_NARROW, _CLEARLY = 15.0, 0.5  # of a line that is clear


@dataclasses.dataclass(frozen=True)
class InQuietPlaces:
    """A line, what it is taken to be by itself, its `Response`, and which examples show it, `(examples,)`.

    `clear`: whether it is so narrow and so steady that no other line of the set makes it doubtful.
    """

    candidate: Candidate
    response: Response
    shows: np.ndarray
    verdict: str
    clear: bool


def in_quiet_places(evidence: Evidence, batches: Iterable[np.ndarray]) -> list[InQuietPlaces]:
    """Lines that stand out of the quietest places; none where fewer than two axes are long enough to be cut.

    >>> rng = np.random.default_rng(0)
    >>> x = np.where(np.arange(32)[:, None] < 15, 0.0, rng.normal(size=(200, 32, 32)))
    >>> phase = 2 * np.pi * (0.28 * np.arange(32) + 0.3125 * np.arange(32)[:, None] + rng.random((40, 1, 1)))
    >>> x[:40] += 0.1 * np.cos(phase)
    >>> evidence = Evidence((32, 32), 1)
    >>> evidence.add(x[..., None])
    >>> [(f.verdict, f.candidate.line.place) for f in in_quiet_places(evidence, [x[..., None]])]
    [('corruption', (10, 9))]
    """
    cut = [n >= _SMALLEST for n in evidence.shape]
    if sum(cut) < 2:
        return []
    windows = _Windows(evidence.shape, cut)
    number = np.zeros((len(_HEIGHTS), *windows.half))
    for x in _with_variation(evidence, batches):
        quietest = windows.quietest(x)
        above = quietest - around_each(quietest, windows.size)
        number += np.stack([(above > height).sum(axis=0) for height in _HEIGHTS])
    count = max(evidence.count, 1)
    excess, score = standing_out(number / count, count, windows.size)
    places = windows.peaks(score)
    if not places:
        return []
    seen = _seen_at(evidence, batches, windows, places)
    found = []
    for k, place in enumerate(places):
        line = _line(evidence, place, windows, seen.ratio[k])
        line = dataclasses.replace(
            line,
            excess={MEAN: 0.0, PLACES: float(excess[place])},
            score={PLACES: float(score[place])},
        )
        candidate, foremost = _candidate(evidence, line, seen.ratio[k])
        if foremost >= _FOREMOST:  # else it is no tone
            found.append((_judged(candidate, foremost, seen, k), foremost))
    tones = [own for own, _ in found if own.verdict == CORRUPTION]
    narrow = [own for own, foremost in found if own in tones and foremost >= _NARROW]
    # Several of them are a texture; tones that many examples have show in the mean, or its quantiles.
    sure = tones if len(tones) == 1 else [own for own in narrow if own.clear and len(narrow) == 1]
    _measure(evidence, batches, windows, [own for own, _ in found])
    return [
        own if own in sure else dataclasses.replace(own, verdict=UNKNOWN, clear=False)
        for own, _ in found
    ]


class _Windows:
    """Windows of half the size along some axes, three along each, tapered along all."""

    def __init__(self, shape: tuple[int, ...], cut: list[bool]):
        self.size = tuple(n // 2 if own else n for n, own in zip(shape, cut, strict=True))
        self.half = half_grid_shape(self.size)
        self.axes = tuple(range(1, len(shape) + 1))
        self._cut = cut
        self._taper: np.ndarray = np.ones(1)
        self._starts = []
        for axis, (n, size) in enumerate(zip(shape, self.size, strict=True)):
            self._starts.append((0,) if size == n else (0, (n - size) // 2, n - size))
            own = np.square(np.sin(np.pi * (np.arange(size) + 0.5) / size))
            own = own / math.sqrt(np.mean(np.square(own)))
            self._taper = self._taper * own.reshape(-1, *[1] * (len(shape) - axis))

    def powers(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """Of each window the power at each frequency, `(examples, *half, channels)`."""
        for corner in itertools.product(*self._starts):
            ends = zip(corner, self.size, strict=True)
            part: Any = x[(slice(None), *[slice(a, a + n) for a, n in ends])]  # type: ignore[arg-type]
            part = (part - part.mean(axis=self.axes, keepdims=True)) * self._taper
            yield np.square(np.abs(np.fft.rfftn(part, axes=self.axes, norm="ortho")))

    def quietest(self, x: np.ndarray) -> np.ndarray:
        """(D2), `(examples, *half)`, of the mean power over the channels."""
        least = np.min([power.mean(axis=-1) for power in self.powers(x)], axis=0)
        return np.maximum(np.log(np.maximum(least, 1e-300)), _LOWEST)

    def peaks(self, score: np.ndarray) -> list[tuple[int, ...]]:
        """Bins with a score that is high enough and the largest nearby; none of the lowest, nor real ones.

        Along an axis that is not cut all bins are near: it is short.
        """
        steps = [np.abs(np.fft.fftfreq(n) * n) for n in self.size[:-1]] + [np.arange(self.half[-1])]
        bins = np.max(np.meshgrid(*steps, indexing="ij"), axis=0)
        usable = (
            unique_bins(self.size) & (degrees_of_freedom(self.size) > 1) & (bins >= _LOWEST_BIN)
        )
        left = np.where(usable, score, 0.0)
        every = np.stack(np.meshgrid(*[np.arange(n) for n in self.half], indexing="ij"), axis=-1)
        places: list[tuple[int, ...]] = []
        while len(places) < _MOST and left.max() > _SCORE:
            places.append(tuple(int(k) for k in np.unravel_index(left.argmax(), left.shape)))
            for sign in (1, -1):
                gap = np.abs(every - sign * np.array(places[-1])) % np.array(self.size)
                gap = np.minimum(gap, np.array(self.size) - gap)[..., self._cut]
                left[gap.max(axis=-1) <= _APART] = 0
        return places

    @property
    def count(self) -> int:
        """Number of windows of an example."""
        return math.prod(len(starts) for starts in self._starts)

    def nearest(self, frequency: tuple[float, ...]) -> tuple[tuple[np.ndarray, ...], float]:
        """(bins of the half grid, the nearest one first, that hold half as much of a tone or more; what they hold)."""
        size = np.array(self.size)
        exact = np.array(frequency) * size
        steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * len(size), indexing="ij"), axis=-1)
        places = np.rint(exact).astype(int) + steps.reshape(-1, len(size))
        held = np.prod(kernel(exact - places, True), axis=1)
        order = [k for k in np.argsort(-held) if held[k] >= held.max() / 2]
        places = places[order] % size
        beyond = places[:, -1] >= self.half[-1]
        places[beyond] = -places[beyond] % size
        return tuple(places.T), float(held[order].sum())

    def at_places(
        self, place: tuple[int, ...], places: tuple[np.ndarray, ...], logs: np.ndarray
    ) -> float:
        """Power at these bins over the geometric mean of those around one of them, whose logarithms are given.

        By a law of the radius.
        """
        radius = radial_frequency(self.size)
        away = np.log(radius[self.around(place)])
        slope = float(np.polyfit(away, logs, 1)[0])
        return float(np.exp(slope * (np.log(radius[places]) - away.mean())).sum())

    def around(self, place: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Bins of the half grid two to four from one of them along some axis, none of them twice."""
        size = np.array(self.size)
        steps = np.stack(np.meshgrid(*[np.arange(-4, 5)] * len(size), indexing="ij"), axis=-1)
        steps = steps.reshape(-1, len(size))
        far = np.abs(steps[:, self._cut]).max(axis=1) > 1
        bins = (place + steps[far]) % size
        beyond = bins[:, -1] >= self.half[-1]
        bins[beyond] = -bins[beyond] % size
        bins = bins[bins.any(axis=1)]  # the mean is taken off
        return tuple(np.unique(bins, axis=0).T)


def _with_variation(evidence: Evidence, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The examples that are not blank, float64."""
    for x, blank in zip(batches, evidence.blank, strict=True):
        if not blank.all():
            yield np.asarray(x, np.float64)[~blank]


@dataclasses.dataclass(frozen=True)
class _Seen:
    """At some bins of windows, of each example, `(examples, places)`: (D2), and that around it; and of whole
    examples that have it the power over what is around, `(places, *half)`."""

    quiet: np.ndarray
    around: np.ndarray
    ratio: np.ndarray


def _seen_at(
    evidence: Evidence,
    batches: Iterable[np.ndarray],
    windows: _Windows,
    places: list[tuple[int, ...]],
) -> _Seen:
    at = (slice(None), *np.array(places).T)
    parts = []
    sums = np.zeros((len(places), *half_grid_shape(evidence.shape)))
    for x in _with_variation(evidence, batches):
        quietest = windows.quietest(x)
        parts.append((quietest[at], around_each(quietest, windows.size)[at]))
        has = parts[-1][0] - parts[-1][1] > _HAS
        chosen = has.any(axis=1)
        if chosen.any():
            whole = np.square(np.abs(evidence.coefficients(x[chosen]))).mean(axis=-1)
            logs = np.log(whole + 1e-300)
            ratio = np.exp(logs - around_each(logs, evidence.shape))
            sums += np.tensordot(has[chosen].T.astype(float), ratio, 1)
    quiet, around = (np.concatenate(part) for part in zip(*parts, strict=True))
    count = np.maximum((quiet - around > _HAS).sum(axis=0), 1)
    return _Seen(quiet, around, sums / count.reshape(-1, *[1] * len(evidence.shape)))


def _line(evidence: Evidence, place: tuple[int, ...], windows: _Windows, ratio: np.ndarray) -> Line:
    """The line on the grid of whole examples, where those that have it show it most."""
    near = np.zeros(ratio.shape, bool)
    for sign in (1, -1):  # at Nyquist's frequency, and at zero, a window's bin is that of both
        own = np.ones(ratio.shape, bool)
        for axis, (k, n, w) in enumerate(zip(place, evidence.shape, windows.size, strict=True)):
            gap = np.abs(np.arange(ratio.shape[axis]) - sign * k * n / w) % n
            gap = np.minimum(gap, n - gap)
            own &= (gap <= n / w).reshape(-1, *[1] * (ratio.ndim - axis - 1))
        near |= own
    shown = np.where(near & unique_bins(evidence.shape), ratio, -1.0)
    best = tuple(int(k) for k in np.unravel_index(shown.argmax(), shown.shape))
    return Line(best, frequency_at(best, evidence.shape), {}, {})


def _judged(candidate: Candidate, foremost: float, seen: _Seen, k: int) -> InQuietPlaces:
    quiet, around = seen.quiet[:, k], seen.around[:, k]
    has = quiet - around > _HAS
    count = int(has.sum())
    follows = varies = math.inf
    if count >= _FEWEST:
        level, beside = quiet[has], around[has]
        follows = float(np.corrcoef(level, beside)[0, 1]) if np.ptp(beside) > 1e-9 else 0.0
        varies = float(np.subtract(*np.quantile(level, (0.75, 0.25)))) / 1.35
    known = has | (around + _HAS < (np.median(quiet[has]) if count else -np.inf))
    share = count / max(int(known.sum()), 1)
    sure = follows <= _FOLLOWS and varies <= _VARIES
    clear = sure and foremost >= _NARROW and follows <= _CLEARLY and varies <= _CLEARLY
    response = Response(
        share=share,
        level=0.0,
        has=np.where(known, has, share),
        slope=math.nan,
        spread=varies**2,
        quiet_score=candidate.score,
    )
    return InQuietPlaces(candidate, response, has, CORRUPTION if sure else UNKNOWN, clear)


def _measure(
    evidence: Evidence,
    batches: Iterable[np.ndarray],
    windows: _Windows,
    found: list[InQuietPlaces],
) -> None:
    """Sets `energies` of the candidates, by the bins of the windows that are nearest to their frequency.

    Of the examples that show it, by the window in which the bins around it are the quietest: what
    they tell of the data there is taken off.
    """
    nearest = [windows.nearest(own.candidate.frequency) for own in found]
    bins = [tuple(int(k[0]) for k in near) for near, _ in nearest]
    part_of_all = math.prod(windows.size) / math.prod(evidence.shape)
    parts: list[list[np.ndarray]] = [[] for _ in found]
    courses = [np.zeros(len(windows.around(place)[0])) for place in bins]
    first = 0
    for x in _with_variation(evidence, batches):
        chosen = [own.shows[first : first + len(x)] for own in found]
        first += len(x)
        if not np.any(chosen):
            continue
        powers = list(windows.powers(x))
        for k, place in enumerate(bins):
            those, around = [p[chosen[k]] for p in powers], windows.around(place)
            logs = np.stack([np.log(p[(slice(None), *around)] + 1e-300) for p in those])
            courses[k] += logs.sum(axis=(0, 1, 3))
            beside = _MEAN_OF_LOGS * np.exp(logs.mean(axis=2))
            power = np.stack([p[(slice(None), *nearest[k][0])].sum(axis=1) for p in those])
            best = beside.mean(axis=-1).argmin(axis=0)[None, :, None]
            both = np.stack([power, beside], axis=-1)
            parts[k].append(np.take_along_axis(both, best[..., None], axis=0)[0])
    for k, (own, part) in enumerate(zip(found, parts, strict=True)):
        if sum(map(len, part)) < _FEWEST:
            continue
        power, beside = np.moveaxis(np.concatenate(part), -1, 0)
        windows_of_all = windows.count * int(own.shows.sum()) * evidence.channels
        near, shown = nearest[k]
        beside = beside * windows.at_places(bins[k], near, courses[k] / windows_of_all)
        shown *= part_of_all
        own.candidate.energies = [
            _mean_and_error((power - beside)[:, c] / shown, beside[:, c] / shown)
            for c in range(evidence.channels)
        ]


def _mean_and_error(added: np.ndarray, beside: np.ndarray) -> tuple[float, float]:
    """N and its standard error of examples weighted by how quiet they are.

    The variance of |a + n|^2 is that of |n|^2 and twice the product of both powers.
    """
    mean, error = float(np.median(added)), 0.0
    for _ in range(_ROUNDS):
        mean = max(mean, 0.0)  # by chance it may be less, a variance not
        variance = beside**2 + 2 * mean * beside + (_ALIKE * mean) ** 2 + 1e-300
        near = added <= mean + _OUTLIER * np.sqrt(variance)
        weight = np.where(near, 1 / variance, 0.0)
        mean = float((weight * added).sum() / weight.sum())
        off = np.square(weight * (added - mean)).sum()
        error = float(np.sqrt(off) / weight.sum())
    return mean, math.hypot(error, 0.03 * mean)


def _candidate(evidence: Evidence, line: Line, ratio: np.ndarray) -> tuple[Candidate, float]:
    """The line to be measured, and its excess over that of the bins beside it."""
    shape = evidence.shape
    log_ratio, _ = local_background(np.log(ratio + 1e-12), shape)
    above = np.maximum(ratio - np.exp(log_ratio), 0.0)
    frequency = refined(line, above, shape, evidence.tapered)
    taken = point(line.place, shape, 2.3)
    beside = point(line.place, shape, 3.6) & ~taken
    power = np.exp(local_background(np.log(evidence.mean("all") + 1e-300), shape)[0])
    candidate = Candidate(
        kinds.LINE,
        "all",
        float(np.log1p(above[line.place])),
        line.score[PLACES],
        PLACES,
        **bins_of_line(evidence, line, frequency, power, taken),
    )
    # Of clips some hundred bins are beside it: one of them is large by chance.
    most = np.quantile(above[beside], 0.9) if len(shape) == 3 else above[beside].max()
    return candidate, float(above[line.place] / max(most, 1e-9))
