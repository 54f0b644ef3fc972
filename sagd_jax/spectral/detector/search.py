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
from sagd_jax.spectral.detector.candidates import DECIBEL, Candidate, candidates
from sagd_jax.spectral.detector.evidence import Evidence, views
from sagd_jax.spectral.detector.excess import added_variance
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.detector.lines import MEAN, QUIET, SOME
from sagd_jax.spectral.detector.responses import Response, respond, slope_of, steadied
from sagd_jax.spectral.half_grid import hermitian_multiplicity

_CONSTANT = {1: 0.3, 2: 0.22, 3: 0.22}  # largest spread of a line's power over the quiet examples
_FLAT, _FOLLOWS = 0.3, 0.6  # slopes
_FEWEST_SHARE = 0.08
_QUIET_ERRORS = 7.0
_BROAD = 0.01  # breadth of what is no tone
_ROUNDING = 2e-5  # variance of 8-bit pictures' rounding in [-1, 1], and some more
_LOWEST_BAND = 0.05  # cycles per sample: the voice's pitch lies below it
_LOWEST_BINS = 20  # of sounds; 5 of pictures: objects' coarse shape, and beats, lie below
_NOTES = 2  # or more lines of different fundamentals in part of the examples are the data's notes
_MAINS = (50.0, 60.0)


def find(
    evidence: Evidence, batches: Iterable[np.ndarray], sample_rate: float | None = None
) -> list[Finding]:
    """Findings in the spectrum, corruptions first; `batches` are gone through once more."""
    found = candidates(evidence)
    if not found:
        return []
    powers = measure(evidence, batches, found)
    result = [
        _judge(evidence, candidate, powers[k], sample_rate) for k, candidate in enumerate(found)
    ]
    kept = _one_hum(_doubted([finding for finding in result if finding is not None]))
    order = {CORRUPTION: 0, UNKNOWN: 1, OWN: 2}
    kept.sort(key=lambda f: (order[f.verdict], f.kind in (kinds.BAND, kinds.WEDGE), -f.score))
    return kept


def measure(
    evidence: Evidence, batches: Iterable[np.ndarray], found: list[Candidate]
) -> list[np.ndarray]:
    """Of each candidate the mean power in core, around and control in each example that is not blank.

    Returns:
      A list of arrays `(3, 1 + channels, examples)`: of the candidate's own view, then of each channel.
    """
    masks = np.stack(
        [
            mask.ravel() / max(mask.sum(), 1)
            for c in found
            for mask in (c.core, c.around, c.control)
        ],
        axis=1,
    ).astype(np.float32)
    mixes = views(evidence.channels)
    pieces = []
    for x, blank in zip(batches, evidence.blank, strict=True):
        spectrum = evidence.coefficients(x)[~blank]
        power = np.square(np.abs(spectrum)).reshape(len(spectrum), -1, evidence.channels)
        of_views = {}
        for view in {c.view for c in found}:
            mix = mixes[view]
            own = power.mean(-1) if mix is None else np.square(np.abs(spectrum @ mix))
            of_views[view] = own.reshape(len(power), masks.shape[0]).astype(np.float32) @ masks
        channels = np.stack(
            [power[..., c].astype(np.float32) @ masks for c in range(power.shape[-1])], axis=1
        )
        piece = np.empty((len(power), 1 + evidence.channels, len(found), 3))
        for k, c in enumerate(found):
            piece[:, 0, k] = of_views[c.view][:, 3 * k : 3 * k + 3]
            piece[:, 1:, k] = channels[:, :, 3 * k : 3 * k + 3]
        pieces.append(piece)
    everything = np.concatenate(pieces)
    return [everything[:, :, k].transpose(2, 1, 0) for k in range(len(found))]


