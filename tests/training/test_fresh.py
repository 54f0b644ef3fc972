"""Fresh weights made an operation at a time are those that the whole of it, compiled, gives."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sagd_jax.models import DiT, UNet, layers
from sagd_jax.run.config import MeshConfig
from sagd_jax.run.denoiser import initial_parameters
from sagd_jax.run.layout import make_mesh, with_layout
from sagd_jax.training import fresh
from sagd_jax.training.step import initial_state

NETWORKS = [
    UNet(
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        mid_attention=False,
        remat=True,
    ),
    DiT(patch_size=4, hidden_size=8, depth=1, num_heads=1, num_classes=3),
]


class Laws(nn.Module):
    """Parameters of many laws, one of which needs the input."""

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        for name in ("lecun_normal", "he_uniform", "glorot_normal", "orthogonal"):
            x = x * self.param(name, getattr(nn.initializers, name)(), (3, 5)).sum()
        self.param("same", lambda key: x.mean() + jnp.zeros(2))
        return x * self.param("half", nn.initializers.constant(0.5), (), jnp.bfloat16)


def state_of(model, key):
    return initial_state(initial_parameters(model, key, (8, 8, 1)), optax.adamw(1e-3))


@pytest.mark.parametrize("model", [*NETWORKS, Laws()])
def test_the_values_are_those_of_init(model):
    def function():
        return state_of(model, jax.random.key(3))

    mesh = make_mesh(MeshConfig(), 1)
    shapes = with_layout(jax.eval_shape(function), mesh)
    layout = jax.tree.map(lambda leaf: leaf.sharding, shapes)
    with jax.set_mesh(mesh):
        made = fresh.evaluate(function, layout)
    expected = jax.jit(function)()
    assert jax.tree.structure(made) == jax.tree.structure(expected)
    pointers = set()
    for a, b in zip(jax.tree.leaves(made), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype, a.weak_type) == (b.shape, b.dtype, b.weak_type)
        np.testing.assert_allclose(*(np.float32(x) for x in (a, b)), rtol=2e-6, atol=1e-7)
        pointers.add(a.unsafe_buffer_pointer())
    assert len(pointers) == len(jax.tree.leaves(made))  # each can be donated


def test_equal_draws_are_one_program(monkeypatch):
    jit, made = jax.jit, []
    monkeypatch.setattr(jax, "jit", lambda f, **options: made.append(f) or jit(f, **options))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def function():
        keys = jax.random.split(jax.random.key(0), 5)
        return [jax.random.normal(k, (2, 1 + i // 4)) * 3 for i, k in enumerate(keys)]

    fresh.evaluate(function, [here] * 5)
    assert len(made) <= 3  # two shapes, and the split


def test_what_no_result_needs_is_not_done():
    def function():
        x = jnp.ones(2)
        for _ in range(3):
            x = jax.pure_callback(unwanted, x, x)
        return jax.random.normal(jax.random.key(0), (2,))

    def unwanted(x):
        raise AssertionError("the forward pass was made")

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    made = fresh.evaluate(function, here)
    np.testing.assert_allclose(made, jax.random.normal(jax.random.key(0), (2,)), rtol=1e-6)


def test_numbers_are_moved_as_jax_moves_them():
    def function():
        x = jnp.arange(24.0).reshape(2, 3, 4)
        return {
            "row": jnp.broadcast_to(x[0, 1], (3, 2, 4)),
            "column": jax.lax.broadcast_in_dim(x[:, 0, 0], (2, 3), (0,)),
            "stretched": jnp.broadcast_to(x[:, :1], (2, 3, 4)),
            "every other": x[:, ::2, 1:4:2],
            "copied": jnp.copy(x),
            "x": x,
            "keys": jax.random.key_data(
                jax.random.split(jax.random.key(1), 6).reshape(2, 3)[0, :2]
            ),
        }

    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    expected = jax.jit(function)()
    made = fresh.evaluate(function, jax.tree.map(lambda _: here, expected))
    jax.tree.map(np.testing.assert_array_equal, made, expected)
    pointers = {a.unsafe_buffer_pointer() for a in jax.tree.leaves(made)}
    assert len(pointers) == len(made)


def test_draws_of_one_length_serve_all_shapes():
    init = layers.uniform_fan_in(9)
    for shape in ((1,), (3, 5, 20), (2, 128), (257,)):
        expected = jax.random.uniform(jax.random.key(7), shape, minval=-1 / 3, maxval=1 / 3)
        np.testing.assert_array_equal(init(jax.random.key(7), shape), expected)
