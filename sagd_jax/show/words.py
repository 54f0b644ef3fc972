"""Lines of words about spectra and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import DiagonalCovariance
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import hermitian_multiplicity
from sagd_jax.spectral.stacks import CovarianceStack


def describe_covariance(covariance: Covariance | CovarianceStack, channels: int, kind: str) -> str:
    """Rank, range and the energy in each quarter of the radius, on one line."""
    if isinstance(covariance, CovarianceStack):
        first = describe_covariance(covariance.at(0), channels, kind)
        return f"one for each of {len(covariance)} classes; of class 0: {first}"
    variance = np.asarray(covariance.variance, np.float64)
    weights = np.ones_like(variance)
    if isinstance(covariance, DiagonalCovariance):
        kind = f"{kind} in the {type(covariance.basis).__name__.lower()} basis"
        radius = covariance.basis.radius
        radius = radius / (radius.max() or 1.0)
    else:
        weights *= hermitian_multiplicity(covariance.spatial_shape)[:, None]
        radius = radial_frequency(covariance.spatial_shape, "max")[..., None]
    bins = np.broadcast_to(np.minimum((radius * 4).astype(int), 3), variance.shape)
    energy = np.bincount(bins.ravel(), (weights * variance).ravel(), minlength=4)
    shares = " ".join(f"{e:.1%}" for e in energy / energy.sum())
    positive = variance[variance > 0]
    size = math.prod(covariance.spatial_shape) * channels
    return (
        f"{kind}, rank {covariance.rank(channels)} of {size}, variance {positive.min():.3g} to "
        f"{positive.max():.3g}, energy by quarter of the radius {shares}"
    )


def numbers(values: Iterable[float]) -> str:
    """Numbers in a row, short.

    >>> numbers((0.0, 255.0))
    '0, 255'
    """
    return ", ".join(f"{value:g}" for value in values)
