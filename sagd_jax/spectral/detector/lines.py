"""Lines: single frequencies that stand out of the bins around them, in the mean or where the data are quiet.

Three series over the examples are compared with their local background (`background.py`): the mean of the
power, its 10 % quantile, and the shares of examples in which a bin stands out of its own neighbours, or how
much likelier two kinds of examples are than one (`mixtures.py`). The
thresholds allow for the number of bins of a grid (the largest of 1e5 Gaussian scores is 4.4) and for spectra
whose scatter is not Gaussian.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.half_grid import (
    degrees_of_freedom,
    opposite,
    to_full_grid,
    to_half_grid,
    unique_bins,
)

MEAN, QUIET, SOME = "mean", "quiet examples", "some examples"
QUANTILE = 0.1
_SCORE = 7.0
_LARGE, _SCORE_OF_LARGE = (
    1.2,
    4.7,
)  # nats: so far above its neighbours' mean a bin needs a smaller score
_BY_CHANCE, _SCORE_OF_CHANCE = 1.5, 4.7
_SCORE_OF_BOTH = 5.5
_SCORE_OF_MIXED = 6.0  # on an even background, of which chance is known
_LEAST = {MEAN: 0.3, QUIET: 0.7, SOME: 0.04}  # of each series: nats, nats, shares
_APART = 3  # bins: what lies nearer to a line than this is a part of it
_SKIRT, _SKIRT_UNDER = (
    8,
    10.0,
)  # bins beside a line that is so many times as strong: they are its own
_MOST, _MOST_OF_A_CHANNEL = {1: 48, 2: 16, 3: 16}, 6
_REACH = 4  # bins over which a tone is spread
_TINY = 1e-13


@dataclasses.dataclass(frozen=True)
class Line:
    """A bin of the half grid that stands out; excess (of its series) and score by the series' name.

    likely: score of two kinds of examples (`mixtures.py`); only_likely: whether it shows by nothing else.
    """

    place: tuple[int, ...]
    frequency: tuple[float, ...]
    excess: dict[str, float]
    score: dict[str, float]
    likely: float = 0.0
    only_likely: bool = False


def series(evidence: Evidence, view: str) -> dict[str, tuple[np.ndarray, float]]:
    """(values on the half grid, their standard error) of two of the three series; see the module."""
    n = max(evidence.count, 1)
    return {
        MEAN: (np.log(evidence.mean(view) + _TINY), 1 / math.sqrt(n)),
        QUIET: (evidence.quantile(view, QUANTILE), 2 / math.sqrt(n)),
    }


def in_some(evidence: Evidence, view: str) -> tuple[np.ndarray, np.ndarray]:
    """(share of examples beyond what is usual around, its score), of the height with the largest score.

    n examples of which s stand out, where a share r does around the bin, are as likely as exp(-n D(s | r)),
    D = s log(s/r) + (1-s) log((1-s)/(1-r)), the divergence of two coins: the score is sqrt(2 n D) (Wilks 1938),
    over the scatter of such scores around it where that is larger.
    """
    return standing_out(evidence.share_out(view), max(evidence.count, 1), evidence.shape)


def standing_out(
    shares: np.ndarray, n: int, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """`in_some`, of shares `(heights, *half)` of n examples."""
    best = np.zeros(shares.shape[1:]), np.full(shares.shape[1:], -np.inf)
    for share in shares:
        # The root makes the variance of a share the same for all shares.
        usual, _ = local_background(np.sqrt(share + 0.5 / n), shape)
        usual = np.clip(np.square(usual), 0.5 / n, 1 - 0.5 / n)
        own = np.clip(share, 0.5 / n, 1 - 0.5 / n)
        divergence = own * np.log(own / usual) + (1 - own) * np.log((1 - own) / (1 - usual))
        score = np.sign(own - usual) * np.sqrt(2 * n * np.maximum(divergence, 0))
        _, scale = local_background(score, shape, 1.0)
        better = score / scale > best[1]
        best = np.where(better, own - usual, best[0]), np.where(better, score / scale, best[1])
    return best


def find_lines(
    evidence: Evidence, view: str, mixed: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[list[Line], np.ndarray]:
    """(lines, the ones with the largest scores first; log of the mean power's background).

    `mixed`: of `mixtures.two_kinds`, of this view.
    """
    shape = evidence.shape
    once = unique_bins(shape)
    excess, score = {}, {}
    passes = np.zeros(once.shape, bool)
    background = np.zeros(once.shape)
    values = series(evidence, view)
    for name, (own, error) in values.items():
        below, scale = local_background(own, shape, error)
        excess[name] = own - below
        score[name] = np.where(once, excess[name] / scale, 0.0)
        if name == MEAN:
            background = below
            # Neighbours that differ by chance alone differ as Gaussian numbers do: less is enough.
            usual = (scale < _BY_CHANCE * error) & (excess[name] > _LEAST[name])
            passes |= usual & (score[name] > _SCORE_OF_CHANCE)
            passes |= (excess[name] > _LARGE) & (score[name] > _SCORE_OF_LARGE)
        passes |= (score[name] > _SCORE) & (excess[name] > _LEAST[name])
    excess[SOME], score[SOME] = in_some(evidence, view)
    # A coefficient that is real is more often far from its mean than complex ones are.
    score[SOME] = np.where(once & (degrees_of_freedom(shape) > 1), score[SOME], 0.0)
    passes |= (score[SOME] > _SCORE) & (excess[SOME] > _LEAST[SOME])
    # Two that agree need less each.
    both = np.minimum(score[SOME], score[QUIET]) > _SCORE_OF_BOTH
    passes |= both & (excess[SOME] > _LEAST[SOME]) & (excess[QUIET] > _LARGE)
    likely = np.zeros(once.shape, bool)
    if mixed is not None:
        own, error = values[MEAN]
        usual = local_background(own, shape, error)[1] < _BY_CHANCE * error
        likely = mixed[1] > np.where(usual, _SCORE_OF_MIXED, _SCORE)
        likely &= (mixed[0] > _LEAST[SOME]) & ~passes
    best = np.max(list(score.values()), axis=0)
    added = {name: _power(own, excess[name]) for name, (own, _) in values.items()}
    places = [tuple(int(k) for k in p) for p in np.argwhere(passes)]
    places.sort(key=lambda p: -best[p])
    if mixed is not None:
        more = [tuple(int(k) for k in p) for p in np.argwhere(likely)]
        places += sorted(more, key=lambda p: -mixed[1][p])
    chosen: list[tuple[int, ...]] = []
    peaks: list[tuple[int, ...]] = []
    most = _MOST[len(shape)] if view == "all" else _MOST_OF_A_CHANNEL
    for place in places:
        peak = place
        place = _centre(place, added[QUIET if score[QUIET][place] > _SCORE / 2 else MEAN], once)
        if len(chosen) < most and not any(
            _distance(place, other, shape) <= _reach(added[MEAN], place, other) for other in chosen
        ):
            chosen.append(place)
            peaks.append(peak)
    lines = [
        Line(
            place,
            frequency_at(place, shape),
            {name: float(max(values[place], values[peak])) for name, values in excess.items()},
            {name: float(max(values[place], values[peak])) for name, values in score.items()},
            0.0 if mixed is None else float(max(mixed[1][place], mixed[1][peak])),
            bool(likely[peak]),
        )
        for place, peak in zip(chosen, peaks, strict=True)
    ]
    return lines, background


def _reach(added: np.ndarray, place: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many bins a line `other` takes for its own, where another stands at `place`."""
    return _SKIRT if added[other] > _SKIRT_UNDER * added[place] else _APART


def _power(values: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """What is above the background, as power."""
    return np.exp(values) - np.exp(values - excess)


def _centre(place: tuple[int, ...], added: np.ndarray, once: np.ndarray) -> tuple[int, ...]:
    """Of a bin and those next to it the one to which most was added."""
    near = [np.array(place) + np.array(step) - 1 for step in np.ndindex(*[3] * len(place))]
    inside = [
        tuple(int(k) for k in p % np.array(added.shape))
        for p in near
        if p[-1] < added.shape[-1] and p[-1] >= 0
    ]
    return max((p for p in inside if once[p]), key=lambda p: added[p], default=place)


def refined(
    line: Line, excess: np.ndarray, shape: tuple[int, ...], tapered: bool
) -> tuple[float, ...]:
    """The frequency between the bins: the mean over the bins next to it, weighted by their excess power."""
    steps, weights = [], []
    for step in np.ndindex(*[3] * len(shape)):
        offset = np.array(step) - 1
        place = (np.array(line.place) + offset) % np.array(shape)
        if place[-1] >= excess.shape[-1]:  # beyond the half grid: at its opposite
            place = -place % np.array(shape)
        steps.append(offset)
        weights.append(max(float(excess[tuple(place)]), 0.0))
    total = sum(weights)
    moved = np.zeros(len(shape))
    if total > 0:
        centre = np.asarray(weights) @ np.array(steps) / total
        # Where the mean over three bins lies for each place of a tone between them.
        gap = np.linspace(-0.6, 0.6, 121)
        power = np.stack([kernel(gap - step, tapered) for step in (-1, 0, 1)])
        moved = np.interp(centre, (power[2] - power[0]) / power.sum(axis=0), gap)
    pairs = zip(line.frequency, moved, shape, strict=True)
    return tuple(float(f + m / n) for f, m, n in pairs)


def kernel(gap: np.ndarray, tapered: bool) -> np.ndarray:
    """Power of a tone at a distance in bins: of a whole number of bins, all of it lies at zero."""
    power = np.square(np.sinc(gap))
    if not tapered:
        return power
    close = np.abs(np.abs(gap) - 1) < 1e-6
    ratio = 1 / np.where(close, 1.0, 1 - gap**2)
    return 2 / 3 * np.where(close, 0.25, power * ratio**2)


def spread_of_tone(
    frequency: tuple[float, ...], shape: tuple[int, ...], tapered: bool
) -> np.ndarray:
    """Share of the energy of a tone of unit power that lies in each bin, of the tone and its conjugate."""
    total = np.zeros(shape)
    for sign in (1, -1):
        product = np.ones(shape)
        for axis, (f, n) in enumerate(zip(frequency, shape, strict=True)):
            gap = np.arange(n) - sign * f * n
            gap = (gap + n / 2) % n - n / 2
            near = np.where(np.abs(gap) <= _REACH + 1, kernel(gap, tapered and n > 2), 0.0)
            product = product * near.reshape(-1, *[1] * (len(shape) - axis - 1))
        total += product
    return to_half_grid(np.maximum(total, opposite(total)))


def breadth_of(
    place: tuple[int, ...], mean: np.ndarray, shape: tuple[int, ...], error: float
) -> float:
    """Power above the wider surroundings three bins from a line, over the line's; a tone has almost none.

    Two standard deviations are granted; `error` is the relative one of each bin.
    """
    full = to_full_grid(mean, shape)
    around, beside = [], []
    for axis in range(len(shape)):
        # Of both sides the lower one: on the other the data may be stronger.
        beside.append(min(_shifted(full, place, axis, step) for step in (-3, 3)))
        around += [_shifted(full, place, axis, step) for step in (-9, -8, -7, 7, 8, 9)]
    base = float(np.median(around))
    granted = 2 * error * base / math.sqrt(len(beside))
    return max(float(np.mean(beside)) - base - granted, 0.0) / max(
        float(full[place]) - base, 1e-300
    )


def foremost(
    place: tuple[int, ...], others: list[tuple[int, ...]], excesses: list[np.ndarray]
) -> float:
    """Power above the background of a line, over the largest of the bins two and three from it.

    Of a tone these hold next to nothing; a corner or an edge of what is wide goes on into some of them. Bins
    next to other lines do not count. The largest over `excesses`, nats on the whole grid, one for each series.
    """
    shape = np.array(excesses[0].shape)
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * len(place), indexing="ij"), -1)
    steps = steps.reshape(-1, len(place))
    far = np.abs(steps).max(axis=1) > 1
    around = (np.array(place) + steps) % shape
    near, beside = around[~far], around[far]
    for other in others:
        for centre in (np.array(other), -np.array(other) % shape):
            gap = np.abs(beside - centre)
            beside = beside[np.minimum(gap, shape - gap).max(axis=1) > 1]
    if not len(beside):
        return math.inf
    powers = [np.expm1(own) for own in excesses]
    return max(
        float(own[tuple(near.T)].max() / max(own[tuple(beside.T)].max(), 1e-9)) for own in powers
    )


