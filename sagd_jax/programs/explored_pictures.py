"""The pictures and words of the explorer, as HTML: `explored_numbers.py` has their numbers."""

from __future__ import annotations

import html
import math

import numpy as np

from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import Choice
from sagd_jax.programs.explored_numbers import LARGEST, WAY, Rings, Shown, show
from sagd_jax.programs.spectrum_words import describe
from sagd_jax.show import pictures, svg
from sagd_jax.spectral.detector.finding import Finding
from sagd_jax.spectral.half_grid import to_full_grid

_ROWS = 64  # of the map
_STRIP_SIDE = 96  # of the strip's pictures, in pixels
_IMAGE_LIMIT = 1.25  # what is white, of images and clips in [-1, 1]
_NOISE_LIMIT = 2.5  # standard deviations
_SIGNAL = {"image": _IMAGE_LIMIT, "video": _IMAGE_LIMIT, "audio": 1.0}
_FREQUENCY = "frequency (cycles per sample)"


def page(explorer: Explorer, choice: Choice, shown: Shown | None = None) -> str:
    """All pictures of a choice, as HTML; errors are those of `show`."""
    shown = show(explorer, choice) if shown is None else shown
    kind = explorer.source.kind
    limit = _SIGNAL.get(kind) or max(2.5 * float(shown.x0.std()), 1e-6)
    of_x_t = max(limit, 1.25 * float(np.sqrt(np.mean(np.square(shown.x_t)))))
    top = [
        svg.image(_picture(shown.x0, limit), "data x_0", f"black {-limit:.3g}, white {limit:.3g}"),
        svg.image(
            _picture(shown.noise, _NOISE_LIMIT),
            f"noise in x_t, t = {choice.t:g}",
            f"standard deviation {shown.noise_std:.3g}"
            if shown.noise_std
            else "there is none at this t",
        ),
        svg.image(
            _picture(shown.x_t, of_x_t),
            f"noised data x_t, t = {choice.t:g}",
            f"black {-of_x_t:.3g}, white {of_x_t:.3g}",
        ),
    ]
    if len(explorer.spatial) > 1:
        name = type(shown.basis).__name__.lower()
        top.append(
            svg.image(_plane(shown.plane, name), "its noise, by frequency", _plane_words(name))
        )
    way = [
        svg.image(
            _picture(_middle(x), max(limit, 1.25 * float(np.sqrt(np.mean(x**2))))), f"t = {t:g}"
        )
        for t, x in zip(WAY, shown.way, strict=True)
    ]
    return (
        f'<div class="sagd"><div class="row">{"".join(top)}</div>'
        f'<div class="row way">{"".join(way)}</div>'
        f'<div class="row charts"><div id="spectrum">{_spectrum(explorer, choice, shown)}</div>'
        f'<div id="levels">{_map(choice, shown)}{_bar(choice)}</div></div></div>'
    )


