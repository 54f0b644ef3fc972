"""Whether samples can be told from data by their highest frequencies alone.

A logistic regression on the logarithms of single frequencies' energies, trained on one half and tried on
the other: diffusion with white noise draws the highest frequencies worst (Falck et al. 2025, section 5).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.evaluation.spectra_of_samples import channel_mean, check_signals, powers
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import unique_bins

_MOST = 5000  # of each set
_MOST_BINS = 256
_RIDGE = 1e-2
_ROUNDS = 30


@dataclasses.dataclass(frozen=True)
class ToldApart:
    """The area under the curve of hits against false alarms: 0.5 is chance, 1 always right.

    Attributes:
      value: the area, on examples that were not trained on.
      standard_error: of it (Hanley and McNeil 1982).
    """

    value: float
    standard_error: float


def told_apart(samples: ArrayLike, data: ArrayLike, *, lowest: float = 0.75) -> ToldApart:
    """How well a linear classifier tells samples from data by their frequencies from `lowest` on.

    Args:
      samples, data: `(n, *spatial, channels)`, 16 examples at least; as many of each are used.
      lowest: in the unit `max`; of at most 256 frequencies, the highest.

    Raises:
      ValueError: for other shapes, too few, or no frequency from there on.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 400, 8, 8, 1))
    >>> same, louder = told_apart(a, b), told_apart(1.6 * a, b)
    >>> bool(abs(same.value - 0.5) < 4 * same.standard_error), louder.value > 0.8
    (True, True)
    """
    x, y = check_signals(samples, data)
    count = min(len(x), len(y), _MOST) // 2 * 2
    if count < 16:
        raise ValueError(f"samples, data: {len(x)} and {len(y)}; expected 16 or more of each")
    centre, bins = channel_mean(y), _bins(x.shape[1:-1], lowest)
    sets = []
    for signals in (x[:count], y[:count]):
        energies = [e.reshape(len(e), -1)[:, bins] for e in powers(signals - centre)]
        sets.append(np.concatenate(energies))
    floor = 1e-6 * sets[1].mean() + np.finfo(np.float64).tiny
    first, second = (np.log(s + floor) for s in sets)
    half = count // 2
    train = np.concatenate([first[:half], second[:half]])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    scale = np.where(scale > 0, scale, 1)
    labels = np.repeat([1.0, 0.0], half)
    weights = _logistic((train - mean) / scale, labels)
    scores = [((s[half:] - mean) / scale) @ weights for s in (first, second)]
    return _area(*scores)


def _bins(spatial_shape: tuple[int, ...], lowest: float) -> np.ndarray:
    """The highest frequencies, as indices of the flat half grid."""
    radius = np.where(
        unique_bins(spatial_shape), radial_frequency(spatial_shape, unit="max"), -1
    ).reshape(-1)
    order = np.argsort(-radius, kind="stable")
    chosen = order[radius[order] >= lowest][:_MOST_BINS]
    if not len(chosen):
        raise ValueError(f"lowest={lowest}: no frequency of the grid {spatial_shape} is so high")
    return chosen


def _logistic(x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a ridge-penalised logistic regression without an offset, by Newton's method."""
    weights = np.zeros(x.shape[1])
    penalty = _RIDGE * len(x)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        gradient = x.T @ (p - labels) + penalty * weights
        curvature = (x * (p * (1 - p))[:, None]).T @ x + penalty * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _area(positive: np.ndarray, negative: np.ndarray) -> ToldApart:
    n, m = len(positive), len(negative)
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    area = float(below.sum() / (2 * n * m))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (q1 - area**2) + (m - 1) * (q2 - area**2)
    return ToldApart(area, float(np.sqrt(max(variance, 0) / (n * m))))
