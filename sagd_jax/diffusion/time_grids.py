"""Time grids for samplers: decreasing NumPy arrays from 1 (noise) to 0 (data).

A grid with N intervals has N + 1 times. The grids that are uniform in a function of the log-SNR
place their first N times there and end in 0, where the log-SNR is infinite; their first time is
always 1, also where the schedule's log-SNR is infinite at t = 1 (rectified flow) and the requested
range starts later.

Source of `edm`: Karras et al. 2022 (arXiv 2206.00364), equation 5, with sigma / alpha for sigma.
"""

from __future__ import annotations

import abc
import dataclasses
import operator

import jax
import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.diffusion.checks import check_schedule
from sagd_jax.diffusion.schedules import Schedule
from sagd_jax.spectral import arguments
from sagd_jax.system import kinds, schema

_LARGEST_RATIO = 1e3  # sigma / alpha that stands for infinity


def check_times(times: ArrayLike) -> np.ndarray:
    """Returns an explicit grid as a float64 array.

    Raises:
      ValueError: unless it is one-dimensional, strictly decreasing, within [0, 1] and ends in 0.

    >>> check_times([1, 0.5, 0])
    array([1. , 0.5, 0. ])
    """
    grid = arguments.numbers("times", times)
    decreasing = grid.ndim == 1 and grid.size >= 2 and bool(np.all(np.diff(grid) < 0))
    if not (decreasing and grid[0] <= 1 and grid[-1] == 0):
        raise ValueError(
            f"times={times!r}: expected at least two strictly decreasing numbers in [0, 1], "
            "the last one 0"
        )
    return grid


def uniform(num_steps: int) -> np.ndarray:
    """`num_steps` equal intervals in t: DDPM's trailing time steps, and EDM's grid on `edm()`.

    Raises:
      ValueError: unless num_steps is an integer >= 1.

    >>> uniform(4)
    array([1.  , 0.75, 0.5 , 0.25, 0.  ])
    """
    return np.linspace(1.0, 0.0, _check_num_steps(num_steps) + 1)


def uniform_log_snr(
    schedule: Schedule, num_steps: int, ratio_min: float = 0.01, ratio_max: float | None = None
) -> np.ndarray:
    """Equal intervals in log(alpha^2 / sigma^2), and a last one to 0.

    The step to 0 ends in the posterior mean, which of a coordinate of variance S under white noise keeps
    S / (S + ratio_min^2) of the energy: take ratio_min well below the standard deviation of the weakest
    coordinate that matters.

    Args:
      schedule: turns log-SNRs into times; of a spectral one, its clock does.
      num_steps: number of intervals, the last one included.
      ratio_min: sigma / alpha of the last time before 0.
      ratio_max: sigma / alpha at the noisy end; by default the schedule's own at t = 1, or 1000
        where that is infinite.

    Returns:
      A float64 array of shape `(num_steps + 1,)`.

    Raises:
      ValueError: for num_steps < 1, or unless 0 < ratio_min < ratio_max within the schedule.

    >>> import sagd_jax as sagd
    >>> grid = uniform_log_snr(sagd.schedules.rectified_flow(), 4, ratio_min=0.1, ratio_max=10)
    >>> [round(float(t), 3) for t in grid]
    [1.0, 0.683, 0.317, 0.091, 0.0]
    """
    largest, smallest = _check_ratios(schedule, num_steps, ratio_min, ratio_max)
    return _from_ratios(schedule, np.geomspace(largest, smallest, num_steps))


