"""A data set's spectrum at a glance: its power law, what stands out of it, and what to omit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from sagd_jax.spectral.anomalies import Anomaly, find_anomalies, suggested_mask
from sagd_jax.spectral.power_spectrum import (
    PowerLaw,
    PowerSpectrum,
    energy_share,
    estimate,
    fit_power_law,
)

_ROUNDING = 1e-24


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What `analyse` finds.

    Attributes:
      spectrum, law, anomalies: of `power_spectrum.py` and `anomalies.py`; the law is fitted outside
        of the anomalies.
      kept: 1 where the suggested noise stays, 0 in its holes, float64 on the grid of the power.
      removed: share of the power in the holes, about the mean that `estimate` leaves out.
    """

    spectrum: PowerSpectrum
    law: PowerLaw
    anomalies: list[Anomaly]
    kept: np.ndarray
    removed: float


def analyse(
    batches: Iterable[np.ndarray],
    *,
    mean: str = "channel",
    window: str = "auto",
    margin: float = 1.0,
    basis: str = "fourier",
) -> Analysis:
    """Estimates the spectrum of data and finds what stands out, in the Fourier basis alone.

    Args:
      batches: as in `power_spectrum.estimate`: arrays `(n, *spatial, channels)`, iterated over twice.
      mean, window: as in `power_spectrum.estimate`.
      margin: of the suggested holes, in bins.
      basis: as in `power_spectrum.estimate`; in the cosine one nothing is looked for: a stationary band
        or line is none there.

    Raises:
      ValueError: as `power_spectrum.estimate`, for constant data, or for a negative margin.

    >>> import jax, sagd_jax as sagd
    >>> batch = sagd.white((16, 16)).sample(jax.random.key(0), (200, 16, 16, 1))
    >>> analyse([np.asarray(batch)]).anomalies
    []
    """
    spectrum = estimate(batches, mean=mean, window=window, basis=basis)
    _refuse_constant(spectrum, mean)
    if basis != "fourier":
        ones = np.ones(spectrum.power.shape[:-1])
        return Analysis(spectrum, fit_power_law(spectrum), [], ones, 0.0)
    anomalies = find_anomalies(spectrum)
    found = np.zeros(spectrum.power.shape[:-1], bool)
    for anomaly in anomalies:
        found |= anomaly.mask
    kept = suggested_mask(spectrum, anomalies, margin)
    return Analysis(
        spectrum=spectrum,
        law=fit_power_law(spectrum, omit=found),
        anomalies=anomalies,
        kept=kept,
        removed=energy_share(spectrum, kept == 0),
    )


def _refuse_constant(spectrum: PowerSpectrum, mean: str) -> None:
    """Data without any power but at the zero frequency have no spectrum to fit."""
    varying = spectrum.power.copy()
    varying[(0,) * len(spectrum.spatial_shape)] = 0
    # What rounding leaves of a mean that was subtracted is no power.
    scale = max(float(np.square(spectrum.mean).max()), float(spectrum.power.max()))
    if varying.max() <= _ROUNDING * scale or scale < _ROUNDING:
        values = ", ".join(f"{value:.4g}" for value in spectrum.mean)
        what = "all examples are equal" if mean == "site" else "every example is constant"
        raise ValueError(
            f"the data are constant: {what} (mean of each channel: {values}), so that they have no "
            "spectrum"
        )
