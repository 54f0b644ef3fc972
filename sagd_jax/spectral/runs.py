"""Runs of neighbouring sets with more power than those beside them: an edge up, and an edge down.

Along a family of `families.py` the logarithm of the power changes slowly where it is the data's own shape.
An edge is a change over two sets beyond the median change nearby; its score is that over the median size of
such differences. A run begins at an edge up and ends at an edge down: a hump has neither.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sagd_jax.spectral.families import Family

_GAP = 2  # sets over which a change is taken: a taper spreads an edge over two
_SPAN = 4  # changes on either side that are compared with
_GAUSSIAN = 1.4826


@dataclasses.dataclass(frozen=True)
class Run:
    """Sets first to last of a family, both included; the edges in nats with their scores.

    `open_ended`: it reaches the last set, so that there is no edge down.
    """

    first: int
    last: int
    up: float
    down: float
    score_up: float
    score_down: float
    open_ended: bool = False

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
    """Runs whose edges score at least `lowest` on both sides, or that reach the last set.

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
    ups = _peaks(z, lowest, start)
    downs = _peaks(-z, lowest, start)
    found = []
    for up in ups:
        after = [down for down in downs if down > up] or (
            [down + len(change) for down in downs if down < up] if family.circular else []
        )
        between = [other for other in ups if up < other]
        # Steps of one edge, or a run inside a run: the nearest pair is taken.
        if after and not [other for other in between if other < after[0]]:
            down = after[0]
            # Half of a change over two sets lies at its middle set: there the run begins or ends.
            first, last = up + _middle(profile, up), down + _middle(profile, down) - 1
            if last >= first and last - first + 1 <= 0.6 * count:
                own = down % len(change)
                found.append(
                    Run(first, last, float(change[up]), float(-change[own]), z[up], -z[own])
                )
        elif not after and not between and not family.circular:
            first = up + _middle(profile, up)
            if first <= count - 2:
                found.append(Run(first, count - 1, float(change[up]), 0.0, z[up], 0.0, True))
    return found


def _peaks(z: np.ndarray, lowest: float, start: int) -> list[int]:
    return [
        j
        for j in range(start, len(z))
        if z[j] >= lowest and z[j] == z[max(j - _GAP, 0) : j + _GAP + 1].max()
    ]


def _middle(profile: np.ndarray, j: int) -> int:
    """1 where the larger part of the change from j to j + 2 comes at once, else 2."""
    count = len(profile)
    a, b, c = (profile[i % count] for i in (j, j + 1, j + 2))
    # By power, not by its logarithm: a taper puts a little of the band into the set before it.
    high, low = (a, c) if a > c else (c, a)
    half = math.log((math.exp(high - low) + 1) / 2) + low
    return (1 if b > half else 2) if c > a else (2 if b > half else 1)
