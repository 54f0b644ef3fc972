"""One covariance, equation (4) of `covariance.py`, for each example: per class, or per kind of corruption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.diagonal import DiagonalCovariance, in_one_basis


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class CovarianceStack:
    """Several covariances of one grid, from which `at` takes one per example; see `stack`.

    It is no covariance itself: `Diffusion.at` chooses.

    Attributes:
      members: a covariance whose `variance` has an axis in front, `(K, ...)`.
    """

    members: Covariance

    def at(self, index: ArrayLike) -> Covariance:
        """The covariances of these kinds.

        Args:
          index: integers `(batch,)`, in [0, K); or one, which gives an ordinary covariance.

        Returns:
          A covariance for signals `(batch, *spatial, channels)`, each example with its own; its `rank`
          and `log_det` are `(batch,)`.

        Raises:
          ValueError: for an index that is no integer or out of range, as far as it is known.
        """
        index = jnp.asarray(index)
        if not jnp.issubdtype(index.dtype, jnp.integer) or index.ndim > 1:
            raise ValueError(f"index: {index.dtype}{index.shape}; expected integers (batch,)")
        if not isinstance(index, jax.core.Tracer):
            values = np.asarray(index)
            if values.size and (values.min() < 0 or values.max() >= len(self)):
                raise ValueError(
                    f"index: values {values.min()} to {values.max()}; expected 0 to {len(self) - 1}"
                )
        return self.members.with_variance(self.members.variance[index])

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Sizes of the spatial axes, the same for all."""
        return self.members.spatial_shape

    @property
    def variance(self) -> jax.Array:
        """lambda of all, `(K, ...)`."""
        return self.members.variance

    @property
    def is_full_rank(self) -> bool:
        """Whether all of them are."""
        return self.members.is_full_rank

    def __len__(self) -> int:
        return self.members.variance.shape[0]


def stack(covariances: Sequence[Covariance]) -> CovarianceStack:
    """Several covariances as one pytree, for examples that have each its own.

    Args:
      covariances: of one spatial shape, all `FourierCovariance` or all diagonal in one basis; each is
        normalised by itself.

    Raises:
      ValueError: for none, or ones that do not fit together.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> both = sagd.stack([sagd.white((8,)), sagd.band_pass((8,), [(0.5, 1)])])
    >>> each = both.at(jnp.array([0, 1, 1]))
    >>> each.sample(jax.random.key(0), (3, 8, 1)).shape, each.rank(channels=1)
    ((3, 8, 1), Array([8., 5., 5.], dtype=float32))
    """
    members = list(covariances)
    if not members or not all(isinstance(c, Covariance) for c in members):
        raise ValueError("covariances: expected at least one, all of them covariances")
    variances, basis = in_one_basis(members)
    stacked = jnp.stack(jnp.broadcast_arrays(*variances))
    if basis is not None:
        return CovarianceStack(DiagonalCovariance(basis, stacked))
    return CovarianceStack(FourierCovariance(stacked, members[0].spatial_shape))
