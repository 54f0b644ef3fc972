"""What findings tell about each other: multiples of one tone, products of strong ones, a weave, notes.

Multiples of one frequency in a sound are one finding, the mains' hum where the sample rate says so; in
pictures they come of rounding and clipping, as sums and differences of strong tones do: the tones alone
are what was added. Of two waves across each other one that is no tone makes both a weave. Where several
frequencies of their own sound in part of the examples, they are notes. Several lines that have one phase in all
examples are the pitch of a layout.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.detector.lines import SOME, harmonics

_MAINS = (50.0, 60.0)
_NOTES = 2  # or more lines of different fundamentals in part of the examples are the data's notes
_SOME = 0.9  # share
_WEAKER = 6.0  # decibels of N, of what may be a product of another
_COMPARABLE = 10.0
_CLEAR = 10.0  # score, of what may have products
_SKIRT = 6  # bins
_MULTIPLES = 15
_ORDER = 3
_FEWEST_OF_HUM = 3
_AS_LIKELY, _SEVERAL = 0.25, 3  # of the score of two kinds; lines
_ONE_PHASE = 8.0  # coherence; of independent phases one line in 3,000 has more
_MOST_OF_DATA = 0.3  # of the energy


def taken_together(
    findings: list[Finding], shape: tuple[int, ...], sample_rate: float | None = None
) -> list[Finding]:
    """The findings with their verdicts and names as they are beside each other; lines of a hum become one."""
    if len(shape) == 1:
        findings = _hums(findings, shape, sample_rate)
    for doubts in (_woven, _pitched, products, _skirts, _outdone, _notes):
        doubted = {id(f) for f in doubts(findings, shape)}
        findings = [
            dataclasses.replace(f, verdict=UNKNOWN)
            if id(f) in doubted and f.verdict == CORRUPTION
            else f
            for f in findings
        ]
    return findings


def _lines(findings: list[Finding], *verdicts: str) -> list[Finding]:
    return [
        f
        for f in findings
        if f.kind in (kinds.LINE, kinds.HUM) and (not verdicts or f.verdict in verdicts)
    ]


def _size(finding: Finding) -> float:
    """N over all bins, in decibels."""
    assert finding.variance is not None
    return 10 * math.log10(max(float(finding.variance.sum()), 1e-300))


def _hums(findings: list[Finding], shape: tuple[int, ...], rate: float | None) -> list[Finding]:
    lines = sorted(_lines(findings), key=lambda f: -f.score)
    rest = [f for f in findings if f not in lines]
    # One that several channels show is one.
    groups = [
        [lines[k] for k in members]
        for _, members in harmonics([f.frequencies[0] for f in lines], shape)
    ]
    merged: list[Finding] = []
    for group in _same_mains(groups, shape[0], rate):
        merged.append(
            _one(group, shape[0], rate) if len(group) > 1 else _alone(group[0], shape[0], rate)
        )
    return merged + rest


def _mains_of(frequency: float, n: int, rate: float | None) -> float | None:
    """The mains' frequency that a line is a multiple of, within a bin."""
    if not rate:
        return None
    hertz = frequency * rate
    near = [m for m in _MAINS for k in range(1, 11) if abs(hertz - k * m) <= 0.6 * rate / n]
    return near[0] if near else None


def _same_mains(groups: list[list[Finding]], n: int, rate: float | None) -> list[list[Finding]]:
    """The groups with all lines of one mains in one of them."""
    result: list[list[Finding]] = []
    places: dict[float, int] = {}
    for group in groups:
        mains = _mains_of(min(f.frequencies[0][0] for f in group), n, rate)
        if mains is not None and mains in places:
            result[places[mains]] += group
            continue
        if mains is not None:
            places[mains] = len(result)
        result.append(list(group))
    return result


def _alone(finding: Finding, n: int, rate: float | None) -> Finding:
    mains = _mains_of(finding.frequencies[0][0], n, rate)
    details = {**finding.details, **_fundamental([finding], n, rate)}
    if mains is None:
        return dataclasses.replace(finding, details=details)
    verdict = CORRUPTION if _of_mains([finding]) else finding.verdict
    details |= {"mains": mains}
    return dataclasses.replace(finding, kind=kinds.HUM, verdict=verdict, details=details)


