"""The covariance of the noise: diagonal in a basis, drawn from nowhere but here.

F is the unitary DFT over the spatial axes of signals `(..., *spatial, channels)`, d the number of
sites, C the number of channels.

(4) Sigma = F* diag(lambda) F, with lambda = w^2 / mean(w^2): the mean over the whole grid (both
    Hermitian halves) and all channels, so that trace(Sigma) / (d C) = 1. Shaping moves energy
    between frequencies and never changes its total.

lambda is stored on the half grid (`half_grid.py`). Every function of Sigma is a filter with a
real gain h(lambda):

    Sigma x          h = lambda              Sigma^+ x        h = 1 / lambda on the support
    Sigma^{1/2} x    h = sqrt(lambda)        Sigma^{+1/2} x   h = 1 / sqrt(lambda) on the support
    Pi x             h = 1 on the support

The support is lambda > 0, exactly; off the support h is 0. Pi is the orthogonal projector on the
range of Sigma. Filters are computed as x + F* diag(h - 1) F x: where lambda is 1, the added term is
exactly zero, so white noise is the isotropic algorithm bit for bit.

The article's listing divides each draw by its own standard deviation instead of using (4): the mean over the
grid is then 1 in each draw, and what is drawn is no longer Gaussian, since it lies on a sphere.
`FourierCovariance.with_unit_draws` is that, to reproduce it.

`diagonal.py` has the same in any basis of `bases.py`, `stacks.py` a covariance for each example.

Source: SAGD (arXiv 2510.09660), equations 4 to 8; the normalisation is its equation 15.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.spectral import arguments, bases, transform
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.half_grid import grid_size, hermitian_multiplicity, whole_from_half


class Covariance(abc.ABC):
    """A covariance that is diagonal in some basis: what all of them can do. See `FourierCovariance`.

    `variance` holds lambda, with a channel axis last. With one axis more in front, `(batch, ...)`, it is
    a covariance for each example of signals `(batch, *spatial, channels)` (`CovarianceStack.at`).
    """

    variance: jax.Array
    spatial_shape: tuple[int, ...]
    unit_draws: bool = False

    def sample(self, key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
        """Draws noise ~ N(0, Sigma): `sqrt` of the white draw of `key`.

        Covariances given the same key therefore share their draw, as the arms of a comparison
        should, whatever their basis. All noise of training and sampling comes from here.

        Args:
          key: a `jax.random.key`, or an array `(n,)` of them for n independent draws, stacked.
          shape: of one draw, `(..., *spatial, channels)`.
          dtype: of the result; the draw and the filter are float32 whatever it is.
        """

        key, shape = arguments.key("key", key), arguments.shape("shape", shape)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ValueError(f"dtype={dtype!r}: expected one of floats, such as jnp.float32")
        dtype = jax.dtypes.canonicalize_dtype(dtype)

        def draw(key: jax.Array) -> jax.Array:
            return jax.random.normal(key, shape, jnp.promote_types(dtype, jnp.float32))

        # Only the white draw is mapped over keys: a filter inside vmap would hide the batch from
        # the route by FFT, which has to see it to keep it sharded.
        white = jax.vmap(draw)(key) if key.ndim else draw(key)
        noise = self.sqrt(white)
        if self.unit_draws:
            axes = tuple(range(-len(self.spatial_shape) - 1, -1))
            noise = noise / (jnp.std(noise, axis=axes, keepdims=True) + 1e-8)
        return noise.astype(dtype)

    def apply(self, x: jax.Array) -> jax.Array:
        """Sigma x, for x of shape `(..., *spatial, channels)`."""
        return self._filter(x, self.variance)

    def sqrt(self, x: jax.Array) -> jax.Array:
        """Sigma^{1/2} x, the symmetric square root."""
        return self._filter(x, self._on_support(jnp.sqrt))

    def pinv(self, x: jax.Array) -> jax.Array:
        """Sigma^+ x, the pseudo-inverse."""
        return self._filter(x, self._on_support(lambda variance: 1 / variance))

    def pinv_sqrt(self, x: jax.Array) -> jax.Array:
        """Sigma^{+1/2} x: whitens noise of this covariance."""
        return self._filter(x, self._on_support(jax.lax.rsqrt))

    def project(self, x: jax.Array) -> jax.Array:
        """Pi x: removes the coordinates that Sigma leaves without noise."""
        if self.is_full_rank:
            return x
        return self._filter(x, self._on_support(jnp.ones_like))

    @property
    def is_full_rank(self) -> bool:
        """Whether lambda > 0 everywhere; False (not known to be) for a traced variance."""
        return not self._is_traced and bool(np.all(np.asarray(self.variance) > 0))

    @property
    def is_white(self) -> bool:
        """Whether lambda is 1 everywhere; False (not known to be) for a traced variance."""
        return not self._is_traced and bool(np.all(np.asarray(self.variance) == 1))

    def rank(self, channels: int) -> int | jax.Array:
        """Dimension of the range for signals of `channels` channels; at most d * channels.

        An array `(batch,)` where each example has its own covariance.
        """
        count = self._sum_over_grid(self.variance > 0, channels)
        if isinstance(count, jax.core.Tracer) or count.ndim:
            return count
        return round(float(count))

    def log_det(self, channels: int) -> jax.Array:
        """log det Sigma over its range: the sum of log lambda over all coordinates and channels."""
        return self._sum_over_grid(self._on_support(jnp.log), channels)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """log N(x; 0, Sigma) in nats, over the trailing spatial and channel axes.

        On a singular Sigma it is the density of the projection Pi x on the range, with respect to
        the Lebesgue measure there.

        Args:
          x: `(..., *spatial, channels)`.

        Returns:
          An array of shape `(...)`.

        Raises:
          ValueError: signals of another shape, or draws that are no longer Gaussian (`unit_draws`).
        """
        if self.unit_draws:
            raise ValueError(
                "covariance: its draws have their own standard deviation divided out (unit_draws), so they "
                "are not Gaussian and have no density; use one without"
            )
        x = arguments.signal("x", x)
        axes = tuple(range(-len(self.spatial_shape) - 1, 0))
        square = jnp.sum(jnp.square(self.pinv_sqrt(x)), axis=axes)
        rank = self.rank(x.shape[-1])
        return -0.5 * (square + rank * math.log(2 * math.pi) + self.log_det(x.shape[-1]))

    def with_variance(self, variance: jax.Array) -> Covariance:
        """The covariance of the same basis with this lambda, unchecked."""
        return dataclasses.replace(self, variance=variance)  # type: ignore[type-var]

    @abc.abstractmethod
    def coefficients(self, basis: Basis) -> jax.Array:
        """lambda on the grid of another basis, `(*spatial, 1 or channels)`.

        Raises:
          ValueError: if Sigma is not diagonal there, as far as that can be told: it is in its own
            basis, and one that is white, or white but for the constant, is in many.
        """

    @abc.abstractmethod
    def _multiplied(self, x: jax.Array, gain: jax.Array) -> jax.Array:
        """The filter with this gain, for real x of the right shape."""

    @abc.abstractmethod
    def _multiplicity(self) -> np.ndarray | float:
        """How many coordinates each entry of `variance` stands for."""

    def __repr__(self) -> str:
        name, shape = type(self).__name__, f"spatial_shape={self.spatial_shape}"
        if self._is_traced:
            return f"{name}({shape}, traced)"
        values = np.asarray(self.variance)
        size = grid_size(self.spatial_shape) * values.shape[-1]
        rank = self.rank(values.shape[-1])
        return (
            f"{name}({shape}, channels={values.shape[-1]}, rank={rank} of {size}, "
            f"lambda={values.min():.3g} to {values.max():.3g})"
        )

    @property
    def _is_traced(self) -> bool:
        return isinstance(self.variance, jax.core.Tracer)

    def _on_support(self, function) -> jax.Array:
        # The inner `where` keeps the gradient finite off the support (d sqrt / d lambda at 0).
        support = self.variance > 0
        return jnp.where(support, function(jnp.where(support, self.variance, 1.0)), 0.0)

    def _filter(self, x: jax.Array, gain: jax.Array) -> jax.Array:
        x = arguments.signal("x", x)
        self._check_signal(x.shape)
        real = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return self._multiplied(real, gain).astype(x.dtype)

    def _check_signal(self, shape: tuple[int, ...]) -> None:
        axes = len(self.spatial_shape)
        if len(shape) <= axes or shape[-axes - 1 : -1] != self.spatial_shape:
            # Signals that end in spatial_shape lack their channels, or it has them too many.
            too_many = axes > 1 and shape[-axes:] == self.spatial_shape
            hint = (
                f"; spatial_shape has no channels: {self.spatial_shape[:-1]} for "
                f"{self.spatial_shape[-1]} channels, or give the signals a channel axis"
            )
            raise ValueError(
                f"shape={shape}: expected (..., *spatial, channels) "
                f"with spatial={self.spatial_shape}{hint if too_many else ''}"
            )
        batch = self._batch
        if batch and shape[: -axes - 1] != batch:
            raise ValueError(
                f"shape={shape}: expected {batch[0]} examples, since each has its own covariance"
            )
        self._check_channels(shape[-1])

    def _check_channels(self, channels: int) -> None:
        if self.variance.shape[-1] not in (1, channels):
            raise ValueError(
                f"channels={channels}: this covariance is for {self.variance.shape[-1]} channels"
            )

    @property
    def _batch(self) -> tuple[int, ...]:
        return self.variance.shape[: -len(self.spatial_shape) - 1]

    def _sum_over_grid(self, values: jax.Array, channels: int) -> jax.Array:
        self._check_channels(channels)
        weighted = values * self._multiplicity()
        axes = tuple(range(len(self._batch), values.ndim))
        return jnp.sum(weighted, axis=axes) * (channels / values.shape[-1])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class FourierCovariance(Covariance):
    """A covariance Sigma = F* diag(lambda) F (equation 4), as a frozen pytree.

    Build one with `white`, `power_law`, `band_pass`, `two_band`, `from_variance` and the other
    functions of `spectra.py`, which validate and normalise. It goes through `jit`, `vmap` and
    `grad` (with respect to `variance`).

    Attributes:
      variance: lambda on the half grid, float32,
        `(*spatial[:-1], spatial[-1] // 2 + 1, 1 or channels)`.
      spatial_shape: one to three sizes.
      unit_draws: whether `sample` divides each draw by its own standard deviation, as the article's
        listing does.

    >>> import jax, sagd_jax as sagd
    >>> covariance = sagd.power_law((8, 8), alpha=-0.5)
    >>> noise = covariance.sample(jax.random.key(0), (4, 8, 8, 3))
    >>> noise.shape, covariance.rank(channels=3)
    ((4, 8, 8, 3), 192)
    >>> covariance
    FourierCovariance(spatial_shape=(8, 8), channels=1, rank=64 of 64, lambda=0.449 to 2.54)
    """

    variance: jax.Array
    spatial_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    unit_draws: bool = dataclasses.field(default=False, metadata={"static": True})

    def with_unit_draws(self) -> FourierCovariance:
        """The same, but each draw divided by its own standard deviation per channel, mean removed.

        To reproduce the article's listing. Draws are then not Gaussian: marginals of training and sampling
        agree with (5) only as the size of a draw grows, and there is no likelihood.

        >>> import jax, numpy as np, sagd_jax as sagd
        >>> covariance = sagd.power_law((8, 8), alpha=-0.5).with_unit_draws()
        >>> draws = covariance.sample(jax.random.key(0), (3, 8, 8, 1))
        >>> np.round(np.std(draws, axis=(1, 2, 3)), 5).tolist()
        [1.0, 1.0, 1.0]
        """
        return dataclasses.replace(self, unit_draws=True)

    def coefficients(self, basis: Basis) -> jax.Array:
        whole = whole_from_half(self.variance, self.spatial_shape)
        return expressed(whole, bases.Fourier(self.spatial_shape), basis)

    def _multiplied(self, x, gain):
        return x + transform.multiply(x, gain - 1, len(self.spatial_shape))

    def _multiplicity(self):
        return hermitian_multiplicity(self.spatial_shape)[:, None].astype(np.float32)


def expressed(values: jax.Array, own: Basis, basis: Basis) -> jax.Array:
    """The diagonal of a covariance in `basis`, given that in its own one; raises ValueError."""
    if bases.same(own, basis):
        return values
    if own.spatial_shape != basis.spatial_shape:
        raise ValueError(
            f"basis: it is of spatial_shape={basis.spatial_shape}, the covariance of "
            f"{own.spatial_shape}"
        )
    if not isinstance(values, jax.Array) or not isinstance(values, jax.core.Tracer):
        axes = len(own.spatial_shape)
        batch = values.shape[: values.ndim - axes - 1]
        flat = np.asarray(values).reshape(*batch, -1, values.shape[-1])
        if np.all(flat == flat[..., :1, :1]):
            return values
        mixed = isinstance(own, bases.Channels) or isinstance(basis, bases.Channels)
        alike = np.all(flat == flat[..., :1])
        if mixed and alike and bases.same(_over_sites(own), _over_sites(basis)):
            return values
        if (
            own.has_constant
            and basis.has_constant
            and np.all(flat[..., 1:, :] == flat[..., 1:2, :])
        ):
            return values
    raise ValueError(
        f"covariance: it is diagonal in {own}, not in {basis}; give one that is, or a white one"
    )


def _over_sites(basis: Basis) -> Basis:
    return basis.basis if isinstance(basis, bases.Channels) else basis


def normalised(values: np.ndarray, spatial_shape: Sequence[int], what: str) -> FourierCovariance:
    """The covariance of this power per frequency, on the half grid with a channel axis: equation (4).

    Raises:
      ValueError: as `check_power`, or for a positive value that underflows; `what` names it.
    """
    variance = scaled_to_mean_one(values, lambda v: mean_over_grid(v, spatial_shape), what)
    return FourierCovariance(
        jnp.asarray(variance, jnp.float32), tuple(int(n) for n in spatial_shape)
    )


def scaled_to_mean_one(
    values: np.ndarray, mean: Callable[[np.ndarray], float], what: str
) -> np.ndarray:
    """Power per coordinate over its mean: equation (4).

    Raises:
      ValueError: as `normalised`.
    """
    check_power(values, what)
    # Divided by the largest value first: the mean of huge values must not overflow.
    values = values / values.max()
    variance = values / mean(values)
    smallest = np.finfo(np.float32).tiny
    if np.any((variance > 0) & (variance < smallest)):
        raise ValueError(
            f"{what}: part of the spectrum underflows float32 once normalised "
            f"(smallest ratio to the mean {variance[variance > 0].min():.2g}, allowed "
            f">= {smallest:.2g}); use exact zeros for frequencies without noise"
        )
    return variance


def check_power(values: np.ndarray, what: str) -> None:
    """Raises ValueError unless the values are finite, >= 0 and not all zero."""
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{what}: the spectrum has non-finite values; expected numbers >= 0")
    if np.any(values < 0):
        raise ValueError(f"{what}: the spectrum has negative values; expected numbers >= 0")
    if not np.any(values > 0):
        raise ValueError(f"{what}: the spectrum is zero everywhere; expected a positive value")


def mean_over_grid(values: np.ndarray, spatial_shape: Sequence[int]) -> float:
    """Mean of half-grid `values` (channel axis last) over the full grid and all channels."""
    weights = hermitian_multiplicity(spatial_shape)[:, None]
    return float(np.sum(values * weights) / (grid_size(spatial_shape) * values.shape[-1]))