def _judge(
    evidence: Evidence, candidate: Candidate, power: np.ndarray, sample_rate: float | None
) -> Finding | None:
    sizes = float(candidate.around.sum() / max(candidate.control.sum(), 1))
    power = np.array(power, np.float64)
    for row in range(power.shape[1]):
        power[1, row] = steadied(power[1, row], power[2, row], sizes)
    p, q, control = power[:, 0]
    ratio = candidate.ratio
    if candidate.kind == kinds.STRIPES:
        ratio = slope_of(p, q)
    response = respond(p, q, ratio, control, tone=candidate.kind == kinds.LINE)
    if response.level <= 1e-3 * float(np.median(q)) and candidate.seen_in != QUIET:
        return None
    verdict = _verdict(evidence, candidate, response)
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
        floor=_floor(candidate, response),
        slope=response.slope,
        coherence=float(np.median(evidence.coherence(candidate.view)[candidate.core])),
        channels=_channels(candidate, variance, mask),
        energy=float((energy * mask).sum() / energy.sum()),
        variance=variance,
        error=error,
        has=_of_all(evidence, response.has),
    )
    return _named(finding, candidate, evidence, sample_rate)


def _only_a_line(candidate: Candidate, p: np.ndarray, q: np.ndarray) -> bool:
    """Whether a run that holds a line has too little without the bins of that."""
    own = q <= np.quantile(q, 0.25) if candidate.seen_in == QUIET else q >= 0
    height = math.log(max(float(p[own].mean() / (candidate.ratio * q[own].mean())), 1e-12))
    return height < 0.5 * candidate.excess


def _verdict(evidence: Evidence, candidate: Candidate, response: Response) -> str:
    if candidate.kind == kinds.LINE:
        return _verdict_of_line(len(evidence.shape), candidate, response, _rounding(evidence))
    if candidate.kind == kinds.STRIPES:
        return CORRUPTION if candidate.seen_in == QUIET else UNKNOWN
    return _verdict_of_run(len(evidence.shape), candidate, response, _rounding(evidence))


def _rounding(evidence: Evidence) -> float:
    """N that the rounding of 8-bit pictures may make; of sounds, and of data of a small scale, less."""
    if len(evidence.shape) == 1:
        return 0.0
    return _ROUNDING * min(float(evidence.mean("all").mean()) / 0.01, 1.0)


def _verdict_of_line(axes: int, candidate: Candidate, response: Response, rounding: float) -> str:
    line = candidate.lines[0]
    decibels = line.excess[QUIET] * DECIBEL
    quiet = (line.score[QUIET] > 7 and decibels > 5) or (line.score[QUIET] > 5 and decibels > 15)
    # What all examples have is seen in the quiet ones.
    some = line.score[SOME] > 8 and line.excess[SOME] > 0.2
    some &= (response.share < 0.9 and line.excess[MEAN] * DECIBEL > 3) or decibels > 10
    mean = line.excess[MEAN] * DECIBEL > 5.5 and line.score[MEAN] > 6
    # What is added stands out the more the quieter the data are; on an even background a little is enough.
    mean |= (
        line.excess[QUIET] > line.excess[MEAN] > 3 / DECIBEL
        and line.score[MEAN] > 8
        and line.score[QUIET] > 4
    )
    unmoved = response.even or _unmoved(response)
    if response.share < 0.9 and not math.isnan(response.slope) and not response.even:
        unmoved = abs(response.slope) <= _FLAT
    # Examples that are all as loud tell nothing by the slope: the line has to be as constant as a tone.
    flat = 0.15 if response.share > 0.9 else 0.08
    most = flat if math.isnan(response.slope) else _CONSTANT[axes]
    # On an even background weak tones scatter as the background does; elsewhere that much is not granted.
    granted = 2 * response.spread_error
    constant = response.spread <= most + (granted if response.even else min(granted, most))
    sure = response.quiet_score >= _QUIET_ERRORS and response.share >= _FEWEST_SHARE
    tone = candidate.breadth < _BROAD or axes == 3
    seen = response.level > rounding
    if (quiet or some or mean) and unmoved and constant and sure and tone and seen:
        return CORRUPTION
    return _otherwise(response)


def _unmoved(response: Response) -> bool:
    """Whether its power is the same whatever surrounds it, as far as so many examples tell."""
    if math.isnan(response.slope):
        return True
    return abs(response.slope) <= min(max(_FLAT, 2 * response.slope_error), _FOLLOWS)


