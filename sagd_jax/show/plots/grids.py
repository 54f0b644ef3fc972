"""Pictures side by side: samples with their classes, and what an omission or a recovery makes of images.

Source: selective omission as in section 2.3 of SAGD, arXiv 2510.09660.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import palette
from sagd_jax.show.plots.frame import SMALL, WIDTH, WORDS, named, new_figure, show_image
from sagd_jax.show.plots.radial import radial_spectra


def class_grid(
    samples: ArrayLike,
    labels: ArrayLike | None = None,
    names: Sequence[str] = (),
    *,
    columns: int | None = None,
) -> Any:
    """Images in a grid, each with its class below it; all of one grey scale.

    Args:
      samples: `(n, height, width, channels)`, uint8 or floats in [-1, 1].
      labels: `(n,)`, whole numbers; none are written by default.
      names: of the classes, by their number; by default the numbers.
      columns: of the grid; by default it is square.

    Returns:
      The figure.

    Raises:
      ValueError: for labels of another number, or without a name.

    >>> figure = class_grid(np.zeros((3, 8, 8, 1)), [0, 1, 1], ["cat", "dog"])
    >>> [axis.get_xlabel() for axis in figure.axes]
    ['cat', 'dog', 'dog']
    """
    images = named("samples", samples, 4)[""]
    words = [""] * len(images)
    if labels is not None:
        numbers = np.asarray(labels)
        if numbers.shape != (len(images),) or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"labels: {numbers.dtype} of shape {numbers.shape}; expected whole numbers ({len(images)},)"
            )
        if len(names) and (numbers.min() < 0 or numbers.max() >= len(names)):
            raise ValueError(
                f"names: {len(names)}, but there are labels {numbers.min()} to {numbers.max()}"
            )
        words = [str(names[n]) if len(names) else str(n) for n in numbers]
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    side = WIDTH / max(columns, 6)
    height, width = images.shape[1:3]
    figure = new_figure(
        (side * columns, rows * (side * height / width + (0.24 if any(words) else 0)))
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    for index, (image, word) in enumerate(zip(images, words, strict=True)):
        axis = figure.add_subplot(rows, columns, index + 1)
        show_image(axis, image)
        axis.set_xlabel(word, fontsize=SMALL, labelpad=2)
    return figure


def side_by_side(
    sets: Mapping[str, ArrayLike],
    *,
    band: tuple[float, float] | None = None,
    shown: int = 5,
) -> Any:
    """Sets of images, a row each, and all their spectra: clean, corrupted, recovered, or drawn without a band.

    Args:
      sets: `(n, height, width, channels)`, uint8 or floats in [-1, 1], by name. Image i of each set stands
        in column i; the spectra are of whole sets, with two standard errors, over that of the first.
      band: (low, high) in cycles per sample, which is shaded in the spectra: that of the corruption.
      shown: images of each set that are drawn, at most.

    Returns:
      The figure.

    Raises:
      ValueError: for sets of different sizes, fewer than two images, or a band that is none.

    >>> x = np.random.default_rng(0).normal(size=(3, 10, 8, 8, 1)) / 4
    >>> figure = side_by_side({"clean": x[0], "corrupted": x[1], "recovered": x[2]}, band=(0.1, 0.2))
    >>> [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()]
    ['clean', 'corrupted', 'recovered', 'power', 'over clean']
    """
    arrays = named("sets", sets, 4)
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"band={band}: expected (low, high), 0 <= low < high")
    rows, columns = len(arrays), min(shown, *(len(x) for x in arrays.values()))
    if columns < 1:
        raise ValueError(f"shown={shown}: expected one image or more")
    figure = new_figure((9.4, max(1.0 * rows + 0.3, 3.6)))
    left, right = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    axes = left.subplots(rows, columns, squeeze=False)
    for row, (name, images) in zip(axes, arrays.items(), strict=True):
        for axis, image in zip(row, images, strict=False):
            show_image(axis, image)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=WORDS)
    radial_spectra({name: _floats(x) for name, x in arrays.items()}, figure=right)
    if band is not None:
        for axis in right.axes:
            axis.axvspan(*band, color=palette.GREY, alpha=0.2, lw=0, zorder=0)
    return figure


def _floats(images: np.ndarray) -> np.ndarray:
    return images / 127.5 - 1 if images.dtype == np.uint8 else images
