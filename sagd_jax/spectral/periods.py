"""Windows that hold whole periods of tones, whose power then lies in one coordinate each.

(P1)  misfit(n) = max_k |f_k n - round(f_k n)|, in steps of 1 / n, for tones of f_k cycles per sample

A tone at a misfit of d has in the coordinate beside its own about (d / (1 - d))^2 times the power there: as much at
d = 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_LEAST, _MOST = 0.75, 1.5  # of the given size
_RATHER_NEAR = 0.1  # of a step: what a size e times as large has to be better by


def misfit(frequencies: Sequence[Sequence[float]], sizes: Sequence[int]) -> float:
    """How far tones are from the frequencies of a window, equation (P1), on the axis where it is most.

    Args:
      frequencies: one number per axis for each tone, in cycles per sample.
      sizes: of the window, per axis.

    >>> misfit([(0.25,), (0.3,)], (20,)), misfit([(0.25,), (0.3,)], (22,))
    (0.0, 0.5)
    """
    steps = np.asarray(frequencies, np.float64) * np.asarray(sizes)
    return float(np.abs(steps - np.rint(steps)).max())


def fitting(frequencies: Sequence[Sequence[float]], sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes of a like window in which tones lie nearest to its frequencies.

    Args:
      frequencies: as for `misfit`.
      sizes: of the window that there is; the others are even, and three quarters to one and a half of it.

    >>> tones = [(0.3734, 0.0), (0.0, 0.2813), (0.2644, 0.1983)]  # of a real picture
    >>> fitting(tones, (32, 32)), round(misfit(tones, (32, 32)), 2), round(misfit(tones, (38, 36)), 2)
    ((38, 36), 0.46, 0.19)
    """
    found = []
    for axis, size in enumerate(sizes):
        own = [(tone[axis],) for tone in frequencies]
        even = range(2 * math.ceil(_LEAST * size / 2), math.floor(_MOST * size) + 1, 2)
        cost = {n: misfit(own, (n,)) + _RATHER_NEAR * abs(math.log(n / size)) for n in even}
        found.append(min([size, *cost], key=lambda n: cost.get(n, misfit(own, (size,)))))
    return tuple(found)
