"""The training state and the step that advances it: pure functions, compiled once.

A state is a dictionary of arrays only: `params`, `ema`, `opt_state` and `step`. Step k uses the key
fold_in(key(seed), k) and batch k, so a run is a function of its configuration alone and can be cut
anywhere between two steps.

The loss is (6), E |e - e_theta(x_t, t)|^2, or the options of `losses.py`. The EMA starts at the
parameters; with decay d its update number n is ema += (1 - d_n) (params - ema), where d_n = d or,
with a warm-up, min(d, (1 + n) / (10 + n)).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from sagd_jax import losses
from sagd_jax.covariance import FourierCovariance
from sagd_jax.data.source import ValueRange, normalise
from sagd_jax.diffusion import Diffusion
from sagd_jax.training import factory
from sagd_jax.training.config import RunConfig, TrainConfig

State = dict[str, Any]
Metrics = dict[str, jax.Array]
QUARTERS = 4


def initial_state(params: Any, optimizer: optax.GradientTransformation) -> State:
    """The state before step 0. The EMA is a copy: donation must not see one buffer twice."""
    return {
        "params": params,
        "ema": jax.tree.map(jnp.copy, params),
        "opt_state": optimizer.init(params),
        "step": jnp.zeros((), jnp.int32),
    }


def ema_update(ema: Any, params: Any, step: jax.Array, config: TrainConfig) -> Any:
    """The average after update number `step`, from the one before it."""
    decay = jnp.float32(config.ema_decay)
    if config.ema_warmup:
        decay = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(params, ema, 1 - decay)


def make_steps(
    config: RunConfig,
    model: nn.Module,
    diffusion: Diffusion,
    optimizer: optax.GradientTransformation,
    value_range: ValueRange,
    corrupted: FourierCovariance | None = None,
) -> Callable[[State, dict[str, jax.Array]], tuple[State, Metrics]]:
    """Builds `steps(state, batches) -> (state, metrics)` for any number of consecutive batches.

    `batches["x"]` has shape `(steps, batch, *spatial, channels)`, raw data values;
    `batches["label"]` and `batches["corrupted"]` `(steps, batch)`. Metrics come back with a leading
    axis of steps. Corrupted examples get their noise from the covariance `corrupted`, if it is
    given, made from the same white draw.
    """

    def loss_of(params: Any, batch: dict[str, jax.Array], key: jax.Array) -> tuple[Any, Any]:
        time_key, noise_key, dropout_key, label_key = jax.random.split(key, 4)
        x0 = normalise(batch["x"], value_range)
        t = losses.sample_times(time_key, x0.shape[0], method=config.train.times)
        x_t, noise = diffusion.diffuse(noise_key, x0, t)
        if corrupted is not None:
            other = dataclasses.replace(diffusion, covariance=corrupted)
            flags = batch["corrupted"].reshape(-1, *(1,) * (x0.ndim - 1))
            x_t, noise = (
                jnp.where(flags, hidden, shown)
                for hidden, shown in zip(other.diffuse(noise_key, x0, t), (x_t, noise), strict=True)
            )
        label = None
        if config.model.class_conditional:
            hidden = jax.random.bernoulli(label_key, config.model.class_dropout, t.shape)
            label = jnp.where(hidden, model.num_classes, batch["label"])
        prediction = factory.apply_network(
            model,
            params,
            diffusion,
            x_t,
            t,
            label,
            project_input=config.model.project_input,
            dropout_key=dropout_key,
        )
        if corrupted is not None:
            # What a corrupted example holds in the hole, and what is predicted there, teaches nothing.
            target = diffusion.target(x0, noise, t, config.model.prediction)
            prediction = jnp.where(
                flags, target + corrupted.project(prediction - target), prediction
            )
        per_example = losses.denoising_loss(
            diffusion,
            prediction,
            x0,
            noise,
            t,
            kind=config.model.prediction,
            norm=config.train.norm,
            weighting=config.train.weighting,
        )
        quarter = jax.nn.one_hot(jnp.ceil(t * QUARTERS).astype(int) - 1, QUARTERS)
        sums = {"quarter_loss": per_example @ quarter, "quarter_count": jnp.sum(quarter, axis=0)}
        return jnp.mean(per_example), sums

    def step(state: State, batch: dict[str, jax.Array]) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state["step"])
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (loss, sums), gradients = gradient_of(state["params"], batch, key)
        norm = optax.global_norm(gradients)
        updates, opt_state = optimizer.update(gradients, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        new = {
            "params": params,
            "ema": ema_update(state["ema"], params, state["step"], config.train),
            "opt_state": opt_state,
        }
        # A loss or gradient that is not finite must not enter the weights: the step is skipped.
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        old = {name: state[name] for name in new}
        new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
        metrics = {"loss": loss, "gradient_norm": norm, "skipped": ~finite, **sums}
        return {**new, "step": state["step"] + 1}, metrics

    def steps(state: State, batches: dict[str, jax.Array]) -> tuple[State, Metrics]:
        if jax.default_backend() != "cpu":
            return jax.lax.scan(step, state, batches)
        # XLA:CPU runs the gradients of convolutions some 40 times slower in a scan, even one that
        # it unrolls.
        metrics = []
        for i in range(batches["x"].shape[0]):
            state, last = step(state, jax.tree.map(lambda stack, i=i: stack[i], batches))
            metrics.append(last)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *metrics)

    return steps
