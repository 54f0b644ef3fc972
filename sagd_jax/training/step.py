"""The training state and the step that advances it: pure functions, compiled once.

A state is a dictionary of arrays only: `params`, `ema`, `opt_state` and `step`. Step k uses the key
fold_in(key(seed), k) and batch k, so a run is a function of its configuration alone and can be cut
anywhere between two steps.

With `accumulate`, the gradients of parts of the batch are added up, each from the draws that the
whole batch would have had: only memory and rounding (and dropout) differ.

What is minimised is an `Objective` (`objectives.py`). The EMA starts at the parameters; with decay d
its update number n is ema += (1 - d_n) (params - ema), where d_n = d or, with a warm-up,
min(d, (1 + n) / (10 + n)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from sagd_jax.run.config import RunConfig, TrainConfig
from sagd_jax.training.objectives import Objective

State = dict[str, Any]
Metrics = dict[str, jax.Array]
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
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seed: ArrayLike | None = None,
) -> Callable[[State, dict[str, jax.Array]], tuple[State, Metrics]]:
    """Builds `steps(state, batches) -> (state, metrics)` for any number of consecutive batches.

    `batches["x"]` has shape `(steps, batch, *spatial, channels)`, raw data values;
    `batches["label"]` and `batches["corrupted"]` `(steps, batch)`. Metrics come back with a leading
    axis of steps.

    Args:
      seed: of all draws, an integer that may be traced; None: `config.seed`.
    """
    seed = config.seed if seed is None else seed
    gradient_of = jax.value_and_grad(objective.loss, has_aux=True)
    parts = config.train.accumulate

    def step(state: State, batch: dict[str, jax.Array]) -> tuple[State, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state["step"])
        time_key, noise_key, dropout_key, label_key = jax.random.split(key, 4)
        batch = {**batch, "step": state["step"]}
        drawn = objective.draw(batch, time_key, noise_key, label_key)

        def gradient_of_part(part: Any, key: jax.Array) -> Any:
            return gradient_of(state["params"], state["ema"], part, key)

        if parts == 1:
            (loss, sums), gradients = gradient_of_part(drawn, dropout_key)
        else:
            (loss, sums), gradients = _by_parts(gradient_of_part, parts, drawn, dropout_key)
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


def _by_parts(gradient_of_part: Callable[..., Any], parts: int, drawn: Any, key: jax.Array) -> Any:
    """What `gradient_of_part` returns for the whole batch, from equal parts of it."""
    # Row r goes to part r mod parts: each device splits its own rows, and none moves.
    split = jax.tree.map(lambda a: jnp.moveaxis(a.reshape(-1, parts, *a.shape[1:]), 1, 0), drawn)
    keys = jax.random.split(key, parts)
    (loss, sums), gradients = _sum_over(gradient_of_part, (split, keys))
    share = 1 / parts
    return (loss * share, sums), jax.tree.map(lambda g: g * share, gradients)


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
