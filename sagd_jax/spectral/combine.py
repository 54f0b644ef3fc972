"""New spectra from given ones, by their powers lambda: product, mixture, complement.

All are normalised by equation (4) of `covariance.py`, and lie in the basis of what they are made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral import arguments
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.covariance import Covariance, normalised
from sagd_jax.spectral.diagonal import in_one_basis, normalised_in


def product(*covariances: Covariance) -> Covariance:
    """The spectrum whose power is the product of theirs: filters applied one after the other.

    Raises:
      ValueError: for none, different spatial shapes, channels or bases, or supports that have nothing
        in common.

    >>> import sagd_jax as sagd
    >>> tilted = sagd.power_law((16, 16), alpha=-0.5)
    >>> sagd.product(tilted, sagd.band_pass((16, 16), [(0, 0.5)])).rank(channels=1)
    97
    """
    values, basis = _stacked_variances(covariances)
    return _made(np.prod(values, axis=0), covariances[0], basis, "the product")


def mixture(covariances: Sequence[Covariance], weights: Sequence[float]) -> Covariance:
    """The spectrum whose power is the weighted mean of theirs.

    Args:
      covariances: of one spatial shape.
      weights: shares of the total energy, >= 0, one each; only their ratios matter.

    Raises:
      ValueError: for malformed weights, or different spatial shapes, channels or bases.

    >>> import sagd_jax as sagd
    >>> low, high = (sagd.band_pass((8,), [band]) for band in ((0, 0.5), (0.5, 1)))
    >>> sagd.mixture([low, high], weights=(3, 1)).rank(channels=1)
    8
    """
    values, basis = _stacked_variances(covariances)
    shares = arguments.numbers("weights", weights)
    if shares.shape != (len(values),) or not np.all(np.isfinite(shares) & (shares >= 0)):
        raise ValueError(f"weights={weights!r}: expected {len(values)} numbers >= 0")
    if not shares.any():
        raise ValueError(f"weights={weights!r}: expected at least one > 0")
    mixed = np.tensordot(shares / shares.sum(), values, axes=1)
    return _made(mixed, covariances[0], basis, "the mixture")


def complement(covariance: Covariance) -> Covariance:
    """Flat noise on the frequencies where `covariance` has none: the hole of a selective omission.

    Raises:
      ValueError: for a covariance of full rank, whose complement is empty.

    >>> import sagd_jax as sagd
    >>> sagd.complement(sagd.wedge((8, 8), direction=(0, 1), width=1)).rank(channels=1)
    57
    """
    _check_covariances([covariance], "covariance")
    (values,), basis = _stacked_variances([covariance])
    return _made((values == 0).astype(np.float64), covariance, basis, "the complement")


def _stacked_variances(covariances: Sequence[Covariance]) -> tuple[np.ndarray, Basis | None]:
    variances, basis = in_one_basis(_check_covariances(covariances, "covariances"))
    values = [np.asarray(v, np.float64) for v in variances]
    return np.stack(np.broadcast_arrays(*values)), basis


def _check_covariances(covariances: Sequence[Covariance], name: str) -> list[Covariance]:
    if not isinstance(covariances, (list, tuple)) or not covariances:
        raise ValueError(
            f"{name}={arguments.quoted(covariances)}: expected at least one, in a list"
        )
    for covariance in covariances:
        if not isinstance(covariance, Covariance):
            raise TypeError(f"{name}: {arguments.quoted(covariance)} is no covariance")
    return list(covariances)


def _made(values: np.ndarray, like: Covariance, basis: Basis | None, what: str) -> Covariance:
    if basis is None:
        return normalised(values, like.spatial_shape, what)
    return normalised_in(values, basis, what)
