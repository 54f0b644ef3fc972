"""A pattern that all examples share: the same phase in each of them at nearly all frequencies.

Objects that are centred alike share their coarse shape, which falls with frequency; a sensor's pattern does
not fall.
"""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.finding import CORRUPTION, Finding
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import hermitian_multiplicity, unique_bins

_COHERENT = 4.0  # of independent phases, one bin in 55 is so coherent
_NEARLY_ALL = 0.6
_STEEPEST = -1.5  # slope of the pattern's power over the radius, in logarithms
_FEWEST = 24


def find_fixed(evidence: Evidence) -> list[Finding]:
    """The pattern, if there is one."""
    coherence = evidence.coherence("all")
    radius = radial_frequency(evidence.shape)
    upper = unique_bins(evidence.shape) & (radius > 0.5 * radius.max())
    if upper.sum() < _FEWEST or evidence.count < 16:
        return []
    if (coherence[upper] > _COHERENT).mean() < _NEARLY_ALL:
        return []
    pattern = np.square(np.abs(evidence.view["all"].coherent / evidence.count)).mean(axis=-1)
    all_bins = unique_bins(evidence.shape) & (radius > 0.15 * radius.max()) & (pattern > 0)
    slope = np.polyfit(np.log(radius[all_bins]), np.log(pattern[all_bins]), 1)[0]
    if slope < _STEEPEST:
        return []
    weight = hermitian_multiplicity(evidence.shape)
    total = float((evidence.mean("all") * weight).sum())
    middle = float(np.median(coherence[upper]))
    return [
        Finding(
            kind=kinds.FIXED,
            verdict=CORRUPTION,
            mask=np.zeros(radius.shape, bool),
            axes=tuple(range(radius.ndim)),
            low=0.0,
            high=float(radius.max()),
            excess_db=10 * math.log10(max(middle, 1.0)),
            score=middle * math.sqrt(upper.sum()),
            floor=True,
            coherence=middle,
            energy=float((pattern * weight)[radius > 0].sum()) / total,
            details={"slope": float(slope)},
        )
    ]
