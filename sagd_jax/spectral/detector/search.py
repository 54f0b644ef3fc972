"""The search for what does not belong in data: candidates, how they go from example to example, verdicts.

A verdict rests on what tells added noise from a shape of the data: power that is there where the data are
quiet, does not follow that of its surroundings, and is as large in every example that has it. Where this
does not hold it is the data's own; where too little is seen of it, nothing is said.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.candidate import DECIBEL, Candidate
from sagd_jax.spectral.detector.candidates import candidates, dilate_half, on_axes
from sagd_jax.spectral.detector.clipping import left_of_levels, left_of_noise
from sagd_jax.spectral.detector.evidence import Evidence, views
from sagd_jax.spectral.detector.excess import added_variance
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.detector.lines import QUIET, SOME
from sagd_jax.spectral.detector.mixtures import two_kinds
from sagd_jax.spectral.detector.quiet_places import InQuietPlaces, in_quiet_places
from sagd_jax.spectral.detector.responses import Response, respond, slope_of, steadied
from sagd_jax.spectral.detector.together import products, taken_together
from sagd_jax.spectral.detector.verdicts import is_floor, is_tone, of_a_layout, verdict_of
from sagd_jax.spectral.half_grid import hermitian_multiplicity

_CHANCE = 8.0  # score of wide findings on an even background that are not corruptions
_LOWEST_BINS, _LOWEST_BINS_OF_PICTURES = 20, 5  # objects' coarse shape, and beats, lie below
_MASKS = 5  # of each candidate
_ERRORS = 2.0
_NEAR_OF_BLOCKS = 0.75  # bins
_CLEAR_OF_OWN = 13.0  # score of lines of the data's own
_ONE_PHASE = 0.3  # coherence over the number of examples


def find(
    evidence: Evidence, batches: Iterable[np.ndarray], sample_rate: float | None = None
) -> list[Finding]:
    """Findings in the spectrum, corruptions first; `batches` are gone through once more."""
    found = candidates(evidence, two_kinds(evidence, batches))
    quiet = in_quiet_places(evidence, batches)
    if not found and not quiet:
        return []
    powers = measure(evidence, batches, [*found, *(own.candidate for own in quiet)])
    result = [_judge(evidence, candidate, powers[k]) for k, candidate in enumerate(found)]
    pairs = list(zip(found, result, strict=True))
    axes = {c.axis for c, f in pairs if c.axis >= 0 and f is not None and f.verdict == CORRUPTION}
    judged = _outside([f for c, f in pairs if not on_axes(c, axes)], evidence.shape)
    more = [
        _judge_quiet(evidence, own, power)
        for own, power in zip(quiet, powers[len(found) :], strict=True)
    ]
    kept = taken_together(judged, evidence.shape, sample_rate)
    kept = _with_quiet(more, kept, evidence.shape)
    order = {CORRUPTION: 0, UNKNOWN: 1, OWN: 2}
    kept.sort(key=lambda f: (order[f.verdict], f.kind in (kinds.BAND, kinds.WEDGE), -f.score))
    return kept


def _judge_quiet(
    evidence: Evidence, own: InQuietPlaces, power: np.ndarray
) -> tuple[InQuietPlaces, Finding | None]:
    doubted = of_a_layout(evidence, own.candidate) or _of_cosines(own.candidate.frequency, evidence)
    verdict = UNKNOWN if doubted else own.verdict
    found = _finding(evidence, own.candidate, np.array(power, np.float64), own.response, verdict)
    return own, found


def _with_quiet(
    more: list[tuple[InQuietPlaces, Finding | None]],
    judged: list[Finding],
    shape: tuple[int, ...],
) -> list[Finding]:
    """With lines of quiet places, where nothing was found or was doubted; doubted in data with lines of their own."""
    called = [f for f in judged if f.verdict == CORRUPTION]
    for quiet, finding in more:
        if finding is None:
            continue
        near = dilate_half(finding.mask, shape, 2)
        there = [f for f in judged if (f.mask & near).any()]
        wide = [f for f in there if f.kind in (kinds.BAND, kinds.WEDGE) and f.verdict != OWN]
        if (wide or any(f.kind in (kinds.BAND, kinds.WEDGE) for f in called)) and not quiet.clear:
            continue  # some bin of what is wide is the foremost of it, or of what it leaves in short windows
        lines = [f for f in judged if f.kind == kinds.LINE]
        own = [
            f
            for f in lines
            if f.verdict != CORRUPTION
            and f.score > _CLEAR_OF_OWN
            and _bins(f.frequencies[0], shape) >= _LOWEST_BINS_OF_PICTURES
        ]
        doubtful = not quiet.clear and any(f not in there for f in own)
        if doubtful or finding in products([finding, *called], shape):
            finding = dataclasses.replace(finding, verdict=UNKNOWN)
        both = [f for f in called if f in there and f in lines]
        if finding.verdict == CORRUPTION and both:
            # Where the data are quiet N is seen best.
            judged = [_by_the_surer(f, finding) if f in both else f for f in judged]
        elif finding.verdict == CORRUPTION and not any(f in there for f in called):
            judged = [f for f in judged if f not in lines or f not in there] + [finding]
        elif not there:
            judged = [*judged, finding]
    return judged


def _by_the_surer(finding: Finding, quiet: Finding) -> Finding:
    """The finding with frequency and N of the one whose N has the smaller error, or is possible at all."""
    n, error = _total(finding)
    most, error_of_most = _total(quiet)
    # Of N there is no more than the power of a quiet place.
    too_large = n - most > _ERRORS * math.hypot(error, error_of_most)
    smaller = error_of_most / max(most, 1e-300) < error / max(n, 1e-300)
    if not (smaller or too_large):
        return finding
    same = ("mask", "frequencies", "low", "high", "variance", "error", "energy")
    return dataclasses.replace(finding, **{name: getattr(quiet, name) for name in same})


def _total(finding: Finding) -> tuple[float, float]:
    """N over all its bins, and its standard error."""
    assert finding.variance is not None and finding.error is not None
    return float(finding.variance.sum()), float(finding.error.sum())


def _outside(judged: list[Finding | None], shape: tuple[int, ...]) -> list[Finding]:
    """Without doubtful lines of some examples within a corruption that is wide: what it does from bin to bin."""
    found = [f for f in judged if f is not None]
    wide = [
        f.mask for f in found if f.verdict == CORRUPTION and f.kind in (kinds.BAND, kinds.WEDGE)
    ]
    if not wide:
        return found
    covered = dilate_half(np.any(wide, axis=0), shape, 2)
    return [
        f
        for f in found
        if f.verdict == CORRUPTION or f.seen_in != SOME or (f.mask & ~covered).any()
    ]


def measure(
    evidence: Evidence, batches: Iterable[np.ndarray], found: list[Candidate]
) -> list[np.ndarray]:
    """Of each candidate the mean power in core, around and control in each example that is not blank.

    Returns:
      A list of arrays `(5, 1 + channels, examples)`: of the candidate's own view, then of each channel; of
      lines the fourth and fifth are the sharp core and control, of others again core and control.
    """
    masks = np.stack(
        [mask.ravel() / max(mask.sum(), 1e-12) for c in found for mask in _masks(c)],
        axis=1,
    ).astype(np.float32)
    mixes = views(evidence.channels)
    pieces = []
    for x, blank in zip(batches, evidence.blank, strict=True):
        spectrum = evidence.coefficients(x)[~blank]
        power = np.square(np.abs(spectrum))
        power = power.reshape(len(spectrum), masks.shape[0], evidence.channels)
        of_views = {}
        for view in {c.view for c in found}:
            mix = mixes[view]
            own = power.mean(-1) if mix is None else np.square(np.abs(spectrum @ mix))
            of_views[view] = own.reshape(len(power), masks.shape[0]).astype(np.float32) @ masks
        channels = np.stack(
            [power[..., c].astype(np.float32) @ masks for c in range(power.shape[-1])], axis=1
        )
        piece = np.empty((len(power), 1 + evidence.channels, len(found), _MASKS))
        for k, c in enumerate(found):
            own_masks = slice(_MASKS * k, _MASKS * (k + 1))
            piece[:, 0, k] = of_views[c.view][:, own_masks]
            piece[:, 1:, k] = channels[:, :, own_masks]
        pieces.append(piece)
    everything = np.concatenate(pieces)
    return [everything[:, :, k].transpose(2, 1, 0) for k in range(len(found))]


def _masks(candidate: Candidate) -> tuple[np.ndarray, ...]:
    core, control = candidate.core, candidate.control
    sharp = core if candidate.sharp is None else candidate.sharp
    beside = control if candidate.sharp_control is None else candidate.sharp_control
    return core, candidate.around, control, sharp, beside


def _judge(evidence: Evidence, candidate: Candidate, power: np.ndarray) -> Finding | None:
    sizes = float(candidate.around.sum() / max(candidate.control.sum(), 1))
    power = np.array(power, np.float64)
    for row in range(power.shape[1]):
        power[1, row] = steadied(power[1, row], power[2, row], sizes)
    p, q, control = power[:3, 0]
    ratio = candidate.ratio
    if candidate.kind == kinds.STRIPES:
        ratio = slope_of(p, q)
    if candidate.sharp is None:
        share = evidence.at_limits.share().mean(axis=1)
        left = left_of_levels if candidate.kind == kinds.STRIPES else left_of_noise
        response = respond(p, q, ratio, control, left=left(share))
    else:
        response = _of_tone(evidence, candidate, power)
    if response.level <= 1e-3 * float(np.median(q)) and candidate.seen_in != QUIET:
        return None
    verdict = verdict_of(evidence, candidate, response)
    if candidate.kind == kinds.STRIPES and candidate.seen_in == SOME and verdict != CORRUPTION:
        return None  # nothing but the question whether some examples have them
    wide = candidate.run is not None and not candidate.run.narrow
    if verdict != CORRUPTION and wide and response.even and candidate.score < _CHANCE:
        # Where all examples are as loud, chance alone has bands of so low a score in one set in four.
        return None
    return _finding(evidence, candidate, power, response, verdict)


def _finding(
    evidence: Evidence, candidate: Candidate, power: np.ndarray, response: Response, verdict: str
) -> Finding | None:
    variance, error, mask = added_variance(evidence, candidate, power, response)
    if not np.any(mask) or not np.any(variance > 0):
        return None
    weight = hermitian_multiplicity(evidence.shape)
    energy = evidence.mean("all") * weight
    finding = Finding(
        kind=candidate.kind,
        verdict=verdict,
        mask=mask,
        axes=candidate.family.axes if candidate.family else tuple(range(len(evidence.shape))),
        excess_db=DECIBEL * candidate.excess,
        score=float(candidate.score),
        seen_in=candidate.seen_in,
        share=response.share,
        floor=is_floor(candidate, response),
        slope=response.slope,
        coherence=float(np.median(evidence.coherence(candidate.view)[candidate.core])),
        channels=_channels(candidate, variance, mask),
        energy=float((energy * mask).sum() / energy.sum()),
        variance=variance,
        error=error,
        has=_of_all(evidence, response.has),
    )
    return _named(finding, candidate, evidence)


def _of_tone(evidence: Evidence, candidate: Candidate, power: np.ndarray) -> Response:
    """By the bins in which a tone has its energy: the others of its core only add noise to who has it."""
    assert candidate.sharp is not None
    _, q, _, sharp, beside = power[:, 0]
    left = left_of_noise(evidence.at_limits.share().mean(axis=1))
    response = respond(sharp, q, candidate.ratio, beside, tone=True, left=left)
    # Of a tone whose energy lies as the weights do, the level in the sharp core and in the whole one.
    whole = 1 / (candidate.core.sum() * float(np.square(candidate.sharp).sum()))
    return dataclasses.replace(response, level=response.level * whole)


def _channels(candidate: Candidate, variance: np.ndarray, mask: np.ndarray) -> tuple[str, ...]:
    channels = variance.shape[-1]
    if candidate.view != "all":
        return (candidate.view,)
    if channels == 1:
        return ("all",)
    sums = variance[mask].sum(axis=0)
    chosen = sums >= 0.1 * sums.max()
    return ("all",) if chosen.all() else tuple(str(c) for c in np.flatnonzero(chosen))


def _of_all(evidence: Evidence, values: np.ndarray) -> np.ndarray:
    """Values of the examples with variation, with 0 for the blank ones."""
    blank = np.concatenate(evidence.blank)
    result = np.zeros(len(blank))
    result[~blank] = values
    return result


def _named(finding: Finding, candidate: Candidate, evidence: Evidence) -> Finding:
    if candidate.kind == kinds.LINE:
        return _named_line(finding, candidate, evidence)
    if candidate.kind == kinds.STRIPES:
        name = "rows" if candidate.axis == 0 else "columns"
        details = {"of": name, "axis": candidate.axis}
        if finding.verdict == CORRUPTION and finding.coherence > _ONE_PHASE * evidence.count:
            # The same ones in all examples: dead or hot ones of a sensor.
            return dataclasses.replace(finding, kind=kinds.FIXED, high=0.5, details=details)
        return dataclasses.replace(finding, high=0.5, details=details)
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    last = run.last % len(family.low)
    if family.kind == "wedge":
        width = float((run.last - run.first + 1) * (family.high[0] - family.low[0]))
        angle = float(family.low[run.first % len(family.low)] + width / 2) % 180
        return dataclasses.replace(finding, angle=angle, width=width, low=0.15, high=0.5)
    low, high = candidate.edges or (float(family.low[run.first]), float(family.high[last]))
    return dataclasses.replace(finding, low=max(low, 0.0), high=high)


def _named_line(finding: Finding, candidate: Candidate, evidence: Evidence) -> Finding:
    frequency, shape = candidate.frequency, evidence.shape
    radius = math.hypot(*frequency)
    changes: dict[str, Any] = {"frequencies": (frequency,), "low": radius, "high": radius}
    assert candidate.line is not None
    changes["details"] = {"tone": is_tone(evidence, candidate), "likely": candidate.line.likely}
    if candidate.line.only_likely:
        changes["details"]["only likely"] = True
    ends = [abs(f) > 0.5 - 0.25 / n for f, n in zip(frequency, shape, strict=True)]
    zeros = [abs(f) < 0.25 / n for f, n in zip(frequency, shape, strict=True)]
    both = all(e or z for e, z in zip(ends, zeros, strict=True))
    if len(shape) > 1 and any(ends) and both:
        changes["kind"] = kinds.MOSAIC
        if finding.coherence < _ONE_PHASE * evidence.count:
            # Of another phase in each example: a camera's own, or a crop's place in it.
            changes["verdict"] = UNKNOWN
        changes["details"] = {"pattern": "checkerboard" if all(ends) else "period 2"}
    elif candidate.view.startswith("chroma") and _of_blocks(frequency, evidence):
        changes["verdict"] = UNKNOWN
    least = _LOWEST_BINS if len(shape) == 1 else _LOWEST_BINS_OF_PICTURES
    if _bins(frequency, shape) < least and finding.verdict == CORRUPTION:
        changes["verdict"] = UNKNOWN
        changes["details"] |= {"low": True}
    return dataclasses.replace(finding, **changes)


def _of_cosines(frequency: tuple[float, ...], evidence: Evidence) -> bool:
    """Whether it is about a multiple of 1/8 along both axes: as such a wave goes on from one block of a JPEG to the next."""
    gaps = [abs(f - round(8 * f) / 8) * n for f, n in zip(frequency, evidence.shape, strict=True)]
    return len(gaps) == 2 and max(gaps) < _NEAR_OF_BLOCKS


def _bins(frequency: tuple[float, ...], shape: tuple[int, ...]) -> float:
    return max(abs(f) * n for f, n in zip(frequency, shape, strict=True))


def _of_blocks(frequency: tuple[float, ...], evidence: Evidence) -> bool:
    """Whether it is a multiple of 1/16 along one axis alone: coarse colours of a JPEG have such."""
    gaps = [abs(f - round(16 * f) / 16) * n for f, n in zip(frequency, evidence.shape, strict=True)]
    return (
        max(gaps) < 0.3
        and sum(abs(f) * n > 0.3 for f, n in zip(frequency, evidence.shape, strict=True)) == 1
    )
