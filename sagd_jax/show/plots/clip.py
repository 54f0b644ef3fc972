"""Clips as contact sheets: some of their frames in a row, with their times; and as files that move.

Source: own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import media, pictures
from sagd_jax.show.plots.frame import WIDTH, WORDS, named, new_figure, show_image


def contact_sheet(
    clips: ArrayLike | Mapping[str, ArrayLike],
    frame_rate: float | None = None,
    *,
    frames: int = 8,
) -> Any:
    """Evenly spaced frames of each clip, a row each, under their times; all of one grey scale.

    Args:
      clips: `(time, height, width, channels)` by name, uint8 or floats in [-1, 1]; or one.
      frame_rate: in frames per second; without it frames have their numbers, from 0.
      frames: of each clip that are drawn, at most; the first and the last are among them.

    Returns:
      The figure.

    Raises:
      ValueError: for clips of other axes or of different lengths, or a rate or number that is not positive.

    >>> figure = contact_sheet(np.zeros((5, 8, 8, 1)), 10, frames=3)
    >>> [axis.get_title() for axis in figure.axes]
    ['0 s', '0.2 s', '0.4 s']
    """
    given = named("clips", clips, 4)
    lengths = {len(x) for x in given.values()}
    if len(lengths) > 1:
        raise ValueError(
            f"clips: of {', '.join(map(str, sorted(lengths)))} frames; expected one length"
        )
    if frames < 1:
        raise ValueError(f"frames={frames}: expected one or more")
    if frame_rate is not None and not 0 < frame_rate < np.inf:
        raise ValueError(f"frame_rate={frame_rate}: expected frames per second, > 0")
    (length,) = lengths
    shown = np.unique(np.linspace(0, length - 1, min(frames, length)).round().astype(int))
    height, width = next(iter(given.values())).shape[1:3]
    side = WIDTH / len(shown)
    figure = new_figure((WIDTH, (side * height / width + 0.05) * len(given) + 0.3))
    axes = figure.subplots(len(given), len(shown), squeeze=False)
    for row, (name, clip) in zip(axes, given.items(), strict=True):
        for axis, index in zip(row, shown, strict=True):
            show_image(axis, clip[index])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=WORDS)
    for axis, index in zip(axes[0], shown, strict=True):
        words = f"frame {index}" if frame_rate is None else f"{index / frame_rate:.3g} s"
        axis.set_title(words, fontsize=WORDS)
    return figure


def write_gif(path: str | Path, clip: ArrayLike, frame_rate: float) -> None:
    """Writes a clip as an endless GIF, which browsers and README files show.

    Args:
      path: of the file, which is replaced in one step.
      clip: `(time, height, width, channels)`, uint8 or floats in [-1, 1]; channels other than 1 and 3:
        the first three, or the first.
      frame_rate: in frames per second.

    Raises:
      ValueError: for a clip of other axes, values that are not finite, or a rate that is not positive.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "clip.gif"
    >>> write_gif(file, np.zeros((3, 8, 8, 1)), 10)
    >>> file.read_bytes()[:6]
    b'GIF89a'
    """
    frames = named("clip", clip, 4)[""]
    media.write_gif(path, np.stack([pictures.image(frame) for frame in frames]), frame_rate)
