"""Schedules in which coordinates go their own way: shortest path, moving spectrum, one after the other.

(24d) shortest path: a^2 = expm1(tau log S) / expm1(log S), tau = 1 - t, s^2 = 1 - a^2, so that the power
      of x_t is S^tau: the geodesic between the data's Gaussian and white noise in the Fisher metric.
(24e) moving: s = sigma_t sqrt((1 - w) start + w end), w = base.time(base.log_snr(t)): the spectrum of the
      noise goes from one to another.
(24f) hierarchical: a = alpha(tau_f), s = sigma(tau_f), tau_f = clip((t - delta label) / (1 - delta), 0, 1)
      with labels scaled to [0, 1] and delta = 1 / (1 + softness). Label 0 is destroyed first and made last;
      a large softness is the base, a small one makes one label after the other.

Sources: shortest path, Das et al. 2023 (arXiv 2306.00501); annealed multi-resolution noise, Ke et al. 2023
(arXiv 2312.02145); hierarchical, GUD, Gerdes et al. 2024 (arXiv 2410.02667).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules.base import Schedule
from sagd_jax.diffusion.schedules.scalar import RectifiedFlow
from sagd_jax.diffusion.schedules.spectral import (
    SpectralSchedule,
    check_scalar,
    checked,
    on_grid,
    spectral,
    spectrum_of,
    static_field,
)
from sagd_jax.spectral.bases import Basis, Fourier, check_grid
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import DiagonalCovariance

_FLAT = 1e-6  # |log S| below which S counts as 1


@spectral
class ShortestPath(SpectralSchedule):
    """The Fisher geodesic from the data's spectrum to white noise; see `shortest_path`."""

    spectrum: ArrayLike
    basis: Basis
    contains_spectrum = True

    def alpha(self, t):
        return jnp.sqrt(self._shares(t)[0])

    def sigma(self, t):
        return jnp.sqrt(self._shares(t)[1])

    def log_snr(self, t):
        data, noise = self._shares(t)
        return jnp.log(data) - jnp.log(noise)

    def _shares(self, t):
        """a^2 and s^2, each without cancellation."""
        t = on_grid(t, self.basis)
        log = jnp.log(jnp.asarray(self.spectrum)).astype(t.dtype)
        flat = jnp.abs(log) < _FLAT
        safe = jnp.where(flat, 1, log)
        whole = jnp.expm1(safe)
        data = jnp.expm1((1 - t) * safe) / whole
        noise = jnp.exp((1 - t) * safe) * jnp.expm1(t * safe) / whole
        return jnp.where(flat, 1 - t, data), jnp.where(flat, t, noise)


@spectral
class Moving(SpectralSchedule):
    """Noise whose spectrum changes with t; see `moving`."""

    base: Schedule
    start: ArrayLike
    end: ArrayLike
    basis: Basis
    contains_spectrum = True

    @property
    def clock(self):
        return self.base

    def alpha(self, t):
        alpha = on_grid(self.base.alpha(t), self.basis)
        return jnp.broadcast_to(alpha, (*jnp.shape(t), *jnp.shape(self.start)))

    def sigma(self, t):
        # Of a straight path w is t, also where no derivative passes through an infinite log-SNR.
        straight = isinstance(self.base, RectifiedFlow)
        w = on_grid(t if straight else self.base.time(self.base.log_snr(t)), self.basis)
        variance = (1 - w) * jnp.asarray(self.start) + w * jnp.asarray(self.end)
        positive = variance > 0
        root = jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)
        return on_grid(self.base.sigma(t), self.basis) * root.astype(w.dtype)


@spectral
class Hierarchical(SpectralSchedule):
    """Coordinates that begin and end at different times; see `hierarchical`."""

    base: Schedule
    labels: ArrayLike
    basis: Basis
    softness: float = static_field()

    @property
    def clock(self):
        return self.base

    def alpha(self, t):
        return self.base.alpha(self._own_time(t))

    def sigma(self, t):
        return self.base.sigma(self._own_time(t))

    def log_snr(self, t):
        return self.base.log_snr(self._own_time(t))

    def _own_time(self, t):
        delta = 1 / (1 + self.softness)
        t = on_grid(t, self.basis)
        return jnp.clip((t - delta * jnp.asarray(self.labels).astype(t.dtype)) / (1 - delta), 0, 1)


