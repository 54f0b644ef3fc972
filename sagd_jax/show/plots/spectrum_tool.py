"""The picture of the spectrum tool: a data set's rings and plane, and what stands out of them, numbered.

Source: own; the numbers are those of `spectral/analysis.py`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.show import palette
from sagd_jax.show.plots import labels
from sagd_jax.show.plots.frame import (
    RADIUS,
    SMALL,
    label_logarithmic,
    legend,
    new_figure,
    small_ticks,
)
from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.frequencies import frequency_vectors
from sagd_jax.spectral.power_spectrum import radial_profile

# Of verdicts.
_COLOURS = {CORRUPTION: palette.VERMILION, UNKNOWN: palette.PLUM, OWN: palette.GREEN}


def data_spectrum(analysis: Analysis) -> Any:
    """Draws a data set's spectrum: its rings in the mean, quiet and loud examples, and the plane.

    Findings carry their numbers, in the colour of their verdict: vermilion for a corruption, plum where
    it cannot be told, green for the data's own. Of sounds the right half has every bin, with the local
    background.

    Args:
      analysis: of `spectral/analysis.py`, of signals `(n, *spatial, channels)` with any number of axes.

    Returns:
      The figure.

    >>> import jax, sagd_jax as sagd
    >>> x = np.asarray(sagd.power_law((16, 16), -0.5).sample(jax.random.key(0), (50, 16, 16, 1)))
    >>> figure = data_spectrum(sagd.analysis.analyse(x))
    >>> figure.axes[0].get_xlabel()
    'radial frequency (cycles per sample)'
    """
    figure = new_figure((10.5, 4.6))
    left, right = figure.subplots(1, 2)
    _plot_profile(left, analysis)
    values = analysis.spectrum.power.mean(axis=-1)
    if values.ndim == 1:
        _plot_line(right, values, analysis)
    else:
        bar = figure.colorbar(_plot_plane(right, values, analysis), ax=right)
        bar.set_label("log10 of the power")
        small_ticks(bar.ax)
    small_ticks(left, right)
    return figure


def plot_spectrum(analysis: Analysis, path: str | Path) -> None:
    """Writes the figure of `data_spectrum` as a PNG at `path`.

    >>> import tempfile, jax, sagd_jax as sagd
    >>> x = np.asarray(sagd.white((32,)).sample(jax.random.key(0), (50, 32, 1)))
    >>> file = Path(tempfile.mkdtemp()) / "spectrum.png"
    >>> plot_spectrum(sagd.analysis.analyse(x), file)
    >>> file.stat().st_size > 1000
    True
    """
    data_spectrum(analysis).savefig(path, dpi=110)


def _plot_profile(axes: Any, analysis: Analysis) -> None:
    radius, power, error = radial_profile(analysis.spectrum)
    law = analysis.law
    axes.fill_between(
        radius,
        np.maximum(power - 2 * error, 1e-3 * power),
        power + 2 * error,
        color=palette.BLUE,
        alpha=0.25,
        lw=0,
    )
    axes.loglog(radius, power, color=palette.BLUE, label="mean (band: 2 standard errors)")
    family = analysis.evidence.families[0]
    if analysis.evidence.count:
        sets = analysis.evidence.set_powers("all", 0)
        for q, name, colour in (
            (0.1, "10 % quantile: quiet examples", palette.SKY),
            (0.98, "98 % quantile: loud examples", palette.ORANGE),
        ):
            level = np.quantile(sets, q, axis=0)
            shown = level > 1e-6 * power.min()
            axes.loglog(family.centre[shown], level[shown], color=colour, lw=1, label=name)
    axes.loglog(
        radius,
        law.scale * radius ** (2 * law.alpha),
        "--",
        color=palette.BLACK,
        lw=1,
        label=f"power law, alpha = {law.alpha:.3f}",
    )
    numbers = []
    for number, finding in enumerate(analysis.findings, 1):
        colour = _COLOURS[finding.verdict]
        if finding.kind == "band":
            axes.axvspan(finding.low, finding.high, color=colour, alpha=0.15, lw=0)
            numbers.append((str(number), max(finding.low, radius[0]), colour))
        elif finding.frequencies:
            for frequency in finding.frequencies:
                axes.axvline(math.hypot(*frequency), color=colour, alpha=0.4, lw=1)
            numbers.append((str(number), math.hypot(*finding.frequencies[0]), colour))
    axes.set(xlabel=RADIUS, ylabel="power (variance per coefficient)")
    axes.margins(x=0.02)
    legend(axes, loc="lower left")  # spectra fall
    label_logarithmic(axes.xaxis)
    label_logarithmic(axes.yaxis)
    labels.above(axes, numbers)


def _plot_line(axes: Any, values: np.ndarray, analysis: Analysis) -> None:
    (frequency,) = frequency_vectors(analysis.spectrum.spatial_shape, analysis.spectrum.basis)
    holes = analysis.kept == 0
    axes.semilogy(frequency[1:], values[1:], color=palette.BLUE, lw=0.8, label="mean")
    if analysis.spectrum.basis == "fourier" and analysis.evidence.count:
        quiet = np.exp(analysis.evidence.quantile("all", 0.1))
        power = np.log(np.maximum(analysis.evidence.mean("all"), 1e-13))
        background, _ = local_background(power, analysis.spectrum.spatial_shape)
        axes.semilogy(frequency[1:], quiet[1:], color=palette.SKY, lw=0.6, label="10 % quantile")
        axes.semilogy(
            frequency[1:],
            np.exp(background)[1:],
            "--",
            color=palette.BLACK,
            lw=0.8,
            label="local background",
        )
    if holes.any():
        axes.semilogy(
            frequency[holes], values[holes], ".", color=palette.VERMILION, label="to omit"
        )
    legend(axes)
    axes.set(xlabel="frequency (cycles per sample)", ylabel="power (variance per coefficient)")
    label_logarithmic(axes.yaxis)
    places = [f.frequencies[0][0] if f.frequencies else f.low for f in analysis.findings]
    labels.above(
        axes,
        [
            (str(number), at, _COLOURS[finding.verdict])
            for number, (at, finding) in enumerate(zip(places, analysis.findings, strict=True), 1)
        ],
    )


def _plot_plane(axes: Any, values: np.ndarray, analysis: Analysis) -> Any:
    """Draws the plane of the first and the last axis; returns the image."""
    holes, shape = analysis.kept == 0, analysis.spectrum.spatial_shape
    title, omitted = f"{analysis.spectrum.basis} basis", "outlined: to omit"
    if values.ndim == 3:
        values, holes = values.mean(axis=1), holes.any(axis=1)
        title, omitted = f"{title}, mean over the middle axis", "outlined: to omit in part of it"
    picture = np.log10(np.maximum(values, values[values > 0].min()))
    vectors = frequency_vectors(shape, analysis.spectrum.basis)
    rows, columns = vectors[0].ravel(), vectors[-1].ravel()
    order = np.argsort(rows)  # negative frequencies first; the cosine basis has none
    picture, rows, holes = picture[order], rows[order], holes[order]
    # Bins lie at the centres of the picture's cells.
    width = 0.25 if analysis.spectrum.basis == "cosine" else 0.5
    half = width / shape[-1], width / shape[0]
    extent = (columns[0] - half[0], columns[-1] + half[0], rows[0] - half[1], rows[-1] + half[1])
    image = axes.imshow(
        picture, origin="lower", aspect="auto", extent=extent, cmap=palette.ONE_SIDED
    )
    if holes.any() and min(picture.shape) > 1:
        axes.contour(columns, rows, holes.astype(float), [0.5], colors=palette.VERMILION)
        title = f"{title} ({omitted})"
    axes.set(xlabel="last axis (cycles per sample)", ylabel="first axis (cycles per sample)")
    axes.set_title(title, fontsize=SMALL)
    places = [_place_in_plane(finding, analysis.spectrum.basis) for finding in analysis.findings]
    labels.in_plane(
        axes,
        [
            (str(number), at, _COLOURS[finding.verdict])
            for number, (at, finding) in enumerate(zip(places, analysis.findings, strict=True), 1)
            if at is not None
        ],
    )
    return image


def _place_in_plane(finding: Finding, basis: str) -> tuple[float, float] | None:
    """(last axis, first axis) of a finding's number."""
    if finding.frequencies:
        first, last = finding.frequencies[0][0], finding.frequencies[0][-1]
    elif finding.kind == "band":
        middle = (finding.low + finding.high) / 2 / math.sqrt(2)
        first, last = min(middle, 0.48), min(middle, 0.48)
    elif finding.kind == "wedge":
        angle = math.radians(finding.angle)
        first, last = 0.4 * math.sin(angle), 0.4 * math.cos(angle)
    elif finding.kind == "stripes":
        first, last = (0.4, 0.0) if finding.details["axis"] == 0 else (0.0, 0.4)
    else:
        return None
    if basis == "cosine":
        return abs(last), abs(first)
    return (last, first) if last >= 0 else (-last, -first)
