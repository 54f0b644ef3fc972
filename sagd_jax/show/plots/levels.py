"""The log-SNR of a process over time and frequency, with the spectrum of the data where there is one.

    log-SNR(t, f) = log(a_t(f)^2 S(f) / s_t(f)^2),   s_t^2 = sigma_t^2 lambda,

with the coefficients of equation (5) and S the variance of the data per coordinate (1 without data). A
frequency is lost, and learned, around the time at which this is 0.

Source: own; a_t and s_t as in Figure 1 of GUD, arXiv 2410.02667.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.diffusion.process import Diffusion
from sagd_jax.show import palette
from sagd_jax.show.plots.frame import (
    SMALL,
    WORDS,
    edges,
    label_logarithmic,
    named,
    new_figure,
    small_ticks,
)
from sagd_jax.spectral import bases
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.power_spectrum import variance_in
from sagd_jax.spectral.stacks import CovarianceStack

GRID = tuple(np.linspace(0, 1, 81).tolist())
_RINGS = 48  # of a map over the radius, at most
_LARGEST = 10.0  # log-SNR that is told from infinity


def log_snr_map(radius: ArrayLike, times: ArrayLike, log_snr: ArrayLike, figure: Any = None) -> Any:
    """The log-SNR over time and radial frequency; a line where data and noise are equal.

    Args:
      radius: of each coordinate in cycles per sample, `(*spatial, 1)`, as `radius` of a basis.
      times: `(times,)`, increasing.
      log_snr: log(alpha^2 / sigma^2), `(times, *spatial, 1 or channels)`; beyond +-10, and where it is
        infinite, it is shown as that. What is drawn is the mean over a ring.
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for shapes that do not fit together, or a single radius.

    >>> radius, times = np.linspace(0, 0.5, 9).reshape(9, 1), np.linspace(0, 1, 5)
    >>> figure = log_snr_map(radius, times, 5 - 10 * times[:, None, None] - 4 * radius)
    >>> figure.axes[0].get_xlabel(), figure.axes[1].get_ylabel()
    ('time t', 'log-SNR')
    """
    rings, t, values = _checked(radius, times, log_snr)
    figure = new_figure((3.4, 2.6)) if figure is None else figure
    axis = figure.subplots()
    _draw_map(figure, axis, rings, t, rings.mean(values))
    axis.set_ylabel("frequency\n(cycles per sample)", fontsize=SMALL)
    return figure


def process_map(
    diffusion: Diffusion,
    *,
    data: ArrayLike | None = None,
    spectrum: ArrayLike | None = None,
    times: ArrayLike = GRID,
    figure: Any = None,
) -> Any:
    """The log-SNR of a process; with data, at the left their spectrum, on the same axis of frequencies.

    Without data the signal has variance 1 in every coordinate, and the map is of the process alone.

    Args:
      diffusion: the process, of one class: a stack is refused (`Diffusion.at` chooses).
      data: signals `(n, *spatial, channels)` in [-1, 1], from which S is estimated.
      spectrum: S itself instead: variance per coordinate of the process' basis, on its whole grid,
        `(*spatial, 1 or channels)`, as `variance_in` gives it.
      times: `(times,)`, increasing.
      figure: a matplotlib figure, or part of one, to draw in; by default a new one.

    Returns:
      The figure.

    Raises:
      ValueError: for both of data and spectrum, shapes that do not fit, a stack of covariances, or a
        basis without frequencies.

    >>> import jax, sagd_jax as sagd
    >>> x = 0.3 * np.asarray(sagd.power_law((16, 16), -1).sample(jax.random.key(0), (64, 16, 16, 1)))
    >>> process = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((16, 16)))
    >>> figure = process_map(process, data=x)
    >>> [axis.get_xlabel() for axis in figure.axes[:2]]
    ['power of the data', 'time t']
    """
    if data is not None and spectrum is not None:
        raise ValueError("data, spectrum: expected one of them; both say what S is")
    basis = basis_of(diffusion)
    power = None
    if data is not None:
        x = named("data", data, (3, 4, 5))[""]
        power = variance_in(np.asarray(x, np.float64), basis)
    elif spectrum is not None:
        power = np.asarray(spectrum, np.float64)
        grid = basis.radius.shape[:-1]
        if power.shape[:-1] != grid or not np.isfinite(power).all() or (power < 0).any():
            raise ValueError(
                f"spectrum: shape {power.shape}; expected numbers >= 0 on the grid of the process, "
                f"({', '.join(map(str, grid))}, 1 or channels)"
            )
    rings, t, values = _checked(basis.radius, times, _log_snr(diffusion, basis, times, power))
    if power is None:
        return log_snr_map(basis.radius, t, values, figure)
    figure = new_figure((6.6, 3.2)) if figure is None else figure
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 2.4))
    _draw_map(figure, right, rings, t, rings.mean(values))
    shown = rings.mean(power[None])[:, 0]
    there = shown > 0
    left.semilogx(shown[there], rings.centres[there], color=palette.BLUE)
    left.set_xlabel("power of the data", fontsize=WORDS)
    left.set_ylabel("frequency (cycles per sample)", fontsize=WORDS)
    label_logarithmic(left.xaxis, most=4)
    left.invert_xaxis()
    small_ticks(left)
    return figure


def basis_of(diffusion: Diffusion) -> Basis:
    """The basis in which a process has a coefficient per coordinate (5); the Fourier one of a scalar one.

    Of a `diffusion`; raises ValueError for a stack of covariances, of which each class has its own.

    >>> import sagd_jax as sagd
    >>> basis_of(sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8, 8)))).radius.shape
    (8, 8, 1)
    """
    covariance: Any = diffusion.covariance
    if isinstance(covariance, CovarianceStack):
        raise ValueError("diffusion: a covariance for each class; choose one, diffusion.at(0)")
    own: Any = diffusion.schedule.basis or getattr(covariance, "basis", None)
    found: Basis = own or bases.fourier(covariance.spatial_shape)
    return found


def _log_snr(
    diffusion: Diffusion, basis: Basis, times: ArrayLike, power: np.ndarray | None
) -> np.ndarray:
    covariance: Any = diffusion.covariance
    of_schedule = np.asarray(diffusion.schedule.log_snr(np.asarray(times)), np.float64)
    if of_schedule.ndim == 1:
        of_schedule = of_schedule.reshape(-1, *(1,) * basis.radius.ndim)
    variance = np.asarray(covariance.coefficients(basis), np.float64)
    signal = np.ones(()) if power is None else power
    with np.errstate(divide="ignore"):
        ratio = np.log(signal) - np.log(variance)
    # Where there is neither data nor noise nothing is lost: it counts as even.
    return of_schedule + np.where(np.isnan(ratio), 0.0, ratio)


class _Rings:
    """Coordinates by their radius."""

    def __init__(self, radius: np.ndarray) -> None:
        rings = min(_RINGS, max(radius.shape))
        self._ring = np.round((radius.ravel() - radius.min()) / np.ptp(radius) * (rings - 1))
        self._ring = self._ring.astype(int)
        count = np.bincount(self._ring)
        self._filled = count > 0
        self._count = count[self._filled]
        self.centres = np.bincount(self._ring, radius.ravel())[self._filled] / self._count

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Of `(times, *spatial, channels)`: `(rings, times)`."""
        lines = values.mean(axis=-1).reshape(len(values), -1)
        sums = [np.bincount(self._ring, line)[self._filled] for line in lines]
        return np.stack(sums, axis=1) / self._count[:, None]


