"""This side: the compiled programs of train.py and sample.py themselves, on fixed arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.cases import STEPS, Case, serve
from sagd_jax.data.source import ArraySource
from sagd_jax.diffusion.samplers import named
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import apply_network, initial_parameters
from sagd_jax.run.draw import compile_draw
from sagd_jax.run.layout import batch_sharding
from sagd_jax.system import compiler, cores, schema
from sagd_jax.system.malloc import give_back_freed_memory, keep_freed_memory
from sagd_jax.training.fresh import evaluate
from sagd_jax.training.prepare import Prepared, prepare
from sagd_jax.training.step import initial_state


def prepared(case: Case, schedule: str = "linear_beta") -> Prepared:
    """A run of a case's network; its data are noise, which takes as long as others."""
    kind = "dit" if case.network == "dit" else "unet"
    section = case.options
    values = {
        "train": {"batch_size": case.batch},
        "preview": {"every": None},
        "schedule": {"kind": schedule},
        "optimizer": {"name": "adam"},
        "model": {
            "kind": kind,
            kind: section,
            "prediction": "epsilon" if schedule == "linear_beta" else "v",
            "class_conditional": case.classes > 0,
            "dtype": "bfloat16" if case.device == "gpu" else "float32",
        },
    }
    count = max(case.batch, 2)
    shape = (count, case.side, case.side, case.channels)
    labels = (np.arange(count) % max(case.classes, 1)).astype(np.int32)
    source = ArraySource(
        np.random.default_rng(0).integers(0, 256, shape, np.uint8),
        labels=labels,
        num_classes=case.classes,
        value_range=(0, 255),
    )
    return prepare(schema.build(RunConfig, values), source)


def state_of(run: Prepared, case: Case) -> Any:
    """The state before the first step."""
    shape = (case.side, case.side, case.channels)

    def fresh() -> Any:
        params = initial_parameters(run.model, jax.random.key(0), shape)
        return initial_state(params, run.optimizer)

    return evaluate(fresh, run.layout)


def make(case: Case) -> tuple[Callable[[], Any], dict[str, Any]]:
    """The work of a case, and what it is."""
    cores.as_devices(case.batch)  # as the programs do
    run = prepared(case)
    state = state_of(run, case)
    about = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state["params"])),
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
    }
    works = {"step": step_of, "forward": _forward, "ddim": _ddim}
    perform = works[case.work](case, run, state)
    perform()
    give_back_freed_memory()  # as train.py does after compiling
    return perform, about


def step_of(case: Case, run: Prepared, state: Any) -> Callable[[], Any]:
    """One training step; the state goes on."""
    zeros = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), run.batches)
    batches = jax.tree.map(lambda a, s: jax.device_put(a, s.sharding), zeros, run.batches)

    def step() -> None:
        nonlocal state
        with jax.set_mesh(run.mesh):
            state, metrics = run.steps(state, batches)
        jax.block_until_ready((state, metrics))

    return step


def _labels(case: Case) -> jax.Array:
    return jnp.arange(case.batch, dtype=jnp.int32) % max(case.classes, 1)


def _forward(case: Case, run: Prepared, state: Any) -> Callable[[], Any]:
    params = state["ema"]
    split = batch_sharding(run.mesh)
    x = jax.device_put(jnp.zeros((case.batch, case.side, case.side, case.channels)), split)
    t = jax.device_put(jnp.full((case.batch,), 0.5), split)
    label = jax.device_put(_labels(case), split) if case.classes else None
    network = jax.jit(
        lambda params, x, t, label: apply_network(run.model, params, run.diffusion, x, t, label),
        compiler_options=compiler.of_networks(),
    )
    return lambda: jax.block_until_ready(network(params, x, t, label))


def _ddim(case: Case, run: Prepared, state: Any) -> Callable[[], Any]:
    params = state["ema"]
    of_run = (run.record, run.model, run.diffusion, run.mesh)
    draw = compile_draw(*of_run, case.batch, sampler=named("ddim"), num_steps=STEPS)
    labels = _labels(case)

    def sample() -> np.ndarray:
        with jax.set_mesh(run.mesh):
            return np.asarray(draw(params, jax.random.key(0), jnp.int32(0), labels))

    return sample


if __name__ == "__main__":
    keep_freed_memory()
    serve(make)
