"""Under a mesh that shards the batch, coordinates need no collective: each device has its own."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.thorough

SOURCE = """
import jax, jax.numpy as jnp, numpy as np, sagd_jax as sagd
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from sagd_jax.spectral import transform

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
split = NamedSharding(mesh, PartitionSpec("data"))
x0 = jax.device_put(np.ones((8, 8, 8, 1), np.float32), split)
t = jax.device_put(np.linspace(0.1, 0.9, 8).astype(np.float32), split)
kind = jax.device_put(np.arange(8) % 2, split)
flow = sagd.schedules.rectified_flow()
stack = sagd.stack([sagd.white((8, 8)), sagd.power_law((8, 8), alpha=-0.5)])
bases = [f((8, 8)) for f in (sagd.bases.fourier, sagd.bases.cosine, sagd.bases.haar)]
processes = [sagd.Diffusion(sagd.schedules.shifted(flow, -b.radius, b)) for b in bases]
processes.append(sagd.Diffusion(flow, stack))
for limit in (512, 4):  # by matrices, and by fast transforms
    transform.MATRIX_LIMIT = limit
    for process in processes:
        def diffuse(key, x0, t, kind):
            own = process.at(kind) if process.schedule.basis is None else process
            return own.diffuse(key, x0, t)[0]
        with jax.set_mesh(mesh):
            step = jax.jit(diffuse, out_shardings=split)
            text = step.lower(jax.random.key(0), x0, t, kind).compile().as_text()
            sharded = step(jax.random.key(0), x0, t, kind)
        alone = diffuse(jax.random.key(0), *(jnp.asarray(np.asarray(a)) for a in (x0, t, kind)))
        assert np.allclose(sharded, alone, atol=1e-5), process
        for name in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
            assert name not in text, (limit, name, process)
print("none")
"""


def test_no_collective():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", SOURCE],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "none\n"
