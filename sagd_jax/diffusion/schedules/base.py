"""What every schedule is: alpha_t and sigma_t of the forward process, t = 0 data, t = 1 noise.

(5) x_t = alpha_t x_0 + sigma_t e, with e ~ N(0, Sigma) and log-SNR(t) = log(alpha_t^2 / sigma_t^2).

A schedule is a frozen object of elementwise functions of t, with derivatives (exact, by forward-mode
differentiation) and the inverse of its log-SNR.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.spectral.bases import Basis

_HALVINGS = 60  # beyond the precision of float64


class Schedule(abc.ABC):
    """Base of all schedules; `t` is an array of times in [0, 1], results have its shape.

    A schedule of one's own is a frozen dataclass with the methods `alpha` and `sigma`, made of
    `jax.numpy` functions of t; all else follows from them.

    Scalar schedules are hashable and have no arrays: they are static parts of a pytree. Those with a
    coefficient per coordinate are `SpectralSchedule`s.

    >>> import sagd_jax as sagd
    >>> schedule = sagd.schedules.rectified_flow()
    >>> float(schedule.alpha(0.25)), float(schedule.sigma(0.25))
    (0.75, 0.25)
    """

    basis: Basis | None = None
    """The coordinates of `alpha` and `sigma`; None: one number for all."""

    contains_spectrum: bool = False
    """Whether sigma is the whole of the noise, so that the covariance has to be white."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._register()

    @classmethod
    def _register(cls) -> None:
        jax.tree_util.register_static(cls)

    @abc.abstractmethod
    def alpha(self, t: ArrayLike) -> jax.Array:
        """Scale of the data in x_t."""

    @abc.abstractmethod
    def sigma(self, t: ArrayLike) -> jax.Array:
        """Scale of the noise in x_t."""

    def log_snr(self, t: ArrayLike) -> jax.Array:
        """log(alpha^2 / sigma^2): infinite at t = 0, decreasing."""
        return 2 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def time(self, log_snr: ArrayLike) -> jax.Array:
        """The t with this `log_snr`, log(alpha^2 / sigma^2); values beyond the schedule's range give its nearest end.

        By bisection, which every schedule can do; one that knows its inverse overrides it.
        """
        log_snr = as_float(log_snr)
        ends = jnp.zeros_like(log_snr), jnp.ones_like(log_snr)

        def halve(_, interval):
            low, high = interval
            middle = (low + high) / 2
            later = self.log_snr(middle) > log_snr
            return jnp.where(later, middle, low), jnp.where(later, high, middle)

        low, high = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
        return (low + high) / 2

    def alpha_prime(self, t: ArrayLike) -> jax.Array:
        """d alpha / dt."""
        return _derivative(self.alpha, t)

    def sigma_prime(self, t: ArrayLike) -> jax.Array:
        """d sigma / dt; infinite at t = 0 where sigma grows like sqrt(t)."""
        return _derivative(self.sigma, t)

    @property
    def num_steps(self) -> int:
        """Steps of the discrete schedule that networks are conditioned on (1000 for continuous)."""
        return 1000

    def timestep(self, t: ArrayLike) -> jax.Array:
        """Time in the units that networks see: the index i = num_steps t - 1 of discrete DDPM."""
        return self.num_steps * as_float(t) - 1

    @property
    def clock(self) -> Schedule:
        """A scalar schedule over the same t: what grids of times, weights and the network follow."""
        return self

    def input_scale(self, t: ArrayLike) -> jax.Array:
        """What x_t is multiplied by, in coordinates, before the network sees it."""
        return jax.lax.rsqrt(self.alpha(t) ** 2 + self.sigma(t) ** 2)


def _derivative(function, t):
    t = as_float(t)
    return jax.jvp(function, (t,), (jnp.ones_like(t),))[1]


def as_float(t: ArrayLike) -> jax.Array:
    """Times as floats: whole numbers become float32."""
    t = jnp.asarray(t)
    return t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(jnp.float32)
