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


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What `analyse` finds.

    Attributes:
      spectrum, law, anomalies: of `power_spectrum.py` and `anomalies.py`; the law is fitted outside
        of the anomalies.
      kept: 1 where the suggested noise stays, 0 in its holes, float64 on the grid of the power.
      removed: share of the data's energy in the holes.
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
      ValueError: as `power_spectrum.estimate`, or for a negative margin.

    >>> import jax, sagd_jax as sagd
    >>> batch = sagd.white((16, 16)).sample(jax.random.key(0), (200, 16, 16, 1))
    >>> analyse([np.asarray(batch)]).anomalies
    []
    """
    spectrum = estimate(batches, mean=mean, window=window, basis=basis)
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
