"""What all figures share: their making, the size of words, axes of logarithms, panels of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import pictures
from sagd_jax.system.late import optional

WORDS, SMALL = 10, 9  # points, in figures 8 to 9 inches wide
WIDTH = 8.4  # inches
_MOST_LABELS = 8  # of a logarithmic axis

RADIUS = "radial frequency (cycles per sample)"


def new_figure(size: tuple[float, float]) -> Any:
    """A figure of so many inches, bound to no screen."""
    with optional("plotting"):
        from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def named(what: str, values: Any, rank: int | tuple[int, ...]) -> dict[str, np.ndarray]:
    """Arrays by name, each of so many axes; one array alone has the empty name.

    Raises:
      ValueError: there are none, or one has other axes or values that are not finite.
    """
    found = values if isinstance(values, Mapping) else {"": values}
    if not found:
        raise ValueError(f"{what}: there is nothing to draw")
    arrays = {str(name): np.asarray(value) for name, value in found.items()}
    ranks = (rank,) if isinstance(rank, int) else rank
    for name, array in arrays.items():
        where = f"{what}[{name!r}]" if name else what
        if array.ndim not in ranks or not array.size:
            axes = " or ".join(map(str, ranks))
            raise ValueError(f"{where}: shape {array.shape}; expected {axes} axes, none empty")
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
            raise ValueError(f"{where}: expected finite numbers")
    return arrays


def show_image(axis: Any, image: np.ndarray, low: float = -1.0, high: float = 1.0) -> None:
    """Draws one image `(height, width, channels)`, uint8 or floats with `low` black and `high` white."""
    if image.dtype != np.uint8:
        image = (np.asarray(image, np.float64) - low) * (2 / (high - low)) - 1
    shown = pictures.image(image)
    colours = np.broadcast_to(shown, (*shown.shape[:2], 3))  # grey ones have one channel
    axis.imshow(colours, interpolation="nearest")
    bare(axis)


def bare(axis: Any) -> None:
    """No ticks and no frame, but room for words."""
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def small_ticks(*axes: Any) -> None:
    """Ticks a little smaller than the words."""
    for axis in axes:
        axis.tick_params(labelsize=SMALL)


def legend(axis: Any, **options: Any) -> None:
    """A legend, if anything has a name."""
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=SMALL, **options)


def edges(centres: ArrayLike) -> np.ndarray:
    """Borders of cells, between their centres."""
    values = np.asarray(centres, np.float64)
    return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])


def label_logarithmic(axis: Any, most: int = _MOST_LABELS) -> None:
    """Few labels, as plain numbers or powers of ten: those of matplotlib overlap where the range is short."""
    with optional("plotting"):
        from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    low, high = sorted(axis.get_view_interval())
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    else:
        ticks = np.linspace(low, high, min(5, most)).tolist()
    if len(ticks) > most and steps == (1,):  # many decades: every second, third, ...
        stride = math.ceil((last - first + 1) / most)
        ticks = [10.0**d for d in range(first - first % stride, last + 1, stride)]
        ticks = [tick for tick in ticks if low <= tick <= high]
    elif len(ticks) > most:
        ticks = ticks[:: math.ceil(len(ticks) / most)]
    axis.set_ticks(ticks)
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    powers = steps == (1,) and not all(1e-3 <= tick < 1e4 for tick in ticks)
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: f"$10^{{{round(math.log10(v))}}}$" if powers else f"{v:.3g}")
    )
