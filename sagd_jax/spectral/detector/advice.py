"""What to do about the findings of a data set, and the reason. Never more than fits.

An omission is suggested only where corruptions of stationary noise are in nearly all examples, and a hole
for them takes no more than a tenth of the energy and a quarter of the bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding

MOST_ENERGY = 0.1
MOST_BINS = 0.25
NEARLY_ALL = 0.9
_FEW = 128


@dataclasses.dataclass(frozen=True)
class Advice:
    """`suggestion`: `"omission"`, `"capped levels"`, `"mend the data"` or `"leave it alone"`; `lines`: the reasons."""

    suggestion: str
    lines: tuple[str, ...]


def advise(
    findings: Sequence[Finding],
    removed: float,
    bins: float,
    examples: int,
    most_energy: float = MOST_ENERGY,
) -> Advice:
    """The advice on findings whose holes, with their margins, hold `removed` of the energy and `bins` of the bins.

    >>> advise([], 0.0, 0.0, 1000).suggestion
    'leave it alone'
    """
    numbered = list(enumerate(findings, 1))
    bad = [(n, f) for n, f in numbered if f.verdict == CORRUPTION]
    noise = [(n, f) for n, f in bad if f.is_noise]
    lines = []
    suggestion = "leave it alone"
    some = [n for n, f in noise if f.share < NEARLY_ALL]
    too_much = removed > most_energy or bins > MOST_BINS
    if not noise:
        lines.append(_left_alone(numbered))
    elif some or too_much:
        suggestion = "capped levels"
        if some:
            lines.append(
                f"capped levels with kinds of examples: {_names(some)} in some of the examples only, the "
                "others are clean at all frequencies (corruption.npz)"
            )
        else:
            lines.append(
                f"capped levels (corruption.npz): a hole would take {removed:.1%} of the energy and "
                f"{bins:.1%} of the bins, and the network would never learn what the data hold there"
            )
    else:
        suggestion = "omission"
        lines.append(
            f"omission of {_names([n for n, _ in noise])}: {removed:.2%} of the energy, {bins:.1%} of the bins"
        )
        lines.append(
            "capped levels (corruption.npz) lose less: the network learns what the data hold there"
        )
    if noise:
        lines.append(
            "restoration: with the level of each kind known, a trained network restores the examples"
        )
    for number, finding in bad:
        if finding.kind in _MENDING:
            lines.append(f"{number} ({finding.kind}): {_mending(finding)}")
            if suggestion == "leave it alone":
                suggestion = "mend the data"
    unknown = [n for n, f in numbered if f.verdict == UNKNOWN]
    if unknown:
        lines.append(
            f"{_names(unknown)}: it may be the data's own; look at some examples, and choose it with "
            "--findings if it is none"
        )
    if examples < _FEW:
        lines.append(
            f"{examples} examples show lines and sharp bands in most of them; what fewer than about "
            f"{min(max(8 / max(examples, 1), 0.05), 1):.0%} have, or is weaker than 6 dB, wants more examples"
        )
    return Advice(suggestion, tuple(lines))


_MENDING = {
    kinds.FIXED: "subtract the mean example (--mean=site shows what is left), it is the same in all",
    kinds.JPEG: "no noise: train on originals of higher quality, or at half the size, where blocks vanish",
    kinds.ENLARGED: "no noise: bring the examples back to their first size, nothing is lost by it",
    kinds.EMPTY: "no noise: nothing is there to be learnt; equal-SNR noise must not divide by it",
}


_OF_SOME = {
    kinds.FIXED: "subtract it from those alone (`has` of the finding, `examples` in spectrum.json): the mean example is this "
    "share of it",
    kinds.ENLARGED: "no noise: bring those alone back to their first size; the others would lose by it",
}


def _mending(finding: Finding) -> str:
    if finding.share < NEARLY_ALL and finding.kind in _OF_SOME:
        return f"in about {finding.share:.0%} of the examples; {_OF_SOME[finding.kind]}"
    return _MENDING[finding.kind]


def _left_alone(numbered: Sequence[tuple[int, Finding]]) -> str:
    own = [n for n, f in numbered if f.verdict == OWN]
    if own:
        return (
            f"leave it alone: {_names(own)} are the data's own, they go with their surroundings from example "
            "to example or are in few of them; equal-SNR noise (equal_snr.npy) fits this spectrum"
        )
    return "leave it alone: equal-SNR noise (equal_snr.npy) fits this spectrum"


def _names(numbers: Sequence[int]) -> str:
    word = "finding" if len(numbers) == 1 else "findings"
    return f"{word} {', '.join(map(str, numbers))}"


def hole(findings: Sequence[Finding], chosen: Sequence[int] | None = None) -> np.ndarray | None:
    """The union of the bins of corruptions that are noise, or of the findings chosen by number; None of none."""
    masks = [
        f.mask
        for n, f in enumerate(findings, 1)
        if (n in chosen if chosen is not None else f.verdict == CORRUPTION) and f.is_noise
    ]
    return np.any(masks, axis=0) if masks else None
