"""Transforms of real signals along their spatial axes, and multiplication in the Fourier domain.

`multiply` is y = F* diag(g) F x for real x and a real, symmetric gain g; `hartley` and `along_axes` go to
the coordinates of `bases.py`.

F is the unitary DFT over the spatial axes. Two routes compute the same numbers (to rounding):

* DFT matrices, for axes up to `MATRIX_LIMIT`: a few real matrix products, which a compiler shards
  over the batch without any communication and which suit matrix units;
* the FFT, for longer axes. XLA's partitioner replicates an FFT's operand even when only the batch
  is sharded (jax#13081, jax#15680), so under `jax.set_mesh` the call is wrapped in `jax.shard_map`
  over the batch, which keeps every transform on its own device.

Everything is real float32 (float64 if the input is): FFTs of bfloat16 do not exist, and complex128
does not on TPU. Matrix products ask for the highest precision, since the default of TPUs and recent
GPUs is a fast one with 8 to 10 bits of mantissa.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from sagd_jax.spectral.half_grid import hermitian_multiplicity

MATRIX_LIMIT = 512


def multiply(x: jax.Array, gain: jax.Array, spatial_axes: int | None = None) -> jax.Array:
    """F* diag(gain) F x over the spatial axes.

    Args:
      x: real, `(..., *spatial, channels)`, float32 or float64.
      gain: real, on the half grid, `(*spatial[:-1], spatial[-1] // 2 + 1, 1 or channels)`; with one axis
        more in front, `(batch, ...)`, a gain for each example of x of shape
        `(batch, *spatial, channels)`.
      spatial_axes: how many there are; by default as many as a gain without a batch axis says.

    Returns:
      An array like `x`.
    """
    if spatial_axes is None:
        spatial_axes = gain.ndim - 1
    flat = x.reshape(-1, *x.shape[-spatial_axes - 1 :])
    gain = gain.astype(x.dtype)
    if max(flat.shape[1:-1]) <= MATRIX_LIMIT:
        result = _multiply_by_matrices(flat, gain)
    else:
        result = _on_each_shard(_multiply_by_fft)(flat, gain)
    return result.reshape(x.shape)


def _multiply_by_fft(x: jax.Array, gain: jax.Array) -> jax.Array:
    axes = tuple(range(1, x.ndim - 1))
    spectrum = jnp.fft.rfftn(x, axes=axes, norm="ortho")
    return jnp.fft.irfftn(spectrum * gain, s=x.shape[1:-1], axes=axes, norm="ortho")


def hartley(x: jax.Array) -> jax.Array:
    """Re F x - Im F x, F the unitary DFT over all spatial axes of x: `(batch, *spatial, channels)`."""
    if max(x.shape[1:-1]) > MATRIX_LIMIT:
        return _on_each_shard(_hartley_by_fft)(x)
    # Letters as in `_multiply_by_matrices`; the last matrix subtracts the imaginary part at once.
    leading = "ijl"[: x.ndim - 3]
    dtype = str(x.dtype)
    dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    if not leading:
        return dot("bwc,wk->bkc", x, _hartley_matrix(x.shape[1], dtype))
    y = dot(f"b{leading}wc,wpk->b{leading}pkc", x, _whole_dft(x.shape[-2], dtype))
    for axis in leading[1:]:
        matrix = _complex_dft(x.shape[1 + leading.index(axis)], dtype)
        y = dot(f"b{leading}pkc,{axis}pzq->b{leading.replace(axis, 'z')}qkc", y, matrix)
    first = _complex_dft(x.shape[1], dtype)
    return dot(f"b{leading}pkc,ipz->bz{leading[1:]}kc", y, first[..., 0] - first[..., 1])


def along_axes(
    x: jax.Array,
    matrix_of: Callable[[int], np.ndarray],
    fast: Callable[..., jax.Array],
    transposed: bool = False,
) -> jax.Array:
    """Applies a transform along each spatial axis of x: `(batch, *spatial, channels)`.

    Args:
      x: float32 or float64.
      matrix_of: n to its orthogonal matrix, whose row k makes coordinate k.
      fast: `(x, axis=, norm="ortho")` to the same along one axis, for those longer than
        `MATRIX_LIMIT`.
      transposed: whether the transposed matrix is meant; `fast` then has to be that transform.
    """
    if max(x.shape[1:-1]) > MATRIX_LIMIT:

        def along_all(x: jax.Array) -> jax.Array:
            for axis in range(1, x.ndim - 1):
                x = fast(x, axis=axis, norm="ortho")
            return x

        return _on_each_shard(along_all)(x)
    letters = "ijk"[: x.ndim - 2]
    for position, axis in enumerate(letters, start=1):
        matrix = matrix_of(x.shape[position]).astype(x.dtype)
        product = f"{axis}z" if transposed else f"z{axis}"
        x = jnp.einsum(
            f"b{letters}c,{product}->b{letters.replace(axis, 'z')}c",
            x,
            matrix,
            precision=jax.lax.Precision.HIGHEST,
        )
    return x


def _hartley_by_fft(x: jax.Array) -> jax.Array:
    spectrum = jnp.fft.fftn(x, axes=tuple(range(1, x.ndim - 1)), norm="ortho")
    return spectrum.real - spectrum.imag


def _on_each_shard(function):
    """Maps `function(x, *others)` over the shards of x's leading axis, under a mesh set as context.

    Of the others, arrays with as many axes as x are split like it, and smaller ones are whole.
    """

    def mapped(x, *others):
        mesh = jax.sharding.get_abstract_mesh()
        automatic = all(kind == AxisType.Auto for kind in mesh.axis_types)
        if mesh.empty or mesh.size == 1 or not automatic or x.shape[0] % mesh.size:
            return function(x, *others)
        batch = PartitionSpec(mesh.axis_names)
        specs = tuple(batch if other.ndim == x.ndim else PartitionSpec() for other in others)
        return jax.shard_map(function, in_specs=(batch, *specs), out_specs=batch)(x, *others)

    return mapped


def _multiply_by_matrices(x: jax.Array, gain: jax.Array) -> jax.Array:
    # A spectrum is carried as its real and imaginary parts on an axis p of its own, so that each
    # axis costs one real product. Letters: b batch, s the leading spatial axes, w the last one,
    # k its half grid, c channels.
    spatial = x.shape[1:-1]
    leading = "ijl"[: len(spatial) - 1]
    dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
    y = dot(f"b{leading}wc,wpk->b{leading}pkc", x, _real_dft(spatial[-1], str(x.dtype)))
    for axis in leading:
        matrix = _complex_dft(spatial[leading.index(axis)], str(x.dtype))
        y = dot(f"b{leading}pkc,{axis}pzq->b{leading.replace(axis, 'z')}qkc", y, matrix)
    y = y * jnp.expand_dims(gain, gain.ndim - 2)
    for axis in leading:
        matrix = _complex_dft(spatial[leading.index(axis)], str(x.dtype))
        # The matrix is orthogonal: its transpose is the inverse.
        y = dot(f"b{leading}pkc,zq{axis}p->b{leading.replace(axis, 'z')}qkc", y, matrix)
    inverse = _real_dft(spatial[-1], str(x.dtype)) * hermitian_multiplicity(spatial[-1:]).astype(
        x.dtype
    )
    return dot(f"b{leading}pkc,wpk->b{leading}wc", y, inverse)


@functools.lru_cache(maxsize=32)
def _real_dft(n: int, dtype: str) -> np.ndarray:
    """(n, 2, n // 2 + 1): signal to real and imaginary part of its unitary DFT's half grid."""
    angle = _angles(n)[:, : n // 2 + 1]
    return (np.stack([np.cos(angle), -np.sin(angle)], axis=1) / math.sqrt(n)).astype(dtype)


@functools.lru_cache(maxsize=32)
def _whole_dft(n: int, dtype: str) -> np.ndarray:
    """(n, 2, n): signal to real and imaginary part of its unitary DFT, all of it."""
    angle = _angles(n)
    return (np.stack([np.cos(angle), -np.sin(angle)], axis=1) / math.sqrt(n)).astype(dtype)


@functools.lru_cache(maxsize=32)
def _hartley_matrix(n: int, dtype: str) -> np.ndarray:
    angle = _angles(n)
    return ((np.cos(angle) + np.sin(angle)) / math.sqrt(n)).astype(dtype)


@functools.lru_cache(maxsize=32)
def _complex_dft(n: int, dtype: str) -> np.ndarray:
    """(n, 2, n, 2): the unitary DFT of (real, imaginary) pairs, a real orthogonal matrix."""
    angle = _angles(n)
    cos, sin = np.cos(angle), np.sin(angle)
    blocks = [[cos, -sin], [sin, cos]]  # [p][q]: (R + iI)(cos - i sin)
    matrix = np.stack([np.stack(row, axis=-1) for row in blocks], axis=1)
    return (matrix / math.sqrt(n)).astype(dtype)


def _angles(n: int) -> np.ndarray:
    # The product is reduced modulo n in integers, which keeps the angles exact for large n.
    k = np.arange(n)
    return 2 * np.pi * (np.outer(k, k) % n) / n
