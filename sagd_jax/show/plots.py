"""Plots, as PNG files. Needs matplotlib, which is imported when one is drawn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.frequencies import frequency_vectors
from sagd_jax.spectral.power_spectrum import radial_profile

_MOST_LABELS = 8  # of a logarithmic axis


def plot_spectrum(analysis: Analysis, path: str | Path) -> None:
    """Draws a data set's spectrum: its radial profile with the power law, and the plane with holes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
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
    axes.loglog(radius, power, label="data (band: 2 standard errors)")
    axes.loglog(
        radius, law.scale * radius ** (2 * law.alpha), "--", label=f"alpha = {law.alpha:.3f}"
    )
    for anomaly in analysis.anomalies:
        if anomaly.kind == "line":
            axes.axvline(anomaly.low, color="tab:red", alpha=0.4)
        else:
            axes.axvspan(anomaly.low, anomaly.high, color="tab:red", alpha=0.15)
    axes.set(xlabel="radial frequency (cycles per sample)", ylabel="power")
    axes.legend()
    _label_logarithmic(axes.xaxis)
    _label_logarithmic(axes.yaxis)


def _plot_line(axes: Any, values: np.ndarray, analysis: Analysis) -> None:
    (frequency,) = frequency_vectors(analysis.spectrum.spatial_shape, analysis.spectrum.basis)
    holes = analysis.kept == 0
    axes.semilogy(frequency[1:], values[1:])
    if holes.any():
        axes.semilogy(frequency[holes], values[holes], ".", color="tab:red", label="to omit")
        axes.legend()
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
    axes.set(
        xlabel="last axis (cycles per sample)", ylabel="first axis (cycles per sample)", title=title
    )
    return image


def _label_logarithmic(axis: Any) -> None:
    """Few labels, as plain numbers: those of matplotlib overlap where the range is short."""
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