def _verdict_of_run(axes: int, candidate: Candidate, response: Response, rounding: float) -> str:
    run = candidate.run
    assert run is not None
    if response.level <= rounding:
        return UNKNOWN
    score = run.score
    if run.narrow:
        # Without edges of its own it has to be the same in loud and in quiet examples.
        even = candidate.seen_in == MEAN and candidate.quiet_score > 0.7 * candidate.excess
        even &= response.share > 0.5 and not response.slope >= _FOLLOWS
        sure = even and score >= 10 and candidate.excess * DECIBEL > 1.5
        return CORRUPTION if sure else _otherwise(response)
    assert candidate.family is not None
    if axes == 1 and candidate.family.low[run.first] < _LOWEST_BAND:
        return _otherwise(response)
    needed = 10.0 if axes == 1 else 7.0
    if run.open_ended:
        needed = 2 * needed
    large = candidate.excess * DECIBEL > (6.0 if axes == 1 or run.open_ended else 2.0)
    if candidate.kind == kinds.WEDGE:
        large = candidate.excess * DECIBEL > 6.0
    # In the mean it counts only where the quiet examples show as much of it.
    quiet = candidate.seen_in == QUIET or candidate.quiet_score > 0.7 * candidate.excess
    if score >= needed and large and quiet:
        return CORRUPTION
    some = candidate.seen_in in (SOME, MEAN) and _FEWEST_SHARE <= response.share < 0.9
    unmoved = _unmoved(response)
    # A band that only some examples have: the same power in each of them, whatever else they hold.
    if (
        axes > 1
        and some
        and unmoved
        and score >= 5
        and response.spread < 0.15
        and response.quiet_score >= 15
        and not run.open_ended
        and candidate.kind == kinds.BAND
    ):
        return CORRUPTION
    return _otherwise(response)


def _otherwise(response: Response) -> str:
    follows = not math.isnan(response.slope) and response.slope >= _FOLLOWS
    varies = not response.spread - 2 * response.spread_error <= 0.5
    return OWN if follows or varies or response.share < _FEWEST_SHARE / 2 else UNKNOWN


def _doubted(findings: list[Finding]) -> list[Finding]:
    """Without corruption called of several lines that only some examples have: pictures' or notes' own."""
    some = [
        f
        for f in findings
        if f.verdict == CORRUPTION
        and f.kind in (kinds.LINE, kinds.HUM)
        and f.share < 0.9
        and "mains" not in f.details
    ]
    doubted = [id(f) for f in some] if len(some) >= _NOTES else []
    # Among lines of which it cannot be told, one that is smaller than they are is no surer.
    unsure = sorted(f.excess_db for f in findings if f.verdict == UNKNOWN and f.kind == kinds.LINE)
    if len(unsure) >= 3:
        doubted += [
            id(f)
            for f in findings
            if f.verdict == CORRUPTION and f.kind == kinds.LINE and f.excess_db < unsure[-3]
        ]
    return [dataclasses.replace(f, verdict=UNKNOWN) if id(f) in doubted else f for f in findings]


def _one_hum(findings: list[Finding]) -> list[Finding]:
    """The mains' lines of all views as one finding: those of a single channel join what all have."""
    result: list[Finding] = []
    for finding in findings:
        mains = finding.details.get("mains")
        first = next((f for f in result if mains and f.details.get("mains") == mains), None)
        if first is None:
            result.append(finding)
            continue
        if finding.verdict != CORRUPTION and first.verdict == CORRUPTION:
            continue  # nothing is added on weaker grounds
        place = next(k for k, f in enumerate(result) if f is first)
        more = [f for f in finding.frequencies if f not in first.frequencies]
        parts = [(np.asarray(f.variance), np.asarray(f.error)) for f in (first, finding)]
        result[place] = dataclasses.replace(
            first,
            frequencies=(*first.frequencies, *more),
            mask=first.mask | finding.mask,
            variance=np.maximum(parts[0][0], parts[1][0]),
            error=np.maximum(parts[0][1], parts[1][1]),
        )
    return result


def _floor(candidate: Candidate, response: Response) -> bool | None:
    quiet = candidate.seen_in == QUIET
    if math.isnan(response.slope):
        return True if quiet else None
    if response.slope <= (0.5 if quiet else _FLAT):
        return True
    return False if response.slope >= _FOLLOWS else None


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


