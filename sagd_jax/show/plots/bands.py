"""How well a denoiser knows each band of frequencies, while it learns or over the times of the process.

Source: the errors of `evaluation/denoising.py`, E |F(x0_hat - x_0)|^2 per coefficient, with (5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import palette
from sagd_jax.show.plots.frame import (
    SMALL,
    WIDTH,
    WORDS,
    label_logarithmic,
    new_figure,
    small_ticks,
)
from sagd_jax.system.late import optional


def band_errors(
    x: ArrayLike,
    errors: ArrayLike,
    edges: Sequence[float],
    standard_errors: ArrayLike | None = None,
    *,
    xlabel: str = "training step",
    figure: Any = None,
) -> Any:
    """The denoising error of each band, a line each, from the lowest (dark) to the highest (light).

    Args:
      x: `(points,)`: training steps, or times t with `xlabel="time t"`.
      errors: mean squared errors per coefficient, `(points, bands)`; NaN where a band has none.
      edges: of the bands, `(bands + 1,)`, in shares of the largest radius (the unit `max`).
      standard_errors: of `errors`, of their shape; a band shows two to both sides.
      xlabel: what x is.
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for shapes that do not fit together, or bands without any error above 0.

    >>> figure = band_errors([0, 100, 200], [[1, 2], [0.5, 1], [0.3, 0.9]], (0, 0.5, 1))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['0 to 0.5', '0.5 to 1']
    """
    at, values = np.asarray(x, np.float64), np.asarray(errors, np.float64)
    spread = np.zeros_like(values) if standard_errors is None else np.asarray(standard_errors)
    if values.shape != (len(at), len(edges) - 1) or spread.shape != values.shape or not values.size:
        raise ValueError(
            f"errors: shape {values.shape}, standard_errors: {spread.shape}; expected "
            f"({len(at)}, {len(edges) - 1}), the points and the bands"
        )
    if not np.any(values > 0):
        raise ValueError("errors: none is above 0")
    with optional("plotting"):
        from matplotlib import colormaps

    # The lightest end of the map is too light for a line on white.
    colours = colormaps[palette.ONE_SIDED](np.linspace(0, 0.85, values.shape[1]))
    figure = new_figure((WIDTH * 0.8, 3.6)) if figure is None else figure
    axis = figure.subplots()
    for band, colour in enumerate(colours):
        own, error = values[:, band], spread[:, band]
        shown = own > 0
        if not shown.any():
            continue
        low = np.maximum(own - 2 * error, 1e-3 * own)
        axis.fill_between(
            at[shown], low[shown], (own + 2 * error)[shown], color=colour, alpha=0.2, lw=0
        )
        axis.plot(
            at[shown],
            own[shown],
            color=colour,
            marker=palette.marker(band),
            ms=3.5,
            lw=1.3,
            label=f"{edges[band]:g} to {edges[band + 1]:g}",
        )
    axis.set_yscale("log")
    axis.set_xlabel(xlabel, fontsize=WORDS)
    axis.set_ylabel("squared error of x0 per coefficient", fontsize=WORDS)
    label_logarithmic(axis.yaxis)
    small_ticks(axis)
    axis.legend(
        fontsize=SMALL,
        title="radius over\nthe largest",
        title_fontsize=SMALL,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
    )
    return figure
