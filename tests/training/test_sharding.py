"""The compiled steps on eight devices: the same numbers, and no collective for the noise."""

import json
import subprocess
import sys

import pytest
from programs import TINY, environment

pytestmark = pytest.mark.thorough

CODE = """
import json, re, sys
import jax, jax.numpy as jnp, numpy as np
from sagd_jax import data
from sagd_jax.diffusion.samplers import named
from sagd_jax.run.draw import compile_draw, shapes_of
from sagd_jax.training import step
from sagd_jax.run.config_file import read_config
from sagd_jax.run.denoiser import initial_parameters
from sagd_jax.training.prepare import prepare

KINDS = ("all-gather", "all-to-all", "collective-permute", "all-reduce", "reduce-scatter")

def collectives(compiled):
    lines = compiled.as_text().splitlines()
    found = {k: [l for l in lines if re.search(rf" {k}(-start)?\\(", l)] for k in KINDS}
    of_noise = [l for v in found.values() for l in v if re.search("covariance|diffuse|transform", l)]
    return {k: len(v) for k, v in found.items()}, of_noise

def run(config):
    source = data.open_source(config.data)
    prepared = prepare(config, source)
    shape = tuple(source.shape)
    def fresh(key):
        return step.initial_state(initial_parameters(prepared.model, key, shape), prepared.optimizer)
    drawn = (prepared.rows or source).fetch(np.arange(config.train.batch_size))
    batch = {name: value[None] for name, value in drawn.items()}
    result = {"losses": []}
    # Outside of the mesh and its shardings: the same program for all of these runs, compiled once.
    state = jax.device_get(jax.jit(fresh)(jax.random.key(0)))
    with jax.set_mesh(prepared.mesh):
        state = jax.device_put(state, prepared.layout)
        steps = prepared.steps.lower(prepared.state, prepared.batches).compile()
        result["training"], result["of_noise"] = collectives(steps)
        if config.train.accumulate == 1:  # which sampling does not know
            draw = compile_draw(prepared.record, prepared.model, prepared.diffusion, prepared.mesh, 16,
                                sampler=named("sde", churn=2.0), num_steps=3)
            compiled = draw.lower(prepared.state["ema"], *shapes_of(16)).compile()
            result["sampling"], of_noise = collectives(compiled)
            result["of_noise"] += of_noise
        for _ in range(8):
            state, metrics = steps(state, batch, *prepared.steps.others)
            result["losses"].append(float(metrics["loss"][0]))
    result["split"] = sum("fsdp" in str(s.spec) for s in jax.tree.leaves(prepared.layout["params"]))
    result["params"] = float(sum(jnp.abs(p).sum() for p in jax.tree.leaves(state["params"])))
    return result

file, *flags = sys.argv[1:]
print(json.dumps(run(read_config(file, flags))))
"""
WIDE = "--config.model.unet.block_out_channels=48"  # wide enough for the rule to split weights


def run(tmp_path_factory, cache, devices, *flags):
    folder = tmp_path_factory.mktemp("sharding")
    (folder / "tiny.py").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder / "tiny.py"), *flags],
        env=environment(cache, devices),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory, cache):
    return run(tmp_path_factory, cache, 1, WIDE)


@pytest.mark.parametrize("fsdp", [1, 2, pytest.param(8, marks=pytest.mark.slow)])
def test_eight_devices_train_and_sample_like_one(fsdp, one_device, tmp_path_factory, cache):
    eight = run(tmp_path_factory, cache, 8, WIDE, f"--config.mesh.fsdp={fsdp}")
    assert abs(eight["losses"][0] - one_device["losses"][0]) < 1e-6
    assert abs(eight["losses"][-1] - one_device["losses"][-1]) < 1e-4
    for program in ("training", "sampling"):
        assert one_device[program] == dict.fromkeys(one_device[program], 0)
    kinds = {p: {k for k, n in eight[p].items() if n} for p in ("training", "sampling")}
    assert eight["of_noise"] == []
    if fsdp == 1:
        # Plain data parallelism needs the reduction of gradients and metrics, and nothing else.
        assert eight["split"] == 0
        assert kinds == {"training": {"all-reduce"}, "sampling": set()}
    else:
        # The weights are gathered where they are used, and their gradients reduced.
        assert eight["split"] > 0
        assert {"all-reduce", "all-gather"} <= kinds["training"]
        assert kinds["training"] <= {"all-reduce", "all-gather", "reduce-scatter"}
        assert kinds["sampling"] == {"all-gather"}


def test_picking_examples_from_a_set_on_the_devices_moves_none(tmp_path_factory, cache):
    flags = [WIDE, "--config.data.flip=True", "--config.data.crop_padding=1"]
    from_host = run(tmp_path_factory, cache, 8, *flags)
    held = run(tmp_path_factory, cache, 8, *flags, "--config.train.device_limit_mb=64")
    assert held == from_host
    assert {k for k, n in held["training"].items() if n} == {"all-reduce"}


def test_a_batch_in_parts_is_the_batch(one_device, tmp_path_factory, cache):
    parts = run(tmp_path_factory, cache, 2, WIDE, "--config.train.accumulate=4")
    assert abs(parts["losses"][0] - one_device["losses"][0]) < 1e-6
    assert abs(parts["losses"][-1] - one_device["losses"][-1]) < 1e-4
    assert abs(parts["params"] / one_device["params"] - 1) < 1e-5
    # No example moves to another device: only gradients and metrics are reduced.
    assert {k for k, n in parts["training"].items() if n} == {"all-reduce"}