def edm(
    schedule: Schedule,
    num_steps: int,
    rho: float = 7.0,
    ratio_min: float = 0.002,
    ratio_max: float | None = None,
) -> np.ndarray:
    """Equal intervals in (sigma / alpha)^(1 / rho), and a last one to 0: EDM's grid.

    Args:
      schedule: turns log-SNRs into times; of a spectral one, its clock does.
      num_steps: number of intervals, the last one included.
      rho: 1 is uniform in sigma / alpha; larger values put more of the steps near the data.
      ratio_min: sigma / alpha of the last time before 0.
      ratio_max: as in `uniform_log_snr`.

    Returns:
      A float64 array of shape `(num_steps + 1,)`.

    Raises:
      ValueError: as `uniform_log_snr`, or unless rho is finite and > 0.

    >>> import sagd_jax as sagd
    >>> grid = edm(sagd.schedules.edm(), 3, rho=1, ratio_min=40)
    >>> [round(80 * float(t) ** 7, 3) for t in grid]
    [80.0, 60.0, 40.0, 0.0]
    """
    if not (0 < rho < np.inf):
        raise ValueError(f"rho={rho}: expected a finite number > 0")
    largest, smallest = _check_ratios(schedule, num_steps, ratio_min, ratio_max)
    roots = np.linspace(largest ** (1 / rho), smallest ** (1 / rho), num_steps)
    return _from_ratios(schedule, roots**rho)


def _check_num_steps(num_steps: int) -> int:
    try:
        count = 0 if isinstance(num_steps, bool) else operator.index(num_steps)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"num_steps={num_steps!r}: expected an integer >= 1")
    return count


def _check_ratios(
    schedule: Schedule, num_steps: int, ratio_min: float, ratio_max: float | None
) -> tuple[float, float]:
    _check_num_steps(num_steps)
    check_schedule(schedule)
    with jax.ensure_compile_time_eval():
        end = float(np.exp(-0.5 * np.asarray(schedule.clock.log_snr(1.0), np.float64)))
    if ratio_max is None:
        ratio_max = min(end, _LARGEST_RATIO) if np.isinf(end) else end
    # The end of the schedule is known to float32 precision.
    if not (0 < ratio_min < ratio_max <= end * (1 + 1e-5)) or np.isinf(ratio_max):
        raise ValueError(
            f"ratio_min={ratio_min}, ratio_max={ratio_max}: expected finite numbers "
            f"0 < ratio_min < ratio_max <= {end:.6g}, sigma / alpha of the schedule at t = 1"
        )
    return float(ratio_max), float(ratio_min)


def _from_ratios(schedule: Schedule, ratios: np.ndarray) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        times = np.asarray(schedule.clock.time(-2 * np.log(ratios)), np.float64)
    times[0] = 1.0
    return check_times(np.append(times, 0.0))


_RATIO_MIN = schema.field(
    None, "sigma / alpha of the last time before 0; None: the grid's own", above=0
)
_RATIO_MAX = schema.field(None, "sigma / alpha at the noisy end; None: the schedule's own", above=0)


class Grid(abc.ABC):
    """A grid of times by name and options, for `config.preview.times` and `sample.py --times`."""

    @abc.abstractmethod
    def times(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        """`(num_steps + 1,)`; raises ValueError for options that the schedule does not allow."""


@dataclasses.dataclass(frozen=True)
class Uniform(Grid):
    """`uniform`."""

    def times(self, schedule, num_steps):
        return uniform(num_steps)


@dataclasses.dataclass(frozen=True)
class UniformLogSnr(Grid):
    """`uniform_log_snr`."""

    ratio_min: float | None = _RATIO_MIN
    ratio_max: float | None = _RATIO_MAX

    def times(self, schedule, num_steps):
        given = {} if self.ratio_min is None else {"ratio_min": self.ratio_min}
        return uniform_log_snr(schedule, num_steps, ratio_max=self.ratio_max, **given)


@dataclasses.dataclass(frozen=True)
class Edm(Grid):
    """`edm`."""

    rho: float = schema.field(7.0, "larger: more of the steps near the data", above=0)
    ratio_min: float | None = _RATIO_MIN
    ratio_max: float | None = _RATIO_MAX

    def times(self, schedule, num_steps):
        given = {} if self.ratio_min is None else {"ratio_min": self.ratio_min}
        return edm(schedule, num_steps, self.rho, ratio_max=self.ratio_max, **given)


GRIDS = {
    "uniform": kinds.kind(Uniform),
    "uniform_log_snr": kinds.kind(UniformLogSnr),
    "edm": kinds.kind(Edm),
}
