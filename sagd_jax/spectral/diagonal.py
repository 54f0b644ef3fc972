"""Covariances that are diagonal in any basis of `bases.py`.

Sigma = B^T diag(lambda) B, normalised by equation (4) over all coordinates and channels. That fixes the
mean over the sites of the variance at 1. Outside Fourier coordinates the variance of one site depends on
its place: under a cosine power law of slope -0.5 on 32 x 32 it goes from 0.93 to 1.69, largest in the
corners.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.spectral.bases import Basis, Sites, check_grid
from sagd_jax.spectral.covariance import Covariance, expressed, scaled_to_mean_one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DiagonalCovariance(Covariance):
    """A covariance B^T diag(lambda) B, as a frozen pytree with the operators of `FourierCovariance`.

    Build one with `from_coefficients`, or with `power_law(..., basis="cosine")` and its like.

    Attributes:
      basis: B.
      variance: lambda on the basis' whole grid, `(*spatial, 1 or channels)`.

    >>> import jax, sagd_jax as sagd
    >>> covariance = sagd.power_law((8, 8), alpha=-0.5, basis="cosine")
    >>> covariance.sample(jax.random.key(0), (4, 8, 8, 3)).shape
    (4, 8, 8, 3)
    """

    basis: Basis
    variance: jax.Array

    @property
    def spatial_shape(self) -> tuple[int, ...]:  # type: ignore[override]
        """Sizes of the spatial axes, those of the basis."""
        return self.basis.spatial_shape

    def coefficients(self, basis: Basis) -> jax.Array:
        return expressed(self.variance, self.basis, basis)

    def _multiplied(self, x, gain):
        # White noise is the isotropic algorithm bit for bit: nothing is transformed to and fro.
        if self.is_white:
            return x
        if isinstance(self.basis, Sites):
            return x * gain.astype(x.dtype)
        return self.basis.inverse(self.basis.forward(x) * gain.astype(x.dtype))

    def _multiplicity(self):
        return 1.0


def from_coefficients(variance: ArrayLike, basis: Basis) -> DiagonalCovariance:
    """Noise with this variance per coordinate of a basis: maps over sites, wavelets, channels.

    Args:
      variance: any scale, on the whole grid of the basis, `(*spatial, 1 or channels)`; the channel axis
        may be left out.
      basis: one of `bases.py`.

    Returns:
      A covariance whose `.variance` is the argument normalised by equation (4) of `covariance.py`.

    Raises:
      ValueError: for a wrong shape, values that are not finite, negative or all zero, a positive one
        that underflows float32, or Fourier coordinates whose f and -f differ.

    >>> import numpy as np, sagd_jax as sagd
    >>> left = np.where(np.arange(8) < 4, 1.0, 0.0)  # noise on one half of the sites
    >>> covariance = sagd.from_coefficients(left, sagd.bases.sites((8,)))
    >>> covariance.rank(channels=1), float(covariance.variance.max())
    (4, 2.0)
    """
    return normalised_in(check_grid("variance", variance, basis), basis, "variance")


def normalised_in(values: np.ndarray, basis: Basis, what: str) -> DiagonalCovariance:
    """The covariance of this power per coordinate, `(*spatial, 1 or channels)`: equation (4).

    Raises:
      ValueError: as `covariance.normalised`.
    """
    variance = scaled_to_mean_one(values, np.mean, what)
    return DiagonalCovariance(basis, jnp.asarray(variance, jnp.float32))


def in_one_basis(covariances: Sequence[Covariance]) -> tuple[list[jax.Array], Basis | None]:
    """The variances of several covariances, and the basis of their grid; None: Fourier's half grid.

    Raises:
      ValueError: for different spatial shapes or numbers of channels, or no basis in which all are
        diagonal: the first one's that is none of Fourier's half grid.
    """
    shapes = {c.spatial_shape for c in covariances}
    if len(shapes) > 1:
        raise ValueError(f"covariances: expected one spatial shape, got {sorted(shapes)}")
    basis = next((c.basis for c in covariances if isinstance(c, DiagonalCovariance)), None)
    variances = [c.variance if basis is None else c.coefficients(basis) for c in covariances]
    channels = {v.shape[-1] for v in variances} - {1}
    if len(channels) > 1:
        raise ValueError(f"covariances: expected one number of channels, got {sorted(channels)}")
    return variances, basis


def identity(basis: Basis) -> DiagonalCovariance:
    """White noise, as a covariance of this basis."""
    return DiagonalCovariance(basis, jnp.ones((*basis.spatial_shape, 1), jnp.float32))
