"""Schedules with parameters: paths of the log-SNR per frequency that are learned from the data.

(31) learned: a^2 = sigmoid(l), s^2 = sigmoid(-l) with
         l_t(f) = l_max - (l_max - l_min) sum_j W_j(r(f)) C_j(t),
     W_j the linear interpolation between knots in r, and C_j(t) the piecewise linear cumulated softmax of
     row j of an array: from 0 to 1, and increasing, for every value of the array. All coordinates have
     the same levels at both ends and go their own way between. Clock: the mean over the knots.
     learned slope: l_t(f) = l_max - (l_max - l_min) t - log lambda(f), the power law
     lambda = r^(2 alpha) / mean(r^(2 alpha)) of (2) with one number alpha, the constant's r being the
     smallest other one: the noise of `power_law` around a line.

What an array is trained on is the bound for T steps, or the variance of the continuous one's estimate
(`diffusion/bound.py`): the continuous bound itself does not depend on the path.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules.base import Schedule, as_float
from sagd_jax.diffusion.schedules.spectral import (
    SpectralSchedule,
    checked,
    on_grid,
    spectral,
    static_field,
)
from sagd_jax.spectral.bases import Basis


class LearnedSchedule(SpectralSchedule):
    """Base of those with parameters: `path`, an array of any numbers that gradients may move; see `learned`.

    Source: equation (31) of `diffusion/bound.py`.
    """

    path: ArrayLike
    contains_spectrum = True

    def with_path(self, path: ArrayLike) -> Any:
        """The same schedule with other parameters, of the same shape; traced ones are fine.

        Raises:
          ValueError: for another shape.
        """
        if jnp.shape(path) != jnp.shape(self.path):
            raise ValueError(f"path: shape {jnp.shape(path)}; expected {jnp.shape(self.path)}")
        return dataclasses.replace(self, path=path)  # type: ignore[type-var]

    def alpha(self, t):
        return jnp.sqrt(jax.nn.sigmoid(self.log_snr(t)))

    def sigma(self, t):
        return jnp.sqrt(jax.nn.sigmoid(-self.log_snr(t)))


@spectral
class Learned(LearnedSchedule):
    """A path for each of some radii, and between them; see `learned`."""

    basis: Basis
    path: ArrayLike
    log_snr_max: float = static_field()
    log_snr_min: float = static_field()

    @property
    def clock(self):
        nodes = jnp.mean(self._nodes(), axis=0)
        return LearnedClock(nodes, self.log_snr_max, self.log_snr_min)

    def log_snr(self, t):
        t = as_float(t)
        nodes = self._nodes().astype(t.dtype)
        between = _interpolation(self.basis, nodes.shape[0]).astype(t.dtype)
        done = jax.vmap(lambda row: _at(row, t), out_axes=-1)(nodes)  # (*t.shape, knots)
        shares = jnp.tensordot(done, between, axes=[[-1], [-1]])
        return self.log_snr_max - (self.log_snr_max - self.log_snr_min) * shares

    def _nodes(self) -> jax.Array:
        """C_j at the ends of the pieces, `(knots, pieces + 1)`."""
        shares = jax.nn.softmax(jnp.asarray(self.path), axis=-1)
        inner = jnp.cumsum(shares, axis=-1)[:, :-1]
        zeros = jnp.zeros_like(shares[:, :1])
        return jnp.concatenate([zeros, inner, zeros + 1], axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedClock(Schedule):
    """The mean path of `Learned`. The network is told how far it has come, not t.

    So a network knows the mean log-SNR whatever path it is used on.
    """

    nodes: jax.Array
    log_snr_max: float
    log_snr_min: float

    def alpha(self, t):
        return jnp.sqrt(jax.nn.sigmoid(self.log_snr(t)))

    def sigma(self, t):
        return jnp.sqrt(jax.nn.sigmoid(-self.log_snr(t)))

    def log_snr(self, t):
        return self.log_snr_max - (self.log_snr_max - self.log_snr_min) * self._done(t)

    def time(self, log_snr):
        share = (self.log_snr_max - as_float(log_snr)) / (self.log_snr_max - self.log_snr_min)
        ends = jnp.linspace(0, 1, len(self.nodes), dtype=share.dtype)
        return jnp.interp(share, self.nodes.astype(share.dtype), ends)

    def timestep(self, t):
        return self.num_steps * self._done(t) - 1

    def _done(self, t):
        t = as_float(t)
        return _at(self.nodes.astype(t.dtype), t)


@spectral
class LearnedSlope(LearnedSchedule):
    """A power law whose slope is a parameter; see `learned_slope`."""

    basis: Basis
    path: ArrayLike
    log_snr_max: float = static_field()
    log_snr_min: float = static_field()

    @property
    def clock(self):
        return LearnedClock(jnp.array([0.0, 1.0]), self.log_snr_max, self.log_snr_min)

    def log_snr(self, t):
        t = as_float(t)
        twice = 2 * jnp.asarray(self.path, t.dtype)[0] * _log_radius(self.basis).astype(t.dtype)
        log_variance = twice - jax.nn.logsumexp(twice) + np.log(twice.size)
        line = self.log_snr_max - (self.log_snr_max - self.log_snr_min) * t
        return on_grid(line, self.basis) - log_variance


def learned(
    basis: Basis,
    *,
    knots: int = 6,
    pieces: int = 8,
    log_snr_max: float = 13.3,
    log_snr_min: float = -8.0,
    path: ArrayLike | None = None,
) -> Learned:
    """A path of the log-SNR for each frequency that is learned, (31).

    Args:
      basis: with frequencies.
      knots: radii, equally spaced from 0 to the largest, that have paths of their own.
      pieces: lines that a path is made of, equally long in t.
      log_snr_max, log_snr_min: levels of all coordinates at t = 0 and t = 1.
      path: `(knots, pieces)`, any finite numbers; by default zeros: one line for all frequencies.

    Returns:
      A schedule whose array `path` is its parameters. It contains the spectrum of its noise.

    Raises:
      ValueError: for a basis without frequencies, numbers < 1, levels that do not fall, or another array.

    >>> import numpy as np, sagd_jax as sagd
    >>> schedule = sagd.schedules.learned(sagd.bases.cosine((8, 8)), knots=2, pieces=4)
    >>> [round(float(schedule.log_snr(t)[3, 3, 0]), 3) for t in (0.0, 0.5, 1.0)]
    [13.3, 2.65, -8.0]
    >>> later = schedule.with_path(np.array([[0, 0, 0, 0], [-2, 0, 0, 2.0]]))
    >>> bool(later.log_snr(0.5)[7, 7, 0] > later.log_snr(0.5)[0, 0, 0])
    True
    """
    _check_frequencies(basis)
    for name, count in (("knots", knots), ("pieces", pieces)):
        if isinstance(count, bool) or int(count) != count or count < 1:
            raise ValueError(f"{name}={count}: expected an integer >= 1")
    _check_levels(log_snr_max, log_snr_min)
    values = _array(path, (int(knots), int(pieces)))
    return checked(
        Learned(
            basis=basis,
            path=values,
            log_snr_max=float(log_snr_max),
            log_snr_min=float(log_snr_min),
        )
    )


def learned_slope(
    basis: Basis,
    *,
    log_snr_max: float = 13.3,
    log_snr_min: float = -8.0,
    path: ArrayLike | None = None,
) -> LearnedSlope:
    """Noise with a power law whose slope alpha is learned, around a log-SNR that is linear in t.

    Args:
      basis: with frequencies.
      log_snr_max, log_snr_min: levels of the mean variance at t = 0 and t = 1.
      path: `(1,)`, alpha; by default 0, white noise.

    Raises:
      ValueError: as `learned`.

    >>> import numpy as np, sagd_jax as sagd
    >>> schedule = sagd.schedules.learned_slope(sagd.bases.fourier((8, 8)), path=[-0.5])
    >>> white = sagd.schedules.learned_slope(sagd.bases.fourier((8, 8)))
    >>> tilt = np.exp(white.log_snr(0.3) - schedule.log_snr(0.3))
    >>> noise = sagd.power_law((8, 8), alpha=-0.5).coefficients(schedule.basis)
    >>> bool(np.allclose(tilt, noise, rtol=1e-4))
    True
    """
    _check_frequencies(basis)
    _check_levels(log_snr_max, log_snr_min)
    return checked(
        LearnedSlope(
            basis=basis,
            path=_array(path, (1,)),
            log_snr_max=float(log_snr_max),
            log_snr_min=float(log_snr_min),
        )
    )


def _at(nodes: jax.Array, t: jax.Array) -> jax.Array:
    """A piecewise linear function of t with these values at equally spaced times."""
    pieces = nodes.shape[0] - 1
    place = jnp.clip(t, 0, 1) * pieces
    index = jnp.clip(jnp.floor(place), 0, pieces - 1).astype(jnp.int32)
    left, right = nodes[index], nodes[index + 1]
    return left + (right - left) * (place - index.astype(place.dtype))


def _interpolation(basis: Basis, knots: int) -> np.ndarray:
    """W: the share of each knot in each coordinate, `(*spatial, 1, knots)`."""
    radius = basis.radius
    if knots == 1:
        return np.ones((*radius.shape, 1))
    place = radius / radius.max() * (knots - 1)
    return np.maximum(1 - np.abs(place[..., None] - np.arange(knots)), 0)


def _log_radius(basis: Basis) -> np.ndarray:
    """log r, the constant's that of the lowest other frequency."""
    radius = basis.radius
    return np.log(np.where(radius > 0, radius, radius[radius > 0].min()))


def _array(path: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    values = np.zeros(shape, np.float32) if path is None else np.asarray(path, np.float32)
    if values.shape != shape or not np.all(np.isfinite(values)):
        raise ValueError(f"path: shape {values.shape}; expected finite numbers of shape {shape}")
    return values


def _check_frequencies(basis: Basis) -> None:
    if not isinstance(basis, Basis) or not np.any(basis.radius > 0):
        raise ValueError(
            f"basis={basis!r}: what is learned depends on the frequency; expected a basis that has "
            "some, such as sagd.bases.cosine"
        )


def _check_levels(largest: float, smallest: float) -> None:
    if not (np.isfinite(largest) and np.isfinite(smallest) and smallest < largest):
        raise ValueError(
            f"log_snr_max={largest}, log_snr_min={smallest}: expected finite numbers, the first one "
            "larger"
        )
