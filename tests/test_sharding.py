"""The compiled training step on eight devices: the same numbers, and no collective for the noise."""

import json
import subprocess
import sys

import pytest
from programs import TINY, environment

CODE = """
import json, re, sys
import jax, numpy as np
from sagd_jax import data
from sagd_jax.diffusion import Diffusion
from sagd_jax.training import factory, sharding, step
from sagd_jax.training.config import load

def losses(config, devices_used):
    source = data.load(config.data)
    mesh = sharding.make_mesh(config.mesh, config.train.batch_size)
    model = factory.network(config.model, source.num_classes)
    shape = tuple(source.shape)
    diffusion = Diffusion(factory.schedule(config.schedule), factory.covariance(config.noise, shape[:-1]))
    optimizer = factory.optimizer(config.optimizer, config.train)
    def fresh(key):
        return step.initial_state(factory.initial_parameters(model, key, shape), optimizer)
    abstract = jax.eval_shape(fresh, jax.random.key(0))
    layout = jax.tree.map(lambda leaf: leaf.sharding, sharding.with_layout(abstract, mesh))
    split = {jax.tree_util.keystr(p): str(s.spec) for p, s in jax.tree.leaves_with_path(layout["params"])}
    steps = jax.jit(
        step.make_steps(config, model, diffusion, optimizer, (0.0, 255.0)),
        in_shardings=(layout, sharding.batch_sharding(mesh, leading=1)),
        out_shardings=(layout, sharding.replicated(mesh)), donate_argnums=0,
    )
    batch = source.fetch(np.arange(config.train.batch_size))
    batch = {name: value[None] for name, value in batch.items()}
    with jax.set_mesh(mesh):
        state = jax.jit(fresh, out_shardings=layout)(jax.random.key(0))
        text = steps.lower(state, batch).compile().as_text()
        result = []
        for _ in range(20):
            state, metrics = steps(state, batch)
            result.append(float(metrics["loss"][0]))
    kinds = ("all-gather", "all-to-all", "collective-permute", "all-reduce", "reduce-scatter")
    found = {}
    for kind in kinds:
        lines = [l for l in text.splitlines() if re.search(rf" {kind}(-start)?\\(", l)]
        found[kind] = lines
    return {
        "losses": result,
        "collectives": {k: len(v) for k, v in found.items()},
        "of_noise": [l for v in found.values() for l in v if "covariance" in l or "diffuse" in l],
        "split": sum("fsdp" in s for s in split.values()),
    }

file, *flags = sys.argv[1:]
print(json.dumps(losses(load(file, flags), jax.device_count())))
"""


def run(tmp_path_factory, devices, *flags):
    folder = tmp_path_factory.mktemp("sharding")
    (folder / "tiny.py").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder / "tiny.py"), *flags],
        env=environment(folder, devices),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return run(tmp_path_factory, 1, "--config.model.unet.block_out_channels=64,64")


@pytest.mark.parametrize("fsdp", [1, 2, 8])
def test_eight_devices_train_like_one(fsdp, one_device, tmp_path_factory):
    eight = run(
        tmp_path_factory,
        8,
        "--config.model.unet.block_out_channels=64,64",
        f"--config.mesh.fsdp={fsdp}",
    )
    assert abs(eight["losses"][0] - one_device["losses"][0]) < 1e-6
    assert abs(eight["losses"][-1] - one_device["losses"][-1]) < 1e-4
    assert one_device["collectives"] == dict.fromkeys(one_device["collectives"], 0)
    assert eight["collectives"]["all-reduce"] > 0
    assert eight["of_noise"] == []
    if fsdp == 1:
        # Plain data parallelism needs the reduction of gradients and metrics, and nothing else.
        assert eight["split"] == 0
        assert {k for k, n in eight["collectives"].items() if n} == {"all-reduce"}
    else:
        assert eight["split"] > 0
        assert eight["collectives"]["all-gather"] > 0
