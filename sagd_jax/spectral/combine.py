"""New spectra from given ones, by their powers lambda: product, mixture, complement.

All are normalised by equation (4) of `covariance.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral import arguments
from sagd_jax.spectral.covariance import FourierCovariance, normalised


def product(*covariances: FourierCovariance) -> FourierCovariance:
    """The spectrum whose power is the product of theirs: filters applied one after the other.

    Raises:
      ValueError: for none, different spatial shapes or channels, or supports that have nothing in
        common.

    >>> import sagd_jax as sagd
    >>> tilted = sagd.power_law((16, 16), alpha=-0.5)
    >>> sagd.product(tilted, sagd.band_pass((16, 16), [(0, 0.5)])).rank(channels=1)
    97
    """
    values = np.prod(_stacked_variances(covariances), axis=0)
    return normalised(values, covariances[0].spatial_shape, "the product")


def mixture(
    covariances: Sequence[FourierCovariance], weights: Sequence[float]
) -> FourierCovariance:
    """The spectrum whose power is the weighted mean of theirs.

    Args:
      covariances: of one spatial shape.
      weights: shares of the total energy, >= 0, one each; only their ratios matter.

    Raises:
      ValueError: for malformed weights, or different spatial shapes or channels.

    >>> import sagd_jax as sagd
    >>> low, high = (sagd.band_pass((8,), [band]) for band in ((0, 0.5), (0.5, 1)))
    >>> sagd.mixture([low, high], weights=(3, 1)).rank(channels=1)
    8
    """
    values = _stacked_variances(covariances)
    shares = arguments.numbers("weights", weights)
    if shares.shape != (len(values),) or not np.all(np.isfinite(shares) & (shares >= 0)):
        raise ValueError(f"weights={weights!r}: expected {len(values)} numbers >= 0")
    if not shares.any():
        raise ValueError(f"weights={weights!r}: expected at least one > 0")
    mixed = np.tensordot(shares / shares.sum(), values, axes=1)
    return normalised(mixed, covariances[0].spatial_shape, "the mixture")


def complement(covariance: FourierCovariance) -> FourierCovariance:
    """Flat noise on the frequencies where `covariance` has none: the hole of a selective omission.

    Raises:
      ValueError: for a covariance of full rank, whose complement is empty.

    >>> import sagd_jax as sagd
    >>> sagd.complement(sagd.wedge((8, 8), direction=(0, 1), width=1)).rank(channels=1)
    57
    """
    _check_covariances([covariance], "covariance")
    empty = np.asarray(covariance.variance) == 0
    return normalised(empty.astype(np.float64), covariance.spatial_shape, "the complement")


def _stacked_variances(covariances: Sequence[FourierCovariance]) -> np.ndarray:
    covariances = _check_covariances(covariances, "covariances")
    shapes = {c.spatial_shape for c in covariances}
    channels = {c.variance.shape[-1] for c in covariances} - {1}
    if len(shapes) > 1 or len(channels) > 1:
        raise ValueError(
            f"covariances: expected one spatial shape and number of channels, got {sorted(shapes)} "
            f"and {sorted(channels)}"
        )
    values = [np.asarray(c.variance, np.float64) for c in covariances]
    return np.stack(np.broadcast_arrays(*values))


def _check_covariances(covariances: Sequence[FourierCovariance], name: str) -> list:
    if not isinstance(covariances, (list, tuple)) or not covariances:
        raise ValueError(
            f"{name}={arguments.quoted(covariances)}: expected at least one, in a list"
        )
    for covariance in covariances:
        if not isinstance(covariance, FourierCovariance):
            raise TypeError(f"{name}: {arguments.quoted(covariance)} is no FourierCovariance")
    return list(covariances)
