"""Whether the network of another run knows what an objective that begins with one asks of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import Diffusion
from sagd_jax.run.config import RunConfig
from sagd_jax.run.saved import Run
from sagd_jax.spectral import bases
from sagd_jax.system.schema import ConfigError

_TIMES = np.linspace(0.01, 0.99, 33, dtype=np.float32)
_LEVELS = np.linspace(12, -6, 19, dtype=np.float32)
# Of options of a network: those that the shapes of its weights show, and those that may change.
_WITHOUT_MEANING = {
    "parent", "name", "num_classes", "num_kinds", "out_channels", "dropout", "dtype", "remat",
}  # fmt: skip


def needs_network(config: RunConfig) -> bool:
    """Whether the objective begins with a network that is trained: consistency, or a path alone."""
    return config.objective.kind == "consistency" or not config.objective.network


def require_fitting(run: Run, diffusion: Diffusion, config: RunConfig, folder: str) -> None:
    """Raises ConfigError, of one line, unless the network of `run` is one of this process.

    A path alone may be another one, as long as the network is told the noise in the same way.
    """
    before, now = run.config.model, config.model
    faults = [
        f"config.model.{name} was {getattr(before, name)!r}, is {getattr(now, name)!r}"
        for name in ("prediction", "class_conditional", "project_input")
        if getattr(before, name) != getattr(now, name)
    ]
    old, new = run.diffusion, diffusion
    if not _same_noise(old, new):
        faults.append("its noise has another spectrum")
    elif config.objective.kind == "consistency" and not _same_levels(old, new):
        faults.append(
            f"its schedule is another one ({run.config.schedule.kind} there, {config.schedule.kind} here)"
        )
    elif not _same_clock(old, new):
        faults.append(
            f"its network knows the time of another clock ({run.config.schedule.kind} there, "
            f"{config.schedule.kind} here)"
        )
    if faults:
        raise ConfigError(
            f"--init_from={folder}: {'; '.join(faults)}; expected a network of the same process"
        )


def _same_noise(old: Diffusion, new: Diffusion) -> bool:
    first, second = (np.asarray(d.covariance.variance) for d in (old, new))
    if old.is_spectral != new.is_spectral:
        # On different grids; white on both is the same.
        return bool(np.all(first == 1) and np.all(second == 1))
    return first.shape == second.shape and _close(first, second)


def _same_levels(old: Diffusion, new: Diffusion) -> bool:
    first, second = old.schedule, new.schedule
    if first.basis is None or second.basis is None:
        same = first.basis is second.basis
    else:
        same = bases.same(first.basis, second.basis)
    return same and all(
        _close(getattr(first, name)(_TIMES), getattr(second, name)(_TIMES))
        for name in ("alpha", "sigma")
    )


def _close(first: ArrayLike, second: ArrayLike) -> bool:
    return np.allclose(np.asarray(first), np.asarray(second), rtol=1e-3, atol=1e-5)


def _same_clock(old: Diffusion, new: Diffusion) -> bool:
    first, second = (
        np.asarray(clock.timestep(clock.time(_LEVELS)))
        for clock in (old.schedule.clock, new.schedule.clock)
    )
    return np.allclose(first, second, rtol=1e-3, atol=1)


def require_the_same_network(there: Any, here: Any, folder: str) -> None:
    """Raises ConfigError, of one line, where options that no shape shows would give weights another meaning.

    Args:
      there: the network that the weights were trained in.
      here: the one that is to begin with them.
    """
    if type(there) is not type(here):
        return  # whose parameters have other names
    names = {f.name for f in dataclasses.fields(here)} - _WITHOUT_MEANING
    faults = [
        f"{name} is {old!r} there, {new!r} here"
        for name in sorted(names)
        if (old := _meaning(there, name)) != (new := _meaning(here, name))
    ]
    if faults:
        raise ConfigError(
            f"--init_from={folder}: another network, though its weights would fit: {'; '.join(faults)} "
            "(fields of config.model)"
        )


def _meaning(model: Any, name: str) -> Any:
    value = getattr(model, name)
    if name != "attention_head_dim":
        return value
    # Of a single head it is None, or the number of channels; without attention anything.
    used = [c for c, a in zip(model.block_out_channels, model.attention, strict=True) if a] + list(
        model.block_out_channels[-1:]
    ) * model.mid_attention
    return tuple(value or channels for channels in used)
