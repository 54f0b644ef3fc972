"""Numbers beside what they belong to, none on top of another, with a thin line where one had to move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_POINTS = 9  # of the numbers
_GAP = 0.042  # between two numbers in a row, as a share of the axis
_STEP = 0.05  # of the places that are tried in a plane
_TRIED = 12  # rings of such places


def above(axes: Any, labels: Sequence[tuple[str, float, str]]) -> None:
    """Writes words above an axis at places along it, in as few rows as hold them.

    Args:
      axes: with its final limits.
      labels: (words, place in units of the axis, colour).
    """
    if not labels:
        return
    _settle(axes)
    places = np.array([_share(axes, x) for _, x, _ in labels])
    order = np.argsort(places, kind="stable")
    rows = -(-len(order) // (int(1 / _GAP) + 1))
    for row in range(rows):
        chosen = order[row::rows]
        for index, at in zip(chosen, apart(places[chosen], _GAP), strict=True):
            text, _, colour = labels[index]
            axes.annotate(
                text,
                xy=(places[index], 1),
                xytext=(at, 1.05 + 0.06 * row),
                xycoords="axes fraction",
                textcoords="axes fraction",
                color=colour,
                fontsize=_POINTS,
                ha="center",
                va="bottom",
                arrowprops={
                    "arrowstyle": "-",
                    "color": colour,
                    "lw": 0.6,
                    "shrinkA": 1,
                    "shrinkB": 0,
                },
            )


def apart(places: np.ndarray, gap: float) -> np.ndarray:
    """Increasing places in [0, 1], moved as little as may be (least squares) to be `gap` apart.

    >>> apart(np.array([0.5, 0.5]), 0.1).round(3).tolist()
    [0.45, 0.55]
    """
    own = np.arange(len(places)) * gap
    # With z = place - own they only must not fall: pools of neighbours take their mean.
    pools: list[tuple[float, int]] = []
    for z in np.asarray(places, float) - own:
        pools.append((float(z), 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    z = np.concatenate([np.full(n, a) for a, n in pools])
    return np.clip(z, 0, max(1 - own[-1], 0)) + own


def in_plane(axes: Any, labels: Sequence[tuple[str, tuple[float, float], str]]) -> None:
    """Writes words in a plane, each at its place or the nearest free one.

    Args:
      axes: with its final limits.
      labels: (words, (x, y) in units of the axes, colour).
    """
    _settle(axes)
    taken: list[tuple[float, float, float]] = []
    for text, place, colour in labels:
        origin = axes.transAxes.inverted().transform(axes.transData.transform(place))
        width = 0.025 * len(text) + 0.015
        x, y = _free(origin, width, taken)
        taken.append((x, y, width))
        moved = np.hypot(x - origin[0], y - origin[1]) > _STEP / 2
        axes.annotate(
            text,
            xy=tuple(origin),
            xytext=(x, y),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=colour,
            fontsize=_POINTS,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "alpha": 0.85, "pad": 0.8, "edgecolor": "none"},
            arrowprops={"arrowstyle": "-", "color": "white", "lw": 0.7} if moved else None,
        )


def _free(
    origin: np.ndarray, width: float, taken: Sequence[tuple[float, float, float]]
) -> tuple[float, float]:
    for ring in range(_TRIED):
        for angle in np.arange(max(1, 8 * ring)) / max(1, 8 * ring) * 2 * np.pi:
            x = float(origin[0] + ring * _STEP * np.cos(angle))
            y = float(origin[1] + ring * _STEP * np.sin(angle))
            inside = 0.02 <= x <= 0.98 and 0.02 <= y <= 0.98
            if (inside or not ring) and all(
                abs(x - a) > (width + w) / 2 or abs(y - b) > _STEP for a, b, w in taken
            ):
                return x, y
    return float(origin[0]), float(origin[1])


def _settle(axes: Any) -> None:
    """Computes the limits, which is put off until they are asked for, and keeps them."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())


def _share(axes: Any, x: float) -> float:
    """Where a value lies along the axis, from 0 to 1."""
    point = axes.transData.transform((x, axes.get_ylim()[0]))
    return float(np.clip(axes.transAxes.inverted().transform(point)[0], 0, 1))
