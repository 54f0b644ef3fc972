"""Schedules with a coefficient per coordinate, and what makes one valid.

(21) x_t = a_t x_0 + s_t z in the coordinates of a basis (equation 20 of `spectral/bases.py`), z white and
     all products elementwise. The log-SNR per coordinate, l_t(f) = log(a_t^2 / s_t^2), must not increase
     with t; its ends may be infinite, and it may stand still. Under a covariance that is diagonal in the
     basis, s_t(f) = sigma_t(f) sqrt(lambda(f)).
(22b) Clock: a scalar schedule over the same t with strictly decreasing log-SNR. The network sees its
     timestep; grids of times, churn, the weight of DPM-Solver++(2M), the nodes of the likelihood and the
     weights of losses take it. `input_scale`: what x_t is multiplied by before the network.

S below is absolute: variance per orthonormal coordinate of data in [-1, 1], the mean removed.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules.base import Schedule, as_float
from sagd_jax.spectral.bases import Basis, check_grid

_TOLERANCE = 1e-4
_Class = typing.TypeVar("_Class")
_AT_ONCE = 1 << 22  # values of the log-SNR
_checked_times: contextvars.ContextVar[int] = contextvars.ContextVar("checked_times", default=257)


class SpectralSchedule(Schedule):
    """Base of schedules with a coefficient per coordinate, equation (21): frozen pytrees.

    A subclass is a frozen dataclass with a field `basis`, made with `dataclass(frozen=True, eq=False,
    kw_only=True, repr=False)`; its fields are leaves or parts of the pytree but those of
    `static_field`. It has two methods: for t a scalar, `alpha` and `sigma` give an array
    `(*spatial, 1 or channels)` on the grid of the basis, for t of shape `(batch,)` one such array each;
    and where the coordinates do not follow `rectified_flow`, a `clock`. A function that makes one ends
    in `checked`, since nothing can be checked where a pytree is taken apart.

    >>> import dataclasses, jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax.diffusion.schedules.spectral import SpectralSchedule, checked, on_grid
    >>> @dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
    ... class LaterFine(SpectralSchedule):
    ...     basis: sagd.bases.Basis
    ...     def alpha(self, t):
    ...         return jnp.sqrt(1 - on_grid(t, self.basis) ** (1 + self.basis.radius))
    ...     def sigma(self, t):
    ...         return jnp.sqrt(on_grid(t, self.basis) ** (1 + self.basis.radius))
    >>> schedule = checked(LaterFine(basis=sagd.bases.cosine((8, 8))))
    >>> sagd.Diffusion(schedule).prior_sample(jax.random.key(0), (2, 8, 8, 3)).shape
    (2, 8, 8, 3)
    """

    basis: Basis

    @classmethod
    def _register(cls) -> None:
        # By the fields, which the dataclass decorator makes later; without its `__init__`, since
        # leaves may be anything while a pytree is taken apart and put together.
        def names(static: bool) -> list[str]:
            fields = dataclasses.fields(cls)  # type: ignore[arg-type]
            return [f.name for f in fields if bool(f.metadata.get("static")) == static]

        def flatten(schedule: Any) -> Any:
            keys = [(jax.tree_util.GetAttrKey(n), getattr(schedule, n)) for n in names(False)]
            return keys, tuple(getattr(schedule, n) for n in names(True))

        def unflatten(static: Any, children: Any) -> Any:
            schedule = object.__new__(cls)
            for name, value in (*zip(names(False), children), *zip(names(True), static)):  # noqa: B905
                object.__setattr__(schedule, name, value)
            return schedule

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)

    @property
    def clock(self) -> Schedule:
        from sagd_jax.diffusion.schedules.scalar import RectifiedFlow

        return RectifiedFlow()

    def time(self, log_snr: ArrayLike) -> jax.Array:
        """The t with this `log_snr`, log(alpha^2 / sigma^2), of the clock: a coordinate's own may stand still."""
        return self.clock.time(log_snr)

    @property
    def num_steps(self) -> int:
        return self.clock.num_steps

    def timestep(self, t: ArrayLike) -> jax.Array:
        return self.clock.timestep(t)

    def prior(self) -> tuple[Any, Any] | None:
        """(mean, variance besides the noise's) of x_1 in coordinates, where t = 1 is not all noise.

        None: x_1 ~ N(0, s_1^2).
        """
        return None

    def ends_in_noise(self) -> bool:
        """Whether x_1 is noise in all coordinates that have any, so that sampling can begin with N(0, s_1^2)."""
        with jax.ensure_compile_time_eval():
            alpha, noise = np.asarray(self.alpha(1.0)), np.asarray(self.sigma(1.0))
        return not np.any((alpha > noise) & (noise > 0))

    def __repr__(self) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self)  # type: ignore[arg-type]
                 if f.metadata.get("static") or f.name in ("basis", "base")]  # fmt: skip
        return f"{type(self).__name__}({', '.join(shown)})"


