"""A pattern that all examples share: the same phase in each of them at nearly all frequencies, or at few sites.

Objects that are centred alike share their coarse shape, which falls with frequency; a sensor's pattern does
not fall. What is laid over all pictures, such as a watermark, has sharp edges at few sites, and at all others the
mean example has no more fine structure than chance leaves; of a frame, a still scene or faces that are aligned it
has some nearly everywhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.finding import CORRUPTION, UNKNOWN, Finding
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import hermitian_multiplicity, unique_bins

_COHERENT = 4.0  # of independent phases, one bin in 55 is so coherent
_NEARLY_ALL = 0.6
_STEEPEST = -1.5  # slope of the pattern's power over the radius, in logarithms
_FEWEST = 24
_SHARP = 0.25  # of the largest radius: from there on structure is fine
_CLEAR, _CLEAREST = 5.0, 12.0  # standard errors, of a site and of the clearest one
_FEW_SITES = 0.15  # share
_OVERWHELMING = 0.3  # of the data's energy
_NEARLY_ALL_HAVE = 0.8  # share; strengths that differ by a half of their mean
_CHANCE = 0.8  # standard errors: the median site, where chance has 0.67 and a taper less


def find_fixed(evidence: Evidence, batches: Iterable[np.ndarray]) -> list[Finding]:
    """The pattern, if there is one; `batches` are gone through once more."""
    if evidence.count < 16:
        return []
    found = _everywhere(evidence) or _laid_over(evidence)
    whose = [_of_some(finding, evidence, batches) for finding in found]
    # What would be a third of the data of those that have it is what they share: faces or bones that lie alike.
    return [
        dataclasses.replace(
            finding,
            verdict=CORRUPTION if finding.energy < _OVERWHELMING * finding.share else UNKNOWN,
        )
        for finding in whose
    ]


def _of_some(finding: Finding, evidence: Evidence, batches: Iterable[np.ndarray]) -> Finding:
    """With its share where only some examples have it.

    Of the strengths a_i = Re <F_i, C> / <C, C>, C the mean coefficients at fine frequencies, which are 1 on average,
    those of a share s are 1 / s and the others 0: var a = 1 / s - 1, beside chance, which the imaginary parts show.
    """
    radius = radial_frequency(evidence.shape)
    fine = (radius > _SHARP * radius.max()) & unique_bins(evidence.shape)
    mean = evidence.view["all"].coherent[fine] / evidence.count
    strengths = np.concatenate(
        [
            np.einsum("nkc,kc->n", evidence.coefficients(x)[:, fine], mean.conj())
            / np.square(np.abs(mean)).sum()
            for x in batches
        ]
    )
    varies = float(strengths.real.var() - strengths.imag.var())
    share = 1 / (1 + max(varies, 0.0))
    if share > _NEARLY_ALL_HAVE:
        return finding
    return dataclasses.replace(
        finding, share=share, has=(strengths.real > 0.5 / share).astype(float)
    )


def _everywhere(evidence: Evidence) -> list[Finding]:
    coherence = evidence.coherence("all")
    radius = radial_frequency(evidence.shape)
    upper = unique_bins(evidence.shape) & (radius > 0.5 * radius.max())
    if upper.sum() < _FEWEST:
        return []
    if (coherence[upper] > _COHERENT).mean() < _NEARLY_ALL:
        return []
    pattern = _pattern(evidence)
    all_bins = unique_bins(evidence.shape) & (radius > 0.15 * radius.max()) & (pattern > 0)
    slope = np.polyfit(np.log(radius[all_bins]), np.log(pattern[all_bins]), 1)[0]
    if slope < _STEEPEST:
        return []
    middle = float(np.median(coherence[upper]))
    return [_finding(evidence, middle, middle * math.sqrt(upper.sum()), {"slope": float(slope)})]


def _laid_over(evidence: Evidence) -> list[Finding]:
    """What all pictures have at few sites."""
    if len(evidence.shape) != 2:
        return []
    radius = radial_frequency(evidence.shape)
    fine = radius > _SHARP * radius.max()
    coherent = evidence.view["all"].coherent / evidence.count
    mean = np.fft.irfft2(coherent * fine[..., None], s=evidence.shape, axes=(0, 1), norm="ortho")
    power = (evidence.mean("all") * hermitian_multiplicity(evidence.shape))[fine].sum()
    error = math.sqrt(float(power) / np.prod(evidence.shape) / evidence.count)
    size = np.sqrt(np.square(mean).mean(axis=-1)) / max(error, 1e-300)
    clear = size > _CLEAR
    if np.median(size) > _CHANCE or clear.mean() > _FEW_SITES or size.max() < _CLEAREST:
        return []
    # Straight lines from end to end are a layout's; rows and columns of a sensor are found as stripes.
    across = (clear.mean(axis=1) > 0.5)[:, None] | (clear.mean(axis=0) > 0.5)
    if (clear & ~across).sum() < 0.5 * clear.sum():
        return []
    coherence = float(evidence.coherence("all")[fine].max())
    return [_finding(evidence, coherence, float(size.max()), {"sites": float(clear.mean())})]


def _pattern(evidence: Evidence) -> np.ndarray:
    """Power of the mean example, on the half grid."""
    return np.square(np.abs(evidence.view["all"].coherent / evidence.count)).mean(axis=-1)


def _finding(
    evidence: Evidence, coherence: float, score: float, details: dict[str, float]
) -> Finding:
    radius = radial_frequency(evidence.shape)
    weight = hermitian_multiplicity(evidence.shape)
    total = float((evidence.mean("all") * weight).sum())
    return Finding(
        kind=kinds.FIXED,
        verdict=CORRUPTION,
        mask=np.zeros(radius.shape, bool),
        axes=tuple(range(radius.ndim)),
        low=0.0,
        high=float(radius.max()),
        excess_db=10 * math.log10(max(coherence, 1.0)),
        score=score,
        floor=True,
        coherence=coherence,
        energy=float((_pattern(evidence) * weight)[radius > 0].sum()) / total,
        details=details,
    )
