"""Scalar schedules: one alpha_t and sigma_t for all frequencies, those of isotropic diffusion.

Sources: linear beta, Ho et al. 2020 (arXiv 2006.11239); cosine, Nichol & Dhariwal 2021
(arXiv 2102.09672), without its offset; rectified flow, Liu et al. 2022 (arXiv 2209.03003); EDM,
Karras et al. 2022 (arXiv 2206.00364), equation 5 read as a schedule.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.diffusion.schedules.base import Schedule, as_float
from sagd_jax.spectral import arguments
from sagd_jax.system import kinds, schema


@dataclasses.dataclass(frozen=True)
class LinearBeta(Schedule):
    """The discrete DDPM table at t = (i + 1) / num_steps, log alpha-bar linear in between. See `linear_beta`."""

    beta_min: float
    beta_max: float
    steps: int

    def alpha(self, t):
        return jnp.exp(0.5 * self._log_alpha_bar(t))

    def sigma(self, t):
        return jnp.sqrt(-jnp.expm1(self._log_alpha_bar(t)))

    def log_snr(self, t):
        log_alpha_bar = self._log_alpha_bar(t)
        return log_alpha_bar - jnp.log(-jnp.expm1(log_alpha_bar))

    def time(self, log_snr):
        minus_log_alpha_bar = jax.nn.softplus(-as_float(log_snr))
        times, table = (a.astype(minus_log_alpha_bar.dtype) for a in self._table)
        return jnp.interp(minus_log_alpha_bar, -table, times)

    def sigma_prime(self, t):
        # sigma^2 = 1 - alpha^2, so sigma' = -alpha alpha' / sigma.
        return -self.alpha(t) * self.alpha_prime(t) / self.sigma(t)

    @property
    def num_steps(self):
        return self.steps

    def _log_alpha_bar(self, t):
        t = as_float(t)
        times, table = (a.astype(t.dtype) for a in self._table)
        return jnp.interp(t, times, table)

    @property
    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        return _linear_beta_table(self.beta_min, self.beta_max, self.steps)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
    """alpha = cos(pi t / 2), clipped to alpha >= `alpha_min`; alpha^2 + sigma^2 = 1. See `cosine`."""

    alpha_min: float = 1e-2

    def alpha(self, t):
        return jnp.cos(self._angle(t))

    def sigma(self, t):
        return jnp.sin(self._angle(t))

    def time(self, log_snr):
        # tan(angle) = sigma / alpha
        angle = jnp.arctan(jnp.exp(-0.5 * as_float(log_snr)))
        return jnp.minimum(angle, self._largest_angle) * (2 / math.pi)

    # The slope of the unclipped curve, also beyond the clip: there the clipped one stands still, and
    # a velocity of zero would say nothing of the data.
    def alpha_prime(self, t):
        return -(math.pi / 2) * self.sigma(t)

    def sigma_prime(self, t):
        return (math.pi / 2) * self.alpha(t)

    def _angle(self, t):
        return jnp.minimum(as_float(t) * (math.pi / 2), self._largest_angle)

    @property
    def _largest_angle(self) -> float:
        return math.acos(self.alpha_min)


@dataclasses.dataclass(frozen=True)
class RectifiedFlow(Schedule):
    """alpha = 1 - t, sigma = t; alpha(1) = 0, so the network must predict x0, v or velocity.

    See `rectified_flow`.
    """

    def alpha(self, t):
        return 1 - as_float(t)

    def sigma(self, t):
        return as_float(t)

    def time(self, log_snr):
        return jax.nn.sigmoid(-0.5 * as_float(log_snr))


@dataclasses.dataclass(frozen=True)
class Edm(Schedule):
    """alpha = 1, sigma = sigma_max t^rho. See `edm`."""

    sigma_max: float
    rho: float

    def alpha(self, t):
        return jnp.ones_like(as_float(t))

    def sigma(self, t):
        return self.sigma_max * as_float(t) ** self.rho

    def log_snr(self, t):
        return -2 * (math.log(self.sigma_max) + self.rho * jnp.log(as_float(t)))

    def time(self, log_snr):
        log_t = (-0.5 * as_float(log_snr) - math.log(self.sigma_max)) / self.rho
        return jnp.exp(jnp.minimum(log_t, 0.0))


@dataclasses.dataclass(frozen=True)
class Shifted(Schedule):
    """A schedule whose log-SNR is that of `base` plus `shift` at all times.

    With c = exp(shift / 2), (alpha, sigma) is a multiple of (c alpha, sigma) of `base`: the one
    that keeps alpha = 1 for EDM, alpha + sigma = 1 for rectified flow, and alpha^2 + sigma^2 for
    others.
    """

    base: Schedule
    shift: float

    def alpha(self, t):
        return self._factor * self._scale(t) * self.base.alpha(t)

    def sigma(self, t):
        return self._scale(t) * self.base.sigma(t)

    def log_snr(self, t):
        return self.base.log_snr(t) + self.shift

    def time(self, log_snr):
        return self.base.time(jnp.asarray(log_snr) - self.shift)

    @property
    def num_steps(self):
        return self.base.num_steps

    @property
    def _factor(self) -> float:
        return math.exp(self.shift / 2)

    def _scale(self, t) -> jax.Array:
        alpha, sigma = self.base.alpha(t), self.base.sigma(t)
        scaled = self._factor * alpha
        if isinstance(self.base, Edm):
            return alpha / scaled
        if isinstance(self.base, RectifiedFlow):
            return (alpha + sigma) / (scaled + sigma)
        return jnp.sqrt((alpha**2 + sigma**2) / (scaled**2 + sigma**2))


def linear_beta(
    beta_min: float = 1e-4, beta_max: float = 0.02, num_steps: int = 1000
) -> LinearBeta:
    """The DDPM schedule: betas linear from beta_min to beta_max in num_steps discrete steps.

    At t = (i + 1) / num_steps it is step i of the discrete table, at t = 0 it is clean, and log
    alpha-bar is linear between. A network trained by diffusers sees its timestep i = 1000 t - 1.

    Raises:
      ValueError: unless 0 < beta_min <= beta_max < 1 and num_steps >= 1.

    >>> import sagd_jax as sagd
    >>> round(float(sagd.schedules.linear_beta().alpha(0.001)) ** 2, 6)
    0.9999
    """
    beta_min, beta_max = (
        arguments.number("beta_min", beta_min),
        arguments.number("beta_max", beta_max),
    )
    if not 0 < beta_min <= beta_max < 1:
        raise ValueError(
            f"beta_min={beta_min}, beta_max={beta_max}: expected 0 < beta_min <= beta_max < 1"
        )
    steps = arguments.number("num_steps", num_steps)
    if int(steps) != steps or steps < 1:
        raise ValueError(f"num_steps={num_steps}: expected an integer >= 1")
    return LinearBeta(beta_min, beta_max, int(steps))


def cosine() -> Cosine:
    """alpha = cos(pi t / 2), clipped to alpha >= 1e-2 (from t = 0.9936 on nothing changes).

    >>> round(float(cosine().alpha(0.5)), 4)
    0.7071
    """
    return Cosine()


def rectified_flow() -> RectifiedFlow:
    """alpha = 1 - t, sigma = t: straight lines from data to noise.

    >>> float(rectified_flow().sigma(0.25))
    0.25
    """
    return RectifiedFlow()


def edm(sigma_max: float = 80.0, rho: float = 7.0) -> Edm:
    """alpha = 1, sigma = sigma_max t^rho: variance exploding; uniform times are EDM's grid.

    Raises:
      ValueError: unless sigma_max > 0 and rho >= 1.

    >>> float(edm(sigma_max=2.0, rho=1.0).sigma(0.5))
    1.0
    """
    sigma_max, rho = arguments.number("sigma_max", sigma_max), arguments.number("rho", rho)
    if sigma_max <= 0:
        raise ValueError(f"sigma_max={sigma_max}: expected a finite number > 0")
    if rho < 1:
        raise ValueError(f"rho={rho}: expected a finite number >= 1")
    return Edm(sigma_max, rho)


# What a config can name, `config.schedule.kind`, and its fields there.
KINDS = {
    "linear_beta": kinds.kind(
        linear_beta,
        beta_min=schema.field(1e-4, "first beta", above=0, high=0.999),
        beta_max=schema.field(0.02, "last beta", above=0, high=0.999),
        num_steps=schema.field(1000, "discrete steps", low=1),
    ),
    "cosine": kinds.kind(cosine),
    "rectified_flow": kinds.kind(rectified_flow),
    "edm": kinds.kind(
        edm,
        sigma_max=schema.field(80.0, "largest sigma", above=0),
        rho=schema.field(7.0, "exponent of t", low=1),
    ),
}


@functools.lru_cache(maxsize=16)
def _linear_beta_table(beta_min, beta_max, steps) -> tuple[np.ndarray, np.ndarray]:
    betas = np.linspace(beta_min, beta_max, steps)
    log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
    return np.arange(steps + 1) / steps, log_alpha_bar
