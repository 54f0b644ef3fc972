"""The numbers of what the explorer draws of a choice: noise, data on their way, spectra, signal-to-noise ratios.

With S the data's variance per coordinate f, a_t and s_t those of equation (21) of `diffusion/schedules/spectral.py`
(s_t = sigma_t sqrt(lambda)), and all means over rings of equal radius:

    spectrum      a_t^2 S and s_t^2, beside S, over the radius, and the mean square of the drawn s_t z
    levels        log(a_t^2 S / s_t^2) over time and radius, or without S; a line where it is 0
    noise         s_t z as a signal, at standard deviation 1
    noised data   x_t, and on its way from data to noise
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import normalise
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped, Schedule
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import Choice
from sagd_jax.spectral.bases import Basis
from sagd_jax.system.schema import ConfigError

WAY = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # times of the strip
LARGEST = 10.0  # log-SNR that is told from infinity
_MOST_RINGS = 200
_MOST_VALUES = 3_000_000  # of a map over time and coordinates
_MOST_TIMES = 33


@dataclasses.dataclass(frozen=True, eq=False)
class Rings:
    """Coordinates of a basis by their radius.

    Attributes:
      centre: mean radius of each ring, in cycles per sample, increasing and > 0; `(rings,)`.
      order, starts, count: of coordinates in rings.
      lowest, highest: radius of any coordinate but the constant.
    """

    centre: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    count: np.ndarray
    lowest: float
    highest: float

    def mean(self, values: np.ndarray) -> np.ndarray:
        """The mean over each ring of values `(..., coordinates)`: `(..., rings)`."""
        return np.add.reduceat(values[..., self.order], self.starts, axis=-1) / self.count

    def extent(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value on each ring of values `(coordinates,)`."""
        own = values[self.order]
        return np.minimum.reduceat(own, self.starts), np.maximum.reduceat(own, self.starts)


@functools.lru_cache(8)
def rings_of(basis: Basis) -> Rings:
    """The rings of a basis, without the constant: as wide as its lowest radius, or wider where they are many.

    Raises:
      ConfigError: its coordinates have no frequencies.
    """
    radius = basis.radius.ravel()
    positive = radius[radius > 0]
    if not positive.size:
        raise ConfigError(
            f"basis={type(basis).__name__.lower()!r}: its coordinates have no frequencies to draw over"
        )
    lowest, highest = positive.min(), positive.max()
    if highest / lowest <= _MOST_RINGS:
        ring = np.rint(radius / lowest).astype(int)
    else:
        ring = 1 + (
            np.log(np.maximum(radius, lowest) / lowest) / math.log(highest / lowest) * 120
        ).astype(int)
    ring[radius == 0] = 0
    inside = np.flatnonzero(ring > 0)
    order = inside[np.argsort(ring[inside], kind="stable")]
    starts = np.flatnonzero(np.diff(ring[order], prepend=0))
    count = np.diff(np.append(starts, len(order)))
    centre = np.add.reduceat(radius[order], starts) / count
    return Rings(centre, order, starts, count, float(lowest), float(highest))


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """The numbers of the pictures; powers are of the mean over channels.

    Attributes:
      basis, rings: the coordinates, and their rings.
      x0, noise, x_t: signals `(*spatial, channels)`; the noise is that of x_t, at standard deviation 1.
      noise_std: its standard deviation in x_t.
      way: x_t at the times of `WAY`, with the same draw.
      data, faded: S and a_t^2 S over the rings.
      level, lowest, highest, drawn: s_t^2, its extent, and the mean square of what was drawn.
      times, levels: the log-SNR, `(times, rings)`, within +-10.
      crossing: of each ring, the time at which it is 0; NaN: never.
      plane: s_t^2 of each coordinate, `(*spatial,)`.
    """

    basis: Basis
    rings: Rings
    x0: np.ndarray
    noise: np.ndarray
    x_t: np.ndarray
    noise_std: float
    way: np.ndarray
    data: np.ndarray
    faded: np.ndarray
    level: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    drawn: np.ndarray
    times: np.ndarray
    levels: np.ndarray
    crossing: np.ndarray
    plane: np.ndarray


