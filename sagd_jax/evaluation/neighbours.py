"""What nearest neighbours in features say: precision, recall, density, coverage, and memorisation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.evaluation.distances import check_features

_ROWS = 512  # of a matrix of distances at once


@dataclasses.dataclass(frozen=True)
class PrecisionRecall:
    """Shares in [0, 1]: of samples that look like data, and of data that the samples reach."""

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
    """How densely samples lie among the data (1 for the data's own law), and the share reached."""

    density: float
    coverage: float


def precision_recall(
    data: ArrayLike,
    samples: ArrayLike,
    *,
    k: int = 3,
    known: Mapping[int, np.ndarray] | None = None,
) -> PrecisionRecall:
    """Precision and recall by balls to the k-th neighbour (Kynkaanniemi et al. 2019, equations 1, 2).

    A sample counts where it lies in the ball around any example whose radius is the distance to that
    example's k-th nearest other example; recall swaps the two sets.

    Args:
      data: features `(n, D)`, n > k.
      samples: features `(m, D)`, m > k.
      k: neighbours.
      known: `radii` of the data, where they are compared with several sets of samples.

    Raises:
      ValueError: for other shapes, too few, or values that are not finite.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> precision_recall(x, x)
    PrecisionRecall(precision=1.0, recall=1.0)
    """
    x, y = check_features(data, samples, least=k + 1)
    radius_x = (radii(x, [k]) if known is None else known)[k]
    radius_y = radii(y, [k])[k]
    inside_x, inside_y = np.zeros(len(y), bool), np.zeros(len(x), bool)
    for first, distance in _blocks(x, y):
        rows = slice(first, first + len(distance))
        inside_x |= (distance <= radius_x[rows, None]).any(axis=0)
        inside_y[rows] = (distance <= radius_y).any(axis=1)
    return PrecisionRecall(float(inside_x.mean()), float(inside_y.mean()))


def density_coverage(
    data: ArrayLike,
    samples: ArrayLike,
    *,
    k: int = 5,
    known: Mapping[int, np.ndarray] | None = None,
) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, equations 2 and 3); arguments as `precision_recall`.

    >>> x = np.random.default_rng(0).normal(size=(200, 2))
    >>> density_coverage(x, x + 100)
    DensityCoverage(density=0.0, coverage=0.0)
    """
    x, y = check_features(data, samples, least=k + 1)
    radius = (radii(x, [k]) if known is None else known)[k]
    inside, reached = 0, np.zeros(len(x), bool)
    for first, distance in _blocks(x, y):
        rows = slice(first, first + len(distance))
        within = distance < radius[rows, None]
        inside += int(within.sum())
        reached[rows] = within.any(axis=1)
    return DensityCoverage(inside / (k * len(y)), float(reached.mean()))


@dataclasses.dataclass(frozen=True)
class Nearest:
    """How near samples come to training examples, against how near other data do.

    Attributes:
      ratio: median distance to the nearest training example, of samples over that of data which the
        network was not trained on: about 1 for new samples, near 0 for copies.
      copies: share of the samples whose nearest training example is less than a third as far as the
        second nearest (Yoon et al. 2023, section 3).
      copies_of_held_out: the same of the held-out data: what chance gives.
    """

    ratio: float
    copies: float
    copies_of_held_out: float


def nearest(
    train: ArrayLike,
    samples: ArrayLike,
    held_out: ArrayLike,
    *,
    known: np.ndarray | None = None,
) -> Nearest:
    """Memorisation: distances of samples to training examples; each `(n, D)`, at least two.

    Args:
      held_out: data like those of training that the network has not seen.
      known: `two_nearest` of the held-out data, where they stand beside several sets of samples.

    Raises:
      ValueError: unless all have two examples or more of the same D.

    >>> rng = np.random.default_rng(0)
    >>> train, other, test = rng.normal(size=(3, 100, 5))
    >>> nearest(train, train[:50], test).ratio, 0.8 < nearest(train, other, test).ratio < 1.25
    (0.0, True)
    """
    of_samples = two_nearest(train, samples)
    of_held_out = two_nearest(train, held_out) if known is None else known
    typical = float(np.median(of_held_out[:, 0]))
    return Nearest(
        float(np.median(of_samples[:, 0])) / typical if typical else float("nan"),
        *(float(np.mean(d[:, 0] < d[:, 1] / 3)) for d in (of_samples, of_held_out)),
    )


def two_nearest(train: ArrayLike, others: ArrayLike) -> np.ndarray:
    """Distances `(n, 2)` from each of `others` to its two nearest of `train`."""
    x, y = check_features(train, others, least=2)
    result = np.empty((len(y), 2))
    for first, distance in _blocks(y, x):
        result[first : first + len(distance)] = np.sort(np.partition(distance, 1)[:, :2])
    return result


def radii(x: ArrayLike, ks: Sequence[int]) -> dict[int, np.ndarray]:
    """Distances `(n,)` of each of `(n, D)` to its k-th nearest other, by k."""
    x = np.asarray(x, np.float64)
    places = [k - 1 for k in ks]
    found = np.empty((len(ks), len(x)))
    for first, distance in _blocks(x, x):
        distance[np.arange(len(distance)), np.arange(first, first + len(distance))] = np.inf
        rows = slice(first, first + len(distance))
        found[:, rows] = np.partition(distance, places)[:, places].T
    return dict(zip(ks, found, strict=True))


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Rows of the distances between x and y: index of the first, and `(rows, len(y))`."""
    centre = x.mean(axis=0)
    x, y = x - centre, y - centre
    of_x, of_y = (np.square(z).sum(axis=1) for z in (x, y))
    for first in range(0, len(x), _ROWS):
        rows = slice(first, first + _ROWS)
        scale = of_x[rows, None] + of_y
        square = scale - 2 * (x[rows] @ y.T)
        # Of two that are the same, what is left is rounding.
        yield first, np.sqrt(np.where(square < 1e-13 * scale, 0, square))