def _checked(
    radius: ArrayLike, times: ArrayLike, log_snr: ArrayLike
) -> tuple[_Rings, np.ndarray, np.ndarray]:
    r, t, values = np.asarray(radius)[..., 0], np.asarray(times), np.asarray(log_snr)
    if values.shape[:-1] != (len(t), *r.shape):
        raise ValueError(
            f"log_snr.shape={values.shape}: expected ({len(t)}, {', '.join(map(str, r.shape))}, "
            "1 or channels), that of times and radius"
        )
    if np.ptp(r) == 0:
        raise ValueError("radius: all are equal; such a basis has no frequencies to draw over")
    return _Rings(r), t, np.clip(values, -_LARGEST, _LARGEST)


def _draw_map(figure: Any, axis: Any, rings: _Rings, t: np.ndarray, means: np.ndarray) -> None:
    centres = rings.centres
    limits = {"cmap": palette.TWO_SIDED, "vmin": -_LARGEST, "vmax": _LARGEST}
    mesh = axis.pcolormesh(edges(t), edges(centres), means, rasterized=True, **limits)
    if means.min() < 0 < means.max():
        axis.contour(t, centres, means, [0], colors=palette.BLACK, linewidths=1)
    axis.set(xlim=(t[0], t[-1]), ylim=(centres[0], centres[-1]))
    if t[0] == 0 and t[-1] == 1:
        axis.set_xticks([0, 0.5, 1])
    axis.set_xlabel("time t", fontsize=WORDS)
    bar = figure.colorbar(mesh, ax=axis, extend="both", ticks=[-_LARGEST, 0, _LARGEST])
    bar.set_label("log-SNR", fontsize=WORDS)
    small_ticks(axis, bar.ax)