def _shifted(full: np.ndarray, place: tuple[int, ...], axis: int, step: int) -> float:
    where = list(place)
    where[axis] = (where[axis] + step) % full.shape[axis]
    return float(full[tuple(where)])


def harmonics(
    frequencies: list[tuple[float, ...]], shape: tuple[int, ...], most: int = 12
) -> list[tuple[int, list[int]]]:
    """Lines that are multiples of one of them, aliased ones too: (index of the first, indices of all).

    Each line is in one group; those alone are groups of one. Half a bin of uncertainty of the first grows
    with the multiple, so that no more than a few are believed of a short signal.

    >>> harmonics([(0.1,), (0.2,), (0.313,)], (512,))
    [(0, [0, 1]), (2, [2])]
    """
    size = np.array(shape)
    left, groups = list(range(len(frequencies))), []
    while left:
        best: list[int] = [left[0]]
        for first in left if len(shape) == 1 else left[:1]:
            own = [first]
            for other in left:
                if other == first:
                    continue
                for k in range(2, most + 1):
                    gap = k * np.array(frequencies[first]) - np.array(frequencies[other])
                    if len(shape) == 1:  # no aliases: a multiple beyond the end is none
                        near = float(np.abs(gap * size).max()) <= 0.6 + 0.06 * k
                    else:
                        both = [
                            gap,
                            k * np.array(frequencies[first]) + np.array(frequencies[other]),
                        ]
                        near = k <= 7 and any(
                            np.abs((g - np.rint(g)) * size).max() <= 0.6 + 0.12 * k for g in both
                        )
                    if near:
                        own.append(other)
                        break
            if len(own) > len(best):
                best = own
        groups.append((best[0], best))
        left = [k for k in left if k not in best]
    return groups


def frequency_at(place: tuple[int, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Of a bin of the half grid, in cycles per sample."""
    *leading, last = zip(place, shape, strict=True)
    return (*(float(np.fft.fftfreq(n)[k]) for k, n in leading), last[0] / last[1])


def _distance(a: tuple[int, ...], b: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Largest number of bins between them along an axis, or between one and the other's opposite."""
    size = np.array(shape)
    gaps = []
    for sign in (1, -1):
        gap = np.abs(np.array(a) - sign * np.array(b)) % size
        gaps.append(int(np.minimum(gap, size - gap).max()))
    return min(gaps)
