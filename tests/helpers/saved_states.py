"""States to save whose every number follows from the step, and ways of looking at what is on disk."""

import random

import jax
import jax.numpy as jnp
import numpy as np


def state(step, size=64):
    """What is saved at `step`; everything follows from the number."""
    rng = np.random.default_rng(step)
    params = {
        "dense": {"kernel": jnp.asarray(rng.standard_normal((size, size)), jnp.float32)},
        "norm": [jnp.asarray(rng.standard_normal(size), jnp.bfloat16), None],
    }
    return {"params": params, "ema": jax.tree.map(lambda x: x + 1, params)}


ARRAYS = {"variance": np.arange(12, dtype=np.float32).reshape(3, 4)}


def save(checkpoints, *steps, **kwargs):
    for step in steps:
        assert checkpoints.save(step, state(step), arrays=ARRAYS, record={"step": step}, **kwargs)
    checkpoints.wait()


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype
        assert np.asarray(a).tobytes() == np.asarray(e).tobytes()


def assert_holds(saved, step):
    assert saved.step == step == saved.record["step"]
    assert_same(saved.arrays, ARRAYS)
    assert_same(saved.restore(state(0)), state(step))


def directory(workdir, step):
    return workdir / "checkpoints" / str(step)


def entries(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def flip_bit(path, rng=random):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def biggest_file(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
