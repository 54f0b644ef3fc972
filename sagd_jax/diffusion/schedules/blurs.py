"""Schedules that blur the data while they noise it.

(24b) blurring: a = alpha_t d_t, d_t = (1 - floor) exp(-(2 pi r)^2 tau_t) + floor with
      tau_t = (blur_max sin^2(pi t / 2))^2 / 2, s = sigma_t of the base; r of the cosine basis, where
      (2 pi r)^2 = (pi k / n)^2 are the eigenvalues of the Laplacian with reflecting borders.
(24c) heat: a = exp(-(2 pi r)^2 sigma_B(t)^2 / 2), sigma_B(t) = blur_min (blur_max / blur_min)^t, s a
      constant, and a = 1, s = 0 at t = 0. Its end is not noise, since the constant is never destroyed:
      x_1 is a_1 mu and a_1^2 S + s_1^2, if S is known, and otherwise sampling needs `start=`.

Sources: blurring, Hoogeboom & Salimans 2022 (arXiv 2209.05557); heat, Rissanen et al. 2022
(arXiv 2206.13397), whose noise of 0.01 is for data in [0, 1].
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules.base import Schedule
from sagd_jax.diffusion.schedules.spectral import (
    SpectralSchedule,
    check_scalar,
    checked,
    on_grid,
    spectral,
    spectrum_of,
    static_field,
)
from sagd_jax.spectral.bases import Basis, check_grid


@spectral
class Blurring(SpectralSchedule):
    """Blur and noise; see `blurring`."""

    base: Schedule
    basis: Basis
    blur_max: float = static_field()
    floor: float = static_field()

    @property
    def clock(self):
        return self.base

    def alpha(self, t):
        tau = (self.blur_max * jnp.sin(on_grid(t, self.basis) * (np.pi / 2)) ** 2) ** 2 / 2
        decay = jnp.exp(-(_laplacian(self.basis)) * tau)
        return on_grid(self.base.alpha(t), self.basis) * ((1 - self.floor) * decay + self.floor)

    def sigma(self, t):
        sigma = on_grid(self.base.sigma(t), self.basis)
        return jnp.broadcast_to(sigma, (*jnp.shape(t), *self.basis.radius.shape))

    def input_scale(self, t):
        return on_grid(self.base.input_scale(t), self.basis)


@spectral
class Heat(SpectralSchedule):
    """Blur with a little noise of constant size; see `heat`."""

    basis: Basis
    spectrum: ArrayLike | None
    mean: ArrayLike | None
    blur_min: float = static_field()
    blur_max: float = static_field()
    noise: float = static_field()

    def alpha(self, t):
        t = on_grid(t, self.basis)
        blur = self.blur_min * (self.blur_max / self.blur_min) ** t
        return jnp.where(t > 0, jnp.exp(-_laplacian(self.basis) * blur**2 / 2), 1)

    def sigma(self, t):
        t = on_grid(t, self.basis)
        shape = (*t.shape[: t.ndim - len(self.basis.radius.shape)], *self.basis.radius.shape)
        return jnp.broadcast_to(jnp.where(t > 0, self.noise, 0).astype(t.dtype), shape)

    def input_scale(self, t):
        return on_grid(self.clock.input_scale(t), self.basis)

    def prior(self):
        if self.spectrum is None:
            return None
        alpha = self.alpha(1.0)
        mean = 0.0 if self.mean is None else alpha * jnp.asarray(self.mean)
        return mean, alpha**2 * jnp.asarray(self.spectrum)


def blurring(base: Schedule, basis: Basis, blur_max: float = 20.0, floor: float = 1e-3) -> Blurring:
    """Blurring diffusion, (24b): fine detail is blurred away before the noise of the base hides it.

    Args:
      base: a scalar schedule, which becomes the clock.
      basis: with frequencies; the cosine basis is that of the source.
      blur_max: width of the blur at t = 1, in sites.
      floor: what is left of a coordinate's amplitude, so that nothing divides by zero.

    Raises:
      ValueError: for a base that is not scalar, a basis without frequencies, blur_max <= 0, or a
        floor outside (0, 1).

    >>> import sagd_jax as sagd
    >>> schedule = sagd.schedules.blurring(sagd.schedules.cosine(), sagd.bases.cosine((8,)))
    >>> [round(float(a), 3) for a in schedule.alpha(0.1)[:3, 0]]  # the constant is not blurred
    [0.988, 0.97, 0.917]
    """
    check_scalar("base", base)
    _check_radius(basis)
    _check_positive("blur_max", blur_max)
    if not 0 < floor < 1:
        raise ValueError(f"floor={floor}: expected a number in (0, 1)")
    return checked(Blurring(base=base, basis=basis, blur_max=float(blur_max), floor=float(floor)))


def heat(
    basis: Basis,
    blur_max: float,
    noise: float,
    blur_min: float = 0.5,
    spectrum: ArrayLike | None = None,
    mean: ArrayLike | None = None,
) -> Heat:
    """Inverse heat dissipation, (24c): the data dissolve in blur, under a little noise.

    Args:
      basis: with frequencies; the cosine basis is that of the source.
      blur_max: width of the blur at t = 1, in sites.
      noise: its standard deviation at all t > 0.
      blur_min: width of the blur just after t = 0.
      spectrum: S of the data on the grid of the basis, to start sampling from; without it sampling
        needs `start=`.
      mean: of the data in coordinates, on the grid, where the spectrum is given; zero by default.

    Raises:
      ValueError: for a basis without frequencies, a width or noise <= 0, or blur_min > blur_max.

    >>> import sagd_jax as sagd
    >>> schedule = sagd.schedules.heat(sagd.bases.cosine((8,)), blur_max=4.0, noise=0.02)
    >>> [round(float(a), 3) for a in schedule.alpha(1.0)[:3, 0]]
    [1.0, 0.291, 0.007]
    """
    _check_radius(basis)
    for name, value in (("blur_max", blur_max), ("noise", noise), ("blur_min", blur_min)):
        _check_positive(name, value)
    if blur_min > blur_max:
        raise ValueError(f"blur_min={blur_min}: expected at most blur_max={blur_max}")
    return checked(
        Heat(
            basis=basis,
            spectrum=None if spectrum is None else spectrum_of("spectrum", spectrum, basis),
            mean=None if mean is None else check_grid("mean", mean, basis),
            blur_min=float(blur_min),
            blur_max=float(blur_max),
            noise=float(noise),
        )
    )


def _laplacian(basis: Basis) -> np.ndarray:
    return (2 * np.pi * basis.radius) ** 2


def _check_radius(basis: Basis) -> None:
    if not isinstance(basis, Basis) or not np.any(basis.radius > 0):
        raise ValueError(
            f"basis={basis!r}: blurring needs a basis with frequencies, such as sagd.bases.cosine"
        )


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name}={value}: expected a finite number > 0")