def show(explorer: Explorer, choice: Choice) -> Shown:
    """The numbers of a choice.

    Raises:
      ConfigError: one line saying what cannot be made, or that there is no such example.
    """
    source = explorer.source
    if choice.example >= len(source):
        raise ConfigError(f"example={choice.example}: expected 0 to {len(source) - 1}")
    diffusion = explorer.process(choice)
    if isinstance(diffusion.schedule, Capped) and source.kinds is not None:
        # Not as samples are drawn, but as this example is noised: what caps it is to be seen.
        diffusion = diffusion.at(0 if source.restored else int(source.kinds[choice.example]))
    basis = explorer.basis_of(diffusion)
    rings = rings_of(basis)
    raw = source.fetch(np.array([choice.example]))["x"]
    x0 = np.asarray(normalise(raw, source.value_range))
    e = diffusion.covariance.sample(jax.random.key(choice.seed), x0.shape)
    state, noise = diffusion.encode(jnp.asarray(x0)), diffusion.encode(e)

    times = np.array([choice.t, *WAY], np.float32)
    many = (len(times), *(1,) * (noise.ndim - 1))
    alpha, sigma = (
        np.asarray(f(times)).reshape(len(times), *np.shape(f(0.5)) or many[1:])
        for f in (diffusion.schedule.alpha, diffusion.schedule.sigma)
    )
    signals = np.asarray(diffusion.decode(jnp.asarray(alpha * state + sigma * noise)))
    own = np.asarray(diffusion.decode(jnp.asarray(sigma[:1] * noise)))[0]
    std = float(own.std())

    power = explorer.power(basis).ravel()
    variance = np.asarray(diffusion.covariance.coefficients(basis), np.float64)
    level = _over_channels(sigma[0] ** 2 * variance, basis).ravel()
    a_square = np.broadcast_to(_over_channels(alpha[0] ** 2, basis), basis.spatial_shape).ravel()
    drawn = np.square(np.asarray(basis.forward(own[None]))[0]).mean(axis=-1).ravel()
    lowest, highest = rings.extent(level)
    t, levels = _levels(diffusion, basis, variance, power if choice.of_data else None, rings)
    return Shown(
        basis=basis,
        rings=rings,
        x0=x0[0],
        noise=own / std if std > 0 else own,
        x_t=signals[0],
        noise_std=std,
        way=signals[1:],
        data=rings.mean(power),
        faded=rings.mean(a_square * power),
        level=rings.mean(level),
        lowest=lowest,
        highest=highest,
        drawn=rings.mean(drawn),
        times=t,
        levels=levels,
        crossing=_crossing(t, levels),
        plane=level.reshape(basis.spatial_shape),
    )


def _over_channels(values: np.ndarray, basis: Basis) -> np.ndarray:
    """The mean over channels, `(*spatial,)` or `(1, ...)`, of `(*spatial or ones, channels)`."""
    axes = len(basis.spatial_shape)
    values = np.asarray(values, np.float64)
    values = values.reshape((1,) * (axes + 1 - values.ndim) + values.shape)
    return np.broadcast_to(values.mean(axis=-1), basis.spatial_shape)


def _levels(
    diffusion: Diffusion,
    basis: Basis,
    variance: np.ndarray,
    power: np.ndarray | None,
    rings: Rings,
) -> tuple[np.ndarray, np.ndarray]:
    size = math.prod(basis.spatial_shape)
    times = np.linspace(0, 1, min(_MOST_TIMES, max(9, _MOST_VALUES // size)))
    log = _log_ratio(diffusion.schedule, tuple(times), basis.spatial_shape)
    with np.errstate(divide="ignore"):
        shift = -np.log(_over_channels(variance, basis).ravel())
        if power is not None:
            shift = shift + np.log(power)
    shift = np.nan_to_num(shift, nan=0.0, posinf=4 * LARGEST * 10, neginf=-4 * LARGEST * 10)
    total = np.clip(log + shift.astype(np.float32), -LARGEST, LARGEST)
    return times, rings.mean(total)


@functools.lru_cache(4)
def _log_ratio(schedule: Schedule, times: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """log(alpha^2 / sigma^2) within +-100, `(times, coordinates)`, or `(times, 1)` where all are alike."""
    at = np.array(times, np.float32)
    alpha, sigma = (np.asarray(f(at), np.float32) for f in (schedule.alpha, schedule.sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        log = 2 * (np.log(alpha) - np.log(sigma))
    log = np.clip(np.nan_to_num(log, nan=0.0, posinf=100.0, neginf=-100.0), -100, 100)
    return log[:, None] if log.ndim == 1 else log.mean(axis=-1).reshape(len(at), -1)


def _crossing(times: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """When each ring's log-SNR, which falls, is 0."""
    below = levels <= 0
    after = np.argmax(below, axis=0)
    there = below.any(axis=0) & (after > 0)
    before, column = np.maximum(after - 1, 0), np.arange(levels.shape[1])
    high, low = levels[before, column], levels[after, column]
    share = np.where(there, high / np.where(there, high - low, 1), 0)
    crossing = times[before] + share * (times[after] - times[before])
    return np.where(there, crossing, np.nan)
