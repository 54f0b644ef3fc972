"""What a `Diffusion` is made of, checked when it is made, in one line each.

Pytrees are rebuilt by JAX with tracers, None or other placeholders for their parts, which pass.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules import Cosine, Edm, LinearBeta, RectifiedFlow, Schedule, Shifted
from sagd_jax.spectral import arguments
from sagd_jax.spectral.bases import Basis
from sagd_jax.system.errors import one_line

_METHODS = (
    "alpha", "sigma", "log_snr", "time", "alpha_prime", "sigma_prime", "num_steps", "timestep"
)  # fmt: skip
_OWN = (LinearBeta, Cosine, RectifiedFlow, Edm)  # checked by their builders
_BETWEEN = np.linspace(0, 1, 257, dtype=np.float32)[1:-1]
_PROBES = np.array([0, 0.25, 0.5, 0.75, 1], np.float32)


def check_schedule(schedule: Any) -> None:
    """Raises an error of one line unless this can be the schedule of a `Diffusion`.

    Checked are its methods, and at some times that alpha and sigma are finite and log-SNR
    decreases. What JAX puts into pytrees passes, and so does what is traced or no scalar of t.

    Raises:
      TypeError: for what is no schedule, or lacks methods.
      ValueError: for values that make no forward process.
    """
    if _is_placeholder(schedule) or type(schedule) in _OWN:
        return
    lacking = [name for name in _METHODS if not hasattr(schedule, name)]
    if isinstance(schedule, type) or len(lacking) == len(_METHODS):
        raise TypeError(
            f"schedule={arguments.quoted(schedule)}: expected a Schedule, such as "
            "sagd.schedules.cosine()"
        )
    if lacking:
        raise TypeError(
            f"schedule={arguments.quoted(schedule)}: it lacks {', '.join(lacking)}; a class derived from sagd.Schedule needs alpha "
            "and sigma alone"
        )
    if isinstance(schedule, Shifted):
        return check_schedule(schedule.base)
    basis = getattr(schedule, "basis", None)
    if basis is not None:
        if not (isinstance(basis, Basis) or _is_placeholder(basis)):
            raise TypeError(
                f"schedule.basis={arguments.quoted(basis)}: expected a basis, such as "
                "sagd.bases.cosine((32, 32))"
            )
        return
    try:
        hash(schedule)
    except TypeError:
        return
    fault = _fault(schedule)
    if fault:
        raise ValueError(f"schedule={arguments.quoted(schedule)}: {fault}")


def check_covariance(covariance: Any) -> None:
    """Raises TypeError for what is no covariance."""
    complete = hasattr(covariance, "spatial_shape") and callable(
        getattr(covariance, "sample", None)
    )
    if isinstance(covariance, type) or not (complete or _is_placeholder(covariance)):
        raise TypeError(
            f"covariance={arguments.quoted(covariance)}: expected a FourierCovariance, such as "
            "sagd.white((32, 32))"
        )


def check_times(t: ArrayLike) -> None:
    """Raises ValueError unless these are times in [0, 1], one or one per signal; traced ones may have any value."""
    if np.ndim(t) > 1:
        raise ValueError(f"t: shape {np.shape(t)}; expected () or (batch,)")
    if isinstance(t, jax.core.Tracer):
        return
    times = arguments.numbers("t", t)
    if not np.all((times >= 0) & (times <= 1 + 1e-6)):
        raise ValueError(f"t={arguments.quoted(t)}: expected times in [0, 1], 0 data and 1 noise")


def check_velocity(name: str, schedule: Schedule, t: ArrayLike) -> None:
    """Raises ValueError unless a velocity is finite at these times, and no coordinate ever stands still.

    With one coefficient for all coordinates it only has to be finite.
    """
    slopes = {"sigma'": known(schedule.sigma_prime, t)}
    if schedule.basis is not None:
        slopes["alpha'"] = known(schedule.alpha_prime, t)
    for slope, values in slopes.items():
        infinite = ~np.all(np.isfinite(values), axis=-1)
        if np.any(infinite):
            instead = "use t > 0" if slope == "sigma'" else "use a network that predicts v or x0"
            raise ValueError(
                f"{name}='velocity': {slope} is infinite at t = {first(t, infinite)}; {instead}"
            )
    if schedule.basis is None:
        return
    # Whatever times are asked for, so that no grid is accepted where another one is not.
    times = np.concatenate([np.ravel(t), _BETWEEN])
    alpha, sigma, alpha_prime, sigma_prime = (
        known(getattr(schedule, part), times)
        for part in ("alpha", "sigma", "alpha_prime", "sigma_prime")
    )
    still = ~np.all(alpha_prime * sigma - sigma_prime * alpha < 0, axis=-1)
    if np.any(still):
        raise ValueError(
            f"{name}='velocity': under {type(schedule).__name__} a coordinate stands still at t = "
            f"{first(times, still)}, where a velocity says nothing; use a network that predicts v or x0"
        )


def known(function: Any, t: ArrayLike) -> np.ndarray:
    """Values of a schedule's function at known times, `(*t.shape, coordinates)`."""
    with jax.ensure_compile_time_eval():
        values = np.asarray(function(t))
    return values.reshape(*np.shape(t), -1)


def first(t: ArrayLike, where: np.ndarray) -> float:
    """The first of these times at which something is so."""
    return float(np.broadcast_to(np.asarray(t), where.shape)[where].flat[0])


def _is_placeholder(value: Any) -> bool:
    """Whether JAX may have put this into a pytree in place of a part, as transformations do."""
    if isinstance(value, jax.core.Tracer):
        return True
    if isinstance(value, (jax.Array, Schedule)):
        return False
    of_jax = type(value).__module__.partition(".")[0] in ("jax", "jaxlib")
    return value is None or type(value) is object or isinstance(value, int) or of_jax


@functools.lru_cache(maxsize=64)
def _fault(schedule: Schedule) -> str | None:
    """What is wrong with the values of a schedule, if anything."""
    rows = []
    for name in ("alpha", "sigma", "log_snr"):
        function = getattr(schedule, name)
        try:
            with jax.ensure_compile_time_eval():
                rows.append(function(_PROBES))
            jax.eval_shape(function, _PROBES)  # as inside `jax.jit`
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
            return f"{name}(t) is not made of jax.numpy functions of t alone, without `if`"
        except Exception as error:
            return f"{name}(t) fails for an array of times: {one_line(error, 200)}"
    if any(isinstance(row, jax.core.Tracer) for row in rows):
        return None
    for name, row in zip(("alpha", "sigma", "log_snr"), rows, strict=True):
        if np.shape(row) != _PROBES.shape:
            return f"{name}(t) has shape {np.shape(row)} for t of shape {_PROBES.shape}"
    alpha, sigma, log_snr = (np.asarray(row, np.float64) for row in rows)
    for name, row in (("alpha", alpha), ("sigma", sigma)):
        wrong = ~(np.isfinite(row) & (row >= 0))
        if wrong.any():
            t, value = _PROBES[wrong][0], row[wrong][0]
            return f"{name}({t:g}) is {value:g}; expected a finite number >= 0"
    if not np.all(np.diff(log_snr[1:]) < 0) or not log_snr[0] > log_snr[1]:
        return (
            f"its log-SNR is {', '.join(f'{v:.3g}' for v in log_snr)} at t = "
            f"{', '.join(f'{t:g}' for t in _PROBES)}; expected it to decrease from data to noise"
        )
    return None
