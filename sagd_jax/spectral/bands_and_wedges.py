"""Families of sets of frequencies that a corruption may fill: radial bands and oriented wedges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from sagd_jax.spectral.frequencies import in_wedge, radial_frequency

_LOWS = (0.0, 0.15, 0.3, 0.5)  # inner radii that wedges are tried with first, in `max`
_EDGES = 44  # radii between which bands are tried first


class Family(Protocol):
    """A kind of set of bins, by its parameters: tried coarsely first, then near the best."""

    def mask(self, parameters: Any) -> np.ndarray: ...

    def coarse(self) -> Iterable[Any]: ...

    def near(self, parameters: Any) -> Iterable[Any]: ...

    def describe(self, parameters: Any, mask: np.ndarray) -> dict[str, Any]: ...


class Bands:
    """Radial bands over some axes, by (low, high) in cycles per sample."""

    def __init__(self, shape: tuple[int, ...], axes: tuple[int, ...]):
        self._axes = axes
        self._radius = radial_frequency(shape, axes=axes)
        # Radii that differ by rounding only are one. A band that goes down to the lowest has no edge
        # there: it is the shape of the spectrum itself.
        lowest = 1.99 / max(shape[axis] for axis in axes)
        self._levels = np.unique(np.round(self._radius[self._radius >= lowest], 9))
        self._end = float(self._levels.max(initial=0.0)) + 1e-6

    def mask(self, parameters: tuple[float, float]) -> np.ndarray:
        low, high = parameters
        radius = np.round(self._radius, 9)
        return (radius >= low) & (radius < high) & (radius > 0)

    def coarse(self) -> Iterable[tuple[float, float]]:
        levels = self._levels
        if len(levels) > _EDGES:
            levels = np.linspace(levels[0], levels[-1], _EDGES)
        return itertools.combinations([*levels.tolist(), self._end], 2)

    def near(self, parameters: tuple[float, float]) -> Iterable[tuple[float, float]]:
        reach = float(np.ptp(self._levels)) / _EDGES
        lows, highs = ([edge, *self._close(edge, reach), self._end] for edge in parameters)
        return ((low, high) for low in lows for high in highs if low < high)

    def describe(self, parameters: tuple[float, float], mask: np.ndarray) -> dict[str, Any]:
        inside = np.round(self._radius[mask], 9)
        above = self._levels[self._levels > inside.max()]
        high = float(above[0]) if len(above) else float(inside.max())
        return {"kind": "band", "low": float(inside.min()), "high": high, "axes": self._axes}

    def _close(self, edge: float, reach: float) -> list[float]:
        close = self._levels[np.abs(self._levels - edge) <= reach]
        if len(close) > 24:
            close = close[np.linspace(0, len(close) - 1, 24).astype(int)]
        return close.tolist()


class Wedges:
    """Oriented wedges of images, by (angle, width) in degrees and (low, high) in `max`."""

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._radius = radial_frequency(shape, unit="max")
        self._scale = float(radial_frequency(shape).max())
        self._cones: dict[tuple[float, float], np.ndarray] = {}

    def mask(self, parameters: tuple[float, ...]) -> np.ndarray:
        angle, width, low, high = parameters
        if (angle, width) not in self._cones:
            direction = (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
            self._cones[angle, width] = in_wedge(self._shape, direction, width)
        return self._cones[angle, width] & (self._radius >= low) & (self._radius < high)

    def coarse(self) -> Iterable[tuple[float, ...]]:
        angles = np.arange(0, 180, 7.5).tolist()
        return itertools.product(angles, (8.0, 16.0, 24.0, 32.0, 40.0, 48.0), _LOWS, (1.01,))

    def near(self, parameters: tuple[float, ...]) -> Iterable[tuple[float, ...]]:
        angle, width, low, high = parameters
        angles = [angle + step for step in (-5.0, -2.5, -1.0, 0.0, 1.0, 2.5, 5.0)]
        widths = [width + step for step in (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0)]
        lows = {*_LOWS, *(max(low + step, 0.0) for step in (-0.08, -0.03, 0.0, 0.03, 0.08))}
        highs = {1.01, high, *(high - step for step in (0.05, 0.2, 0.4))}
        return itertools.product(angles, [w for w in widths if w >= 1], sorted(lows), sorted(highs))

    def describe(self, parameters: tuple[float, ...], mask: np.ndarray) -> dict[str, Any]:
        inside = self._radius[mask] * self._scale
        return {
            "kind": "wedge",
            "low": float(inside.min()),
            "high": float(inside.max()),
            "axes": (0, 1),
            "angle": parameters[0] % 180,
            "width": parameters[1],
        }
