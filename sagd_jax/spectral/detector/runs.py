"""Runs of neighbouring sets with more power than those beside them: an edge up, and an edge down.

Along a family of `families.py` the logarithm of the power changes slowly where it is the data's own shape.
An edge is a change over two sets beyond the median change nearby; its score is that over the median size of
such differences. A run begins at an edge up and ends at an edge down: a hump has neither.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral.detector.families import Family

_GAP = 2  # sets over which a change is taken: a taper spreads an edge over two
_SPAN = 4  # changes on either side that are compared with
_NARROW = (2, 3, 4, 5)  # sets
_RISES = 0.25  # of what an edge is beyond the change nearby
_GAUSSIAN = 1.4826


@dataclasses.dataclass(frozen=True)
class Run:
    """Sets first to last of a family, both included; the edges in nats with their scores.

    `open_ended`: it reaches the last set, so that there is no edge down; `narrow`: told by its height alone.
    """

    first: int
    last: int
    up: float
    down: float
    score_up: float
    score_down: float
    open_ended: bool = False
    narrow: bool = False

    @property
    def score(self) -> float:
        return self.score_up if self.open_ended else min(self.score_up, self.score_down)


def edges(profile: np.ndarray, least: float, circular: bool = False) -> tuple[np.ndarray, float]:
    """(change beyond that nearby, its scale), entry j of sets j to j + 2.

    >>> step = np.where(np.arange(30) < 14, 0.0, 2.0)
    >>> change, scale = edges(step, least=0.1)
    >>> int(np.argmax(change)), float(change.max()), scale
    (12, 2.0, 0.1)
    """
    values = np.concatenate([profile, profile[: _GAP + 1]]) if circular else profile
    change = values[_GAP:] - values[:-_GAP]
    count = len(change)
    nearby = np.zeros(count)
    for j in range(count):
        beside = [i for i in range(j - _GAP - _SPAN, j + _GAP + _SPAN + 1) if abs(i - j) >= _GAP]
        beside = [i % count if circular else i for i in beside]
        beside = [i for i in beside if 0 <= i < count]
        nearby[j] = np.median(change[beside]) if beside else change[j]
    result = change - nearby
    start = 0 if circular else min(3, count // 4)
    scale = _GAUSSIAN * float(np.median(np.abs(result[start:]))) if count else math.inf
    return result, max(scale, least)


def runs(family: Family, profile: np.ndarray, least: float, lowest: float) -> list[Run]:
    """Runs whose edges score at least `lowest` on both sides, or that reach the last set; and narrow ones.

    Edges of runs of a few sets lie too close to be told from the slopes nearby: such runs are rated by their
    height over a parabola through the sets beside them, against the scatter of these.

    Args:
      profile: log power of each set.
      least: the scale of a change is at least this.
    """
    count = len(profile)
    if count < 8:
        return []
    change, scale = edges(profile, least, family.circular)
    z = change / scale
    start = 0 if family.circular else min(3, count // 4)
    # Edges of a run count in the scale of all changes: they are rated once more without them.
    ups = _peaks(z, 0.4 * lowest, start)
    downs = [j for j in _peaks(-z, 0.4 * lowest, start) if _falls(profile, j, float(change[j]))]
    found = []
    for up in ups:
        after = [down for down in downs if down > up] or (
            [down + len(change) for down in downs if down < up] if family.circular else []
        )
        between = [other for other in ups if up < other]
        # Steps of one edge, or a run inside a run: the largest edge up before the next one down is taken.
        rivals = [other for other in between if after and other < after[0]]
        if after and all(change[other] < change[up] for other in rivals):
            down = after[0]
            # Half of a change over two sets lies at its middle set: there the run begins or ends.
            first, last = up + _middle(profile, up), down + _middle(profile, down) - 1
            if last >= first and last - first + 1 <= 0.6 * count:
                own = down % len(change)
                size = _scale_without(change, (up, own), start, least)
                up_score, down_score = change[up] / size, -change[own] / size
                if min(up_score, down_score) >= lowest:
                    edges_ = float(change[up]), float(-change[own])
                    found.append(Run(first, last, *edges_, float(up_score), float(down_score)))
        elif not after and not between and not family.circular:
            first = up + _middle(profile, up)
            size = _scale_without(change, (up,), start, least)
            # Where a filter ends, a falling spectrum levels out into a floor: that is no edge up.
            rises = profile[up + _GAP] - profile[up] > _RISES * change[up]
            if rises and first <= count - 2 and change[up] / size >= lowest:
                score = float(change[up] / size)
                found.append(Run(first, count - 1, float(change[up]), 0.0, score, 0.0, True))
    found += [
        run
        for run in _narrow(profile, least, lowest)
        if not family.circular
        if not any(run.first <= other.last + 1 and other.first <= run.last + 1 for other in found)
    ]
    return found


def is_part(family: Family, run: Run, others: Sequence[tuple[Family, Run]]) -> bool:
    """Whether it lies within one of the others that is three times as wide, and scores three times as much."""
    if family.circular:
        return False
    low, high = family.low[run.first], family.high[run.last]
    for other, whole in others:
        if other.circular or other.axes != family.axes:
            continue
        below, above = other.low[whole.first], other.high[whole.last]
        step = float(other.high[0] - other.low[0])
        inside = below - step <= low and high <= above + step
        if inside and above - below > 3 * (high - low) and whole.score > 3 * run.score:
            return True
    return False


def beside(family: Family, run: Run, reach: int = 4) -> tuple[list[int], list[int]]:
    """Numbers of the sets below and above a run, but for those next to it, which a taper fills."""
    count = len(family.low)
    if family.circular:
        reach = 3
        below = [(run.first - k) % count for k in range(2, 2 + reach)]
        return below, [(run.last + k) % count for k in range(2, 2 + reach)]
    below = [run.first - k for k in range(2, 2 + reach) if run.first - k >= 0]
    return below, [run.last + k for k in range(2, 2 + reach) if run.last + k < count]


def background_of_run(profile: np.ndarray, family: Family, run: Run, margin: int = 0) -> np.ndarray:
    """Log power of the run's sets, had it the course of the sets beside it: a parabola through these.

    `profile`: `(..., sets)`; the result is `(..., sets of the run)`, and `margin` more on either side.
    """
    numbers, tells = _course(family, run, margin)
    return profile[..., numbers] @ tells.T


def error_of_background(profile: np.ndarray, family: Family, run: Run) -> float:
    """Standard error of the mean of `background_of_run`, nats, by how far the sets beside it lie off the parabola."""
    numbers, tells = _course(family, run, 0)
    _, at_own = _course(family, run, 0, at_own=True)
    values = profile[numbers]
    freedom = len(numbers) - round(float(np.trace(at_own)))
    off = float(np.square(values - at_own @ values).sum()) / max(freedom, 1)
    return math.sqrt(off) * float(np.linalg.norm(tells.mean(axis=0)))


def _course(
    family: Family, run: Run, margin: int, at_own: bool = False
) -> tuple[list[int], np.ndarray]:
    """(sets beside a run, what each of them says of those in it): linear, by least squares.

    With `at_own`, of those beside it.
    """
    below, above = beside(family, run)
    width = run.last - run.first
    places = np.array(
        [-k for k in range(2, 2 + len(below))] + [width + k for k in range(2, 2 + len(above))]
    )
    at = np.arange(-margin, width + 1 + margin)
    degree = min(2 if below and above and not family.circular else 1, len(places) - 1)
    if not family.circular:
        # The data's own course is smooth in the logarithm of the frequency.
        places = np.log(np.maximum(places + run.first + 1, 1.0))
        at = np.log(np.maximum(at + run.first + 1.0, 1.0))
    if at_own:
        at = places
    centre = places.mean()
    powers = np.arange(max(degree, 0) + 1)
    fitted = np.linalg.pinv((places - centre)[:, None] ** powers)
    return below + above, (at - centre)[:, None] ** powers @ fitted


def _narrow(profile: np.ndarray, least: float, lowest: float) -> list[Run]:
    """The highest run of 2 to 5 sets, if it scores enough."""
    count, best = len(profile), None
    log_place = np.log(np.arange(1, count + 1))
    for width in _NARROW:
        for first in range(4, count - width - 3):
            beside = [first - 2 - k for k in range(4) if first - 2 - k >= 1]
            beside += [first + width + 1 + k for k in range(4) if first + width + 1 + k < count]
            degree = 2 if len(beside) > 5 else 1
            course = np.polyfit(log_place[beside], profile[beside], degree)
            above = profile - np.polyval(course, log_place)
            height = float(above[first : first + width].mean())
            # A hump is low at its ends, a band is not.
            ends = min(above[first], above[first + width - 1])
            freedom = len(beside) - degree - 1
            scale = max(1.2 * math.sqrt(float(np.square(above[beside]).sum()) / freedom), least)
            score = height / scale
            if ends < 0.6 * height or score < 2 * lowest:
                continue
            if best is None or score * width**0.5 > best[0]:
                run = Run(first, first + width - 1, height, height, score, score, narrow=True)
                best = (score * width**0.5, run)
    return [best[1]] if best else []


def _scale_without(change: np.ndarray, places: tuple[int, ...], start: int, least: float) -> float:
    """The scale of the changes that are none of these edges, or next to them."""
    others = np.ones(len(change), bool)
    others[:start] = False
    for place in places:
        others[max(place - _GAP, 0) : place + _GAP + 1] = False
    if others.sum() < 6:
        return math.inf
    return max(_GAUSSIAN * float(np.median(np.abs(change[others]))), least)


def _peaks(z: np.ndarray, lowest: float, start: int) -> list[int]:
    return [
        j
        for j in range(start, len(z))
        if z[j] >= lowest and z[j] == z[max(j - _GAP, 0) : j + _GAP + 1].max()
    ]


def _falls(profile: np.ndarray, j: int, change: float) -> bool:
    """Whether it is lower after an edge down: beside an edge up what is flat is less than the change nearby."""
    fall = profile[j % len(profile)] - profile[(j + _GAP) % len(profile)]
    return bool(fall > _RISES * -change)


def _middle(profile: np.ndarray, j: int) -> int:
    """1 where the larger part of the change from j to j + 2 comes at once, else 2."""
    count = len(profile)
    a, b, c = (profile[i % count] for i in (j, j + 1, j + 2))
    # By power, not by its logarithm: a taper puts a little of the band into the set before it.
    high, low = (a, c) if a > c else (c, a)
    half = math.log((math.exp(high - low) + 1) / 2) + low
    return (1 if b > half else 2) if c > a else (2 if b > half else 1)
