"""Builders of covariances: how the Fourier diagonal of Sigma is filled.

With r(f) the radial frequency (equation 1 of `frequencies.py`) and w the amplitude per frequency:

(2) Power law: w(f) = r(f)^alpha. alpha > 0 tilts the noise to high frequencies, alpha < 0 to low
    ones, 0 is white. r(0) = 0 needs a policy for DC: `nearest` gives it the weight of the lowest
    non-zero frequency, `unit` the weight 1, `floor` is w = (r + 1e-10)^alpha everywhere.
(3) Bands: w(f) = 1 where low <= r(f) < high, else 0. A band whose `high` reaches the largest r of
    the grid includes it. Two-band mixture: w = gamma_low on [0, split), 1 - gamma_low on the rest,
    shaping one white draw, so that 0.5 is exactly white.

With S(f) the power spectrum of a data set, lambda = S^tau / mean makes the signal-to-noise ratio
equal at all frequencies for tau = 1, and white noise is tau = 0. `combine.py` makes new spectra of
these.

With `basis="cosine"` r is that of the cosine basis, on its whole grid, and the result a
`DiagonalCovariance`: noise that does not wrap around. Its lowest frequency is 1 / (2 n), half of
Fourier's, so that the same alpha with `nearest` gives DC another weight. `named.py` has more builders.

The exponent is one of the amplitude: a power law of alpha has a power of slope 2 alpha, and summed over
shells of equal radius in d dimensions, as turbulence has it, of slope 2 alpha + d - 1.

All are normalised by equation (4) of `covariance.py`. Everything here is NumPy float64 at construction;
only the result is a float32 JAX array. (The file is long by its docstrings: it is the reference of all
builders.)

Sources: SAGD (arXiv 2510.09660), equations 10 to 14 and appendix E (whose printed power law is the
policy `floor`); the exponential is from its predecessor (arXiv 2502.10236).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.spectral import arguments, bases
from sagd_jax.spectral.covariance import (
    Covariance,
    FourierCovariance,
    check_power,
    normalised,
)
from sagd_jax.spectral.diagonal import from_coefficients, normalised_in
from sagd_jax.spectral.frequencies import (
    BASES,
    UNITS,
    check_rates,
    frequency_vectors,
    in_wedge,
    radial_frequency,
)
from sagd_jax.spectral.half_grid import check_spatial_shape, conjugate, half_grid_shape
from sagd_jax.spectral.power_spectrum import PowerSpectrum
from sagd_jax.system import kinds, schema
from sagd_jax.system.errors import check_choice

DC_POLICIES = ("nearest", "unit", "floor")
PAPER_FLOOR = 1e-10
_SYMMETRY_TOLERANCE = 1e-5


def white(spatial_shape: Sequence[int]) -> FourierCovariance:
    """Isotropic noise: Sigma = I.

    Args:
      spatial_shape: one to three sizes.

    >>> import sagd_jax as sagd
    >>> sagd.white((8,)).variance[:, 0]
    Array([1., 1., 1., 1., 1.], dtype=float32)
    """
    return _flat_on(np.ones(half_grid_shape(spatial_shape), bool), spatial_shape)


def power_law(
    spatial_shape: Sequence[int], alpha: float, dc: str = "nearest", *, basis: str = "fourier"
) -> Covariance:
    """Power-law noise, equation (2): amplitude r^alpha, power r^(2 alpha).

    Args:
      spatial_shape: one to three sizes.
      alpha: slope of the amplitude on log-log axes, half of the power's; the paper's range is -0.1
        to 0.1.
      dc: weight of the zero frequency, `"nearest"`, `"unit"` or `"floor"`. With `floor` (the
        paper's printed code) DC gets 2.4 times the amplitude of white noise at alpha = -0.04 on
        32 x 32, and 1e5 at -0.5: it is for reproducing the paper at |alpha| <= 0.08.
      basis: `"fourier"`, or `"cosine"`: its lowest frequency is 1 / (2 n), half of Fourier's, so that
        `nearest` gives DC another weight for the same alpha.

    Raises:
      ValueError: for a non-finite alpha, an unknown `dc` or basis, or an alpha so large that part of the
        spectrum underflows float32.

    >>> import sagd_jax as sagd
    >>> covariance = sagd.power_law((8,), alpha=0.5)
    >>> [round(float(v), 2) for v in covariance.variance[:, 0]]
    [0.47, 0.47, 0.94, 1.41, 1.88]
    """
    alpha = arguments.number("alpha", alpha)
    check_choice("dc", dc, DC_POLICIES)
    radius = radial_frequency(spatial_shape, basis=basis)
    if dc == "floor":
        radius = radius + PAPER_FLOOR
    else:
        lowest = np.min(radius, where=radius > 0, initial=1.0)
        radius = np.where(radius > 0, radius, lowest if dc == "nearest" else 1.0)
    return from_log_amplitude(alpha * np.log(radius), spatial_shape, f"alpha={alpha}", basis)


def exponential(spatial_shape: Sequence[int], beta: float, *, basis: str = "fourier") -> Covariance:
    """Exponentially decaying noise: w(f) = exp(-beta r(f)^2), r in cycles per sample.

    beta > 0 tilts the noise to low frequencies, beta < 0 to high ones, 0 is white. The power falls like
    exp(-2 beta r^2). In the basis `"cosine"` the lowest r is 1 / (2 n), half of Fourier's.

    Args:
      spatial_shape: one to three sizes.
      beta: any number.
      basis: "fourier" or "cosine".

    Raises:
      ValueError: for a beta so large that part of the spectrum underflows float32.

    >>> import sagd_jax as sagd
    >>> variance = sagd.exponential((8,), beta=2.0).variance[:, 0]
    >>> round(float(variance[-1] / variance[0]), 4)  # exp(-4 / 4)
    0.3679
    """
    beta = arguments.number("beta", beta)
    exponent = -beta * radial_frequency(spatial_shape, basis=basis) ** 2
    return from_log_amplitude(exponent, spatial_shape, f"beta={beta}", basis)


def band_pass(
    spatial_shape: Sequence[int],
    bands: Sequence[tuple[float, float]],
    unit: str = "max",
    *,
    sample_rate: float | Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    basis: str = "fourier",
) -> Covariance:
    """Noise in the union of radial bands only, equation (3); singular unless they cover everything.

    For selective omission of [a, b), pass the bands that stay: `[(0, a), (b, 1)]`.

    Args:
      spatial_shape: one to three sizes.
      bands: pairs (low, high): frequencies with low <= r < high; a `high` at or above the grid's
        largest r includes it.
      unit, sample_rate, axes, basis: of low and high, as in `radial_frequency`. The lowest radius
        above 0 is 1 / n, in the basis `"cosine"` 1 / (2 n).

    Raises:
      ValueError: for a malformed band, or one that holds no frequency of this grid.

    >>> import sagd_jax as sagd
    >>> sagd.band_pass((16, 16), [(0, 0.3), (0.6, 1)]).rank(channels=1)
    148
    >>> audio = sagd.band_pass((1000,), [(0, 55), (65, 8000)], unit="hz", sample_rate=16000)
    >>> audio.rank(channels=1)  # without the bins at +60 and -60 Hz (they are 16 Hz apart: 64)
    998
    """
    radius = radial_frequency(spatial_shape, unit, sample_rate=sample_rate, axes=axes, basis=basis)
    if np.ndim(bands) < 1 or not len(bands):
        raise ValueError(f"bands={bands!r}: expected at least one pair (low, high)")
    selected = np.zeros(radius.shape, bool)
    for band in bands:
        selected |= _in_band(radius, band, spatial_shape, unit)
    return from_amplitude(selected.astype(float), spatial_shape, basis)


def two_band(
    spatial_shape: Sequence[int],
    gamma_low: float,
    split: float = 0.5,
    unit: str = "max",
    *,
    sample_rate: float | Sequence[float] | None = None,
    axes: Sequence[int] | None = None,
    basis: str = "fourier",
) -> Covariance:
    """Two-band mixture, equation (3): amplitude gamma_low below `split`, 1 - gamma_low from it on.

    Args:
      spatial_shape: one to three sizes.
      gamma_low: in [0, 1]; 0.5 is exactly white, 0 and 1 leave one band empty (singular).
      split: radial frequency between the bands, in `unit` ("cycles": cycles per sample; or hertz).
      unit, sample_rate, axes, basis: as in `radial_frequency`. The lowest radius above 0 is 1 / n, in
        the basis `"cosine"` 1 / (2 n).

    Raises:
      ValueError: for gamma_low outside [0, 1], or a split that leaves either band without a
        frequency of this grid.

    >>> import sagd_jax as sagd
    >>> bool((sagd.two_band((8, 8), gamma_low=0.5).variance == 1).all())
    True
    """
    gamma_low = arguments.number("gamma_low", gamma_low)
    split = arguments.number("split", split)
    if not 0 <= gamma_low <= 1:
        raise ValueError(f"gamma_low={gamma_low}: expected a number in [0, 1]")
    radius = radial_frequency(spatial_shape, unit, sample_rate=sample_rate, axes=axes, basis=basis)
    if not 0 < split <= radius.max():
        raise ValueError(
            f"split={split}: expected a number in (0, {radius.max():.4g}], the largest radial "
            f"frequency of spatial_shape={tuple(spatial_shape)} in unit={unit!r}"
        )
    amplitude = np.where(radius < split, gamma_low, 1 - gamma_low)
    return from_amplitude(amplitude, spatial_shape, basis)


def from_variance(variance: ArrayLike, spatial_shape: Sequence[int]) -> FourierCovariance:
    """Noise with any spectrum: oriented wedges, notches, per-channel spectra, a data set's own.

    Args:
      variance: power per frequency (any scale) on the half grid, of shape
        `(*spatial[:-1], spatial[-1] // 2 + 1, 1 or channels)`; the channel axis may be left out.
      spatial_shape: one to three sizes.

    Returns:
      A covariance whose `.variance` is the argument normalised by equation (4).

    Raises:
      ValueError: for a wrong shape, non-finite, negative or all-zero values, a positive value that
        underflows float32 once normalised, or a spectrum that is not Hermitian-symmetric on the
        planes where the half grid holds both f and -f.

    >>> import numpy as np, sagd_jax as sagd
    >>> sagd.from_variance(np.array([0.0, 1.0, 2.0, 1.0, 0.0]), (8,)).rank(channels=1)
    6
    """
    values = arguments.numbers("variance", variance)
    half = half_grid_shape(spatial_shape)
    if values.ndim == len(half):
        values = values[..., None]
    if values.shape[:-1] != half or values.shape[-1] < 1:
        raise ValueError(
            f"variance.shape={np.shape(variance)}: expected {(*half, 'channels or 1')} "
            f"for spatial_shape={tuple(spatial_shape)}"
        )
    check_power(values, "variance")
    mirrored = conjugate(values, spatial_shape)
    if not np.allclose(values, mirrored, rtol=_SYMMETRY_TOLERANCE, atol=0):
        raise ValueError(
            "variance is not Hermitian-symmetric: on the DC and Nyquist planes of the last axis "
            "the values at f and -f must be equal"
        )
    return normalised((values + mirrored) / 2, spatial_shape, "variance")


def wedge(
    spatial_shape: Sequence[int],
    direction: Sequence[float],
    width: float,
    band: tuple[float, float] | None = None,
    unit: str = "max",
) -> FourierCovariance:
    """Noise with frequencies along one direction only: a double cone around the origin.

    Streaks in an image along one direction have their frequencies along the other. For a covariance
    that omits a wedge, take the `complement`.

    Args:
      spatial_shape: two or three sizes.
      direction: of the frequency vectors (f_1, ..., f_d), in cycles per sample; any length.
      width: full opening angle in degrees, in (0, 180).
      band: (low, high) of the radial frequency, all of it by default.
      unit: of `band`, as in `radial_frequency`.

    Raises:
      ValueError: for a one-dimensional grid, a malformed argument, or a wedge that holds no
        frequency of this grid. The zero frequency has no direction and is never in it.

    >>> import sagd_jax as sagd
    >>> sagd.wedge((8, 8), direction=(0, 1), width=1).rank(channels=1)  # the 7 bins of that axis
    7
    """
    axes = len(check_spatial_shape(spatial_shape))
    try:
        axis = np.asarray(direction, np.float64)
    except (TypeError, ValueError):
        axis = np.full(1, np.nan)
    if axes < 2 or axis.shape != (axes,) or not np.linalg.norm(axis) > 0:
        raise ValueError(
            f"direction={direction!r}: expected one number per axis of spatial_shape="
            f"{tuple(spatial_shape)}, not all zero, on two or three axes"
        )
    width = arguments.number("width", width)
    if not 0 < width < 180:
        raise ValueError(f"width={width}: expected degrees in (0, 180)")
    selected = in_wedge(spatial_shape, axis, width)
    if band is not None:
        selected &= _in_band(radial_frequency(spatial_shape, unit), band, spatial_shape, unit)
    if not selected.any():
        raise ValueError(
            f"direction={direction!r}, width={width:g}, band={band!r}: no frequency of "
            f"spatial_shape={tuple(spatial_shape)} lies in this wedge"
        )
    return _flat_on(selected, spatial_shape)


def notch(
    spatial_shape: Sequence[int],
    frequencies: Sequence[Sequence[float]],
    width: float = 0.0,
    *,
    sample_rate: float | Sequence[float] | None = None,
) -> FourierCovariance:
    """White noise without some single frequencies: hum, moire, flicker.

    Args:
      spatial_shape: one to three sizes.
      frequencies: vectors (f_1, ..., f_d) in cycles per sample, or per second with a sample rate;
        the nearest bin of each and of its opposite is removed.
      width: radius around each, in the same unit, within which bins are removed too.
      sample_rate: samples per second, one number or one per axis.

    Raises:
      ValueError: for a malformed argument, a frequency beyond Nyquist, or nothing left.

    >>> import sagd_jax as sagd
    >>> sagd.notch((1000,), [(60,), (120,)], sample_rate=16000).rank(channels=1)
    996
    """
    shape = check_spatial_shape(spatial_shape)
    rates = np.ones(len(shape))
    if sample_rate is not None:
        rates = np.asarray(check_rates(sample_rate, "hz", len(shape)))
    width = arguments.number("width", width)
    if width < 0:
        raise ValueError(f"width={width}: expected a number >= 0")
    if np.ndim(frequencies) < 1:
        raise ValueError(f"frequencies={frequencies!r}: expected vectors, such as [(60,), (120,)]")
    kept = np.ones(half_grid_shape(shape), bool)
    for frequency in frequencies:
        try:
            vector = np.asarray(frequency, np.float64)
        except (TypeError, ValueError):
            vector = np.full(0, np.nan)
        if vector.shape != (len(shape),) or not np.all(np.abs(vector / rates) <= 0.5):
            raise ValueError(
                f"frequencies: {frequency!r} is not a vector of {len(shape)} numbers of at most "
                "half the sample rate each"
            )
        for opposite in (vector / rates, -vector / rates):
            kept &= _distance(opposite, shape, rates) > width * (1 + 1e-12)
    if kept.all():
        raise ValueError(f"frequencies={frequencies!r}: expected at least one vector")
    return _flat_on(kept, shape)


def _distance(vector: np.ndarray, shape: tuple[int, ...], rates: np.ndarray) -> np.ndarray:
    """Distance of every bin from that nearest to a frequency vector; periodic beyond Nyquist."""
    distances = []
    for f, value, n, rate in zip(frequency_vectors(shape), vector, shape, rates, strict=True):
        nearest = np.round(value * n) / n
        gap = np.abs(f - nearest)
        distances.append(np.minimum(gap, 1 - gap) * rate)
    return np.sqrt(sum(d**2 for d in distances))


def from_data(
    power: ArrayLike | PowerSpectrum,
    spatial_shape: Sequence[int] | None = None,
    exponent: float = 1.0,
    floor: float = 1e-6,
    *,
    basis: str | None = None,
) -> Covariance:
    """Noise with the spectrum of a data set: lambda proportional to power^exponent.

    Args:
      power: what `estimate` of `power_spectrum.py` returns, or the data's power per frequency on the
        half grid, or, for `basis="cosine"`, on the whole grid of that basis, with or without a channel
        axis.
      spatial_shape: one to three sizes; a `PowerSpectrum` has its own.
      exponent: 1 makes the signal-to-noise ratio equal at all frequencies, 0 is white; between them
        the tilt is tempered. It is one of the power: the slope of the amplitude is half of it.
      floor: smallest power relative to the mean; frequencies where the data have none get this
        much, so that the noise keeps full rank.
      basis: `"fourier"`, or `"cosine"`, whose lowest frequency is 1 / (2 n), half of Fourier's.

    Raises:
      ValueError: as `from_variance`, or for a floor outside [0, 1].

    Source: the equal-SNR process of arXiv 2505.11278.

    >>> import numpy as np, sagd_jax as sagd
    >>> covariance = sagd.from_data(np.array([4.0, 4.0, 1.0, 1.0, 1.0]), (8,), exponent=0.5)
    >>> float(covariance.variance[0, 0] / covariance.variance[-1, 0])
    2.0
    """
    exponent, floor = arguments.number("exponent", exponent), arguments.number("floor", floor)
    if not 0 <= floor <= 1:
        raise ValueError(f"floor={floor}: expected a number in [0, 1]")
    if isinstance(power, PowerSpectrum):
        own = power.spatial_shape
        if spatial_shape is not None and check_spatial_shape(spatial_shape) != own:
            raise ValueError(f"spatial_shape={spatial_shape!r}: the spectrum is of {own}")
        if basis not in (None, power.basis):
            raise ValueError(f"basis={basis!r}: the spectrum is of the basis {power.basis!r}")
        spatial_shape, basis, power = own, power.basis, power.power
    if spatial_shape is None:
        raise ValueError("spatial_shape=None: it is needed where power is an array")
    basis = basis or "fourier"
    check_choice("basis", basis, BASES)
    values = arguments.numbers("power", power)
    in_fourier = basis == "fourier"
    grid = half_grid_shape(spatial_shape) if in_fourier else check_spatial_shape(spatial_shape)
    if values.ndim == len(grid):
        values = values[..., None]
    if values.shape[:-1] != grid:
        which = "half grid" if in_fourier else "whole grid"
        raise ValueError(
            f"power.shape={np.shape(power)}: expected {(*grid, 'channels or 1')}, a power spectrum on "
            f"the {which}; sagd.power_spectrum.estimate(data) makes one of data"
        )
    check_power(values, "power")
    # Channels differ in level: each has its own floor.
    values = np.maximum(values, floor * values.mean(axis=tuple(range(len(grid)))))
    if exponent != 1 and not np.all(values > 0):
        raise ValueError("power: zero somewhere; give a floor > 0")
    return on_grid(values**exponent, spatial_shape, basis)


def on_grid(
    variance: ArrayLike, spatial_shape: Sequence[int], basis: str = "fourier"
) -> Covariance:
    """`from_variance`, or `from_coefficients` in the cosine basis: an array on the grid of `basis`.

    Raises:
      ValueError: as they.
    """
    check_choice("basis", basis, BASES)
    if basis == "fourier":
        return from_variance(variance, spatial_shape)
    return from_coefficients(np.asarray(variance), bases.KINDS[basis](spatial_shape))


def from_amplitude(
    amplitude: ArrayLike, spatial_shape: Sequence[int], basis: str = "fourier"
) -> Covariance:
    """Noise with the amplitude w(f) on the half grid (no channel axis), normalised by equation (4).

    With `basis="cosine"` the amplitude is on the whole grid of that basis. `spatial_shape`: one to three
    sizes.

    Raises:
      ValueError: for an amplitude of another shape, or one that is not finite, or zero everywhere.

    >>> import sagd_jax as sagd
    >>> radius = sagd.radial_frequency((8, 8))
    >>> sagd.spectra.from_amplitude(1 / (1 + radius), (8, 8)).rank(channels=1)
    64
    """
    weights = arguments.numbers("amplitude", amplitude)
    in_fourier = basis == "fourier"
    grid = half_grid_shape(spatial_shape) if in_fourier else check_spatial_shape(spatial_shape)
    if weights.shape != grid:
        which = "half grid" if in_fourier else "whole grid"
        raise ValueError(f"amplitude.shape={weights.shape}: expected {grid}, the {which}")
    return _from_power(np.square(weights), spatial_shape, "the weights", basis)


def from_log_amplitude(
    log_amplitude: np.ndarray, spatial_shape: Sequence[int], what: str, basis: str = "fourier"
) -> Covariance:
    """As `from_amplitude`, given its logarithm, which may be large; `what` names it in errors."""
    # Relative to the largest weight, so that only a spectrum whose own range is too wide is
    # refused.
    log_power = 2 * (log_amplitude - log_amplitude.max())
    # A weight that NumPy itself flushes to zero would silently leave the support.
    power = np.maximum(np.exp(log_power), np.finfo(np.float64).tiny)
    return _from_power(power, spatial_shape, what, basis)


def _flat_on(selected: np.ndarray, spatial_shape: Sequence[int]) -> FourierCovariance:
    return normalised(selected.astype(float)[..., None], spatial_shape, "the weights")


def _from_power(
    power: np.ndarray, spatial_shape: Sequence[int], what: str, basis: str
) -> Covariance:
    if basis == "fourier":
        return normalised(power[..., None], spatial_shape, what)
    return normalised_in(power[..., None], bases.KINDS[basis](spatial_shape), what)


def _in_band(
    radius: np.ndarray, band: tuple[float, float], spatial_shape: Sequence[int], unit: str
) -> np.ndarray:
    try:
        low, high = (float(edge) for edge in band)
    except (TypeError, ValueError):
        low = high = float("nan")
    if not (0 <= low < high < np.inf):
        raise ValueError(f"bands: {band!r} is not a pair (low, high) with 0 <= low < high")
    # The largest r is a square root, hence rounded: `high` reaches it if it does to rounding.
    reaches_top = high >= radius.max() * (1 - 1e-12)
    selected = (radius >= low) & ((radius < high) | reaches_top)
    if not selected.any():
        raise ValueError(
            f"bands: ({low:g}, {high:g}) holds no frequency of spatial_shape="
            f"{tuple(spatial_shape)} in unit={unit!r} (largest {radius.max():.4g})"
        )
    return selected


UNIT = schema.field("max", "of bands and split", choices=UNITS)
BASIS = schema.field(
    "fourier", "coordinates it is diagonal in; cosine: borders reflect", choices=BASES
)

# What a config can name, `config.noise.kind`, and its fields there. `unit` may be "hz" for audio.
KINDS = {
    "white": kinds.kind(white),
    "power_law": kinds.kind(
        power_law,
        alpha=schema.field(0.0, "slope of the amplitude"),
        dc=schema.field("nearest", "weight of DC", choices=DC_POLICIES),
        basis=BASIS,
    ),
    "exponential": kinds.kind(
        exponential, beta=schema.field(0.0, "decay exp(-beta r^2)"), basis=BASIS
    ),
    "band_pass": kinds.kind(
        band_pass,
        bands=schema.field(
            (), "bands (low, high) that hold noise", low=0, hint=tuple[tuple[float, float], ...]
        ),
        unit=UNIT,
        basis=BASIS,
    ),
    "two_band": kinds.kind(
        two_band,
        gamma_low=schema.field(0.5, "amplitude below the split", low=0, high=1),
        split=schema.field(0.5, "where the bands meet", above=0),
        unit=UNIT,
        basis=BASIS,
    ),
}
