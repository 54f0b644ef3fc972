"""Distances between two sets of features: Frechet's, of Gaussians, and that of a kernel, unbiased.

For features of any kind; with those of an Inception network, as the literature has them, these are FID
and KID, and by no other name here.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

_ROWS = 1024  # of a kernel matrix at once


def frechet_distance(mean1: ArrayLike, cov1: ArrayLike, mean2: ArrayLike, cov2: ArrayLike) -> float:
    """The squared 2-Wasserstein distance of two Gaussians.

        |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)       Dowson and Landau 1982, equation 16

    The last trace is the sum of the singular values of R1^T R2 with C = R R^T: of matrices that are
    nearly alike no digits are lost, and singular ones need no special care.

    Args:
      mean1, mean2: `(D,)`.
      cov1, cov2: `(D, D)`, symmetric and positive semi-definite.

    Raises:
      ValueError: for shapes that do not fit, values that are not finite, or a covariance with a
        negative eigenvalue beyond rounding.

    >>> round(frechet_distance([0.0, 0.0], np.eye(2), [3.0, 0.0], 4 * np.eye(2)), 12)  # 9 + 2
    11.0
    """
    means = [np.asarray(mean, np.float64) for mean in (mean1, mean2)]
    covariances = [np.asarray(covariance, np.float64) for covariance in (cov1, cov2)]
    size = means[0].shape
    for name, mean, covariance in zip("12", means, covariances, strict=True):
        if mean.ndim != 1 or mean.shape != size or covariance.shape != (*size, *size):
            raise ValueError(
                f"mean{name}, cov{name}: shapes {mean.shape}, {covariance.shape}; expected (D,) and "
                f"(D, D), D={size[0] if size else 1} as of mean1"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError(f"mean{name}, cov{name}: some values are not finite")
    roots = [_root(c, f"cov{name}") for name, c in zip("12", covariances, strict=True)]
    common = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    traces = sum(float(np.trace(c)) for c in covariances)
    return float(np.square(means[0] - means[1]).sum() + traces - 2 * common)


def _root(covariance: np.ndarray, name: str) -> np.ndarray:
    """R with R R^T = C."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    if values.size and values[0] < -1e-8 * max(values[-1], 0):
        raise ValueError(f"{name}: has the eigenvalue {values[0]:.3g}; expected none below 0")
    return vectors * np.sqrt(np.maximum(values, 0))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """What all pairs of two sets have under a kernel, a set's own without those of one with itself.

    Attributes:
      rows, columns: means of the kernel matrix, `(n,)` and `(m,)`.
      spread: of its values that rows and columns do not explain.
    """

    rows: np.ndarray
    columns: np.ndarray
    spread: float


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """An unbiased estimate of a squared maximum mean discrepancy; it can be negative.

    Attributes:
      value: the estimate.
      standard_error: of it, both sets counting as samples.
    """

    value: float
    standard_error: float


def kernel_distance(
    features1: ArrayLike,
    features2: ArrayLike,
    *,
    degree: int = 3,
    scale: float | None = None,
    offset: float = 1.0,
    known: Pairs | None = None,
) -> KernelDistance:
    """The squared maximum mean discrepancy with the kernel k(x, y) = (scale x.y + offset)^degree.

    The unbiased U-statistic over all pairs (Gretton et al. 2012, equation 3; the kernel of Binkowski
    et al. 2018): the mean of the literature's random subsets, without their noise. Its standard error
    is that of Hoeffding's decomposition, first and second order, so that it also holds where both
    sets are of one distribution.

    Args:
      features1: `(n, D)`, n >= 2.
      features2: `(m, D)`, m >= 2.
      degree: of the polynomial.
      scale: 1 / D by default.
      offset: of the polynomial.
      known: `own_pairs` of the second set by this kernel, where several are compared with it.

    Raises:
      ValueError: for other shapes, or values that are not finite.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 300, 4))
    >>> same, moved = kernel_distance(a, b), kernel_distance(a, b + 1)
    >>> bool(abs(same.value) < 3 * same.standard_error), bool(moved.value > 5 * moved.standard_error)
    (True, True)
    """
    x, y = check_features(features1, features2, least=2)
    scale = 1 / x.shape[1] if scale is None else scale
    kernel = (degree, scale, offset)
    n, m = len(x), len(y)
    of_x, of_y = _pairs(x, None, kernel), known or _pairs(y, None, kernel)
    both = _pairs(x, y, kernel)
    value = of_x.rows.mean() + of_y.rows.mean() - 2 * both.rows.mean()
    # What one example contributes, less what of its spread comes from the finite number of others.
    own_x = np.var(of_x.rows - both.rows, ddof=1) - of_x.spread / (n - 1) - both.spread / m
    own_y = np.var(of_y.rows - both.columns, ddof=1) - of_y.spread / (m - 1) - both.spread / n
    variance = 4 * max(own_x, 0) / n + 4 * max(own_y, 0) / m
    variance += (
        2 * of_x.spread / (n * (n - 1))
        + 2 * of_y.spread / (m * (m - 1))
        + 4 * both.spread / (n * m)
    )
    return KernelDistance(float(value), float(np.sqrt(variance)))


def own_pairs(
    features: ArrayLike, *, degree: int = 3, scale: float | None = None, offset: float = 1.0
) -> Pairs:
    """The pairs of one set `(n, D)`; arguments as `kernel_distance`."""
    x = check_features(features, features, least=2)[0]
    return _pairs(x, None, (degree, 1 / x.shape[1] if scale is None else scale, offset))


def _pairs(a: np.ndarray, other: np.ndarray | None, kernel: tuple[int, float, float]) -> Pairs:
    """With another set, or of one set alone."""
    degree, scale, offset = kernel
    same = other is None
    b = a if other is None else other
    rows, columns, squares = np.zeros(len(a)), np.zeros(len(b)), 0.0
    for first in range(0, len(a), _ROWS):
        k = (scale * (a[first : first + _ROWS] @ b.T) + offset) ** degree
        if same:
            k[np.arange(len(k)), np.arange(first, first + len(k))] = 0
        rows[first : first + _ROWS] = k.sum(axis=1)
        columns += k.sum(axis=0)
        squares += float(np.square(k).sum())
    n, m = len(a), len(b)
    rows, columns = rows / (m - same), columns / (n - same)
    pairs = n * m - n * same
    centred = squares / pairs - np.square(rows).mean() - np.square(columns).mean()
    return Pairs(rows, columns, max(centred + rows.mean() ** 2, 0.0))


def check_features(
    features1: ArrayLike, features2: ArrayLike, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets `(n, D)` and `(m, D)` of finite numbers as float64, of at least so many each."""
    sets = [np.asarray(x, np.float64) for x in (features1, features2)]
    for name, x in zip("12", sets, strict=True):
        if x.ndim != 2 or x.shape[-1] != sets[0].shape[-1] or len(x) < least:
            raise ValueError(
                f"features{name}: shape {x.shape}; expected (n, D) with n >= {least} and one D for both"
            )
        if not np.isfinite(x).all():
            raise ValueError(f"features{name}: some values are not finite")
    return sets[0], sets[1]
