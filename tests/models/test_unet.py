"""The U-Net's layers against direct formulas, and its options. Parity: test_diffusers_weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax.models import UNet, layers
from sagd_jax.models.layers import (
    GroupNorm,
    convolve,
    convolve_by_patches,
    convolve_by_xla,
    dot_product_attention,
    sinusoidal_embedding,
)

X, TIMESTEP = jnp.zeros((1, 32, 32, 3)), jnp.zeros(1)


def shapes(model, x=X):
    return jax.eval_shape(model.init, jax.random.key(0), x, TIMESTEP)["params"]


def count(model, channels):
    leaves = jax.tree.leaves(shapes(model, jnp.zeros((1, 32, 32, channels))))
    return sum(leaf.size for leaf in leaves)


def small(**options):
    """A small network, parameters far from their initial values, and arguments to call it with."""
    model = UNet(
        **{"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4} | options
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda a: jnp.asarray(
            rng.normal(size=a.shape) / np.sqrt(max(a.size / a.shape[-1], 4)), jnp.float32
        ),
        shapes(model, X[:, :4, :4]),
    )
    x = jnp.asarray(rng.normal(size=(3, 4, 8, 3)), jnp.float32)
    return model, params, x, jnp.array([0.0, 3.5, 999.0])


def run(model, params, *args):
    return jax.jit(lambda p, *args: model.apply({"params": p}, *args))(params, *args)


@pytest.mark.parametrize(
    ("options", "channels", "expected"),
    [
        ({}, 1, 15_890_753),
        ({}, 3, 15_891_907),
        # google/ddpm-cifar10-32 and google/ddpm-celebahq-256
        (
            {"block_out_channels": (128, 256, 256, 256), "attention": (False, True, False, False)},
            3,
            35_746_307,
        ),
        (
            {
                "block_out_channels": (128, 128, 256, 256, 512, 512),
                "attention": (False, False, False, False, True, False),
            },
            3,
            113_673_219,
        ),
    ],
)
def test_parameter_counts(options, channels, expected):
    assert count(UNet(**options), channels) == expected


@pytest.mark.parametrize(
    ("shape", "size", "stride", "padding"),
    [
        ((2, 2, 2, 8), 3, 1, (1, 1)),
        ((2, 1, 4, 8), 3, 1, (1, 1)),
        ((2, 4, 4, 8), 3, 2, (1, 1)),
        ((2, 4, 6, 8), 3, 2, (0, 1)),
        ((2, 5, 7, 8), 3, 1, (1, 1)),
        ((2, 3, 5, 8), 1, 1, (0, 0)),
    ],
)
def test_two_ways_of_convolving_agree(shape, size, stride, padding):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], shape)
    kernel = jax.random.normal(keys[1], (size, size, shape[-1], 4))

    def outputs_and_gradients(x, kernel):
        for function in (convolve_by_xla, convolve_by_patches, convolve):
            y, pullback = jax.vjp(lambda *a, f=function: f(*a, stride, padding), x, kernel)
            yield y, *pullback(jax.random.normal(keys[2], y.shape))

    expected, *others = jax.jit(lambda *a: tuple(outputs_and_gradients(*a)))(x, kernel)
    for other in others:
        for got, want in zip(other, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(2, 6, 4, 12), (3, 24, 12)])
def test_group_norm_is_the_formula_even_far_from_zero(shape):
    rng = np.random.default_rng(0)
    # A variance taken as a difference of squares would lose it all at this mean.
    x = (3_000 + rng.normal(size=shape)).astype(np.float32)
    scale, bias = rng.normal(size=(2, 12))
    y = GroupNorm(3, epsilon=0.1).apply({"params": {"scale": scale, "bias": bias}}, x)
    groups = x.astype(np.float64).reshape(shape[0], -1, 3, 4)
    mean = groups.mean(axis=(1, 3), keepdims=True)
    variance = groups.var(axis=(1, 3), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 0.1)).reshape(shape) * scale + bias
    np.testing.assert_allclose(y, expected, atol=3e-3)


def direct_attention(q, k, v):
    q, k, v = (np.asarray(a, np.float64) for a in (q, k, v))
    output = np.zeros_like(q)
    for b, h in np.ndindex(q.shape[0], q.shape[2]):
        scores = q[b, :, h] @ k[b, :, h].T / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        output[b, :, h] = weights / weights.sum(axis=1, keepdims=True) @ v[b, :, h]
    return output


@pytest.mark.parametrize("magnitude", [1.0, 30.0])
@pytest.mark.parametrize("most", [1000, 60, 25, 1])  # one head has 100 pairs of tokens
def test_attention_is_the_formula(monkeypatch, magnitude, most):
    monkeypatch.setattr(layers, "_SHORT", most)
    monkeypatch.setattr(layers, "_LONG", most)
    q, k, v, g = jax.random.normal(jax.random.key(0), (4, 2, 10, 3, 8))
    q = magnitude * q
    output, pullback = jax.vjp(dot_product_attention, q, k, v)
    np.testing.assert_allclose(output, direct_attention(q, k, v), rtol=2e-5, atol=2e-5)
    _, reference = jax.vjp(jax.nn.dot_product_attention, q, k, v)
    for got, want in zip(pullback(g), reference(g), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-5 * magnitude)


def test_attention_of_many_tokens_keeps_no_weights():
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 4096, 4, 8))

    def largest(function):
        shapes = [1]

        def look(jaxpr):
            for equation in jaxpr.eqns:
                shapes.extend(np.prod(out.aval.shape) for out in equation.outvars)
                for value in jax.tree.leaves(list(equation.params.values())):
                    inner = getattr(value, "jaxpr", value)
                    if hasattr(inner, "eqns"):
                        look(inner)

        look(jax.make_jaxpr(function)(q, k, v).jaxpr)
        return max(shapes)

    gradient = jax.grad(lambda q, k, v: dot_product_attention(q, k, v).sum(), (0, 1, 2))
    assert largest(dot_product_attention) <= layers._LONG < 4096**2
    assert largest(gradient) <= layers._LONG
    # Rows of queries that have their own keys give the same, whatever the pieces.
    few = dot_product_attention(q[:, :2], k, v)
    np.testing.assert_allclose(dot_product_attention(q, k, v)[:, :2], few, rtol=1e-4, atol=1e-6)


def test_statistics_are_float32_in_bfloat16():
    x = (100 + jax.random.normal(jax.random.key(0), (1, 64, 64, 4))).astype(jnp.bfloat16)
    variables = {"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
    got = GroupNorm(2, dtype=jnp.bfloat16).apply(variables, x)
    want = GroupNorm(2).apply(variables, x.astype(jnp.float32))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), want, rtol=2**-8, atol=1e-6)
    # 4096 equal weights: summed in bfloat16 they would stop at 256.
    v = jax.random.uniform(jax.random.key(1), (1, 4096, 1, 8), jnp.bfloat16)
    uniform = dot_product_attention(jnp.zeros_like(v[:, :2]), v, v)
    assert uniform.dtype == jnp.bfloat16
    mean = v.astype(jnp.float32).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(uniform.astype(jnp.float32), np.repeat(mean, 2, 1), rtol=0.01)


def test_sinusoidal_embedding():
    embedding = sinusoidal_embedding(jnp.array([0.0, 2.5]), 8, freq_shift=1, flip_sin_to_cos=False)
    angles = 2.5 * 10_000.0 ** (-np.arange(4) / 3)
    expected = [[0, 0, 0, 0, 1, 1, 1, 1], [*np.sin(angles), *np.cos(angles)]]
    np.testing.assert_allclose(embedding, expected, atol=1e-6)
    angles = 2.5 * 10_000.0 ** (-np.arange(4) / 4)
    expected = [*np.cos(angles), *np.sin(angles)]
    np.testing.assert_allclose(sinusoidal_embedding(jnp.array(2.5), 8), expected, atol=1e-6)


def test_samples_of_a_batch_do_not_mix():
    model, params, x, timestep = small()
    together = run(model, params, x, timestep)
    assert together.shape == x.shape
    alone = run(model, params, x[1:2], timestep[1:2])
    np.testing.assert_allclose(together[1:2], alone, rtol=1e-4, atol=1e-5)
    swapped = run(model, params, x, timestep.at[1].set(4.0))
    assert np.abs(swapped[1] - together[1]).max() > 1e-5
    np.testing.assert_array_equal(swapped[2], together[2])


def test_classes_and_no_class():
    model, params, x, timestep = small(block_out_channels=(8,), num_classes=3)
    table = params["class_embedding"]["embedding"]
    assert table.shape == (4, 32)

    function = jax.jit(
        lambda table, label: model.apply(
            {"params": params | {"class_embedding": {"embedding": table}}}, x, timestep, label
        )
    )
    all_none, mixed, invalid = jnp.array([[3, 3, 3], [0, 3, 2], [0, 4, 2]])
    none = function(table, all_none)
    np.testing.assert_allclose(none, run(model, params, x, timestep, None), rtol=1e-4, atol=1e-5)
    output = function(table, mixed)
    np.testing.assert_array_equal(output[1], none[1])
    assert np.abs(output[0] - none[0]).max() > 1e-3
    # The extra row is what "no class" selects, and only that.
    other = table.at[3].add(1.0)
    assert np.abs(function(other, all_none) - none).max() > 1e-3
    np.testing.assert_array_equal(function(other, mixed)[::2], output[::2])
    assert np.isnan(function(table, invalid)[1]).all()


def test_bfloat16_computes_near_float32_and_returns_float32():
    model, params, x, timestep = small()
    want = run(model, params, x, timestep)
    half = model.clone(dtype="bfloat16")
    got = run(half, params, x, timestep)
    assert got.dtype == jnp.float32
    error = np.abs(got - want).max() / np.abs(want).max()
    assert 1e-4 < error < 0.1
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(half))} == {jnp.dtype("float32")}


def test_remat_changes_no_value():
    model, params, x, timestep = small(block_out_channels=(8,))

    def loss(params, remat):
        return jnp.square(model.clone(remat=remat).apply({"params": params}, x, timestep)).mean()

    assert "remat" in str(jax.make_jaxpr(jax.grad(lambda p: loss(p, True)))(params))
    plain = jax.jit(jax.value_and_grad(lambda p: loss(p, False)))(params)
    again = jax.jit(jax.value_and_grad(lambda p: loss(p, True)))(params)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(plain))
    for got, want in zip(jax.tree.leaves(again), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5 * scale)


def test_forward_and_reverse_derivatives_agree():
    model, params, x, timestep = small(block_out_channels=(8,))

    def function(x):
        return model.apply({"params": params}, x, timestep)

    direction = jax.random.normal(jax.random.key(0), x.shape)

    def products(x):
        y, tangent = jax.jvp(function, (x,), (direction,))
        _, pullback = jax.vjp(function, x)
        return jnp.vdot(tangent, y), jnp.vdot(direction, pullback(y)[0])

    forward, reverse = jax.jit(products)(x)
    np.testing.assert_allclose(forward, reverse, rtol=1e-3)


def test_dropout_only_in_training():
    model, params, x, timestep = small(block_out_channels=(8,), dropout=0.5)
    variables = {"params": params}
    without = run(model.clone(dropout=0.0), params, x, timestep)
    np.testing.assert_array_equal(run(model, params, x, timestep), without)

    @jax.jit
    def train(key):
        return model.apply(variables, x, timestep, train=True, rngs={"dropout": key})

    one, two = train(jax.random.key(0)), train(jax.random.key(1))
    np.testing.assert_array_equal(one, train(jax.random.key(0)))
    assert np.abs(one - two).max() > 1e-3
    assert np.abs(one - without).max() > 1e-3
    with pytest.raises(Exception, match="dropout"):
        model.apply(variables, x, timestep, train=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_out_channels": ()}, r"block_out_channels=\(\).*not empty"),
        ({"block_out_channels": (32, 0)}, "block_out_channels=0"),
        (
            {"block_out_channels": (33,), "norm_num_groups": 3, "attention_head_dim": 3},
            "block_out_channels=.*even",
        ),
        ({"block_out_channels": (24, 48)}, "norm_num_groups=32: must be a divisor of 24"),
        ({"attention": (True,)}, r"attention=\(True,\): must be 4 booleans"),
        ({"attention": "yes!"}, "attention=.*4 booleans"),
        ({"attention_head_dim": 7}, "attention_head_dim=7.*None or a divisor"),
        ({"layers_per_block": 0}, "layers_per_block=0"),
        ({"downsample_padding": 2}, "downsample_padding=2: must be 0 or 1"),
        ({"freq_shift": 16}, "freq_shift=16"),
        ({"norm_eps": 0.0}, "norm_eps=0.0"),
        ({"dropout": 1.0}, r"dropout=1.0: must be in \[0, 1\)"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"out_channels": 0}, "out_channels=0"),
        ({"dtype": "int32"}, "dtype='int32'.*bfloat16"),
        ({"dtype": "float"}, "dtype='float64'"),
        ({"dtype": "half"}, None),
    ],
)
def test_options_are_checked_at_construction(options, message):
    if message is None:
        assert UNet(**options).dtype == jnp.float16
        return
    with pytest.raises(ValueError, match=message):
        UNet(**options)


@pytest.mark.parametrize(
    ("options", "x", "timestep", "label", "message"),
    [
        ({}, (2, 12, 32, 3), (2,), None, r"x.shape=\(2, 12, 32, 3\).*divisible by 8"),
        ({}, (2, 28, 30, 3), (2,), None, "block_out_channels.*image_size=24 .*kind='dit'"),
        ({}, (2, 64, 3), (2,), None, r"x.shape=\(2, 64, 3\).*kind='dit'"),
        ({}, (32, 32, 3), (2,), None, r"x.shape=\(32, 32, 3\)"),
        ({}, (2, 32, 32, 3), (), None, r"timestep.shape=\(\): must be \(batch,\) = \(2,\)"),
        ({}, (2, 32, 32, 3), (3,), None, r"timestep.shape=\(3,\)"),
        ({}, (2, 32, 32, 3), (2,), (2,), "label='given': must be None .*num_classes=0"),
        ({"num_classes": 4}, (2, 32, 32, 3), (2,), (1,), r"label.shape=\(1,\)"),
    ],
)
def test_arguments_are_checked_at_trace(options, x, timestep, label, message):
    label = None if label is None else jnp.zeros(label, jnp.int32)
    arguments = jnp.zeros(x), jnp.zeros(timestep), label
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(UNet(**options).init, jax.random.key(0), *arguments)


def test_dtypes_are_checked_at_trace():
    model = UNet(num_classes=2)
    with pytest.raises(ValueError, match=r"x\.dtype='int32'"):
        jax.eval_shape(model.init, jax.random.key(0), X.astype(jnp.int32), TIMESTEP)
    with pytest.raises(ValueError, match=r"label\.dtype='float32'"):
        jax.eval_shape(model.init, jax.random.key(0), X, TIMESTEP, TIMESTEP)
