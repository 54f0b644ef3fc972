"""A data set's spectrum at a glance: its power law, what does not belong in it, and what to do about that.

Source: own; each equation of the detector stands in its part, `spectral/detector/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np

from sagd_jax.spectral.detector.advice import MOST_ENERGY, Advice, advise, hole
from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.finding import FIXED, Finding
from sagd_jax.spectral.detector.fixed import find_fixed
from sagd_jax.spectral.detector.kinds_of_examples import kinds_of_examples, levels
from sagd_jax.spectral.detector.marks import Marks, find_marks
from sagd_jax.spectral.detector.search import find
from sagd_jax.spectral.half_grid import (
    dilate,
    hermitian_multiplicity,
    left_to_right,
    to_full_grid,
    to_half_grid,
)
from sagd_jax.spectral.power_spectrum import (
    PowerLaw,
    PowerSpectrum,
    estimate,
    first_pass,
    fit_power_law,
    taper_of,
)

_ROUNDING = 1e-24
_ONE_PHASE = 0.1  # coherence over the number of examples
_FEWEST = 16  # examples, to look for anything
_SMALLEST_TAPERED = 16  # sites
_SMALL_JUMP, _STRONG = 2.0, 3.0  # nats
_JUMP = 0.3  # between borders, over that between neighbours: less, and the borders are empty


@dataclasses.dataclass(frozen=True)
class Analysis:
    """What `analyse` finds.

    Attributes:
      spectrum, law: of `power_spectrum.py`; the law is fitted outside of the corruptions.
      evidence: of `spectral/detector/evidence.py`: what the findings rest on.
      findings: of `spectral/detector/finding.py`, corruptions first.
      kept: 1 where the noise stays, 0 in the holes for corruptions (or for those chosen), with the margin,
        float64 on the grid of the power.
      removed: share of the energy in the holes, about the mean that `estimate` leaves out.
      kinds: of each example in the order of the batches, int32, 0 is clean.
      combinations: of kinds 1, 2, ...: the numbers, from 1, of the findings that they have.
      suggested: what to do, and why.
    """

    spectrum: PowerSpectrum
    law: PowerLaw
    evidence: Evidence
    findings: list[Finding]
    kept: np.ndarray
    removed: float
    kinds: np.ndarray
    combinations: list[tuple[int, ...]]
    suggested: Advice

    @property
    def blank(self) -> int:
        """How many examples had no variation, and were left out."""
        return int(np.concatenate(self.evidence.blank).sum())

    @property
    def advice(self) -> list[str]:
        """What to do, then the reasons."""
        return [self.suggested.suggestion, *self.suggested.lines]

    def removing(self, share: float, most_removed: float = MOST_ENERGY) -> Analysis:
        """The same with the advice for holes whose energy is counted in another way.

        Args:
          share: of the energy in the holes.
          most_removed: no omission that holds more of the energy is suggested.
        """
        holes = float((self.kept == 0).mean())
        suggested = advise(self.findings, share, holes, self.evidence.count, most_removed)
        return dataclasses.replace(self, removed=share, suggested=suggested)

    def mirrored(self, most_removed: float = MOST_ENERGY) -> Analysis:
        """The same for examples that are mirrored at random from left to right: the holes are at mirror images too.

        Args:
          most_removed: as of `removing`.
        """
        if self.spectrum.basis != "fourier":
            return self  # a cosine's coefficient changes but its sign
        kept = self.kept * left_to_right(self.kept, self.spectrum.spatial_shape)
        removed = _share(self.spectrum, kept == 0)
        return dataclasses.replace(self, kept=kept).removing(removed, most_removed)

    def kept_without(self, chosen: Sequence[int], margin: float = 1.0) -> np.ndarray:
        """`kept`, had these findings been chosen, by number from 1; float64 on the grid of the power.

        Raises:
          ValueError: for a negative margin, in bins, or numbers that no finding has.
        """
        _check_chosen(chosen, self.findings)
        if not 0 <= margin < np.inf:
            raise ValueError(f"margin={margin}: expected a number of bins >= 0")
        return _kept(self.spectrum, hole(self.findings, chosen), margin)

    def corruption(self, basis: str | None = None) -> np.ndarray | None:
        """N of kinds 1, 2, ... on the whole grid of a basis, `(kinds, *spatial, channels)`.

        Absolute variance per orthonormal coordinate of data in [-1, 1], as capped levels take it; None where
        no corruption, or finding that was chosen, is stationary noise.
        """
        return self._levels(basis, False)

    def corruption_error(self, basis: str | None = None) -> np.ndarray | None:
        """Standard error of `corruption`; that of the bins of one finding is one error, not independent ones."""
        return self._levels(basis, True)

    def _levels(self, basis: str | None, error: bool) -> np.ndarray | None:
        if not self.combinations:
            return None
        shape = self.spectrum.spatial_shape
        basis = self.spectrum.basis if basis is None else basis
        return levels(self.findings, self.combinations, shape, basis, error)


def analyse(
    batches: np.ndarray | Iterable[np.ndarray],
    *,
    mean: str = "channel",
    window: str = "auto",
    margin: float = 1.0,
    basis: str = "fourier",
    sample_rate: float | None = None,
    chosen: Sequence[int] | None = None,
    most_removed: float = MOST_ENERGY,
) -> Analysis:
    """Estimates the spectrum of data and finds what does not belong in it.

    Args:
      batches: as in `power_spectrum.estimate`: arrays `(n, *spatial, channels)` of values in [-1, 1], gone
        through several times. A single large picture or recording is cut first, see `spectral/detector/pieces.py`.
      mean, window: as in `power_spectrum.estimate`. Findings are looked for in tapered examples, unless
        their borders are empty, they are smaller than 16, or `window` is `"none"`.
      margin: of the holes, in bins.
      basis: as in `power_spectrum.estimate`. Stationary noise is looked for in Fourier's, where it has
        a spectrum; holes and levels are those of this basis.
      sample_rate: of sounds, in samples per second, by which the mains' hum is known.
      chosen: numbers of the findings, from 1, that the holes and levels are for; by default all corruptions.
      most_removed: no omission that holds more of the energy is suggested.

    Raises:
      ValueError: as `power_spectrum.estimate`, for constant data, a negative margin, or numbers that no
        finding has.

    >>> import jax, sagd_jax as sagd
    >>> white = np.asarray(sagd.white((32, 32)).sample(jax.random.key(0), (200, 32, 32, 1)))
    >>> analyse([white / 5]).findings
    []
    >>> wave = np.cos(2 * np.pi * 0.3 * np.arange(32) + np.arange(200)[:, None])[:, None, :, None]
    >>> [(f.kind, f.verdict) for f in analyse([white / 5 + wave / 5]).findings]
    [('line', 'corruption')]
    """
    if not 0 <= margin < np.inf:
        raise ValueError(f"margin={margin}: expected a number of bins >= 0")
    spectrum = estimate(batches, mean=mean, window=window, basis=basis)
    _refuse_constant(spectrum, mean)
    pieces = cast(Iterable[np.ndarray], [batches] if hasattr(batches, "shape") else batches)
    evidence, marks = gather(pieces, mean=mean, window=window)
    findings: list[Finding] = []
    if evidence.count >= _FEWEST:
        fixed = find_fixed(evidence, pieces)
        found = find(evidence, pieces, sample_rate)
        if fixed or any(f.kind == FIXED for f in found):
            # Its lines and bands have its one phase: they are it.
            alike = _ONE_PHASE * evidence.count
            found = [f for f in found if f.kind == FIXED or f.coherence < alike]
        findings = find_marks(marks, evidence) + fixed + found
    _check_chosen(chosen or (), findings)
    omitted = hole(findings, chosen)
    kept = _kept(spectrum, omitted, margin)
    removed = _share(spectrum, kept == 0)
    kinds, combinations = kinds_of_examples(findings, sum(len(b) for b in evidence.blank), chosen)
    suggested = advise(findings, removed, float((kept == 0).mean()), evidence.count, most_removed)
    left_out = None if omitted is None else kept == 0
    return Analysis(
        spectrum=spectrum,
        law=fit_power_law(spectrum, omit=left_out),
        evidence=evidence,
        findings=findings,
        kept=kept,
        removed=removed,
        kinds=kinds,
        combinations=combinations,
        suggested=suggested,
    )


def gather(
    batches: Iterable[np.ndarray], *, mean: str = "channel", window: str = "auto"
) -> tuple[Evidence, Marks]:
    """What the examples say about each frequency, and about their pixels; `merge` adds up that of several."""
    _, centre, jumps = first_pass(batches)
    spatial = centre.shape[:-1]
    offset = {
        "channel": centre.mean(axis=tuple(range(len(spatial)))),
        "site": centre,
        "none": np.zeros(1),
    }[mean]
    tapered = window == "hann" or (
        window == "auto" and max(jumps) > _JUMP and max(spatial) >= _SMALLEST_TAPERED
    )
    taper = taper_of(spatial, "hann" if tapered else "none")
    evidence, marks = Evidence(spatial, centre.shape[-1], offset, taper), Marks(spatial)
    for x in batches:
        evidence.add(np.asarray(x))
        marks.add(np.asarray(x))
    if (
        window == "auto"
        and tapered
        and max(jumps) < _SMALL_JUMP
        and not _has_strong_lines(evidence)
    ):
        # Nothing leaks, and a taper would hide a third of a tone under half as much noise again.
        evidence = Evidence(spatial, centre.shape[-1], offset)
        for x in batches:
            evidence.add(np.asarray(x))
    return evidence, marks


def _check_chosen(chosen: Sequence[int], findings: Sequence[Finding]) -> None:
    if set(chosen) - set(range(1, len(findings) + 1)):
        raise ValueError(
            f"chosen={tuple(chosen)}: there are findings 1 to {len(findings)}"
            if findings
            else f"chosen={tuple(chosen)}: nothing was found"
        )


def _has_strong_lines(evidence: Evidence) -> bool:
    """Whether a tone between two bins would leak further than the bins beside it."""
    power = np.log(evidence.mean("all") + 1e-300)
    background, scale = local_background(power, evidence.shape)
    return bool(np.any((power - background)[np.isfinite(scale)] > _STRONG))


def _kept(spectrum: PowerSpectrum, omitted: np.ndarray | None, margin: float) -> np.ndarray:
    shape = spectrum.spatial_shape
    grid = spectrum.power.shape[:-1]
    if omitted is None:
        return np.ones(grid)
    full = dilate(to_full_grid(omitted, shape), margin)
    if spectrum.basis == "fourier":
        kept = ~to_half_grid(full)
    else:
        # The cosine k has the frequency k / (2 n): the nearest waves of either sign tell.
        kept = np.ones(grid, bool)
        steps = [np.rint(np.arange(n) / 2).astype(int) for n in shape]
        for signs in np.ndindex(*[2] * len(shape)):
            places = [(-1) ** s * k % n for s, k, n in zip(signs, steps, shape, strict=True)]
            kept &= ~full[np.ix_(*places)]
    kept[(0,) * len(shape)] = True
    return kept.astype(np.float64)


def _share(spectrum: PowerSpectrum, mask: np.ndarray) -> float:
    weight = hermitian_multiplicity(spectrum.spatial_shape) if spectrum.basis == "fourier" else 1.0
    energy = spectrum.power.mean(axis=-1) * weight
    return float(energy[mask].sum() / energy.sum())


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
