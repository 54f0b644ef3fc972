"""Bins around a line, and those as far aside in which nothing is, for comparison; all on the half grid."""

from __future__ import annotations

import numpy as np

from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.lines import spread_of_tone
from sagd_jax.spectral.half_grid import dilate, opposite, to_half_grid


def point(place: tuple[int, ...], shape: tuple[int, ...], distance: float) -> np.ndarray:
    """The bins of the half grid within a distance of one of them, or of its opposite."""
    full = np.zeros(shape, bool)
    full[place] = True
    if distance > 0:
        full = dilate(full, distance)
    return to_half_grid(full | opposite(full))


def aside(
    place: tuple[int, ...], shape: tuple[int, ...], taken: np.ndarray, around: np.ndarray
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Bins like those of a line, some steps away and side by side too, so that their sums scatter alike.

    With the steps along each axis; none where the grid has no room.
    """
    size = point(place, shape, 1).sum()
    for step in (7, -7, 8, -8, 9, -9, 6, -6, 5, -5):
        for axis in reversed(range(len(shape))):
            moved = list(place)
            moved[axis] = (moved[axis] + step) % shape[axis]
            mask = point(tuple(moved), shape, 1)
            if mask.sum() == size and not (mask & taken).any() and not mask.flat[0]:
                return mask, tuple(step if a == axis else 0 for a in range(len(shape)))
    # A grid without room: some of the bins around it.
    places = np.argwhere(around)
    chosen = np.zeros_like(taken)
    for k in np.linspace(0, len(places) - 1, max(len(places) // 2, 1)).astype(int):
        chosen[tuple(places[k])] = True
    return chosen, ()


def sharp_control(
    frequency: tuple[float, ...], moved: tuple[int, ...], evidence: Evidence, control: np.ndarray
) -> np.ndarray:
    """Weights of the control's bins: as the energy of a tone lies in them that is as far from their centre."""
    if not moved:
        return control / max(control.sum(), 1)
    beside = tuple(f + m / n for f, m, n in zip(frequency, moved, evidence.shape, strict=True))
    weights = spread_of_tone(beside, evidence.shape, evidence.tapered) * control
    return weights / max(float(weights.sum()), 1e-12)
