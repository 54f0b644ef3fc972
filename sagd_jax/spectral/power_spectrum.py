"""The power spectrum of a data set: its estimate, radial profile and power law.

For examples x with mean m, on the half grid of `half_grid.py`:

    S(f) = E |F (x - m)(f)|^2                                         power spectrum
    V(f) = 1 / (F C^-1 F*)(f, f),  C = Cov(x) + ridge                 innovation spectrum

V(f) is what is left of the power at f once all other frequencies have predicted what they can; it
equals S for a stationary Gaussian field. Images are not stationary (borders are dark, strokes are
connected), so their V is small and nearly flat, while stationary noise that was added to a band
cannot be predicted and stays: V shows corruptions that S hides. It needs several times more
examples than sites.

In another basis B of `bases.py` (the cosine one has no periodic borders, so no taper is needed) S is the
mean of the squares of the coordinates B (x - m), on the basis' whole grid.

Sources: the periodogram with a Hann taper, Welch 1967; V is the variance of the innovation, the reciprocal of
the spectrum's inverse (Capon 1969).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import cast

import numpy as np

from sagd_jax.spectral import arguments, bases, host
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.frequencies import BASES, radial_frequency
from sagd_jax.spectral.half_grid import (
    check_spatial_shape,
    degrees_of_freedom,
    grid_size,
    half_grid_shape,
    hermitian_multiplicity,
    to_half_grid,
    unique_bins,
)
from sagd_jax.system.errors import check_choice

MEANS = ("channel", "site", "none")
WINDOWS = ("auto", "none", "hann")
_RIDGE = 1e-3  # of the mean variance per site
_MAX_SITES = 2048  # of the innovation spectrum: it inverts a matrix of this size
_MIN_EXAMPLES_PER_SITE = 3


@dataclasses.dataclass(frozen=True)
class PowerSpectrum:
    """An estimate of S(f).

    Attributes:
      spatial_shape: of the examples.
      power: S on the half grid, float64, `(*spatial[:-1], spatial[-1] // 2 + 1, channels)`, in the
        unitary DFT: white data of variance v have power v everywhere. In the cosine basis on its
        whole grid, `(*spatial, channels)`.
      standard_error: of `power`, from the spread over examples, which count as independent.
      innovation: V on the half grid, mean over channels, or None where examples are too few.
      num_examples: used.
      mean: `(channels,)`, of the values.
      window: that was applied, `"none"` or `"hann"`.
      basis: of the coordinates, `"fourier"` or `"cosine"`.
    """

    spatial_shape: tuple[int, ...]
    power: np.ndarray
    standard_error: np.ndarray
    innovation: np.ndarray | None
    num_examples: int
    mean: np.ndarray
    window: str
    basis: str = "fourier"


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """S(f) = scale r(f)^(2 alpha), r in cycles per sample: `alpha` as for `spectra.power_law`.

    Made by `fit_power_law`; `standard_error` is that of alpha, `scale` the power at r = 1.
    """

    alpha: float
    standard_error: float
    scale: float


def estimate(
    batches: np.ndarray | Iterable[np.ndarray],
    *,
    mean: str = "channel",
    window: str = "auto",
    basis: str = "fourier",
) -> PowerSpectrum:
    """Estimates the power spectrum of a data set in two bounded passes.

    Args:
      batches: examples `(n, *spatial, channels)`, or an iterable of such arrays that can be gone
        through twice.
      mean: m, which is subtracted first: one number per `"channel"`, one per `"site"` and channel
        (a pattern that all examples share then counts as no energy), or `"none"`.
      window: `"hann"` tapers every axis, which keeps the jump between opposite borders of
        non-periodic signals from leaking over the spectrum, at the price of a blur of one bin;
        `"auto"` does so where that jump is large against that of neighbouring sites, and never for
        the cosine basis, whose borders reflect.
      basis: `"fourier"` or `"cosine"`. Its innovation spectrum is estimated for Fourier alone.

    Raises:
      ValueError: for fewer than two examples, shapes that differ, or an unknown option.

    >>> x = np.random.default_rng(0).normal(size=(500, 8, 8, 1))
    >>> spectrum = estimate(x)
    >>> spectrum.power.shape, bool(np.all(np.abs(spectrum.power[1:, 1:] - 1) < 0.3))
    ((8, 5, 1), True)
    """
    for name, value, allowed in (
        ("mean", mean, MEANS),
        ("window", window, WINDOWS),
        ("basis", basis, BASES),
    ):
        check_choice(name, value, allowed)
    # An array of JAX is one too: gone through, it would be examples with an axis less.
    pieces = cast(Iterable[np.ndarray], [batches] if hasattr(batches, "shape") else batches)
    if not isinstance(pieces, Iterable) or iter(pieces) is pieces:
        raise ValueError(
            f"batches={arguments.quoted(batches)}: expected an array, or arrays that can be gone "
            "through twice, such as a list of them"
        )
    count, centre, jumps = first_pass(pieces)
    spatial = centre.shape[:-1]
    channel_mean = centre.mean(axis=tuple(range(len(spatial))))
    if window == "auto":
        window = "hann" if max(jumps) > 4 and basis == "fourier" else "none"
    taper = taper_of(spatial, window)
    offset = {"channel": channel_mean, "site": centre, "none": np.zeros(1)}[mean]
    sites = grid_size(spatial)
    in_fourier = basis == "fourier"
    wanted = in_fourier and sites <= _MAX_SITES and count >= _MIN_EXAMPLES_PER_SITE * sites
    grid = half_grid_shape(spatial) if in_fourier else spatial
    first = np.zeros((*grid, centre.shape[-1]))
    second = np.zeros_like(first)
    products = np.zeros((centre.shape[-1], sites, sites)) if wanted else None
    axes = tuple(range(1, len(spatial) + 1))
    for x in pieces:
        x = np.asarray(x, np.float64) - offset
        if products is not None:
            flat = (x + (offset - centre)).reshape(len(x), sites, -1)
            products += np.einsum("nac,nbc->cab", flat, flat, optimize=True)
        if in_fourier:
            spectrum = np.abs(np.fft.rfftn(x * taper, axes=axes, norm="ortho")) ** 2
        else:
            spectrum = host.power(x * taper, bases.KINDS[basis](spatial))
        first += spectrum.sum(axis=0)
        second += np.square(spectrum).sum(axis=0)
    power = first / count
    spread = np.maximum(second / count - power**2, 0) * count / (count - 1)
    return PowerSpectrum(
        spatial_shape=spatial,
        power=power,
        standard_error=np.sqrt(spread / count),
        innovation=None if products is None else _innovation(products, count, spatial),
        num_examples=count,
        mean=channel_mean,
        window=window,
        basis=basis,
    )


def variance_in(batches: np.ndarray | Iterable[np.ndarray], basis: Basis) -> np.ndarray:
    """The variance of data per coordinate of any basis, about the mean of each channel.

    Args:
      batches: as in `estimate`.
      basis: of `bases.py`.

    Returns:
      Float64 `(*spatial, channels)`, on the basis' whole grid; the same for f and -f in Fourier
      coordinates.

    Raises:
      ValueError: for fewer than two examples, or shapes that the basis does not have.

    >>> x = np.random.default_rng(0).normal(size=(500, 8, 8, 1))
    >>> variance_in(x, bases.haar((8, 8))).shape
    (8, 8, 1)
    """
    pieces = [batches] if isinstance(batches, np.ndarray) else batches
    count, centre, _ = first_pass(pieces)
    channel_mean = centre.mean(axis=tuple(range(centre.ndim - 1)))
    total = np.zeros(())
    for x in pieces:
        total = total + host.power(np.asarray(x, np.float64) - channel_mean, basis).sum(axis=0)
    return total / count


def radial_profile(spectrum: PowerSpectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over directions and channels, in rings one bin of the longest axis wide.

    Args:
      spectrum: of `estimate`.

    Returns:
      (radius, power, standard error of the power): float64 `(rings,)`, radius in cycles per sample;
      the zero frequency is left out.

    >>> x = np.random.default_rng(0).normal(size=(100, 8, 1))
    >>> radius, power, error = radial_profile(estimate(x, window="none"))
    >>> radius
    array([0.125, 0.25 , 0.375, 0.5  ])
    >>> bool(np.all(np.abs(power - 1) < 5 * error))
    True
    """
    grid = _Grid.of(spectrum)
    radius = grid.radius
    ring = np.round(radius / grid.step).astype(int)
    ring[radius == 0] = -1
    rings = np.unique(ring[ring >= 0])
    power, error = spectrum.power.mean(axis=-1), spectrum.standard_error
    # Channels of one example go together, so their errors are averaged, not shrunk.
    error = error.mean(axis=-1)
    result = []
    for number in rings:
        chosen = ring == number
        multiplicity = grid.multiplicity[chosen]
        w = multiplicity / multiplicity.sum()
        result.append(
            (
                (w * radius[chosen]).sum(),
                (w * power[chosen]).sum(),
                math.sqrt(grid.dependent * ((w * error[chosen]) ** 2 / multiplicity).sum()),
            )
        )
    radii, powers, errors = np.array(result).T
    return radii, powers, errors


