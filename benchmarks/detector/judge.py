"""How an answer compares with the truth: found, named, false alarms, the variance, which examples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.detector.treatments import Truth
from sagd_jax.spectral.half_grid import dilate, to_full_grid, to_half_grid

NEAR = 2.0  # bins: how far from what was added a finding may reach
_FINEST = (
    1 / 256
)  # cycles per sample: the edges of a band need be no nearer, however long the signals
CORRUPTION, OWN, UNKNOWN = "corruption", "the data's own", "cannot tell"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a detector names, in words that are the same for all detectors.

    Attributes:
      kind: `"band"`, `"wedge"`, `"line"`, `"hum"`, `"pattern"`, `"jpeg"`, `"enlarged"`, ...
      verdict: `CORRUPTION`, `OWN` or `UNKNOWN`.
      mask: its bins, bool on the half grid.
      low, high: edges of a band, in cycles per sample.
      lines: frequencies, in cycles per sample.
      variance: per value, of the examples that have it; and `interval`; None where it is not stated.
      words: as people are told.
    """

    kind: str
    verdict: str
    mask: np.ndarray
    low: float = 0.0
    high: float = 0.0
    lines: tuple[tuple[float, ...], ...] = ()
    variance: float | None = None
    interval: tuple[float, float] | None = None
    words: str = ""


@dataclasses.dataclass(frozen=True)
class Answer:
    """All of a detector's words on a set: findings, what it suggests, and what an omission takes.

    `removed` is a share of the energy, `holes` of the bins, both of the suggested omission; 0 where
    another thing is suggested. `has`: which examples are corrupted; None where that is not stated.
    """

    findings: list[Finding]
    suggestion: str
    removed: float = 0.0
    holes: float = 0.0
    has: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Score:
    """How right an answer is.

    Attributes:
      found: whether all that was added (or done) is named where it is; None where nothing was.
      weak: the same with "cannot tell" as verdict allowed.
      false: findings called a corruption that are none: mostly elsewhere.
      too_much: an omission is suggested where there is none to make, or of too much.
      variance_error: relative, of what is stated; None where nothing is.
      covered: whether the interval holds the truth.
      assigned: share of the examples, weighted as if half had it, that are told rightly.
    """

    found: bool | None
    weak: bool | None
    false: int
    too_much: bool
    variance_error: float | None
    covered: bool | None
    assigned: float | None


def judge(answer: Answer, truth: Truth, spatial: Sequence[int]) -> Score:
    """Compares; lines within a bin, both edges of a band within two."""
    called = [f for f in answer.findings if f.verdict == CORRUPTION]
    asked = [f for f in answer.findings if f.verdict != OWN]
    wrong = [f for f in called if not is_right(f, truth, spatial)]
    omits = answer.suggestion == "omission"
    too_much = answer.removed > 0.1 or answer.holes > 0.25 or (omits and not truth.mask.any())
    error, covered = _variance(called, truth, spatial)
    has_parts = truth.kind != "nothing"
    return Score(
        found=_found(called, truth, spatial) if has_parts else None,
        weak=_found(asked, truth, spatial) if has_parts else None,
        false=len(wrong),
        too_much=bool(omits and too_much),
        variance_error=error,
        covered=covered,
        assigned=_assigned(answer, called, truth, spatial),
    )


def is_right(finding: Finding, truth: Truth, spatial: Sequence[int]) -> bool:
    """Whether most bins of a finding are near those that were added, or it names what was done."""
    if truth.kind in ("jpeg", "enlarged", "pattern") and truth.kind in finding.kind:
        return True
    if not truth.mask.any() or not finding.mask.any():
        return False
    full = to_full_grid(finding.mask, spatial)
    near = dilate(to_full_grid(truth.mask, spatial), NEAR)
    return bool((full & near).sum() >= 0.5 * full.sum())


def _found(findings: list[Finding], truth: Truth, spatial: Sequence[int]) -> bool:
    parts = []
    if truth.kind in ("jpeg", "enlarged"):
        return any(truth.kind in f.kind for f in findings)
    if truth.kind in ("line", "two", "mosaic"):
        strongest = truth.lines[:1] if truth.kind == "line" else truth.lines
        parts += [any(_at(line, f, spatial) for f in findings) for line in strongest]
    if truth.high > 0:
        parts.append(any(_edges(f, truth, spatial) for f in findings))
    if truth.kind == "rows":
        parts.append(
            any(_covers(f, truth, spatial) for f in findings) or _together(findings, truth, spatial)
        )
    if truth.kind == "pattern":
        parts.append(any("pattern" in f.kind or "fixed" in f.kind for f in findings))
    return all(parts)


def _at(line: tuple[float, ...], finding: Finding, spatial: Sequence[int]) -> bool:
    """A line is found by a frequency within a bin of it, of a finding that is no wider than a line."""
    for own in finding.lines:
        for sign in (1, -1):
            gaps = [
                abs((sign * a - b + 0.5) % 1 - 0.5) * n
                for a, b, n in zip(own, line, spatial, strict=True)
            ]
            if max(gaps) <= 1.0 + 1e-6:
                return True
    return False


def _edges(finding: Finding, truth: Truth, spatial: Sequence[int]) -> bool:
    bins = max(NEAR / max(spatial), _FINEST)
    top = math.hypot(*([0.5] * len(spatial)))
    high = min(finding.high, top)
    return abs(finding.low - truth.low) <= bins and abs(high - min(truth.high, top)) <= bins


def _covers(finding: Finding, truth: Truth, spatial: Sequence[int]) -> bool:
    """Most of the truth's bins, and not many others."""
    return is_right(finding, truth, spatial) and _share(finding.mask, truth, spatial) >= 0.5


def _together(findings: list[Finding], truth: Truth, spatial: Sequence[int]) -> bool:
    right = [f.mask for f in findings if is_right(f, truth, spatial)]
    return bool(right) and _share(np.any(right, axis=0), truth, spatial) >= 0.5


def _share(mask: np.ndarray, truth: Truth, spatial: Sequence[int]) -> float:
    near = to_half_grid(dilate(to_full_grid(mask, spatial), 1))
    return float((near & truth.mask).sum() / max(truth.mask.sum(), 1))


def _variance(
    findings: list[Finding], truth: Truth, spatial: Sequence[int]
) -> tuple[float | None, bool | None]:
    """The sum over the right findings against what was added within two bins of them, of tones a bin more."""
    right = [f for f in findings if f.variance is not None and is_right(f, truth, spatial)]
    if not right or truth.spectrum is None or truth.kind in ("pattern", "mosaic"):
        return None, None
    masks = to_full_grid(np.any([f.mask for f in right], axis=0), spatial)
    reach = NEAR + (truth.kind == "line")
    added = float(truth.spectrum[to_half_grid(dilate(masks, reach))].sum())
    if added == 0:
        return None, None
    stated = sum(f.variance for f in right if f.variance is not None)
    error = stated / added - 1
    if any(f.interval is None for f in right):
        return error, None
    low = sum(f.interval[0] for f in right if f.interval)
    high = sum(f.interval[1] for f in right if f.interval)
    return error, low <= added <= high


def _assigned(
    answer: Answer, called: list[Finding], truth: Truth, spatial: Sequence[int]
) -> float | None:
    if answer.has is None or truth.has.all() or not truth.has.any():
        return None
    if not any(is_right(finding, truth, spatial) for finding in called):
        return None
    return float((answer.has[truth.has].mean() + (~answer.has[~truth.has]).mean()) / 2)
