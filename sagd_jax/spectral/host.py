"""Coordinates of data, on the host: the bases of `bases.py` in NumPy and float64.

What is estimated from data is written into checkpoints and compared when a run goes on, so it must not
depend on the device: the transforms of `bases.py` run where JAX does, in float32.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.spectral import bases
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.half_grid import opposite


def coordinates(x: ArrayLike, basis: Basis) -> np.ndarray:
    """B x in float64, as `basis.forward` gives it in float32.

    Args:
      x: `(batch, *spatial, channels)`.
      basis: of signals with these spatial sizes.

    Raises:
      ValueError: for other sizes, or channels that the basis does not have.

    >>> x = np.random.default_rng(0).normal(size=(2, 6, 9, 3))
    >>> basis = bases.cosine((6, 9))
    >>> bool(np.allclose(coordinates(x, basis), basis.forward(x), atol=1e-5))
    True
    """
    values = np.asarray(x, np.float64)
    if values.ndim < 3 or values.shape[1:-1] != basis.spatial_shape:
        raise ValueError(
            f"shape={values.shape}: expected (batch, *spatial, channels) with "
            f"spatial={basis.spatial_shape}"
        )
    axes = range(1, values.ndim - 1)
    match basis:
        case bases.Channels():
            mixing = np.asarray(basis.mixing, np.float64)
            if mixing.shape[1] != values.shape[-1]:
                raise ValueError(
                    f"shape={values.shape}: this basis mixes {mixing.shape[1]} channels"
                )
            return coordinates(values @ mixing.T, basis.basis)
        case bases.Matrix():
            rows = np.asarray(basis.rows, np.float64)
            if rows.shape[1] != math.prod(values.shape[1:]):
                raise ValueError(
                    f"shape={values.shape}: this basis is of {rows.shape[1]} values per signal"
                )
            return (values.reshape(len(values), -1) @ rows.T).reshape(values.shape)
        case bases.Fourier():
            spectrum = np.fft.fftn(values, axes=tuple(axes), norm="ortho")
            return spectrum.real - spectrum.imag
        case bases.Cosine():
            for axis in axes:
                values = _cosine(values, axis)
        case bases.Haar():
            for axis in axes:
                values = bases.haar_along(values, axis, xp=np)
    return values


def power(x: ArrayLike, basis: Basis) -> np.ndarray:
    """The square of each coordinate, like x; in Fourier coordinates the mean of f and -f.

    A stationary variance is the same at both, and their mean is |F x|^2.
    """
    square = np.square(coordinates(x, basis))
    inner = basis.basis if isinstance(basis, bases.Channels) else basis
    if not isinstance(inner, bases.Fourier):
        return square
    signals = np.moveaxis(square, -1, 1)
    mirrored = np.stack([[opposite(c) for c in one] for one in signals])
    return (square + np.moveaxis(mirrored, 1, -1)) / 2


def _cosine(x: np.ndarray, axis: int) -> np.ndarray:
    """The orthonormal DCT-II along one axis, by an FFT of the even sites and the odd ones backwards."""
    x = np.moveaxis(x, axis, -1)
    n = x.shape[-1]
    spectrum = np.fft.fft(np.concatenate([x[..., ::2], x[..., 1::2][..., ::-1]], axis=-1))
    turned = (spectrum * np.exp(-0.5j * np.pi * np.arange(n) / n)).real * math.sqrt(2 / n)
    turned[..., 0] /= math.sqrt(2)
    return np.moveaxis(turned, -1, axis)