def _of_mains(lines: list[Finding]) -> list[Finding]:
    """Those that are called a corruption, or would be at a higher frequency: the mains may be low."""
    return [f for f in lines if f.verdict == CORRUPTION or f.details.get("low")]


def _fundamental(group: Sequence[Finding], n: int, rate: float | None) -> dict[str, Any]:
    """Of all harmonics together, which tell it better than the first alone."""
    bins = np.array([f.frequencies[0][0] * n for f in group])
    order = np.maximum(np.rint(bins / bins.min()), 1)
    details: dict[str, Any] = {
        "fundamental": float(np.sum(order * bins) / np.sum(order**2)) / n,
        "half_bin": 0.5 / n / float(order.max()),
    }
    if rate:
        details["hertz"] = details["fundamental"] * rate
    return details


def _one(group: list[Finding], n: int, rate: float | None) -> Finding:
    """Lines of one fundamental, or of one mains in several channels, as one finding."""
    mains = _mains_of(min(f.frequencies[0][0] for f in group), n, rate)
    called = [f for f in group if f.verdict == CORRUPTION]
    if mains is not None and called:
        group = [f for f in group if f.verdict != OWN]  # a multiple of them needs less
    group = sorted(group, key=lambda f: f.frequencies[0])
    distinct: list[Finding] = []
    for finding in group:
        if not distinct or finding.frequencies[0][0] - distinct[-1].frequencies[0][0] > 0.7 / n:
            distinct.append(finding)
    first = max(group, key=lambda f: f.score)
    enough = len(distinct) >= _FEWEST_OF_HUM
    verdict = CORRUPTION if called else first.verdict
    if mains is None:
        # A sound has harmonics of its own: all of them have to be as constant as a machine's tone.
        verdict = CORRUPTION if len(called) > len(group) / 2 else UNKNOWN
        if (enough and first.share < _SOME) or any(f.details.get("low") for f in group):
            verdict = UNKNOWN
        if not called:
            verdict = first.verdict
    details = {**first.details, **_fundamental(distinct, n, rate)}
    # Who has it is told by the clearest of them; the power of one at Nyquist's frequency goes by its phase.
    clearest = max(
        called or group, key=lambda f: (f.frequencies[0][0] < 0.5 - 0.25 / n, f.excess_db)
    )
    return dataclasses.replace(
        first,
        share=clearest.share,
        has=clearest.has,
        kind=kinds.HUM if mains is not None or enough else kinds.LINE,
        verdict=verdict,
        frequencies=tuple(f.frequencies[0] for f in distinct),
        mask=np.any([f.mask for f in group], axis=0),
        variance=np.max([np.asarray(f.variance) for f in group], axis=0),
        error=np.max([np.asarray(f.error) for f in group], axis=0),
        energy=sum(f.energy for f in distinct),
        details=details if mains is None else details | {"mains": mains},
    )