def fit_power_law(spectrum: PowerSpectrum, omit: np.ndarray | None = None) -> PowerLaw:
    """Least squares of log S on log r over all frequencies but zero, all directions and channels.

    Args:
      omit: bins to leave out, such as anomalies: bool on the grid of `spectrum.power`.

    Raises:
      ValueError: where fewer than three bins with power are left.
    """
    grid = _Grid.of(spectrum)
    bins = grid.unique.copy()
    power = spectrum.power.mean(axis=-1)
    bins &= power > 0
    if omit is not None:
        bins &= ~omit
    if bins.sum() < 3:
        raise ValueError("omit: fewer than three frequencies with power are left")
    log_r = np.log(grid.radius[bins])
    weights = grid.degrees_of_freedom[bins]
    columns = np.stack([np.ones_like(log_r), log_r], axis=1)
    y = np.log(power[bins])
    normal = columns.T @ (columns * weights[:, None])
    intercept, slope = np.linalg.solve(normal, columns.T @ (weights * y))
    residual = y - columns @ np.array([intercept, slope])
    variance = (weights * residual**2).sum() / max(len(y) - 2, 1)
    error = math.sqrt(variance * np.linalg.inv(normal)[1, 1])
    return PowerLaw(slope / 2, error / 2, math.exp(intercept))