def _named(
    finding: Finding, candidate: Candidate, evidence: Evidence, sample_rate: float | None
) -> Finding:
    if candidate.kind == kinds.LINE:
        first = candidate.frequencies[0]
        radius = math.hypot(*first)
        changes: dict[str, Any] = {
            "frequencies": tuple(candidate.frequencies),
            "low": radius,
            "high": radius,
        }
        ends = [abs(f) > 0.5 - 0.25 / n for f, n in zip(first, evidence.shape, strict=True)]
        zeros = [abs(f) < 0.25 / n for f, n in zip(first, evidence.shape, strict=True)]
        both = all(e or z for e, z in zip(ends, zeros, strict=True))
        if len(evidence.shape) > 1 and any(ends) and both:
            changes |= {"kind": kinds.MOSAIC}
            if finding.coherence < 0.3 * evidence.count:
                # Of another phase in each example: a camera's own, or a crop's place in it.
                changes |= {"verdict": UNKNOWN}
            changes["details"] = {"pattern": "checkerboard" if all(ends) else "period 2"}
        elif len(evidence.shape) == 1:
            changes |= _hum(candidate, evidence, sample_rate)
        elif candidate.view.startswith("chroma") and _of_blocks(first, evidence):
            changes |= {"verdict": UNKNOWN}
        bins = max(abs(f) * n for f, n in zip(first, evidence.shape, strict=True))
        coarse = bins < (_LOWEST_BINS if len(evidence.shape) == 1 else 5)
        if coarse and "mains" not in changes.get("details", {}) and finding.verdict == CORRUPTION:
            changes |= {"verdict": UNKNOWN}
        return dataclasses.replace(finding, **changes)
    if candidate.kind == kinds.STRIPES:
        name = "rows" if candidate.axis == 0 else "columns"
        return dataclasses.replace(finding, high=0.5, details={"of": name, "axis": candidate.axis})
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    last = run.last % len(family.low)
    if family.kind == "wedge":
        width = float((run.last - run.first + 1) * (family.high[0] - family.low[0]))
        angle = float(family.low[run.first % len(family.low)] + width / 2) % 180
        return dataclasses.replace(finding, angle=angle, width=width, low=0.15, high=0.5)
    low, high = candidate.edges or (float(family.low[run.first]), float(family.high[last]))
    return dataclasses.replace(finding, low=max(low, 0.0), high=high)


def _of_blocks(frequency: tuple[float, ...], evidence: Evidence) -> bool:
    """Whether it is a multiple of 1/16 along one axis alone: coarse colours of a JPEG have such."""
    gaps = [abs(f - round(16 * f) / 16) * n for f, n in zip(frequency, evidence.shape, strict=True)]
    return (
        max(gaps) < 0.3
        and sum(abs(f) * n > 0.3 for f, n in zip(frequency, evidence.shape, strict=True)) == 1
    )


def _hum(candidate: Candidate, evidence: Evidence, sample_rate: float | None) -> dict[str, Any]:
    """Lines at multiples of the mains' frequency, or of any other, as one finding."""
    (n,) = evidence.shape
    bins = [f[0] * n for f in candidate.frequencies]
    details: dict[str, Any] = {"fundamental": bins[0] / n, "half_bin": 0.5 / n}
    if len(bins) > 1:
        # All harmonics together tell the fundamental better than the first alone.
        order = np.rint(np.array(bins) / bins[0])
        details["fundamental"] = float(np.sum(order * bins) / np.sum(order**2)) / n
        details["half_bin"] = 0.5 / n / float(order.max())
    if sample_rate:
        hertz = bins[0] / n * sample_rate
        details["hertz"] = details["fundamental"] * sample_rate
        mains = [
            m for m in _MAINS for k in range(1, 11) if abs(hertz - k * m) <= 0.6 * sample_rate / n
        ]
        if mains:
            return {"kind": kinds.HUM, "details": details | {"mains": mains[0]}}
    if len(bins) > 2:
        return {"kind": kinds.HUM, "details": details}
    return {"details": details}
