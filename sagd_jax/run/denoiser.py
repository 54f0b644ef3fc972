"""A run's network as a denoiser: its parameters, what it sees, and how it is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped, LearnedSchedule
from sagd_jax.run.build import as_config_error
from sagd_jax.run.layout import gathered
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.system.import_paths import faults_of

PATH = "learned_path"  # of a learned schedule, among the parameters of the network


def initial_parameters(model: nn.Module, key: jax.Array, shape: tuple[int, ...]) -> Any:
    """Fresh parameters for signals of shape `(*spatial, channels)`; works under `jax.eval_shape`."""
    return model.init(key, jnp.zeros((1, *shape)), jnp.zeros((1,)))["params"]


def parameter_shapes(model: nn.Module, shape: tuple[int, ...]) -> Any:
    """The parameters as shapes; refuses, in one line, a network that does not fit the signal."""
    module, name = type(model).__module__, type(model).__name__
    with as_config_error("config.model"), faults_of(module, f"config.model, {module}:{name}"):
        return jax.eval_shape(lambda key: initial_parameters(model, key, shape), jax.random.key(0))


def apply_network(
    model: nn.Module,
    params: Any,
    diffusion: Diffusion,
    x_t: jax.Array,
    t: jax.Array,
    label: jax.Array | None,
    *,
    project_input: bool = False,
    dropout_key: jax.Array | None = None,
    prediction: str = "epsilon",
) -> jax.Array:
    """The network's prediction for x_t of shape `(batch, *spatial, channels)` at t of `(batch,)`.

    The network sees x_t / sqrt(alpha^2 + sigma^2), of unit scale under any schedule (and x_t itself
    under a variance-preserving one; what the schedule says, per coordinate, under a spectral one), and
    time as a discrete timestep of the schedule's clock.

    Where examples have kinds (`diffusion/schedules/caps.py`) the process says which, by `Diffusion.at`: its label is
    shown to the network too, and what the network gives for v is scaled per coordinate as (28) and (28b) there say.

    Args:
      prediction: the kind of its output.
    """
    if project_input:
        x_t = diffusion.covariance.project(x_t)
    if diffusion.is_spectral:
        scale = diffusion.schedule.input_scale(t).astype(x_t.dtype)
        seen = diffusion.decode(scale * diffusion.encode(x_t))
    else:
        scale = jax.lax.rsqrt(diffusion.alpha(t, x_t) ** 2 + diffusion.sigma(t, x_t) ** 2)
        seen = scale * x_t
    variables = {"params": gathered(params)}
    timestep = diffusion.schedule.timestep(t)
    options: dict[str, Any] = {}
    if dropout_key is not None:
        options = {"train": True, "rngs": {"dropout": dropout_key}}
    schedule = diffusion.schedule
    if not isinstance(schedule, Capped):
        return model.apply(variables, seen, timestep, label, **options)  # type: ignore[return-value]
    kind = jnp.broadcast_to(schedule.label(t), timestep.shape)
    output: Any = model.apply(variables, seen, timestep, label, kind=kind, **options)
    if prediction == "v":
        skip, scale = schedule.output_scale(t)
        state = diffusion.encode(output) * scale.astype(output.dtype)
        if schedule.spectrum is not None:
            state = state + skip * diffusion.encode(x_t)
        output = diffusion.decode(state)
    return output


def with_path(diffusion: Diffusion, params: Any) -> Diffusion:
    """The process with the path of a learned schedule that is among the parameters, if there is one."""
    schedule = diffusion.schedule
    if not isinstance(schedule, LearnedSchedule) or PATH not in params:
        return diffusion
    return dataclasses.replace(diffusion, schedule=schedule.with_path(params[PATH]))


def with_own_path(params: Any, diffusion: Diffusion) -> Any:
    """A network's parameters and, beside them, the path of the process, where it is learned."""
    schedule = diffusion.schedule
    if not isinstance(schedule, LearnedSchedule):
        return params
    return {**params, PATH: jnp.asarray(schedule.path, jnp.float32)}


def of_kinds(diffusion: Diffusion, kind: jax.Array | None) -> Diffusion:
    """The process of a batch of examples of these kinds; the same one where all have one covariance."""
    if not isinstance(diffusion.covariance, CovarianceStack):
        return diffusion
    if kind is None:
        raise ValueError("the noise of this run has a covariance per class; give labels")
    return diffusion.at(kind.astype(jnp.int32))


def as_denoiser(
    model: nn.Module,
    params: Any,
    diffusion: Diffusion,
    label: jax.Array | None = None,
    *,
    project_input: bool = False,
    prediction: str = "epsilon",
    kind: ArrayLike | None = None,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function `(x_t, t) -> prediction`, as samplers take it, for one batch of labels.

    Args:
      kind: of the examples, where they have kinds: one, or `(batch,)`; None: as the process says.
    """
    own = diffusion if kind is None else diffusion.at(kind)

    def denoise(x_t: jax.Array, t: jax.Array) -> jax.Array:
        return apply_network(
            model, params, own, x_t, t, label, project_input=project_input, prediction=prediction
        )

    return denoise
