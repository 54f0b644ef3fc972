"""Noise as it looks, and its spectrum: what is drawn from a covariance, beside what it says of itself.

Source: equation (4), the variance lambda per frequency; the second row is its check by eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from sagd_jax.show import palette
from sagd_jax.show.plots.frame import (
    RADIUS,
    WORDS,
    label_logarithmic,
    legend,
    new_figure,
    show_image,
    small_ticks,
)
from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.power_spectrum import PowerSpectrum, estimate, radial_profile

DRAWS = 64
_SHOWN = 3.0  # standard deviations from grey to black and white
_FLOOR = 1e-4  # of the largest power: less is a hole


def noise_fields(
    covariances: Covariance | Mapping[str, Covariance],
    *,
    key: jax.Array | None = None,
    draws: int = DRAWS,
) -> Any:
    """A draw of each noise over its radial spectrum: the line is lambda, the points the draws' own power.

    Noise that is diagonal in another basis than Fourier's has no such line, and points alone.

    Grey values and the axis of power are the same for all, so that they can be compared. Everything is
    drawn with one white draw.

    Args:
      covariances: of images, by name; or one. They may differ in size, which shows in the frequencies.
      key: of the white draws.
      draws: from which the points are estimated, with two standard errors.

    Returns:
      The figure.

    Raises:
      ValueError: for a covariance that is not of images, of channels of its own, or fewer than two draws.

    >>> import sagd_jax as sagd
    >>> figure = noise_fields({"white": sagd.white((16, 16)), "low": sagd.power_law((16, 16), -1)})
    >>> [axis.get_title() for axis in figure.axes[:2]]
    ['white', 'low']
    """
    given = covariances if isinstance(covariances, Mapping) else {"": covariances}
    if not given:
        raise ValueError("covariances: there is nothing to draw")
    if draws < 2:
        raise ValueError(f"draws={draws}: expected two or more")
    key = jax.random.key(0) if key is None else key
    columns = len(given)
    figure = new_figure((max(2.8 * columns, 3.4), 4.9))
    axes = figure.subplots(
        2, columns, squeeze=False, height_ratios=(1.25, 1), sharex="row", sharey="row"
    )
    for (field, spectrum), (name, covariance) in zip(axes.T, given.items(), strict=True):
        exact, drawn, image = _of(name, covariance, key, draws)
        show_image(field, image, -_SHOWN, _SHOWN)
        field.set_title(name, fontsize=WORDS)
        spectrum.set(xscale="log", yscale="log")
        if exact is not None:
            radius, power, _ = radial_profile(exact)
            there = np.where(power > _FLOOR * power.max(), power, np.nan)  # a hole is a gap
            spectrum.plot(radius, there, color=palette.BLUE, label="variance (4)")
        radius, power, error = radial_profile(drawn)
        shown = power > _FLOOR * power.max()
        spectrum.errorbar(
            radius[shown],
            power[shown],
            2 * error[shown],
            fmt="o",
            ms=3,
            lw=1,
            color=palette.VERMILION,
            label=f"of {draws} draws",
        )
        spectrum.set_xlabel(RADIUS if columns < 3 else "cycles per sample", fontsize=WORDS)
        small_ticks(spectrum)
    label_logarithmic(axes[1, 0].xaxis)
    label_logarithmic(axes[1, 0].yaxis)
    axes[1, 0].set_ylabel("variance per frequency", fontsize=WORDS)
    legend(axes[1, 0], loc="best")
    return figure


def _of(
    name: str, covariance: Any, key: jax.Array, draws: int
) -> tuple[PowerSpectrum | None, PowerSpectrum, np.ndarray]:
    """The exact spectrum, if it has one, that of draws, and one draw."""
    where = f"covariances[{name!r}]" if name else "covariances"
    shape: Any = getattr(covariance, "spatial_shape", ())
    if len(shape) != 2:
        raise ValueError(f"{where}: of signals of shape {tuple(shape)}; expected images")
    channels = int(np.shape(covariance.variance)[-1])
    x = np.asarray(covariance.sample(key, (draws, *shape, channels)))
    drawn = estimate(x, mean="none", window="none")
    exact = None
    if isinstance(covariance, FourierCovariance):
        power = np.asarray(covariance.variance, np.float64)
        exact = PowerSpectrum(
            tuple(shape), power, np.zeros_like(power), None, draws, np.zeros(channels), "none"
        )
    return exact, drawn, x[0]