def static_field() -> Any:
    """A field that is no leaf: a number that is known whenever the schedule is."""
    return dataclasses.field(metadata={"static": True})


@typing.dataclass_transform(
    frozen_default=True,
    eq_default=False,
    kw_only_default=True,
    field_specifiers=(static_field,),
)
def spectral(cls: type[_Class]) -> type[_Class]:
    """The decorator of this package's spectral schedules."""
    return dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)(cls)


def on_grid(t: ArrayLike, basis: Basis) -> jax.Array:
    """Times, or values of t, so that they broadcast against a grid of the basis."""
    t = as_float(t)
    return t.reshape(*t.shape, *(1,) * (len(basis.spatial_shape) + 1))


@contextlib.contextmanager
def checked_at(times: int) -> Iterator[None]:
    """Within it `checked` looks at this many times in [0, 1]: for pictures of many schedules, not for training.

    >>> import sagd_jax as sagd
    >>> with checked_at(17):
    ...     sagd.schedules.blurring(sagd.schedules.cosine(), sagd.bases.cosine((8, 8))).blur_max
    20.0
    """
    before = _checked_times.set(times)
    try:
        yield
    finally:
        _checked_times.reset(before)


def checked(schedule: Any) -> Any:
    """The schedule, if its log-SNR never increases, equation (21).

    Raises:
      ValueError: naming coordinate and time, where it does, or is no number.
    """
    if not isinstance(schedule.basis, Basis):
        raise ValueError(f"basis={schedule.basis!r}: expected a basis, such as sagd.bases.cosine")
    times = np.linspace(0, 1, _checked_times.get())
    with jax.ensure_compile_time_eval():
        size = int(np.prod(np.shape(schedule.alpha(0.5))))
        count = max(2, _AT_ONCE // size)
        last = None
        for first in range(0, len(times), count):
            part = times[first : first + count].astype(np.float32)
            alpha, sigma = (
                np.asarray(f(part), np.float64) for f in (schedule.alpha, schedule.sigma)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                log_snr = np.asarray(schedule.log_snr(part), np.float64)
            finite = np.isfinite(alpha) & np.isfinite(sigma) & ~np.isnan(log_snr)
            finite &= (alpha >= 0) & (sigma >= 0)
            _refuse(~finite, part, schedule, "alpha and sigma must be finite, >= 0 and not both 0")
            if last is not None:
                log_snr, part = np.concatenate([last, log_snr]), np.append(times[first - 1], part)
            before = log_snr[:-1]
            size_of = np.where(np.isfinite(before), np.abs(before), 0)
            allowed = before + _TOLERANCE * np.maximum(1, size_of / 10)
            _refuse(log_snr[1:] > allowed, part[1:], schedule, "its log-SNR increases there")
            last = log_snr[-1:]
    return schedule


def spectrum_of(name: str, spectrum: ArrayLike, basis: Basis) -> np.ndarray:
    """A data spectrum S on the grid of a basis, > 0 somewhere and nowhere negative."""
    values = check_grid(name, spectrum, basis)
    if not (np.all(np.isfinite(values)) and np.all(values >= 0) and np.any(values > 0)):
        raise ValueError(f"{name}: it has negative or non-finite values, or none > 0")
    return values


def check_scalar(name: str, schedule: Any) -> Schedule:
    """Raises ValueError unless it is a schedule of one number for all frequencies."""
    if not isinstance(schedule, Schedule) or schedule.basis is not None:
        raise ValueError(
            f"{name}={schedule!r}: expected a scalar schedule, such as sagd.schedules.cosine()"
        )
    return schedule


def _refuse(where: np.ndarray, times: np.ndarray, schedule: Any, why: str) -> None:
    if np.any(where):
        index, *coordinate = (int(i) for i in np.argwhere(where)[0])
        raise ValueError(
            f"{type(schedule).__name__}: not a valid process at coordinate {tuple(coordinate)}, "
            f"t = {times[index]:.4g}: {why}"
        )
