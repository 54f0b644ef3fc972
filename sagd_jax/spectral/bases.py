"""Coordinates: real orthonormal bases, in which covariances and processes are diagonal.

(20) A basis B maps signals `(..., *spatial, channels)` to states of the same shape, and B^T maps them
     back. A grid over its coordinates has shape `(*spatial, 1 or channels)`, all of it, also Fourier's.

     fourier   B = Re F - Im F, F the unitary DFT over all spatial axes at once: the Hartley
               transform, symmetric and its own inverse. Every gain with g(f) = g(-f) acts on it
               elementwise, oriented ones and odd sizes included. (A product of one-dimensional Hartley
               transforms does that only for gains that are even along each axis alone.)
     cosine    the orthonormal DCT-II along each axis: reflecting borders instead of periodic ones.
               r_i = k_i / (2 n_i) cycles per sample, so that its lowest frequency is half of Fourier's.
     haar      the orthonormal Haar wavelets of full depth along each axis, the mean first, then
               details from coarse to fine. The radius of a detail of level j (1 the finest) is the
               middle of its octave, 0.75 2^-j.
     sites     the identity.
     channels  an orthogonal matrix over the channels, then one of the others.
     matrix    any orthogonal matrix over all sites and channels of small signals, such as the principal
               components of data (`principal`).

A basis never changes what is drawn: noise is B^T sqrt(lambda) B w, with w the white draw in the sites.

Transforms are matrix products along axes up to `MATRIX_LIMIT`, which a compiler shards over the batch
without communication, and fast transforms inside `jax.shard_map` beyond (see `transform.py`).

Sources: Hartley transform, Bracewell 1983; DCT-II, Ahmed et al. 1974; Haar 1910, as in Mallat's
multiresolution analysis. (The file is long by its docstrings.)
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.spectral import transform
from sagd_jax.spectral.half_grid import check_spatial_shape, opposite

_ORTHOGONALITY = 1e-4  # of a given matrix, which may be float32
_SYMMETRY = 1e-5


class Basis(abc.ABC):
    """A real orthonormal basis of signals with these spatial sizes, equation (20).

    Bases that hold no array are hashable and equal by value; all are pytrees.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> basis = sagd.bases.cosine((8, 8))
    >>> x = jnp.ones((2, 8, 8, 3))
    >>> state = basis.forward(x)
    >>> state.shape, round(float(state[0, 0, 0, 0]), 4), basis.radius.shape
    ((2, 8, 8, 3), 8.0, (8, 8, 1))
    """

    spatial_shape: tuple[int, ...]

    def forward(self, x: ArrayLike) -> jax.Array:
        """B x: the coordinates of signals `(..., *spatial, channels)`, of the same shape and dtype.

        Raises:
          ValueError: for signals of other spatial sizes.
        """
        return self._transformed(x, self._forward)

    def inverse(self, state: ArrayLike) -> jax.Array:
        """B^T state: the signals with these coordinates, of the same shape and dtype.

        Raises:
          ValueError: as `forward`.
        """
        return self._transformed(state, self._inverse)

    @property
    def radius(self) -> np.ndarray:
        """Radial frequency of each coordinate in cycles per sample, float64 `(*spatial, 1)`.

        Zero throughout where coordinates have no frequency (sites, matrix).
        """
        return np.zeros((*self.spatial_shape, 1))

    @property
    def has_constant(self) -> bool:
        """Whether the first coordinate is the constant signal, per channel, and all others are not."""
        return False

    @abc.abstractmethod
    def _forward(self, x: jax.Array) -> jax.Array:
        """B x for float x of shape `(batch, *spatial, channels)`."""

    @abc.abstractmethod
    def _inverse(self, x: jax.Array) -> jax.Array:
        """B^T x, likewise."""

    def _transformed(self, x: ArrayLike, function: Any) -> jax.Array:
        x = jnp.asarray(x)
        axes = len(self.spatial_shape)
        if x.ndim <= axes or x.shape[-axes - 1 : -1] != self.spatial_shape:
            raise ValueError(
                f"shape={x.shape}: expected (..., *spatial, channels) "
                f"with spatial={self.spatial_shape}"
            )
        real = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        result = function(real.reshape(-1, *x.shape[-axes - 1 :])).reshape(x.shape)
        return result.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else result


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Fourier(Basis):
    """The Hartley transform of the DFT over all spatial axes; its own inverse. See `fourier`."""

    spatial_shape: tuple[int, ...]

    @property
    def radius(self):
        return _radius([np.fft.fftfreq(n) for n in self.spatial_shape])

    @property
    def has_constant(self):
        return True

    def _forward(self, x):
        return transform.hartley(x)

    _inverse = _forward


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Cosine(Basis):
    """The orthonormal DCT-II along each axis. See `cosine`."""

    spatial_shape: tuple[int, ...]

    @property
    def radius(self):
        return _radius([np.arange(n) / (2 * n) for n in self.spatial_shape])

    @property
    def has_constant(self):
        return True

    def _forward(self, x):
        return transform.along_axes(x, _dct_matrix, jax.scipy.fft.dct)

    def _inverse(self, x):
        return transform.along_axes(x, _dct_matrix, jax.scipy.fft.idct, transposed=True)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Haar(Basis):
    """Haar wavelets of full depth along each axis. See `haar`."""

    spatial_shape: tuple[int, ...]

    @property
    def radius(self):
        levels = [
            np.concatenate([[0.0], *(np.full(2**k, 0.75 * 2.0**k / n) for k in range(_log2(n)))])
            for n in self.spatial_shape
        ]
        return _radius(levels)

    @property
    def has_constant(self):
        return True

    def _forward(self, x):
        return transform.along_axes(x, _haar_matrix, haar_along)

    def _inverse(self, x):
        return transform.along_axes(x, _haar_matrix, _inverse_haar, transposed=True)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Sites(Basis):
    """The sites themselves. See `sites`."""

    spatial_shape: tuple[int, ...]

    def _forward(self, x):
        return x

    _inverse = _forward


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Channels(Basis):
    """An orthogonal matrix over the channels, then another basis over the sites. See `channels`."""

    mixing: jax.Array
    basis: Basis

    def __repr__(self) -> str:
        return f"Channels(channels={len(self.mixing)}, basis={self.basis!r})"

    @property
    def spatial_shape(self):  # type: ignore[override]
        """Sizes of the spatial axes, those of the basis over the sites."""
        return self.basis.spatial_shape

    @property
    def radius(self):
        return self.basis.radius

    def _forward(self, x):
        return self.basis.forward(_mixed(x, jnp.asarray(self.mixing)))

    def _inverse(self, x):
        return _mixed(self.basis.inverse(x), jnp.asarray(self.mixing).T)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Matrix(Basis):
    """An orthogonal matrix over all sites and channels, in the order of `x.reshape(-1)`.

    See `matrix`.
    """

    rows: jax.Array
    spatial_shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def __repr__(self) -> str:
        return f"Matrix(rows={len(self.rows)}, spatial_shape={self.spatial_shape})"

    def _forward(self, x):
        return self._product(x, jnp.asarray(self.rows))

    def _inverse(self, x):
        return self._product(x, jnp.asarray(self.rows).T)

    def _product(self, x, rows):
        size = math.prod(x.shape[1:])
        if rows.shape[0] != size:
            raise ValueError(
                f"shape={x.shape}: this basis is of signals with {rows.shape[0]} values, not {size}"
            )
        return _dot("bi,oi->bo", x.reshape(-1, size), rows.astype(x.dtype)).reshape(x.shape)


def fourier(spatial_shape: Sequence[int]) -> Fourier:
    """Fourier coordinates, real: the Hartley transform of the DFT over one to three axes.

    Args:
      spatial_shape: one to three sizes.

    Raises:
      ValueError: for a malformed shape.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> basis = sagd.bases.fourier((7, 9))
    >>> x = jnp.arange(63.0).reshape(1, 7, 9, 1)
    >>> bool(jnp.allclose(basis.forward(basis.forward(x)), x, atol=1e-4))
    True
    """
    return Fourier(check_spatial_shape(spatial_shape))


def cosine(spatial_shape: Sequence[int]) -> Cosine:
    """Cosine coordinates, the orthonormal DCT-II per axis: for signals that do not wrap around.

    Its lowest frequency is 1 / (2 n), half of Fourier's.

    Args:
      spatial_shape: one to three sizes.

    Raises:
      ValueError: for a malformed shape.

    >>> import sagd_jax as sagd
    >>> sagd.bases.cosine((4,)).radius[:, 0]  # cycles per sample
    array([0.   , 0.125, 0.25 , 0.375])
    """
    return Cosine(check_spatial_shape(spatial_shape))


def haar(spatial_shape: Sequence[int]) -> Haar:
    """Haar wavelets of full depth per axis: place and scale at once.

    Args:
      spatial_shape: one to three sizes.

    Raises:
      ValueError: for a malformed shape, or a size that is not a power of two.

    >>> import sagd_jax as sagd
    >>> sagd.bases.haar((8,)).radius[:, 0]
    array([0.     , 0.09375, 0.1875 , 0.1875 , 0.375  , 0.375  , 0.375  , 0.375  ])
    """
    shape = check_spatial_shape(spatial_shape)
    if any(n & (n - 1) for n in shape):
        raise ValueError(
            f"spatial_shape={shape}: Haar wavelets halve each side down to 1; expected powers of two"
        )
    return Haar(shape)


def sites(spatial_shape: Sequence[int]) -> Sites:
    """The identity: a variance per site, for noise maps over a picture.

    Args:
      spatial_shape: one to three sizes.

    Raises:
      ValueError: for a malformed shape.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> x = jnp.arange(4.0).reshape(1, 4, 1)
    >>> bool((sagd.bases.sites((4,)).forward(x) == x).all())
    True
    """
    return Sites(check_spatial_shape(spatial_shape))


def channels(matrix: ArrayLike, basis: Basis) -> Channels:
    """Mixes the channels by an orthogonal matrix, then goes to `basis`.

    Args:
      matrix: `(C, C)`; its row c makes mixed channel c.
      basis: over the sites. A grid's channel axis then counts mixed channels.

    Raises:
      ValueError: for a matrix that is not square or not orthogonal.

    >>> import numpy as np, sagd_jax as sagd
    >>> luma = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
    >>> sagd.bases.channels(luma, sagd.bases.fourier((8, 8))).radius.shape
    (8, 8, 1)
    """
    _check_basis(basis)
    return Channels(_orthogonal(matrix), basis)


def matrix(matrix: ArrayLike, spatial_shape: Sequence[int]) -> Matrix:
    """Any orthogonal matrix over the sites and channels of small signals.

    Args:
      matrix: `(D, D)`, D = sites x channels; its row i is coordinate i, in the order of
        `x.reshape(-1)`.
      spatial_shape: of the signals.

    Raises:
      ValueError: for a matrix that is not orthogonal, or whose size is no multiple of the sites.

    >>> import numpy as np, sagd_jax as sagd
    >>> rotation = np.array([[0.6, 0.8], [-0.8, 0.6]])
    >>> sagd.bases.matrix(rotation, (2,)).forward(np.array([[[1.0], [0.0]]]))[0, :, 0]
    Array([ 0.6, -0.8], dtype=float32)
    """
    shape = check_spatial_shape(spatial_shape)
    rows = _orthogonal(matrix)
    if rows.shape[0] % math.prod(shape):
        raise ValueError(
            f"matrix: its size {rows.shape[0]} is no multiple of the {math.prod(shape)} sites of "
            f"spatial_shape={shape}"
        )
    return Matrix(rows, shape)


def principal(signals: ArrayLike) -> Matrix:
    """The principal components of data, the one of largest variance first.

    Args:
      signals: `(n, *spatial, channels)`, at least two; small ones, since it takes the eigenvectors of
        a matrix of all sites and channels.

    Raises:
      ValueError: for a wrong shape, or values that are not finite.

    >>> import numpy as np, sagd_jax as sagd
    >>> data = np.random.default_rng(0).normal(size=(500, 4, 1)) * np.array([[1], [9], [3], [1]])
    >>> np.argmax(np.abs(sagd.bases.principal(data).rows[0]))
    np.int64(1)
    """
    values = np.asarray(signals, np.float64)
    if values.ndim < 3 or len(values) < 2 or not np.all(np.isfinite(values)):
        raise ValueError(
            f"signals: shape {values.shape}; expected (n, *spatial, channels), n >= 2, finite"
        )
    shape = check_spatial_shape(values.shape[1:-1])
    flat = values.reshape(len(values), -1)
    _, vectors = np.linalg.eigh(np.cov(flat.T))
    return Matrix(jnp.asarray(vectors.T[::-1], jnp.float32), shape)


KINDS = {"fourier": fourier, "cosine": cosine, "haar": haar, "sites": sites}


def same(first: Basis, second: Basis) -> bool:
    """Whether two bases are the same one, by the values of their matrices where they have them."""
    structure: Any = jax.tree.structure(first)
    if structure != jax.tree.structure(second):
        return False
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(a is b or np.array_equal(a, b) for a, b in leaves)


def check_grid(name: str, values: ArrayLike, basis: Basis) -> np.ndarray:
    """Values per coordinate as float64 `(*spatial, 1 or channels)`; the channel axis may be left out.

    Raises:
      ValueError: for another shape, or values in Fourier coordinates that differ between f and -f:
        noise that such a gain makes would not be stationary.
    """
    _check_basis(basis)
    array = np.asarray(values, np.float64)
    spatial = basis.spatial_shape
    if array.ndim == len(spatial):
        array = array[..., None]
    if array.shape[:-1] != spatial or array.shape[-1] < 1:
        raise ValueError(
            f"{name}.shape={np.shape(values)}: expected {(*spatial, '1 or channels')}, the grid of "
            f"{basis}"
        )
    inner = basis.basis if isinstance(basis, Channels) else basis
    if isinstance(inner, Fourier):
        mirrored = np.stack([opposite(c) for c in np.moveaxis(array, -1, 0)], axis=-1)
        close = np.isclose(array, mirrored, rtol=_SYMMETRY, atol=0)
        if not np.all(close | (array == mirrored)):
            raise ValueError(
                f"{name}: in Fourier coordinates the values at f and -f must be equal (noise is "
                "stationary)"
            )
    return array


def _check_basis(basis: Any) -> None:
    if not isinstance(basis, Basis):
        raise ValueError(
            f"basis={basis!r}: expected a basis, such as sagd.bases.cosine(spatial_shape)"
        )


def _orthogonal(matrix: ArrayLike) -> jax.Array:
    values = np.asarray(matrix, np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not np.all(np.isfinite(values)):
        raise ValueError(
            f"matrix: shape {values.shape}; expected a square matrix of finite numbers"
        )
    error = float(np.abs(values @ values.T - np.eye(len(values))).max())
    if error > _ORTHOGONALITY:
        raise ValueError(
            f"matrix: it is not orthogonal (its product with its transpose differs from the identity "
            f"by {error:.2g}); expected orthonormal rows"
        )
    return jnp.asarray(values, jnp.result_type(float))


def _mixed(x: jax.Array, mixing: jax.Array) -> jax.Array:
    if x.shape[-1] != mixing.shape[0]:
        raise ValueError(
            f"shape={x.shape}: this basis mixes {mixing.shape[0]} channels, not {x.shape[-1]}"
        )
    return _dot("...c,oc->...o", x, mixing.astype(x.dtype))


_dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def _radius(axes: list[np.ndarray]) -> np.ndarray:
    grids = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.sqrt(sum(g**2 for g in grids))[..., None]


def _log2(n: int) -> int:
    return n.bit_length() - 1


@functools.lru_cache(maxsize=32)
def _dct_matrix(n: int) -> np.ndarray:
    """Row k: the k-th cosine, float64."""
    k, site = np.arange(n)[:, None], np.arange(n)
    rows = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * site + 1) / (2 * n))
    rows[0] /= np.sqrt(2)
    return rows


@functools.lru_cache(maxsize=32)
def _haar_matrix(n: int) -> np.ndarray:
    return np.asarray(haar_along(np.eye(n), axis=0, xp=np))


def haar_along(x: Any, axis: int, norm: str = "ortho", xp: Any = jnp) -> Any:
    """The orthonormal Haar transform along one axis, of a size that is a power of two."""
    details = []
    mean = xp.moveaxis(x, axis, -1)
    while mean.shape[-1] > 1:
        even, odd = mean[..., ::2], mean[..., 1::2]
        details.append((even - odd) / math.sqrt(2))
        mean = (even + odd) / math.sqrt(2)
    return xp.moveaxis(xp.concatenate([mean, *details[::-1]], axis=-1), -1, axis)


def _inverse_haar(x: Any, axis: int, norm: str = "ortho") -> Any:
    x = jnp.moveaxis(x, axis, -1)
    size, mean = x.shape[-1], x[..., :1]
    while mean.shape[-1] < size:
        width = mean.shape[-1]
        detail = x[..., width : 2 * width]
        pair = jnp.stack([mean + detail, mean - detail], axis=-1) / math.sqrt(2)
        mean = pair.reshape(*mean.shape[:-1], 2 * width)
    return jnp.moveaxis(mean, -1, axis)