def energy_share(spectrum: PowerSpectrum, mask: np.ndarray) -> float:
    """Share of the data's energy about its mean that lies in `mask`, bool on the grid of its power.

    >>> x = np.random.default_rng(0).normal(size=(100, 8, 1))
    >>> spectrum = estimate(x, window="none")
    >>> energy_share(spectrum, np.ones(5, bool))
    1.0
    """
    energy = spectrum.power.mean(axis=-1) * _Grid.of(spectrum).multiplicity
    return float(energy[mask].sum() / energy.sum())


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Where a spectrum lies: all arrays have the shape of its power, without channels.

    Attributes:
      radius: in cycles per sample.
      step: between two bins of the longest axis.
      multiplicity: how many coordinates a bin stands for.
      dependent: how many of those are one: a bin of weight 2 is two equal ones, and so is a conjugate
        pair on a self-conjugate plane, so that half of Fourier's are independent.
      unique: each pair {f, -f} but zero once.
      degrees_of_freedom: of the coefficient in each bin.
    """

    radius: np.ndarray
    step: float
    multiplicity: np.ndarray
    dependent: int
    unique: np.ndarray
    degrees_of_freedom: np.ndarray

    @classmethod
    def of(cls, spectrum: PowerSpectrum) -> _Grid:
        shape, longest = spectrum.spatial_shape, max(spectrum.spatial_shape)
        radius = radial_frequency(shape, basis=spectrum.basis)
        if spectrum.basis != "fourier":
            ones = np.ones(radius.shape)
            return cls(radius, 1 / (2 * longest), ones, 1, radius > 0, ones)
        multiplicity = np.broadcast_to(hermitian_multiplicity(shape), radius.shape)
        return cls(
            radius, 1 / longest, multiplicity, 2, unique_bins(shape), degrees_of_freedom(shape)
        )


def first_pass(pieces: Iterable[np.ndarray]) -> tuple[int, np.ndarray, list[float]]:
    """Number of examples, their mean, and per axis the jump between borders over that inside."""
    count, total, shape = 0, np.zeros(()), None
    across = inside = np.zeros(0)
    for piece in pieces:
        if np.ndim(piece) < 3 or isinstance(piece, list):
            raise ValueError("batches: expected arrays of shape (n, *spatial, channels)")
        x = arguments.numbers("batches", piece)
        if shape is None:
            shape = x.shape[1:]
            check_spatial_shape(shape[:-1])
            total = np.zeros(shape)
            across, inside = np.zeros(len(shape) - 1), np.zeros(len(shape) - 1)
        if x.shape[1:] != shape:
            raise ValueError(f"batches: examples of shapes {shape} and {x.shape[1:]}")
        count += len(x)
        total = total + x.sum(axis=0)
        for axis in range(len(shape) - 1):
            steps = np.square(np.diff(x, axis=axis + 1))
            inside[axis] += steps.mean(axis=tuple(range(1, x.ndim))).sum() if steps.size else 0
            ends = np.take(x, 0, axis + 1) - np.take(x, -1, axis + 1)
            across[axis] += np.square(ends).mean(axis=tuple(range(1, ends.ndim))).sum()
    if count < 2:
        raise ValueError(f"batches: {count} examples; expected at least two")
    jumps = [float(a / i) if i > 0 else 0.0 for a, i in zip(across, inside, strict=True)]
    return count, total / count, jumps


def taper_of(spatial: tuple[int, ...], window: str) -> np.ndarray:
    """The window with a channel axis, of mean square 1."""
    taper = np.ones((*spatial, 1))
    if window == "hann":
        for axis, n in enumerate(spatial):
            if n > 2:
                one = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
                taper *= one.reshape(-1, *[1] * (len(spatial) - axis))
    return taper / np.sqrt(np.mean(np.square(taper)))


def _innovation(products: np.ndarray, count: int, spatial: tuple[int, ...]) -> np.ndarray:
    sites = products.shape[-1]
    result = np.zeros(half_grid_shape(spatial))
    for product in products:
        matrix = product / count
        level = np.trace(matrix) / sites
        if level == 0:
            continue
        matrix[np.diag_indices(sites)] += _RIDGE * level
        # The inverse of a sample covariance is too large by this factor (inverse Wishart).
        inverse = np.linalg.inv(matrix) * (1 - sites / count)
        inverse = inverse.reshape(*spatial, *spatial)
        axes = tuple(range(len(spatial)))
        inverse = np.fft.fftn(inverse, axes=axes, norm="ortho")
        inverse = np.fft.ifftn(inverse, axes=tuple(a + len(spatial) for a in axes), norm="ortho")
        diagonal = np.real(np.diagonal(inverse.reshape(sites, sites))).reshape(spatial)
        result += 1 / to_half_grid(diagonal)
    return result / len(products)
