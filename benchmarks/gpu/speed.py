"""The part `speed`: the compiled training step alone, and its share of the device's peak."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import time
from typing import Any

import numpy as np

from benchmarks.gpu.configurations import run_values
from benchmarks.gpu.processes import ITSELF, environment, passed_on

BATCHES = (128, 512, 2048)
# Dense bfloat16 flop/s by the name that JAX gives the device. Source: NVIDIA's data sheets, whose
# tables count 2:4 sparsity, halved.
PEAKS = {"NVIDIA H200": 989e12, "NVIDIA H100": 989e12, "NVIDIA A100": 312e12}


def run_speed(flags: argparse.Namespace) -> list[dict[str, Any]]:
    """Times the step for each batch size, each in a process of its own."""
    rows = []
    for batch in (16, 32) if flags.tiny else BATCHES:
        command = [*ITSELF, "--one_speed", str(batch), *passed_on(flags)]
        done = subprocess.run(command, env=environment(flags), capture_output=True, text=True)
        if done.returncode:
            rows.append({"batch_size": batch, "error": done.stderr.strip()[-1000:]})
        else:
            rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"speed: {json.dumps(rows[-1])}", flush=True)
    return rows


def time_steps(flags: argparse.Namespace, batch: int) -> dict[str, Any]:
    """The training step of `train.py` on zeros: images per second, flops, memory."""
    import jax

    from sagd_jax.data.source import ArraySource
    from sagd_jax.run.config import RunConfig
    from sagd_jax.run.denoiser import initial_parameters
    from sagd_jax.system import schema
    from sagd_jax.training.prepare import prepare
    from sagd_jax.training.step import initial_state

    values = run_values(flags, "white")
    values["train"]["batch_size"] = batch
    shape = (32, 32, 3)
    source = ArraySource(
        np.broadcast_to(np.uint8(0), (max(batch, 2), *shape)), value_range=(0, 255)
    )
    prepared = prepare(schema.build(RunConfig, values), source)

    def fresh(key: Any) -> Any:
        params = initial_parameters(prepared.model, key, shape)
        return initial_state(params, prepared.optimizer)

    with jax.set_mesh(prepared.mesh):
        state = jax.jit(fresh, out_shardings=prepared.layout)(jax.random.key(0))
        zeros = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), prepared.batches)
        batches = jax.tree.map(lambda a, s: jax.device_put(a, s.sharding), zeros, prepared.batches)
        start = time.monotonic()
        compiled = prepared.steps.lower(prepared.state, prepared.batches).compile()
        compile_seconds = time.monotonic() - start
        per_call = zeros["x"].shape[0]
        rates = []
        for turn in range(6):
            calls = 1 if turn == 0 or flags.tiny else max(1, 30 // per_call)
            start = time.perf_counter()
            for _ in range(calls):
                state, metrics = compiled(state, batches, *prepared.steps.others)
            jax.block_until_ready(metrics)
            rates.append(calls * per_call * batch / (time.perf_counter() - start))
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    device = jax.devices()[0]
    statistics_of_memory = device.memory_stats() or {}
    return {
        "batch_size": batch,
        "steps_per_call": per_call,
        "device": device.device_kind,
        "images_per_second": statistics.median(rates[1:]),
        "range": [min(rates[1:]), max(rates[1:])],
        "compile_seconds": round(compile_seconds, 1),
        # XLA counts the body of a loop once, whatever the number of its turns.
        "compiler_flops_per_image": cost.get("flops", 0.0) / batch,
        "temp_bytes": memory.temp_size_in_bytes,
        "peak_bytes": statistics_of_memory.get("peak_bytes_in_use"),
    }


def flops_per_image(flags: argparse.Namespace) -> float:
    """Of a training step, counted from its matrix products and convolutions."""
    import jax
    import jax.numpy as jnp

    from benchmarks.scaling.compiled import count_flops
    from sagd_jax.run import build
    from sagd_jax.run.config import RunConfig
    from sagd_jax.run.denoiser import parameter_shapes
    from sagd_jax.system import schema

    config = schema.build(RunConfig, run_values(flags, "white"))
    model = build.network(config.model, 0)
    params = parameter_shapes(model, (32, 32, 3))

    def loss(params: Any, x: Any, t: Any) -> Any:
        return jnp.mean(model.apply({"params": params}, x, t) ** 2)

    images = 8
    x = jax.ShapeDtypeStruct((images, 32, 32, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((images,), jnp.float32)
    return count_flops(jax.make_jaxpr(jax.grad(loss))(params, x, t).jaxpr) / images


def utilisation(results: dict[str, Any], flops: float, device: str) -> None:
    """Adds the share of the device's peak that the counted flops make up."""
    peak = next((value for name, value in PEAKS.items() if device.startswith(name)), None)
    rows = [*results.get("train", {}).values(), *results.get("speed", [])]
    for row in rows:
        if "images_per_second" in row:
            row["flops_per_second"] = row["images_per_second"] * flops
            row["share_of_peak"] = row["flops_per_second"] / peak if peak else None
