"""The training state and the step that advances it: pure functions, compiled once.

A state is a dictionary of arrays only: `params`, `ema`, `opt_state` and `step`. Step k uses the key
fold_in(key(seed), k) and batch k, so a run is a function of its configuration alone and can be cut
anywhere between two steps.

With `accumulate`, the gradients of parts of the batch are added up, each from the draws that the
whole batch would have had: only memory and rounding (and dropout) differ.

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
_LONGEST_LOOP = 8  # parts of a batch; more of them would take too long to compile


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

    def draw(batch: dict[str, jax.Array], keys: tuple[jax.Array, ...]) -> dict[str, Any]:
        """Everything random but dropout, for the whole batch: its parts see what it would see."""
        time_key, noise_key, label_key = keys
        x0 = normalise(batch["x"], value_range)
        t = losses.sample_times(time_key, x0.shape[0], method=config.train.times)
        x_t, noise = diffusion.diffuse(noise_key, x0, t)
        if corrupted is not None:
            other = dataclasses.replace(diffusion, covariance=corrupted)
            flags = _like(batch["corrupted"], x0)
            x_t, noise = (
                jnp.where(flags, hidden, shown)
                for hidden, shown in zip(other.diffuse(noise_key, x0, t), (x_t, noise), strict=True)
            )
        label = None
        if config.model.class_conditional:
            hidden = jax.random.bernoulli(label_key, config.model.class_dropout, t.shape)
            label = jnp.where(hidden, model.num_classes, batch["label"])
        flags = batch["corrupted"]
        return {"x0": x0, "x_t": x_t, "noise": noise, "t": t, "label": label, "corrupted": flags}

    def loss_of(params: Any, drawn: dict[str, Any], dropout_key: jax.Array) -> tuple[Any, Any]:
        x0, noise, t = drawn["x0"], drawn["noise"], drawn["t"]
        prediction = factory.apply_network(
            model,
            params,
            diffusion,
            drawn["x_t"],
            t,
            drawn["label"],
            project_input=config.model.project_input,
            dropout_key=dropout_key,
        )
        if corrupted is not None:
            # What a corrupted example holds in the hole, and what is predicted there, teaches nothing.
            target = diffusion.target(x0, noise, t, config.model.prediction)
            taught = target + corrupted.project(prediction - target)
            prediction = jnp.where(_like(drawn["corrupted"], x0), taught, prediction)
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

    gradient_of = jax.value_and_grad(loss_of, has_aux=True)

    def accumulated(params: Any, drawn: dict[str, Any], dropout_key: jax.Array) -> Any:
        """What `gradient_of` returns, part by part."""
        parts = config.train.accumulate
        # Row r goes to part r mod parts: each device splits its own rows, and none moves.
        split = jax.tree.map(
            lambda a: jnp.moveaxis(a.reshape(-1, parts, *a.shape[1:]), 1, 0), drawn
        )
        keys = jax.random.split(dropout_key, parts)
        result = _sum_over(lambda part, key: gradient_of(params, part, key), (split, keys))
        (loss, sums), gradients = result
        share = 1 / parts
        return (loss * share, sums), jax.tree.map(lambda g: g * share, gradients)

    def step(state: State, batch: dict[str, jax.Array]) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.seed), state["step"])
        time_key, noise_key, dropout_key, label_key = jax.random.split(key, 4)
        drawn = draw(batch, (time_key, noise_key, label_key))
        whole = config.train.accumulate == 1
        (loss, sums), gradients = (gradient_of if whole else accumulated)(
            state["params"], drawn, dropout_key
        )
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
        if not _loops():
            return jax.lax.scan(step, state, batches)
        metrics = []
        for i in range(batches["x"].shape[0]):
            state, last = step(state, jax.tree.map(lambda stack, i=i: stack[i], batches))
            metrics.append(last)
        return state, jax.tree.map(lambda *values: jnp.stack(values), *metrics)

    return steps


def steps_per_call(config: TrainConfig) -> int:
    """How many steps one compiled call makes: `config.steps_per_call`, but 1 on CPU."""
    return 1 if _loops() else config.steps_per_call


def _loops() -> bool:
    # XLA:CPU runs the gradients of convolutions some 40 times slower in a scan, even one that it
    # unrolls.
    return jax.default_backend() == "cpu"


def _sum_over(function: Callable[..., Any], stacked: tuple[Any, ...]) -> Any:
    """The sum of `function` over the leading axis of its arguments."""
    count = jax.tree.leaves(stacked)[0].shape[0]

    def part(i: Any) -> Any:
        return function(*jax.tree.map(lambda stack: stack[i], stacked))

    def add(total: Any, i: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, part(i)), None

    total = part(0)
    if not _loops() or count > _LONGEST_LOOP:
        return jax.lax.scan(add, total, jnp.arange(1, count))[0]
    for i in range(1, count):
        # Without the barrier all parts may be in memory at once.
        total, stacked = jax.lax.optimization_barrier((total, stacked))
        total, _ = add(total, i)
    return total


def _like(flags: jax.Array, x: jax.Array) -> jax.Array:
    return flags.reshape(-1, *(1,) * (x.ndim - 1))
