"""The optimiser of a run, its learning rate, and the scale that a rollback makes smaller."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import optax

from sagd_jax.run.config import OptimizerConfig, TrainConfig
from sagd_jax.run.denoiser import PATH
from sagd_jax.run.objective import ObjectiveConfig


def learning_rate(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Linear warm-up, then constant, or cosine or linear decay to 0 at `num_steps`."""
    peak, warmup = config.learning_rate, config.warmup_steps
    remaining = max(num_steps - warmup, 1)
    after = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, remaining),
        "linear": lambda: optax.linear_schedule(peak, 0.0, remaining),
    }[config.decay]()
    # The warm-up starts one step in: a first step at rate 0 would be a wasted one.
    rise = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def make_optimizer(
    config: OptimizerConfig, train: TrainConfig, path: ObjectiveConfig | None = None
) -> optax.GradientTransformation:
    """Gradient clipping by global norm, the optimiser of `config.optimizer`, and a scale.

    The scale of the update is 1 and part of the state, where a rollback makes it smaller.

    Args:
      path: how the path of a learned schedule, which is then among the parameters, is trained beside the
        network; None: there is none.
    """
    rate = learning_rate(config, train.num_steps)
    core = {
        "adam": lambda: optax.adam(rate, config.b1, config.b2),
        "adamw": lambda: optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay),
        "lion": lambda: optax.lion(rate, config.b1, config.b2, weight_decay=config.weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=config.b1),
    }[config.name]()
    clip = (
        optax.identity()
        if config.clip_norm is None
        else optax.clip_by_global_norm(config.clip_norm)
    )
    scale = optax.inject_hyperparams(optax.scale)(step_size=1.0)
    if path is None:
        return optax.chain(clip, core, scale)
    # Clipped apart: a steep path must not make the network's steps small.
    network = optax.chain(clip, core) if path.network else optax.set_to_zero()
    moves = optax.set_to_zero() if path.path == "frozen" else optax.adam(path.path_learning_rate)
    return optax.chain(_beside(network, moves), scale)


def _beside(
    network: optax.GradientTransformation, path: optax.GradientTransformation
) -> optax.GradientTransformation:
    """One optimiser for the parameters of the network, another one for the path among them."""

    def split(tree: Any) -> tuple[Any, Any]:
        return {name: part for name, part in tree.items() if name != PATH}, {PATH: tree[PATH]}

    def init(params: Any) -> Any:
        own, its = split(params)
        return {"network": network.init(own), "path": path.init(its)}

    def update(gradients: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        parts = zip(split(gradients), (network, path), state.items(), split(params), strict=True)
        updates: dict[str, Any] = {}
        new: dict[str, Any] = {}
        for gradient, optimizer, (name, before), values in parts:
            change, new[name] = optimizer.update(gradient, before, values)
            updates |= change
        return updates, new

    return optax.GradientTransformation(init, update)


def rescale(opt_state: Any, factor: float) -> Any:
    """The state of `make_optimizer`'s with the scale of its updates multiplied by `factor`."""
    *others, last = opt_state
    scale = last.hyperparams["step_size"]
    return (*others, last._replace(hyperparams={"step_size": scale * jnp.float32(factor)}))