def shortest_path(spectrum: ArrayLike, basis: Basis) -> ShortestPath:
    """The path on which the power of x_t is S^(1 - t), (24d).

    At t = 1 alpha is 0: the network must predict v or x0 (a velocity is infinite there).

    Args:
      spectrum: S > 0 on the grid of the basis, absolute.
      basis: of `spectral/bases.py`.

    Raises:
      ValueError: for a malformed spectrum, or a value that is not > 0.

    >>> import numpy as np, sagd_jax as sagd
    >>> schedule = sagd.schedules.shortest_path([16.0, 1.0, 0.25], sagd.bases.cosine((3,)))
    >>> a, s = schedule.alpha(0.5)[:, 0], schedule.sigma(0.5)[:, 0]
    >>> [round(float(v), 3) for v in a**2 * np.array([16, 1, 0.25]) + s**2]
    [4.0, 1.0, 0.5]
    """
    values = spectrum_of("spectrum", spectrum, basis)
    if not np.all(values > 0):
        raise ValueError(
            "spectrum: it is 0 somewhere, and the path to white noise goes through S^tau; give "
            "positive values"
        )
    return checked(ShortestPath(spectrum=values, basis=basis))


def moving(base: Schedule, start: Covariance, end: Covariance) -> Moving:
    """Noise that has the spectrum `start` near the data and `end` at t = 1, (24e).

    Args:
      base: a scalar schedule, which becomes the clock.
      start, end: covariances that are diagonal in one basis.

    Raises:
      ValueError: for covariances without a common basis, or a pair for which the log-SNR of a
        coordinate would rise somewhere: none under rectified flow and the cosine.

    >>> import sagd_jax as sagd
    >>> schedule = sagd.schedules.moving(
    ...     sagd.schedules.rectified_flow(), sagd.power_law((8,), alpha=0.5), sagd.white((8,))
    ... )
    >>> [round(float(s), 3) for s in schedule.sigma(1.0)[:3, 0]]
    [1.0, 1.0, 1.0]
    """
    check_scalar("base", base)
    for name, value in (("start", start), ("end", end)):
        if not isinstance(value, Covariance):
            raise ValueError(
                f"{name}={value!r}: expected a covariance, such as sagd.power_law(...)"
            )
    diagonal = [c for c in (start, end) if isinstance(c, DiagonalCovariance)]
    basis = diagonal[0].basis if diagonal else Fourier(start.spatial_shape)
    first, last = (np.asarray(c.coefficients(basis), np.float64) for c in (start, end))
    first, last = np.broadcast_arrays(first, last)
    return checked(Moving(base=base, start=first, end=last, basis=basis))


def hierarchical(base: Schedule, labels: ArrayLike, softness: float, basis: Basis) -> Hierarchical:
    """Coordinates destroyed one label after the other, (24f): coarse to fine, say.

    Args:
      base: a scalar schedule, which each coordinate goes through in its own part of [0, 1].
      labels: on the grid of the basis, on any scale: those of the smallest label are destroyed first
        and made last (`-basis.radius` makes coarse before fine).
      softness: > 0, the length of a coordinate's own part over the delay of the last one.
      basis: of `spectral/bases.py`.

    Raises:
      ValueError: for a base that is not scalar, labels that are not finite or all equal, or
        softness <= 0.

    >>> import sagd_jax as sagd
    >>> basis = sagd.bases.haar((4,))
    >>> schedule = sagd.schedules.hierarchical(
    ...     sagd.schedules.rectified_flow(), -basis.radius, softness=1.0, basis=basis
    ... )
    >>> [float(a) for a in schedule.alpha(0.5)[:, 0]]  # the finest are gone when the mean begins to go
    [1.0, 0.5, 0.0, 0.0]
    """
    check_scalar("base", base)
    values = check_grid("labels", labels, basis)
    if not np.all(np.isfinite(values)) or np.ptp(values) == 0:
        raise ValueError("labels: expected finite numbers that are not all equal")
    if not 0 < softness < np.inf:
        raise ValueError(f"softness={softness}: expected a finite number > 0")
    scaled = (values - values.min()) / np.ptp(values)
    return checked(Hierarchical(base=base, labels=scaled, basis=basis, softness=float(softness)))
