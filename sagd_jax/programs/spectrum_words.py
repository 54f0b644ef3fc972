"""One line about each finding of the program `spectrum`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagd_jax.data.source import Source
from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.finding import Finding

_MOST_FREQUENCIES = 6  # of a hum, that are said


def hertz(source: Source) -> tuple[float, str]:
    """(samples per second, heading): only where every axis is in time."""
    if source.sample_rate and len(source.shape) == 2:
        return source.sample_rate, "Hz"
    return 0.0, ""


def describe(finding: Finding, source: Source, spatial_shape: tuple[int, ...]) -> str:
    """What it is and where, what speaks for it, and the verdict."""
    where = _where(finding, source, spatial_shape)
    parts = [f"{finding.kind} {where}".rstrip() + f": {finding.verdict}"]
    if finding.kind in (kinds.JPEG, kinds.ENLARGED):
        return f"{parts[0]} (score {finding.score:.0f}, seen in the pixels)"
    seen = {
        "mean": "the mean of the power",
        "quiet examples": "the quiet examples",
        "quiet places": "the quietest places of examples",
    }
    parts.append(
        f"{finding.excess_db:.1f} dB from its surroundings (score {finding.score:.0f}), seen in "
        f"{seen.get(finding.seen_in, finding.seen_in)}"
    )
    if finding.kind not in (kinds.FIXED, kinds.EMPTY):
        share = f"in {finding.share:.0%} of the examples"
        tells = {
            True: "does not follow what is around it",
            False: "follows what is around it",
            None: "whether it follows what is around it is not seen",
        }[finding.floor]
        parts.append(f"{share}, {tells}")
    if finding.coherence > 10:
        parts.append("the same phase in many examples")
    if finding.channels != ("all",):
        parts.append(f"in {', '.join(_channel(c) for c in finding.channels)} alone")
    if finding.variance is not None and finding.error is not None and finding.mask.any():
        largest = np.unravel_index(int(finding.variance.argmax()), finding.variance.shape)
        value, error = finding.variance[largest], finding.error[largest]
        parts.append(f"adds {value:.3g} +- {error:.1g} to the variance of a coordinate")
    if finding.energy:
        parts.append(f"{100 * finding.energy:.2g} % of the energy in its bins")
    return "; ".join(parts)


def mirrored(findings: Sequence[Finding], spatial_shape: tuple[int, ...]) -> bool:
    """Whether something, not the data's own, is at other frequencies in a mirrored example."""
    halves = [0.5 / n for n in spatial_shape]

    def off_the_axes(frequency: tuple[float, ...]) -> bool:
        far = [half <= abs(f) <= 0.5 - half for f, half in zip(frequency, halves, strict=True)]
        return len(far) > 1 and far[-1] and any(far[:-1])

    asked = [f for f in findings if f.verdict != kinds.OWN]
    lines = [frequency for f in asked for frequency in f.frequencies]
    return any(map(off_the_axes, lines)) or any(
        f.kind == kinds.WEDGE and f.angle % 90 for f in asked
    )


def _channel(name: str) -> str:
    return name if name.startswith("chroma") else f"channel {name}"


def _where(finding: Finding, source: Source, spatial_shape: tuple[int, ...]) -> str:
    rate, _ = hertz(source)
    halves = [0.5 / spatial_shape[axis] for axis in finding.axes]  # of a bin, along each axis
    details = finding.details
    if finding.kind == kinds.JPEG:
        place = details.get("phase")
        return "blocks of 8" + (
            f" beginning at {tuple(place)}" if place else " at places that vary"
        )
    if finding.kind == kinds.ENLARGED:
        return f"by {details['factor']:.3g}, nothing above {details['frequency']:.3f} cycles/sample"
    if "of" in details:  # stripes, and dead rows or columns among what is fixed
        return f"of {details['of']}"
    if finding.kind in (kinds.LINE, kinds.HUM, kinds.MOSAIC):
        if rate:
            return _lines_in_hertz(finding, halves[0], rate)
        places = []
        for frequency in finding.frequencies[:_MOST_FREQUENCIES]:
            pairs = zip(frequency, halves, strict=True)
            places.append(", ".join(f"{f:.4f} +- {half:.2g}" for f, half in pairs))
        return "at " + "; ".join(places) + " cycles/sample" + _others(finding)
    if finding.kind == kinds.EMPTY:
        return f"above {details.get('frequency', finding.low):.3f} cycles/sample"
    half = max(halves)
    where = f"{finding.low:.4f} to {finding.high:.4f} +- {half:.2g} cycles/sample"
    if rate:
        low, high = finding.low * rate, finding.high * rate
        where += f" ({low:.1f} to {high:.1f} +- {half * rate:.2g} Hz)"
    if finding.kind == kinds.WEDGE:
        where += f", {finding.angle:.0f} +- {finding.width / 2:.0f} degrees"
    elif len(finding.axes) < len(spatial_shape):
        where += f" along axes {finding.axes}"
    return where


def _lines_in_hertz(finding: Finding, half: float, rate: float) -> str:
    first = finding.frequencies[0][0]
    text = (
        f"at {first:.4f} +- {half:.2g} cycles/sample ({first * rate:.1f} +- {half * rate:.2g} Hz)"
    )
    others = [f[0] * rate for f in finding.frequencies[1:_MOST_FREQUENCIES]]
    if others:
        text += " with " + ", ".join(f"{value:.1f}" for value in others) + " Hz" + _others(finding)
        text += f", fundamental {finding.details.get('hertz', first * rate):.2f} Hz"
    return text


def _others(finding: Finding) -> str:
    more = len(finding.frequencies) - _MOST_FREQUENCIES
    return f" and {more} more" if more > 0 else ""
