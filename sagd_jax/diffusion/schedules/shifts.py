"""Schedules that shift the log-SNR of a scalar one by an amount per coordinate.

(24a) shifted: l_t(f) = base + shift(f). With c = exp(shift / 2) and n = sqrt(c^2 alpha^2 + sigma^2),
      a = c alpha / n and s = sigma / n, finite at both ends, a^2 + s^2 = 1. Without a covariance of its
      own it is the process of `Diffusion(base, Sigma)` with lambda = exp(-shift), up to a scale per
      coordinate.
      equal-SNR: shift = -log S + log mean(S), so that all coordinates of the data have the
      signal-to-noise ratio of their mean at all times.
      flipped: shift(f) = -log S(f) + log S(f~), f~ the coordinate of mirrored rank when sorted by radius:
      f gets the signal-to-noise ratio that ordinary diffusion gives f~. (In Fourier coordinates f and -f
      must share one; they get the geometric mean of theirs.)

Sources: equal-SNR and flipped, Falck et al. 2025 (arXiv 2505.11278); a shift per component is the
linear schedule of GUD, Gerdes et al. 2024 (arXiv 2410.02667).
"""

from __future__ import annotations

import jax
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
)
from sagd_jax.spectral.bases import Basis, Channels, Fourier, check_grid
from sagd_jax.spectral.half_grid import opposite

_FLOOR = 1e-6  # of a spectrum's maximum


@spectral
class SpectrallyShifted(SpectralSchedule):
    """The base's log-SNR plus a shift per coordinate; see `shifted`."""

    base: Schedule
    shift: ArrayLike
    basis: Basis
    largest: ArrayLike | None = (
        None  # SNR of the data's coordinates, in that of data of their mean power
    )

    @property
    def clock(self):
        return self.base

    def ends_in_noise(self):
        # A coordinate in which the data are weak can have more of them than of noise, and drown all the same.
        if self.largest is None:
            return super().ends_in_noise()
        with jax.ensure_compile_time_eval():
            return bool(jnp.exp(self.base.log_snr(1.0)) * self.largest <= 1)

    def alpha(self, t):
        data, noise = self._parts(t)
        return data / jnp.sqrt(data**2 + noise**2)

    def sigma(self, t):
        data, noise = self._parts(t)
        return noise / jnp.sqrt(data**2 + noise**2)

    def log_snr(self, t):
        return on_grid(self.base.log_snr(t), self.basis) + jnp.asarray(self.shift)

    def _parts(self, t):
        alpha, sigma = (
            on_grid(self.base.alpha(t), self.basis),
            on_grid(self.base.sigma(t), self.basis),
        )
        # Half of the shift on either side: neither overflows, whatever its size.
        half = jnp.exp(jnp.asarray(self.shift) / 4).astype(alpha.dtype)
        return half * alpha, sigma / half


def shifted(base: Schedule, shift: ArrayLike, basis: Basis) -> SpectrallyShifted:
    """The schedule whose log-SNR per coordinate is that of `base` plus `shift`, (24a).

    Args:
      base: a scalar schedule, which becomes the clock.
      shift: on the grid of the basis, `(*spatial, 1 or channels)`.
      basis: of `spectral/bases.py`.

    Raises:
      ValueError: for a base that is not scalar, or a shift of another shape or that is not finite.

    >>> import numpy as np, sagd_jax as sagd
    >>> basis = sagd.bases.fourier((8,))
    >>> schedule = sagd.schedules.shifted(sagd.schedules.cosine(), 10 * basis.radius, basis)
    >>> np.round(schedule.log_snr(0.5)[:3, 0] - sagd.schedules.cosine().log_snr(0.5), 4)
    Array([0.  , 1.25, 2.5 ], dtype=float32)
    """
    return _shifted(base, shift, basis)


def _shifted(
    base: Schedule, shift: ArrayLike, basis: Basis, largest: float | None = None
) -> SpectrallyShifted:
    check_scalar("base", base)
    values = check_grid("shift", shift, basis)
    if not np.all(np.isfinite(values)):
        raise ValueError("shift: it has non-finite values")
    scalar = None if largest is None else np.float32(largest)
    return checked(SpectrallyShifted(base=base, shift=values, basis=basis, largest=scalar))


def equal_snr(
    base: Schedule, spectrum: ArrayLike, basis: Basis, include_dc: bool = True
) -> SpectrallyShifted:
    """All coordinates of the data at one signal-to-noise ratio, (24a).

    Args:
      base: a scalar schedule: of the data's mean power.
      spectrum: S on the grid of the basis, in any units; below 1e-6 of its maximum it counts as that.
      basis: of `spectral/bases.py`.
      include_dc: whether the constant counts in the mean of S. It holds most of the energy of natural
        signals.

    Raises:
      ValueError: for a malformed argument.

    >>> import numpy as np, sagd_jax as sagd
    >>> basis = sagd.bases.cosine((8,))
    >>> schedule = sagd.schedules.equal_snr(sagd.schedules.cosine(), 1 / (1 + basis.radius), basis)
    >>> snr = np.exp(schedule.log_snr(0.3)) / (1 + basis.radius)
    >>> bool(np.allclose(snr, snr[0], rtol=1e-5))
    True
    """
    values = spectrum_of("spectrum", spectrum, basis)
    values = np.maximum(values, _FLOOR * values.max())
    counted = values.reshape(-1, values.shape[-1])
    if not include_dc:
        if not basis.has_constant:
            raise ValueError(f"include_dc=False: {basis} has no coordinate for the constant")
        counted = counted[1:]
        if not counted.size:
            raise ValueError("include_dc=False: there is nothing besides the constant")
    shift = -np.log(values) + np.log(counted.mean())
    return _shifted(base, shift, basis, counted.mean() / values.mean())


def flipped_snr(base: Schedule, spectrum: ArrayLike, basis: Basis) -> SpectrallyShifted:
    """High frequencies at the signal-to-noise ratios that low ones have in ordinary diffusion, (24a).

    Arguments and errors are those of `equal_snr`.

    >>> import numpy as np, sagd_jax as sagd
    >>> basis = sagd.bases.cosine((4,))
    >>> schedule = sagd.schedules.flipped_snr(sagd.schedules.cosine(), [8.0, 4.0, 2.0, 1.0], basis)
    >>> [round(float(v), 3) for v in np.exp(schedule.shift)[:, 0] * [8, 4, 2, 1]]
    [1.0, 2.0, 4.0, 8.0]
    """
    values = spectrum_of("spectrum", spectrum, basis)
    log = np.log(np.maximum(values, _FLOOR * values.max())).reshape(-1, values.shape[-1])
    order = np.argsort(basis.radius.reshape(-1), kind="stable")
    mirrored = np.empty_like(log)
    mirrored[order] = log[order[::-1]]
    mirrored = mirrored.reshape(values.shape)
    inner = basis.basis if isinstance(basis, Channels) else basis
    if isinstance(inner, Fourier):
        other = np.stack([opposite(c) for c in np.moveaxis(mirrored, -1, 0)], axis=-1)
        mirrored = (mirrored + other) / 2
    largest = np.exp(mirrored.max()) / values.mean()
    return _shifted(base, mirrored - log.reshape(values.shape), basis, largest)
