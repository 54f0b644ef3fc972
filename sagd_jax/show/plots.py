"""Plots. Needs matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import pictures
from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.frequencies import frequency_vectors
from sagd_jax.spectral.power_spectrum import radial_profile
from sagd_jax.system.late import optional

_MOST_LABELS = 8  # of a logarithmic axis
_RINGS = 48  # of a map over the radius, at most
_COLOURS = {CORRUPTION: "tab:red", UNKNOWN: "tab:orange", OWN: "tab:green"}  # of verdicts
_LARGEST = 10.0  # log-SNR that is told from infinity


def plot_spectrum(analysis: Analysis, path: str | Path) -> None:
    """Draws a data set's spectrum: its rings in the mean, quiet and loud examples, and the plane.

    Findings carry their numbers. Of sounds the right half has every bin, with the local background.
    """
    figure = _new_figure((12, 4.8))
    left, right = figure.subplots(1, 2)
    _plot_profile(left, analysis)
    values = analysis.spectrum.power.mean(axis=-1)
    if values.ndim == 1:
        _plot_line(right, values, analysis)
    else:
        figure.colorbar(_plot_plane(right, values, analysis), ax=right)
    figure.savefig(path, dpi=110)


def _plot_profile(axes: Any, analysis: Analysis) -> None:
    radius, power, error = radial_profile(analysis.spectrum)
    law = analysis.law
    axes.fill_between(
        radius, np.maximum(power - 2 * error, 1e-3 * power), power + 2 * error, alpha=0.3
    )
    axes.loglog(radius, power, label="mean (band: 2 standard errors)")
    family = analysis.evidence.families[0]
    if analysis.evidence.count:
        sets = analysis.evidence.set_powers("all", 0)
        for q, name in ((0.1, "10 % quantile: quiet examples"), (0.98, "98 % quantile")):
            level = np.quantile(sets, q, axis=0)
            shown = level > 1e-6 * power.min()
            axes.loglog(family.centre[shown], level[shown], lw=0.8, label=name)
    axes.loglog(
        radius, law.scale * radius ** (2 * law.alpha), "--", label=f"alpha = {law.alpha:.3f}"
    )
    for number, finding in enumerate(analysis.findings, 1):
        colour = _COLOURS[finding.verdict]
        if finding.kind == "band":
            axes.axvspan(finding.low, finding.high, color=colour, alpha=0.15)
            _write_number(axes, number, max(finding.low, radius[0]), colour)
        elif finding.frequencies:
            for frequency in finding.frequencies:
                axes.axvline(math.hypot(*frequency), color=colour, alpha=0.4)
            _write_number(axes, number, math.hypot(*finding.frequencies[0]), colour)
    axes.set(xlabel="radial frequency (cycles per sample)", ylabel="power")
    axes.legend(fontsize=8)
    _label_logarithmic(axes.xaxis)
    _label_logarithmic(axes.yaxis)


def _write_number(axes: Any, number: int, x: float, colour: str) -> None:
    axes.annotate(
        str(number),
        (x, 1),
        xycoords=("data", "axes fraction"),
        color=colour,
        ha="center",
        va="bottom",
    )


def _plot_line(axes: Any, values: np.ndarray, analysis: Analysis) -> None:
    (frequency,) = frequency_vectors(analysis.spectrum.spatial_shape, analysis.spectrum.basis)
    holes = analysis.kept == 0
    axes.semilogy(frequency[1:], values[1:], lw=0.8, label="mean")
    if analysis.spectrum.basis == "fourier" and analysis.evidence.count:
        quiet = np.exp(analysis.evidence.quantile("all", 0.1))
        power = np.log(np.maximum(analysis.evidence.mean("all"), 1e-13))
        background, _ = local_background(power, analysis.spectrum.spatial_shape)
        axes.semilogy(frequency[1:], quiet[1:], lw=0.6, label="10 % quantile")
        axes.semilogy(frequency[1:], np.exp(background)[1:], "--", lw=0.8, label="local background")
    if holes.any():
        axes.semilogy(frequency[holes], values[holes], ".", color="tab:red", label="to omit")
    for number, finding in enumerate(analysis.findings, 1):
        at = finding.frequencies[0][0] if finding.frequencies else finding.low
        _write_number(axes, number, at, _COLOURS[finding.verdict])
    axes.legend(fontsize=8)
    axes.set(xlabel="frequency (cycles per sample)", ylabel="power")
    _label_logarithmic(axes.yaxis)


def _plot_plane(axes: Any, values: np.ndarray, analysis: Analysis) -> Any:
    """Draws the plane of the first and the last axis; returns the image."""
    holes, shape = analysis.kept == 0, analysis.spectrum.spatial_shape
    title, omitted = f"log10 power, {analysis.spectrum.basis} basis", "red: to omit"
    if values.ndim == 3:
        values, holes = values.mean(axis=1), holes.any(axis=1)
        title, omitted = f"{title}, mean over the middle axis", "red: to omit in part of it"
    picture = np.log10(np.maximum(values, values[values > 0].min()))
    vectors = frequency_vectors(shape, analysis.spectrum.basis)
    rows, columns = vectors[0].ravel(), vectors[-1].ravel()
    order = np.argsort(rows)  # negative frequencies first; the cosine basis has none
    picture, rows, holes = picture[order], rows[order], holes[order]
    # Bins lie at the centres of the picture's cells.
    width = 0.25 if analysis.spectrum.basis == "cosine" else 0.5
    half = width / shape[-1], width / shape[0]
    extent = (columns[0] - half[0], columns[-1] + half[0], rows[0] - half[1], rows[-1] + half[1])
    image = axes.imshow(picture, origin="lower", aspect="auto", extent=extent)
    if holes.any() and min(picture.shape) > 1:
        axes.contour(columns, rows, holes.astype(float), [0.5], colors="red")
        title = f"{title} ({omitted})"
    for number, finding in enumerate(analysis.findings, 1):
        at = _place_in_plane(finding, analysis.spectrum.basis)
        if at is not None:
            box = {"facecolor": "white", "alpha": 0.6, "pad": 0.5, "edgecolor": "none"}
            colour = _COLOURS[finding.verdict]
            axes.annotate(str(number), at, color=colour, fontsize=8, ha="center", bbox=box)
    axes.set(
        xlabel="last axis (cycles per sample)", ylabel="first axis (cycles per sample)", title=title
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


def _label_logarithmic(axis: Any) -> None:
    """Few labels, as plain numbers: those of matplotlib overlap where the range is short."""
    with optional("plotting"):
        from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if 3 <= len(ticks) <= _MOST_LABELS:
            break
    else:
        if len(ticks) > _MOST_LABELS:  # many decades
            return
        ticks = np.linspace(low, high, 5).tolist()
    axis.set_ticks(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def forward_process(
    images: np.ndarray,
    times: Sequence[float],
    names: Sequence[str] = (),
    value_range: tuple[float, float] = (-1.25, 1.25),
    figure: Any = None,
) -> Any:
    """Images on their way to noise: a column for each time, a row for each process.

    Args:
      images: `(rows, times, height, width, channels)`, floats; three channels are shown in colour.
      times: of the columns.
      names: of the rows, at their left; none by default.
      value_range: what is black and what is white. Noise of unit variance exceeds data in [-1, 1].
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for times or names of another number.

    >>> figure = forward_process(np.zeros((1, 3, 8, 8, 1)), [0, 0.5, 1])
    >>> [axis.get_title() for axis in figure.axes]
    ['t = 0', 't = 0.5', 't = 1']
    """
    rows, columns = np.shape(images)[:2]
    if len(times) != columns or len(names) not in (0, rows):
        raise ValueError(
            f"images: {rows} rows of {columns}; expected a time for each column, here {len(times)}, "
            f"and no names or one for each row, here {len(names)}"
        )
    figure = _new_figure((1.1 * columns, 1.1 * rows + 0.3)) if figure is None else figure
    axes = figure.subplots(rows, columns, squeeze=False)
    low, high = value_range
    for row, line in zip(axes, images, strict=True):
        for axis, image in zip(row, line, strict=True):
            shown = pictures.image((np.asarray(image) - low) * (2 / (high - low)) - 1)
            colours = np.broadcast_to(shown, (*shown.shape[:2], 3))  # grey ones have one channel
            axis.imshow(colours, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, t in zip(axes[0], times, strict=True):
        axis.set_title(f"t = {t:g}", fontsize=9)
    for axis, name in zip(axes[:, 0], names, strict=False):
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    return figure


def log_snr_map(radius: ArrayLike, times: ArrayLike, log_snr: ArrayLike, figure: Any = None) -> Any:
    """The log-SNR over time and radial frequency; a line where data and noise are equal.

    Args:
      radius: of each coordinate in cycles per sample, `(*spatial, 1)`, as `radius` of a basis.
      times: `(times,)`, increasing.
      log_snr: log(alpha^2 / sigma^2), `(times, *spatial, 1 or channels)`; beyond +-10, and where it is
        infinite, it is shown as that. What is drawn is the mean over a ring.
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for shapes that do not fit together, or a single radius.

    >>> radius, times = np.linspace(0, 0.5, 9).reshape(9, 1), np.linspace(0, 1, 5)
    >>> figure = log_snr_map(radius, times, 5 - 10 * times[:, None, None] - 4 * radius)
    >>> figure.axes[0].get_xlabel(), figure.axes[1].get_ylabel()
    ('time t', 'log-SNR')
    """
    r, t, values = np.asarray(radius)[..., 0], np.asarray(times), np.asarray(log_snr)
    if values.shape[:-1] != (len(t), *r.shape):
        raise ValueError(
            f"log_snr.shape={values.shape}: expected ({len(t)}, {', '.join(map(str, r.shape))}, "
            "1 or channels), that of times and radius"
        )
    if np.ptp(r) == 0:
        raise ValueError("radius: all are equal; such a basis has no frequencies to draw over")
    values = np.clip(values, -_LARGEST, _LARGEST).mean(axis=-1).reshape(len(t), -1)
    rings = min(_RINGS, max(r.shape))
    ring = np.round((r.ravel() - r.min()) / np.ptp(r) * (rings - 1)).astype(int)
    count = np.bincount(ring)
    filled = count > 0
    centres = np.bincount(ring, r.ravel())[filled] / count[filled]
    means = np.stack([np.bincount(ring, line)[filled] / count[filled] for line in values], axis=1)

    figure = _new_figure((3.4, 2.6)) if figure is None else figure
    axis = figure.subplots()
    limits = {"cmap": "PuOr", "vmin": -_LARGEST, "vmax": _LARGEST}
    mesh = axis.pcolormesh(_edges(t), _edges(centres), means, rasterized=True, **limits)
    if means.min() < 0 < means.max():
        axis.contour(t, centres, means, [0], colors="black", linewidths=1)
    axis.set(xlim=(t[0], t[-1]), ylim=(centres[0], centres[-1]), xticks=[0, 0.5, 1])
    axis.set_xlabel("time t", fontsize=9)
    axis.set_ylabel("frequency\n(cycles per sample)", fontsize=9)
    bar = figure.colorbar(mesh, ax=axis, extend="both", ticks=[-_LARGEST, 0, _LARGEST])
    bar.set_label("log-SNR", fontsize=9)
    for each in (axis, bar.ax):
        each.tick_params(labelsize=8)
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders of cells, between their centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([centres[:1], middle, centres[-1:]])


def _new_figure(size: tuple[float, float]) -> Any:
    with optional("plotting"):
        from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")
