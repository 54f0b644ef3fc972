"""The transformer against a direct NumPy formulation of it, and its options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax.models import DIT_SIZES, DiT, dit_size
from sagd_jax.models.dit import patchify, position_embedding, unpatchify


def shapes(model, x):
    timestep = jnp.zeros(x.shape[0])
    return jax.eval_shape(model.init, jax.random.key(0), x, timestep)["params"]


def network(spatial, **options):
    """A small network with every parameter random (a new one predicts 0) and its arguments."""
    model = DiT(**{"hidden_size": 24, "depth": 2, "num_heads": 3} | options)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *spatial, 2)), jnp.float32)
    params = jax.tree.map(
        lambda a: jnp.asarray(0.3 * rng.normal(size=a.shape), jnp.float32), shapes(model, x)
    )
    return model, params, x, jnp.array([0.0, 612.5])


def run(model, params, *args):
    return jax.jit(lambda p, *args: model.apply({"params": p}, *args))(params, *args)


def silu(x):
    return x / (1 + np.exp(-x))


def waves(position, features):
    angles = np.outer(position, 10_000.0 ** (-np.arange(features // 2) / (features // 2)))
    return np.sin(angles), np.cos(angles)


def direct(model, params, x, timestep, patch, label=None):
    """The network patch by patch and head by head, in float64."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    x = np.asarray(x, np.float64)
    spatial, axes, width = x.shape[1:-1], x.ndim - 2, model.hidden_size
    grid = tuple(n // s for n, s in zip(spatial, patch, strict=True))

    def dense(name, h, tree=p):
        return h @ tree[name]["kernel"] + tree[name]["bias"]

    def norm(h, shift, scale):
        mean, variance = h.mean(axis=1, keepdims=True), h.var(axis=1, keepdims=True)
        return (h - mean) / np.sqrt(variance + 1e-6) * (1 + scale) + shift

    output = np.zeros(x.shape)
    for b in range(x.shape[0]):
        sine, cosine = waves([timestep[b]], 256)
        emb = dense("linear_1", np.concatenate([cosine, sine], 1)[0], p["time_embedding"])
        emb = dense("linear_2", silu(emb), p["time_embedding"])
        if label is not None:
            emb = emb + p["class_embedding"]["embedding"][label[b]]
        corners = [
            tuple(slice(i * s, (i + 1) * s) for i, s in zip(index, patch, strict=True))
            for index in np.ndindex(grid)
        ]
        h = dense("patch_in", np.stack([x[b][corner].ravel() for corner in corners]))
        each = width // axes // 2 * 2
        for row, index in enumerate(np.ndindex(grid)):
            for axis, i in enumerate(index):
                half = np.concatenate(waves([i], each), axis=1)[0]
                h[row, axis * each : (axis + 1) * each] += half
        for layer in range(model.depth):
            tree = p[f"blocks_{layer}"]
            modulation = np.split(dense("modulation", silu(emb), tree), 6)
            shift1, scale1, gate1, shift2, scale2, gate2 = modulation
            q, k, v = np.split(dense("qkv", norm(h, shift1, scale1), tree), 3, axis=1)
            size = width // model.num_heads
            heads = []
            for c in range(0, width, size):
                scores = q[:, c : c + size] @ k[:, c : c + size].T / np.sqrt(size)
                weights = np.exp(scores - scores.max(axis=1, keepdims=True))
                weights /= weights.sum(axis=1, keepdims=True)
                heads.append(weights @ v[:, c : c + size])
            h = h + gate1 * dense("attention_out", np.concatenate(heads, axis=1), tree)
            inner = dense("mlp_in", norm(h, shift2, scale2), tree)
            gelu = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
            h = h + gate2 * dense("mlp_out", gelu, tree)
        shift, scale = np.split(dense("modulation", silu(emb)), 2)
        for corner, token in zip(corners, dense("patch_out", norm(h, shift, scale)), strict=True):
            output[b][corner] = token.reshape(*patch, -1)
    return output


@pytest.mark.parametrize(
    ("spatial", "patch_size", "patch", "options"),
    [
        ((12,), 3, (3,), {}),
        ((6, 4), (3, 2), (3, 2), {"num_classes": 3}),
        ((2, 4, 6), 2, (2, 2, 2), {"hidden_size": 30, "mlp_ratio": 1.5}),
    ],
)
def test_is_the_direct_formulation(spatial, patch_size, patch, options):
    model, params, x, timestep = network(spatial, patch_size=patch_size, **options)
    label = jnp.array([3, 1]) if options.get("num_classes") else None
    got = run(model, params, x, timestep, label)
    want = direct(model, params, x, timestep, patch, label)
    assert got.shape == x.shape and got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize(
    ("spatial", "patch"),
    [((8,), (4,)), ((6, 4), (3, 2)), ((4, 6, 10), (2, 3, 5)), ((4, 6), (1, 1))],
)
def test_patches(spatial, patch):
    x = np.random.default_rng(0).normal(size=(2, *spatial, 3)).astype(np.float32)
    tokens = np.asarray(patchify(jnp.asarray(x), patch))
    np.testing.assert_array_equal(unpatchify(jnp.asarray(tokens), patch), x)
    for index in np.ndindex(tokens.shape[1:-1]):
        corner = tuple(slice(i * p, (i + 1) * p) for i, p in zip(index, patch, strict=True))
        expected = x[(slice(None), *corner)].reshape(2, -1)
        np.testing.assert_array_equal(tokens[(slice(None), *index)], expected)


def test_every_position_is_told_apart():
    embedding = np.asarray(position_embedding((4, 3, 5), 32)).reshape(60, 32)
    distance = np.linalg.norm(embedding[:, None] - embedding[None], axis=-1)
    assert distance[~np.eye(60, dtype=bool)].min() > 0.1
    np.testing.assert_array_equal(embedding[:, 30:], 0)


@pytest.mark.parametrize("spatial", [(8,), (4, 8), (4, 2, 2)])
def test_a_new_network_predicts_zero_but_learns(spatial):
    model = DiT(patch_size=2, hidden_size=24, depth=1, num_heads=2, out_channels=3)
    x, timestep = jnp.ones((2, *spatial, 2)), jnp.array([1.0, 900.0])
    params = jax.jit(model.init)(jax.random.key(0), x, timestep)["params"]

    def loss(params):
        y = model.apply({"params": params}, x, timestep)
        return jnp.square(y - 1).mean(), y

    gradients, y = jax.jit(jax.grad(loss, has_aux=True))(params)
    np.testing.assert_array_equal(y, np.zeros((2, *spatial, 3), np.float32))
    assert np.abs(gradients["patch_out"]["kernel"]).max() > 0


@pytest.mark.parametrize(
    ("name", "millions"), [("S/2", 33), ("B/4", 130), ("L/2", 458), ("XL/2", 675)]
)
def test_sizes_of_the_paper(name, millions):
    model = DiT(**dit_size(name), num_classes=1000, out_channels=8)
    x = jnp.zeros((1, 32, 32, 4))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes(model, x)))
    assert abs(count / 1e6 - millions) < 1
    if name == "XL/2":  # the reference keeps its fixed positions, 256 x 1152, as a parameter
        assert count + 256 * 1152 == 675_129_632
    assert set(DIT_SIZES) == {"S", "B", "L", "XL"}