def _woven(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Waves across one that is as strong, and no tone, or with it a third of the data: the threads of a weave."""
    if len(shape) != 2:
        return []
    lines = _lines(findings)
    return [
        f
        for f in lines
        for other in lines
        if f is not other
        and abs(_size(f) - _size(other)) < _COMPARABLE
        and _across(f.frequencies[0], other.frequencies[0], shape)
        and (not other.details.get("tone", True) or f.energy + other.energy > _MOST_OF_DATA)
    ]


def _pitched(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Several lines that have one phase in all examples, and stripes that have: the pitch of a layout."""
    if len(shape) == 1:
        return []
    alike = [f for f in findings if f.coherence > _ONE_PHASE]
    lines = [f for f in alike if f.kind in (kinds.LINE, kinds.MOSAIC)]
    return [f for f in alike if f.kind in (kinds.LINE, kinds.STRIPES)] if len(lines) > 1 else []


def _across(a: tuple[float, ...], b: tuple[float, ...], shape: tuple[int, ...]) -> bool:
    """Whether two waves are mirrored, or turned by a quarter, within a bin."""
    turned = [(b[0], -b[1]), (-b[0], b[1]), (b[1], b[0]), (-b[1], b[0]), (b[1], -b[0])]
    return any(_near(a, other, shape, 1.0) for other in turned)


def _near(a: Sequence[float], b: Sequence[float], shape: tuple[int, ...], bins: float) -> bool:
    """Whether two frequencies are within so many bins, aliased ones too."""
    gaps = [abs((x - y + 0.5) % 1 - 0.5) * n for x, y, n in zip(a, b, shape, strict=True)]
    return max(gaps) <= bins


def products(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Lines at multiples of a stronger one, or at sums and differences of some stronger ones."""
    lines = _lines(findings, CORRUPTION, UNKNOWN)
    result = []
    for line in lines:
        stronger = [
            f.frequencies[0]
            for f in lines
            if f is not line and f.score > _CLEAR and _size(f) > _size(line) + _WEAKER
        ]
        if (len(shape) > 1 and _is_product(line.frequencies[0], stronger, shape)) or (
            len(shape) == 1 and _is_overtone(line, findings, shape)
        ):
            result.append(line)
    return result


def _is_product(
    own: tuple[float, ...], stronger: list[tuple[float, ...]], shape: tuple[int, ...]
) -> bool:
    for f in stronger:
        for k in range(2, _MULTIPLES + 1):
            for sign in (1, -1):
                if _near(own, [sign * k * x for x in f], shape, 0.6 + 0.06 * k):
                    return True
    steps = range(-_ORDER + 1, _ORDER)
    for a, b in itertools.combinations(stronger, 2):
        for i, j in itertools.product(steps, steps):
            sums = [i * x + j * y for x, y in zip(a, b, strict=True)]
            if i and j and abs(i) + abs(j) <= _ORDER and _near(own, sums, shape, 1.0):
                return True
    for three in itertools.combinations(stronger, 3):
        for signs in itertools.product((1, -1), repeat=2):
            sums = [x + signs[0] * y + signs[1] * z for x, y, z in zip(*three, strict=True)]
            if _near(own, sums, shape, 1.0) or _near(own, [-s for s in sums], shape, 1.0):
                return True
    return False


def _is_overtone(line: Finding, findings: list[Finding], shape: tuple[int, ...]) -> bool:
    """Whether a sound's line is a multiple of one of which it cannot be told."""
    for other in _lines(findings, UNKNOWN):
        base = other.details.get("fundamental", other.frequencies[0][0])
        ratio = line.frequencies[0][0] / max(base, 1e-9)
        k = round(ratio)
        if (
            other is not line
            and 2 <= k <= 12
            and abs(ratio - k) * base * shape[0] <= 0.6 + 0.06 * k
        ):
            return True
    return False


def _skirts(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Lines next to a stronger one that is not called a corruption: one that wanders makes them."""
    lines = _lines(findings)
    return [
        f
        for f in lines
        for other in lines
        if other.verdict != CORRUPTION
        and _size(other) > _size(f)
        and any(_near(f.frequencies[0], own, shape, _SKIRT) for own in other.frequencies)
    ]


def _outdone(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Lines in part of the examples, where others that are about as likely there are not called a corruption."""
    del shape
    lines = _lines(findings)
    own = [f.details.get("likely", 0.0) for f in lines if f.verdict != CORRUPTION]
    result = []
    for f in lines:
        likely = f.details.get("likely", 0.0)
        several = sum(o > _AS_LIKELY * likely for o in own) >= _SEVERAL
        alone = f.details.get("only likely") and likely < max(own, default=0.0)
        if likely and f.share < _SOME and (alone or (f.seen_in == SOME and several)):
            result.append(f)
    return result


def _notes(findings: list[Finding], shape: tuple[int, ...]) -> list[Finding]:
    """Several lines of different fundamentals that only some examples have: pictures' or notes' own."""
    del shape
    some = [
        f
        for f in _lines(findings, CORRUPTION, UNKNOWN)
        if f.share < _SOME and "mains" not in f.details
    ]
    called = [f for f in some if f.verdict == CORRUPTION]
    return called if len(called) >= _NOTES else []
