"""Noises that are known by a name: offset, multi-resolution, shared frames, Matern, colours.

With d the number of sites, r the radial frequency (1) in cycles per sample, D the number of axes:

    offset            white + strength times one constant per image and channel: lambda_0 = 1 +
                      strength^2 d, the rest 1
    multiresolution   white + sum over k of discount^k times white noise of size n / 2^k, upsampled
    shared frames     over the frequency of time: (1 + a^2 T) / (1 + a^2) at 0, 1 / (1 + a^2) elsewhere,
                      T frames, a the strength of what they share
    Matern            power (2 nu / l^2 + (2 pi r)^2)^-(nu + D / 2), of length l and smoothness nu
    colours           power r^s: white 0, pink -1, brown -2, blue 1, violet 2

All are normalised by equation (4) of `covariance.py`.

Sources: offset noise, N. Guttenberg 2023; pyramid noise, as in kohya-ss/sd-scripts; mixed noise over
frames, PYoCo (arXiv 2305.10474); Matern fields, Lindgren et al. 2011; colours of noise as everywhere.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral import bases, host
from sagd_jax.spectral.covariance import Covariance, FourierCovariance, normalised
from sagd_jax.spectral.frequencies import BASES, radial_frequency
from sagd_jax.spectral.half_grid import check_spatial_shape, grid_size, half_grid_shape
from sagd_jax.spectral.spectra import BASIS, from_log_amplitude, on_grid, power_law
from sagd_jax.system import kinds, schema
from sagd_jax.system.errors import check_choice

SLOPES = {"white": 0.0, "pink": -1.0, "brown": -2.0, "blue": 1.0, "violet": 2.0}  # of the power
_COLUMNS = 64  # of an upsampling's matrix that are transformed at once


def offset(spatial_shape: Sequence[int], strength: float) -> FourierCovariance:
    """Offset noise: white, plus `strength` times one standard normal per image and channel.

    Diagonal in the Fourier, cosine and Haar bases alike (`covariance.coefficients`): the constant alone
    has another variance, 1 + strength^2 d before the normalisation, d the number of sites.

    Args:
      spatial_shape: one to three sizes.
      strength: standard deviation of the constant, >= 0; 0.1 is usual for images of 64 x 64 latents.

    Raises:
      ValueError: for a strength that is negative or not finite.

    >>> import sagd_jax as sagd
    >>> variance = sagd.offset((8, 8), strength=0.5).variance
    >>> float(variance[0, 0, 0] / variance[0, 1, 0])  # 1 + 0.25 * 64
    17.0
    """
    strength = _check_positive("strength", strength, zero=True)
    values = np.ones((*half_grid_shape(spatial_shape), 1))
    values[(0,) * values.ndim] = 1 + strength**2 * grid_size(spatial_shape)
    return normalised(values, spatial_shape, f"strength={strength}")


def multiresolution(
    spatial_shape: Sequence[int],
    discount: float,
    levels: int,
    basis: str = "fourier",
    *,
    white: float = 1.0,
) -> Covariance:
    """Multi-resolution ("pyramid") noise: white noise of several sizes, upsampled and added up.

    Level k = 1 to `levels` is white noise of sizes max(n // 2^k, 1), upsampled (bi- or tri-)linearly
    with half-pixel centres (align_corners=False), times discount^k; white noise of the full size is
    added. Their covariance, I + sum of discount^(2 k) U_k U_k^T, is computed exactly and its diagonal in
    the basis is kept.

    What is not diagonal is lost: this is the stationary (in the cosine basis, reflecting) noise of the
    same spectrum, not the same noise. Upsampling from n / 2^k mixes each frequency with its aliases, and
    borders are clamped, which Fourier's do not know: of the covariance's Frobenius norm at 8 x 8 and
    discount 0.4 the rest is 0.058 in Fourier and 0.013 in cosine coordinates.

    Args:
      spatial_shape: one to three sizes.
      discount: amplitude of each level over that before it, >= 0.
      levels: below the full size, >= 0.
      basis: `"fourier"`, or `"cosine"`, where the loss is smaller.
      white: variance of the full size. `pyramid_noise_like` of kohya-ss/sd-scripts counts the full size
        twice, as its input and as its first level: 2. `multi_res_noise_like` of Marigold (every_layer)
        begins at half of the size with the weight 1, which is discount^2 here.

    Raises:
      ValueError: for an argument that is not as above.

    >>> import sagd_jax as sagd
    >>> sagd.multiresolution((8, 8), discount=0.4, levels=3, basis="cosine").rank(channels=1)
    64
    """
    shape = check_spatial_shape(spatial_shape)
    check_choice("basis", basis, BASES)
    discount = _check_positive("discount", discount, zero=True)
    white = _check_positive("white", white)
    try:
        count = operator.index(levels)
    except TypeError:
        count = -1
    if count < 0:
        raise ValueError(f"levels={levels!r}: expected a whole number >= 0")
    total = np.full(half_grid_shape(shape) if basis == "fourier" else shape, white)
    for k in range(1, count + 1):
        axes = [_upsampled_power(n, max(n >> k, 1), basis) for n in shape]
        if basis == "fourier":
            axes[-1] = axes[-1][: shape[-1] // 2 + 1]
        # Sizes are upsampled axis by axis, so the diagonal is an outer product.
        total += discount ** (2 * k) * functools.reduce(np.multiply.outer, axes)
    return on_grid(total, shape, basis)


def shared_frames(
    spatial_shape: Sequence[int], strength: float, time_axis: int = 0
) -> FourierCovariance:
    """Noise that frames of a video share in part: PYoCo's mixed noise.

    Each frame has sqrt(a^2 / (1 + a^2)) times one draw for all and sqrt(1 / (1 + a^2)) times its own, so
    that two frames correlate by a^2 / (1 + a^2). Over the frequency of time, with T frames, lambda is
    (1 + a^2 T) / (1 + a^2) at zero and 1 / (1 + a^2) elsewhere.

    Args:
      spatial_shape: one to three sizes, those of time among them.
      strength: a >= 0; 0 is white.
      time_axis: which of them is time.

    Raises:
      ValueError: for a negative strength, or an axis that is none of these.

    >>> import sagd_jax as sagd
    >>> sagd.shared_frames((4, 8, 8), strength=1.0).variance[:, 0, 0, 0]
    Array([2.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    shape = check_spatial_shape(spatial_shape)
    strength = _check_positive("strength", strength, zero=True)
    if time_axis not in range(len(shape)):
        raise ValueError(f"time_axis={time_axis!r}: expected an axis among 0 to {len(shape) - 1}")
    values = np.ones((*half_grid_shape(shape), 1))
    np.moveaxis(values, time_axis, 0)[0] = 1 + strength**2 * shape[time_axis]
    return normalised(values / (1 + strength**2), shape, f"strength={strength}")


def matern(
    spatial_shape: Sequence[int], length: float, smoothness: float, *, basis: str = "fourier"
) -> Covariance:
    """Noise with a Matern spectrum: power (2 nu / l^2 + (2 pi r)^2)^-(nu + D / 2) over D axes.

    The correlation at a distance h is that of Matern with sqrt(2 nu) h / l, but for the grid: the
    spectrum is sampled at the grid's frequencies, without aliases.

    Args:
      spatial_shape: one to three sizes.
      length: l > 0, in sites.
      smoothness: nu > 0; 0.5 is exponential, large values tend to a Gaussian.
      basis: `"fourier"`, or `"cosine"`, whose lowest frequency is 1 / (2 n), half of Fourier's.

    Raises:
      ValueError: for a length or smoothness that is not positive, or so large that part of the spectrum
        underflows float32.

    >>> import sagd_jax as sagd
    >>> [round(float(v), 3) for v in sagd.matern((8,), length=2.0, smoothness=0.5).variance[:, 0]]
    [4.274, 1.233, 0.393, 0.184, 0.106]
    """
    length = _check_positive("length", length)
    smoothness = _check_positive("smoothness", smoothness)
    radius = radial_frequency(spatial_shape, basis=basis)
    base = 2 * smoothness / length**2 + (2 * np.pi * radius) ** 2
    exponent = -(smoothness + len(check_spatial_shape(spatial_shape)) / 2)
    what = f"length={length}, smoothness={smoothness}"
    return from_log_amplitude(exponent / 2 * np.log(base), spatial_shape, what, basis)


def colour(spatial_shape: Sequence[int], colour: str, *, basis: str = "fourier") -> Covariance:
    """Noise of a colour: power r^s with s = 0 white, -1 pink, -2 brown, 1 blue, 2 violet.

    These slopes are of the power per frequency, whatever the number of axes: `power_law` with half of
    them as alpha, 0, -1/2, -1, 1/2, 1. DC has the weight of the lowest frequency.

    Args:
      spatial_shape: one to three sizes.
      colour: one of these names.
      basis: `"fourier"`, or `"cosine"`, whose lowest frequency is 1 / (2 n), half of Fourier's.

    Raises:
      ValueError: for another name.

    >>> import sagd_jax as sagd
    >>> [round(float(v), 3) for v in sagd.colour((8,), "pink").variance[:, 0]]
    [1.627, 1.627, 0.814, 0.542, 0.407]
    """
    check_choice("colour", colour, SLOPES)
    return power_law(spatial_shape, SLOPES[colour] / 2, basis=basis)


def _check_positive(name: str, value: float, zero: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    # Negated, so that NaN fails too.
    if not (0 < number < np.inf or (zero and number == 0)):
        raise ValueError(f"{name}={value!r}: expected a finite number {'>=' if zero else '>'} 0")
    return number


def _upsampled_power(n: int, m: int, basis: str) -> np.ndarray:
    """Diagonal of U U^T in the basis over n sites, U the linear upsampling from m sites: `(n,)`."""
    place = np.maximum((np.arange(n) + 0.5) * m / n - 0.5, 0)
    low = place.astype(int)
    high = np.minimum(low + 1, m - 1)
    sites, own = np.arange(n), bases.KINDS[basis]((n,))
    total = np.zeros(n)
    for first in range(0, m, _COLUMNS):  # a part of the matrix: long axes would not fit
        columns = np.zeros((min(_COLUMNS, m - first), n))
        for source, weight in ((low, 1 - (place - low)), (high, place - low)):
            inside = (source >= first) & (source < first + len(columns))
            columns[source[inside] - first, sites[inside]] += weight[inside]
        total += host.power(columns[..., None], own)[..., 0].sum(axis=0)
    return total


_STRENGTH = schema.field(
    0.1, "offset: of the constant; shared_frames: of what frames share, over their own", low=0
)
# What a config can name besides those of `spectra.py`.
KINDS = {
    "offset": kinds.kind(offset, strength=_STRENGTH),
    "multiresolution": kinds.kind(
        multiresolution,
        discount=schema.field(0.4, "amplitude of each level over that before it", low=0),
        levels=schema.field(
            4, "sizes below the full one, each half of that before", low=0, high=64
        ),
        white=schema.field(1.0, "variance of the full size; 2 for kohya's pyramid noise", above=0),
        basis=BASIS,
    ),
    "shared_frames": kinds.kind(
        shared_frames,
        strength=_STRENGTH,
        time_axis=schema.field(0, "which axis is time", low=0, high=2),
    ),
    "matern": kinds.kind(
        matern,
        length=schema.field(4.0, "of correlation, in sites", above=0),
        smoothness=schema.field(1.5, "nu: 0.5 is exponential", above=0),
        basis=BASIS,
    ),
    "colour": kinds.kind(
        colour,
        colour=schema.field("white", "its name", choices=tuple(SLOPES)),
        basis=BASIS,
    ),
}