def _picture(x: np.ndarray, limit: float) -> np.ndarray:
    scaled = np.clip(np.nan_to_num(np.asarray(x) / limit), -1, 1)
    if scaled.ndim == 3:
        return pictures.image(scaled)
    if scaled.ndim == 4:
        return pictures.image(scaled[len(scaled) // 2])
    return pictures.curve(scaled)


def _middle(x: np.ndarray) -> np.ndarray:
    """The middle of a large image."""
    if x.ndim < 3:
        return x
    for axis in (-3, -2):
        n = x.shape[axis]
        if n > _STRIP_SIDE:
            first = (n - _STRIP_SIDE) // 2
            x = np.take(x, np.arange(first, first + _STRIP_SIDE), axis=axis)
    return x


def _plane(power: np.ndarray, basis: str, hole: np.ndarray | None = None) -> np.ndarray:
    """log power of each coordinate of the first and the last axis as colours, `(h, w, 3)`; nothing is black."""
    if power.ndim == 3:
        power = power.mean(axis=1)
    positive = power[power > 0]
    low, high = (np.log(positive.min()), np.log(positive.max())) if positive.size else (0.0, 0.0)
    low = max(low, high - 14)  # a millionth
    with np.errstate(divide="ignore"):
        share = (
            (np.log(power) - low) / (high - low) if high > low + 1e-4 else np.full(power.shape, 0.6)
        )
    colours = svg.sequential(0.12 + 0.88 * np.clip(share, 0, 1))
    colours[power <= 0] = 0
    if hole is not None:
        colours[hole] = (204, 121, 167)
    return np.fft.fftshift(colours, axes=(0, 1)) if basis == "fourier" else colours


def _plane_words(basis: str) -> str:
    return {
        "fourier": "0 in the middle; bright: more, black: none",
        "cosine": "0 at the upper left; bright: more, black: none",
    }.get(basis, "coarse at the upper left; bright: more, black: none")


def _spectrum(explorer: Explorer, choice: Choice, shown: Shown) -> str:
    rings = shown.rings
    tops = [shown.data.max(), shown.highest.max(), shown.faded.max()]
    high = 2 * max(max(tops), 1e-12)
    seen = [v[v > 0].min() for v in (shown.data, shown.level) if np.any(v > 0)]
    low = max(min(seen, default=high) / 3, high * 1e-9)
    chart = svg.Chart(
        _axis(rings),
        svg.Axis(low, high, "variance per coordinate", log=True),
        f"spectrum at t = {choice.t:g}  (drag: choose a band)",
        drag="band",
    )
    if choice.band != "off":
        chart.span(max(choice.low, chart.x.low), min(choice.high, chart.x.high), "hole")
    for number, finding in enumerate(explorer.known_findings(), 1):
        style = "hole" if number in choice.holes else "mark"
        for i, (start, end) in enumerate(_places(finding)):
            if end >= chart.x.low:
                chart.span(max(start, chart.x.low), end, style, "" if i else str(number))
    lowest, level = np.maximum(shown.lowest, low), np.where(shown.level > 0, shown.level, np.nan)
    chart.band(rings.centre, lowest, np.maximum(shown.highest, low), "noise")
    chart.line(rings.centre, shown.data, "thin data")
    chart.line(rings.centre, np.where(shown.faded > 0, shown.faded, np.nan), "data")
    chart.line(rings.centre, level, "noise")
    there = shown.drawn > low
    chart.dots(rings.centre[there], shown.drawn[there], "noise")
    chart.legend(
        [
            ("thin data", "the data"),
            ("data", "what is left of them at t"),
            ("noise", "the noise at t (dots: as drawn)"),
        ]
    )
    return chart.svg()


def _places(finding: Finding) -> list[tuple[float, float]]:
    """Where a finding lies on the axis of the radius."""
    if finding.frequencies:
        return [(math.hypot(*f),) * 2 for f in finding.frequencies]  # type: ignore[misc]
    if finding.high > 0:
        return [(finding.low, finding.high)]
    return []


def _axis(rings: Rings) -> svg.Axis:
    return svg.Axis(rings.lowest * 0.93, rings.highest * 1.02, _FREQUENCY, log=True)


def _map(choice: Choice, shown: Shown) -> str:
    rings = shown.rings
    axis = _axis(rings)
    what = "the data" if choice.of_data else "a signal of unit variance"
    chart = svg.Chart(svg.Axis(0, 1, "time t"), axis, f"log-SNR of {what}")
    rows = np.exp(np.linspace(math.log(axis.high), math.log(axis.low), _ROWS))
    place = np.interp(np.log(rows), np.log(rings.centre), np.arange(len(rings.centre)))
    below = np.floor(place).astype(int)
    above, share = np.minimum(below + 1, len(rings.centre) - 1), (place - below)[:, None]
    levels = shown.levels.T
    chart.raster(svg.diverging(levels[below] * (1 - share) + levels[above] * share, LARGEST))
    crossing = shown.crossing
    there = np.isfinite(crossing)
    chart.line(np.where(there, crossing, 0), np.where(there, rings.centre, np.nan), "over")
    chart.time(choice.t)
    return chart.svg()


def _bar(choice: Choice) -> str:
    colours = svg.diverging(np.linspace(-LARGEST, LARGEST, 128)[None], LARGEST)
    what = "the data" if choice.of_data else "a signal"
    return (
        f'<div class="scale"><span>{-LARGEST:g}: noise alone</span>'
        f'<img alt="colours" src="{svg.data_uri(colours)}"/><span>{LARGEST:g}: {what} alone</span>'
        "</div><p>black: as much of both. Sampling goes from right to left: a frequency is made where it meets the line</p>"
    )


def findings(explorer: Explorer, choice: Choice) -> tuple[list[tuple[str, int]], str]:
    """The findings in the data, (words, number) of each, and HTML about them: advice, and the plane.

    The first call looks for them, which takes seconds.
    """
    analysis = explorer.analysis()
    shape = analysis.spectrum.spatial_shape
    found = [
        (f"{number}. {describe(finding, explorer.source, shape)}", number)
        for number, finding in enumerate(analysis.findings, 1)
        if finding.is_noise
    ]
    lines = [
        f"{number}. {describe(finding, explorer.source, shape)} (no hole fits it)"
        for number, finding in enumerate(analysis.findings, 1)
        if not finding.is_noise
    ]
    if not analysis.findings:
        lines.append("Nothing stands out of its surroundings.")
    lines.append(f"What to do: {'; '.join(analysis.suggested.lines or analysis.advice)}")
    words = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    picture = ""
    if len(shape) > 1:
        basis = explorer.basis("fourier")
        power = explorer.power(basis)
        whole: np.ndarray = np.zeros(power.shape, bool)
        removed = ""
        if choice.holes:
            kept = analysis.kept_without(choice.holes, choice.margin)
            whole = to_full_grid(kept == 0, shape)
            share = float(power[whole].sum() / (power.sum() - power.flat[0]))
            removed = f"; the holes: {whole.mean():.1%} of the bins, {share:.2%} of the energy"
        if whole.ndim == 3:
            whole = np.asarray(whole.any(axis=1))
        picture = svg.image(
            _plane(power, "fourier", whole),
            "the data, by frequency",
            f"0 in the middle; bright: more; pink: holes{removed}",
        )
    return found, f'<div class="sagd"><div class="found">{picture}<div>{words}</div></div></div>'
