"""Plots, as PNG files. Needs matplotlib, which is imported when one is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sagd_jax.spectral.analysis import Analysis
from sagd_jax.spectral.frequencies import frequency_vectors
from sagd_jax.spectral.power_spectrum import radial_profile


def plot_spectrum(analysis: Analysis, path: str | Path) -> None:
    """Draws a data set's spectrum: its radial profile with the power law, and the plane with holes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spectrum, law = analysis.spectrum, analysis.law
    radius, power, error = radial_profile(spectrum)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.fill_between(
        radius, np.maximum(power - 2 * error, 1e-3 * power), power + 2 * error, alpha=0.3
    )
    left.loglog(radius, power, label="data (band: 2 standard errors)")
    left.loglog(
        radius, law.scale * radius ** (2 * law.alpha), "--", label=f"alpha = {law.alpha:.3f}"
    )
    for anomaly in analysis.anomalies:
        if anomaly.kind == "line":
            left.axvline(anomaly.low, color="tab:red", alpha=0.4)
        else:
            left.axvspan(anomaly.low, anomaly.high, color="tab:red", alpha=0.15)
    left.set(xlabel="radial frequency (cycles per sample)", ylabel="power")
    left.legend()
    values = spectrum.power.mean(axis=-1)
    holes = analysis.kept == 0
    if values.ndim == 1:
        (frequency,) = frequency_vectors(spectrum.spatial_shape, spectrum.basis)
        right.semilogy(frequency[1:], values[1:])
        right.semilogy(frequency[holes], values[holes], ".", color="tab:red", label="to omit")
        right.set(xlabel="frequency (cycles per sample)", ylabel="power")
    else:
        # Of three axes the first (time) and the last are shown.
        if values.ndim == 3:
            values, holes = values.mean(axis=1), holes.any(axis=1)
        height = spectrum.spatial_shape[0]
        picture = np.log10(np.maximum(values, values[values > 0].min()))
        extent = (0.0, 0.5, 0.0, 0.5)
        if spectrum.basis == "fourier":
            picture = np.fft.fftshift(picture, axes=0)
            extent = (0.0, 0.5, -0.5, -0.5 + (height - 1) / height)
        image = right.imshow(picture, origin="lower", aspect="auto", extent=extent)
        if holes.any():
            right.contour(
                np.fft.fftshift(holes, axes=0).astype(float), [0.5], colors="red", extent=extent
            )
        right.set(
            xlabel="last axis (cycles per sample)",
            ylabel="first axis",
            title=f"log10 power, {spectrum.basis}",
        )
        figure.colorbar(image, ax=right)
    figure.savefig(path, dpi=110)
