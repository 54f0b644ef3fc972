"""Dense float64 NumPy counterparts of the package's operators, written from the definitions alone.

They share no code with the package: spectra are spread over the full complex grid, and the columns
of a matrix are what a full complex FFT makes of the unit vectors.
"""

import numpy as np


def full_grid(half, spatial_shape):
    """Half-grid values `(..., channels)` on the full grid: value at -f wherever f was cut off."""
    half = np.asarray(half, np.float64)
    full = np.empty((*spatial_shape, half.shape[-1]))
    last = spatial_shape[-1]
    for index in np.ndindex(*spatial_shape):
        source = index
        if index[-1] > last // 2:
            source = tuple(-k % n for k, n in zip(index, spatial_shape, strict=True))
        full[index] = half[source]
    return full


def spectral_filter(x, gain):
    """F* diag(gain) F x for x `(..., *spatial, channels)` and a gain `(*spatial, channels)`."""
    axes = tuple(range(-np.ndim(gain), -1))
    return np.fft.ifftn(np.fft.fftn(x, axes=axes) * gain, axes=axes).real


def matrix(gain):
    """The matrix of `spectral_filter` on signals raveled in C order, `(d C, d C)`."""
    units = np.eye(gain.size).reshape(-1, *gain.shape)
    return spectral_filter(units, gain).reshape(gain.size, gain.size).T


def covariance_matrix(covariance, channels):
    """Sigma as a matrix, from the covariance's `variance` array and shape only."""
    full = full_grid(covariance.variance, covariance.spatial_shape)
    return matrix(np.broadcast_to(full, (*full.shape[:-1], channels)))


def on_support(values, function, tolerance=1e-9):
    """function(values) where values are positive beyond rounding, else 0."""
    support = values > tolerance * values.max()
    return np.where(support, function(np.where(support, values, 1.0)), 0.0)


def spectral_function(sigma, function):
    """V h(L) V' of a symmetric matrix sigma = V L V', with h = 0 on its null space."""
    values, vectors = np.linalg.eigh(sigma)
    return (vectors * on_support(values, function)) @ vectors.T


def log_prob(x, sigma):
    """log N(x; 0, sigma) on the range of sigma, for x `(n, size)`."""
    values, vectors = np.linalg.eigh(sigma)
    square = (x @ vectors) ** 2 @ on_support(values, lambda v: 1 / v)
    return -0.5 * (square + np.sum(on_support(values, lambda v: np.log(2 * np.pi * v))))


def power(x, spatial_axes):
    """|F x|^2 on the full grid, unitary F."""
    return np.abs(np.fft.fftn(x, axes=spatial_axes, norm="ortho")) ** 2


def is_own_conjugate(spatial_shape):
    """Which bins of the full grid are their own conjugate, hence real for real signals."""
    index = np.indices(spatial_shape)
    return np.all([2 * k % n == 0 for k, n in zip(index, spatial_shape, strict=True)], axis=0)