def test_no_class_is_the_extra_row():
    model, params, x, timestep = network((4, 4), num_classes=3)
    function = jax.jit(lambda p, label: model.apply({"params": p}, x, timestep, label))
    none = function(params, None)
    np.testing.assert_array_equal(none, function(params, jnp.array([3, 3])))
    mixed = function(params, jnp.array([3, 0]))
    np.testing.assert_array_equal(mixed[0], none[0])
    assert np.abs(mixed[1] - none[1]).max() > 1e-2
    assert params["class_embedding"]["embedding"].shape == (4, 24)


def test_bfloat16_and_remat():
    model, params, x, timestep = network((4, 4))
    want = run(model, params, x, timestep)
    got = run(model.clone(dtype="bfloat16"), params, x, timestep)
    assert got.dtype == jnp.float32
    assert 1e-4 < np.abs(got - want).max() / np.abs(want).max() < 0.1
    half = shapes(model.clone(dtype="bfloat16"), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    again = model.clone(remat=True)
    np.testing.assert_allclose(run(again, params, x, timestep), want, rtol=1e-5, atol=1e-5)
    gradient = jax.grad(lambda p: again.apply({"params": p}, x, timestep).sum())
    assert "remat" in str(jax.make_jaxpr(gradient)(params))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 0}, "patch_size=0"),
        ({"patch_size": (2, -1)}, "patch_size=-1"),
        ({"hidden_size": 0}, "hidden_size=0"),
        ({"depth": 0}, "depth=0"),
        ({"num_heads": 5}, "num_heads=5: must be a divisor of hidden_size=384"),
        ({"mlp_ratio": 0.0}, "mlp_ratio=0.0"),
        ({"num_classes": 1.5}, "num_classes=1.5"),
        ({"dtype": "int8"}, "dtype='int8'"),
    ],
)
def test_options_are_checked_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        DiT(**options)


@pytest.mark.parametrize(
    ("patch_size", "x", "message"),
    [
        (4, (2, 8, 6, 1), r"sizes \(8, 6\) must be multiples of patch_size=4"),
        ((2, 4), (2, 8, 6, 1), r"sizes \(8, 6\) must be multiples of patch_size=\(2, 4\)"),
        ((2, 2), (2, 8, 1), r"sizes \(8,\) must be multiples of patch_size=\(2, 2\)"),
        (2, (2, 1), "1 to 3 spatial axes"),
        (2, (2, 2, 2, 2, 2, 1), "1 to 3 spatial axes"),
    ],
)
def test_arguments_are_checked_at_trace(patch_size, x, message):
    with pytest.raises(ValueError, match=message) as error:
        shapes(DiT(patch_size=patch_size), jnp.zeros(x))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["M/2", "S", "S/0", "S/x", "/2"])
def test_unknown_size_names(name):
    with pytest.raises(ValueError, match=f"name='{name}'"):
        dit_size(name)
