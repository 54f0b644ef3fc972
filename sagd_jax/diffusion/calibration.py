"""Calibration: comparing two spectra of noise at equal mean SNR.

Equation (4) of `spectral/covariance.py` gives all covariances the same total energy. The data's spectrum S
is far from flat, so that equal energy is not equal difficulty: the mean signal-to-noise ratio over
frequencies is (alpha^2 / sigma^2) mean(S / lambda). Two processes have the same at all times when

(19) log-SNR_2(t) = log-SNR_1(t) + log[mean(S / lambda_1) / mean(S / lambda_2)],

with the means over the frequencies of the full grid and channels where both have noise. DC is left
out unless asked for: the mean level of natural signals dwarfs the rest.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.diffusion.checks import check_schedule
from sagd_jax.diffusion.schedules import Schedule, Shifted
from sagd_jax.spectral import arguments
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import in_one_basis
from sagd_jax.spectral.half_grid import hermitian_multiplicity
from sagd_jax.spectral.power_spectrum import PowerSpectrum


def log_snr_shift(
    spectrum: ArrayLike | PowerSpectrum,
    reference: Covariance,
    covariance: Covariance,
    *,
    include_dc: bool = False,
) -> float:
    """The shift of log-SNR, equation (19), that calibrates `covariance` to `reference`.

    Args:
      spectrum: the data's power per frequency, S, on the half grid (any scale),
        `(*spatial[:-1], spatial[-1] // 2 + 1, 1 or channels)`, or a `PowerSpectrum`; with a covariance
        of another basis, on the whole grid of that.
      reference: lambda_1, of the process to compare with.
      covariance: lambda_2, of the process whose schedule is to be shifted.
      include_dc: whether the zero frequency counts.

    Raises:
      ValueError: for covariances of different shapes, a spectrum of another shape or that is not
        finite and >= 0, or no power in a frequency where both have noise.

    >>> import numpy as np, sagd_jax as sagd
    >>> band = sagd.band_pass((8,), [(0.5, 1)])  # 1.6 times the noise, in 5 of 8 frequencies
    >>> round(float(np.exp(log_snr_shift(np.ones(5), sagd.white((8,)), band))), 3)
    1.6
    """
    for name, value in (("reference", reference), ("covariance", covariance)):
        if not isinstance(value, Covariance):
            raise TypeError(f"{name}={arguments.quoted(value)}: expected a covariance")
    if reference.spatial_shape != covariance.spatial_shape:
        raise ValueError(
            f"covariance.spatial_shape={covariance.spatial_shape}: expected that of the reference, "
            f"{reference.spatial_shape}"
        )
    variances, basis = in_one_basis([reference, covariance])
    first, second = (np.asarray(v, np.float64) for v in variances)
    if isinstance(spectrum, PowerSpectrum):
        spectrum = spectrum.power
    values = arguments.numbers("spectrum", spectrum)
    if values.ndim == first.ndim - 1:
        values = values[..., None]
    channels = {array.shape[-1] for array in (values, first, second)} - {1}
    if values.shape[:-1] != first.shape[:-1] or len(channels) > 1:
        raise ValueError(
            f"spectrum.shape={np.shape(spectrum)}: expected "
            f"{(*first.shape[:-1], 'channels or 1')}, with covariances of {first.shape[-1]} and "
            f"{second.shape[-1]} channels"
        )
    if not (np.all(np.isfinite(values)) and np.all(values >= 0)):
        raise ValueError("spectrum: it has negative or non-finite values; expected numbers >= 0")
    common = (first > 0) & (second > 0)
    weights = values * common
    if basis is None:
        weights = hermitian_multiplicity(covariance.spatial_shape)[:, None] * weights
    if not include_dc:
        weights[(0,) * (weights.ndim - 1)] = 0
    if not np.any(weights > 0):
        raise ValueError(
            "spectrum: it has no power in a frequency where both covariances have noise"
        )
    means = (np.sum(weights / np.where(common, v, 1)) for v in (first, second))
    return math.log(next(means)) - math.log(next(means))


def shifted(schedule: Schedule, shift: float) -> Shifted:
    """The schedule with `shift` added to its log-SNR, for use in `Diffusion`.

    Raises:
      ValueError: for a shift that is not finite.

    >>> import sagd_jax as sagd
    >>> schedule = sagd.calibration.shifted(sagd.schedules.rectified_flow(), -2.0)
    >>> round(float(schedule.log_snr(0.5)), 3)
    -2.0
    """
    shift = arguments.number("shift", shift)
    check_schedule(schedule)
    if isinstance(schedule, Shifted):
        return Shifted(schedule.base, schedule.shift + shift)
    return Shifted(schedule, shift)
