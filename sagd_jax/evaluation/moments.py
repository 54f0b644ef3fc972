"""Means and covariances of features in one pass: float64, in any pieces, merged exactly.

A piece of n values x with mean m and scatter M = sum (x - m)(x - m)^T joins another by
    mean = (n1 m1 + n2 m2) / n,  M = M1 + M2 + (n1 n2 / n) (m1 - m2)(m1 - m2)^T,  n = n1 + n2
(Chan, Golub and LeVeque 1979), so nothing is the small difference of two large sums.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean `(D,)` and scatter `(D, D)` of features, float64.

    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> whole = Moments.of(x[:20]) + Moments.of(x[20:])
    >>> bool(np.allclose(whole.covariance, np.cov(x, rowvar=False)))
    True
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Those of features `(n, D)`, n >= 1."""
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not len(x):
            raise ValueError(f"features: shape {x.shape}; expected (n, D) with n >= 1")
        mean = x.mean(axis=0)
        centred = x - mean
        return cls(len(x), mean, centred.T @ centred)

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased covariance; ValueError for fewer than two values."""
        if self.count < 2:
            raise ValueError(f"features: {self.count}; a covariance needs two")
        return self.scatter / (self.count - 1)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)
