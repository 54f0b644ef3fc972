"""Radial power spectra of several sets, with what is known of them: data, samples, sounds, clips.

Source: the mean periodogram of rings, `spectral/power_spectrum.py`, with two standard errors to both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.show import palette
from sagd_jax.show.plots.frame import (
    RADIUS,
    WIDTH,
    WORDS,
    label_logarithmic,
    legend,
    named,
    new_figure,
    small_ticks,
)
from sagd_jax.spectral.power_spectrum import estimate, radial_profile

Profile = tuple[np.ndarray, np.ndarray, np.ndarray]
_DEEPEST = 1e-4  # of the least power of the first set, below which the picture ends
_SMALLEST = 1e-3  # of a power, as which the lower end of a band is drawn that would be below 0


def radial_spectra(
    sets: ArrayLike | Mapping[str, ArrayLike], *, ratio: bool = True, figure: Any = None
) -> Any:
    """The radial power spectra of sets of signals, and their ratio to the first set's.

    Each band is two standard errors wide to both sides, from the spread over examples. All sets get the
    taper that the first one needs, so that they can be compared. What is below a ten thousandth of the first
    set's least power is off the picture.

    Args:
      sets: `(n, *spatial, channels)` by name, two examples at least; they may differ in number.
      ratio: whether the ratio is drawn below, where there are two sets.
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for sets of other axes, of different sizes, or with fewer than two examples.

    >>> rng = np.random.default_rng(0)
    >>> data, samples = rng.normal(size=(2, 50, 8, 8, 1))
    >>> figure = radial_spectra({"data": data, "samples": 1.1 * samples})
    >>> [axis.get_ylabel() for axis in figure.axes]
    ['power', 'over data']
    """
    arrays = named("sets", sets, (3, 4, 5))
    first = next(iter(arrays.values()))
    for name, x in arrays.items():
        where = f"sets[{name!r}]" if name else "sets"
        if x.shape[1:] != first.shape[1:] or len(x) < 2:
            raise ValueError(
                f"{where}: shape {x.shape}; expected two or more signals of shape {first.shape[1:]}"
            )
    window = estimate(first).window
    profiles = {name: radial_profile(estimate(x, window=window)) for name, x in arrays.items()}
    return draw_profiles(profiles, ratio=ratio, figure=figure)


def draw_profiles(
    profiles: Mapping[str, Profile], *, ratio: bool = True, figure: Any = None
) -> Any:
    """Draws profiles that were computed before: (radius, power, standard error), `(rings,)` each.

    Args:
      profiles: by name, of one grid, as `radial_profile` gives them.
      ratio, figure: as of `radial_spectra`.

    >>> line = np.linspace(0.1, 0.5, 5), np.ones(5), np.full(5, 0.1)
    >>> len(draw_profiles({"data": line}).axes)
    1
    """
    several = ratio and len(profiles) > 1
    figure = new_figure((WIDTH * 0.75, 5.0 if several else 3.6)) if figure is None else figure
    if several:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    else:
        top, bottom = figure.subplots(), None
    reference, (_, base, base_error) = next(iter(profiles.items()))
    for index, (name, (radius, power, error)) in enumerate(profiles.items()):
        _line(top, index, name, radius, power, error)
        if bottom is not None and index:
            with np.errstate(divide="ignore", invalid="ignore"):
                over = power / base
                spread = over * np.sqrt((error / power) ** 2 + (base_error / base) ** 2)
            _line(bottom, index, "", radius, over, spread)
    top.set_xscale("log")
    top.set_yscale("log")
    top.set_ylabel("power", fontsize=WORDS)
    _end_below(top, _DEEPEST * base[base > 0].min(initial=np.inf))
    lowest = top if bottom is None else bottom
    lowest.set_xlabel(RADIUS, fontsize=WORDS)
    if bottom is not None:
        bottom.set_yscale("log")
        _end_below(bottom, _DEEPEST)
        bottom.axhline(1, color=palette.line(0), lw=1)
        bottom.set_ylabel(f"over {reference}", fontsize=WORDS)
        label_logarithmic(bottom.yaxis, most=5)
        small_ticks(bottom)
    label_logarithmic(lowest.xaxis)
    label_logarithmic(top.yaxis)
    small_ticks(top)
    legend(top)
    return figure


def _end_below(axis: Any, lowest: float) -> None:
    """Cuts off what is next to nothing, a hole for example, which would squeeze the rest."""
    if 0 < lowest < np.inf and axis.get_ylim()[0] < lowest:
        axis.set_ylim(bottom=lowest)


def _line(
    axis: Any, index: int, name: str, radius: np.ndarray, power: np.ndarray, error: np.ndarray
) -> None:
    colour, shown = palette.line(index), np.isfinite(power) & (power > 0)
    radius, power, error = radius[shown], power[shown], np.nan_to_num(error[shown])
    low = np.maximum(power - 2 * error, _SMALLEST * power)
    axis.fill_between(radius, low, power + 2 * error, color=colour, alpha=0.25, lw=0)
    axis.plot(
        radius,
        power,
        color=colour,
        marker=palette.marker(index),
        ms=3,
        lw=1.4,
        label=name or None,
    )
