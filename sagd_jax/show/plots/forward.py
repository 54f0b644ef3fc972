"""The forward process on one image: what is left of it at some times, under one process or several.

Source: x_t of equation (5), as in Figure 2 of SAGD, arXiv 2510.09660; all processes get one white draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import Diffusion
from sagd_jax.show.plots.frame import WORDS, named, new_figure, show_image
from sagd_jax.show.plots.levels import process_map

TIMES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


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
      times: of the columns, t in [0, 1].
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
    figure = new_figure((1.1 * columns, 1.1 * rows + 0.3)) if figure is None else figure
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, line in zip(axes, images, strict=True):
        for axis, image in zip(row, line, strict=True):
            show_image(axis, np.asarray(image), *value_range)
    for axis, t in zip(axes[0], times, strict=True):
        axis.set_title(f"t = {t:g}", fontsize=WORDS)
    for axis, name in zip(axes[:, 0], names, strict=False):
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=WORDS)
    return figure


def processes(
    image: ArrayLike | Mapping[str, ArrayLike],
    diffusions: Diffusion | Mapping[str, Diffusion],
    *,
    times: Sequence[float] = TIMES,
    key: jax.Array | None = None,
    maps: bool = True,
) -> Any:
    """One image on its way to noise, a row for each process, and the process' log-SNR beside it.

    Args:
      image: `(height, width, channels)`, floats in [-1, 1]; or one for each process, by its name.
      diffusions: the processes by name; or one, which needs no name.
      times: of the columns, in [0, 1].
      key: of the noise, which is the same white draw in every process and at every time.
      maps: whether the log-SNR over time and frequency stands at the right (`process_map`).

    Returns:
      The figure.

    Raises:
      ValueError: for images of other axes or sizes, names that the processes do not have, or a map of a
        basis without frequencies.

    >>> import sagd_jax as sagd
    >>> white, cosine = sagd.white((8, 8)), sagd.schedules.cosine()
    >>> figure = processes(np.zeros((8, 8, 1)), sagd.Diffusion(cosine, white), times=(0, 1))
    >>> figure.axes[-2].get_xlabel()
    'time t'
    """
    given = diffusions if isinstance(diffusions, Mapping) else {"": diffusions}
    images = named("image", image, 3)
    if set(images) != {""} and set(images) != set(given):
        raise ValueError(
            f"image: of {', '.join(images)}; expected one image, or one of each of {', '.join(given)}"
        )
    rows = {
        name: _noisy(diffusion, images.get(name, next(iter(images.values()))), times, key)
        for name, diffusion in given.items()
    }
    colours = max(row.shape[-1] for row in rows.values())
    drawn = {name: np.broadcast_to(r, (*r.shape[:-1], colours)) for name, r in rows.items()}
    names = list(given) if any(given) else []
    if len({row.shape for row in drawn.values()}) > 1:
        raise ValueError("image: of different sizes; expected one")
    stacked = np.stack(list(drawn.values()))
    if not maps:
        return forward_process(stacked, times, names)
    figure = new_figure((9.2, 1.9 * len(given)))
    left, right = figure.subfigures(1, 2, width_ratios=(2.5, 1))
    forward_process(stacked, times, names, figure=left)
    parts = right.subfigures(len(given), 1, squeeze=False)[:, 0]
    for part, diffusion in zip(parts, given.values(), strict=True):
        process_map(diffusion, figure=part)
    return figure


def _noisy(
    diffusion: Diffusion, image: np.ndarray, times: Sequence[float], key: jax.Array | None
) -> np.ndarray:
    """One image at all times, with the same white draw."""
    x0 = jnp.asarray(image, jnp.float32)[None]
    key = jax.random.key(0) if key is None else key
    return np.concatenate([np.asarray(diffusion.diffuse(key, x0, t)[0]) for t in times])
