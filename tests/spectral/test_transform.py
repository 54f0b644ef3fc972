import os
import subprocess
import sys
import textwrap

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.spectral import transform
from sagd_jax.spectral.half_grid import conjugate, half_grid_shape

SHAPES = [(1,), (2,), (8,), (9,), (8, 8), (7, 10), (8, 1), (1, 1, 5), (6, 7, 8), (3, 4, 5)]


def random_gain(shape, channels, seed=0):
    values = np.random.default_rng(seed).normal(size=(*half_grid_shape(shape), channels))
    return (values + conjugate(values, shape)) / 2


@pytest.fixture(params=["matrices", "fft"])
def route(request, monkeypatch):
    if request.param == "fft":
        monkeypatch.setattr(transform, "MATRIX_LIMIT", 0)
    return request.param


@pytest.mark.parametrize("shape, channels", zip(SHAPES, 5 * [1, 3], strict=True))
def test_both_routes_equal_a_full_complex_fft(route, shape, channels):
    x = np.random.default_rng(1).normal(size=(2, *shape, 3)).astype(np.float32)
    gain = random_gain(shape, channels)
    result = transform.multiply(jnp.asarray(x), jnp.asarray(gain, jnp.float32))
    full = dense.full_grid(gain, shape)
    expected = np.stack([dense.spectral_filter(signal, full) for signal in x.astype(np.float64)])
    np.testing.assert_allclose(result, expected, atol=3e-6)


@pytest.mark.parametrize("shape", [(7, 10), (6, 7, 8)])
def test_float64_is_kept_where_it_is_enabled(route, shape):
    with jax.enable_x64(True):
        x = np.random.default_rng(1).normal(size=(2, *shape, 1))
        gain = random_gain(shape, 1)
        result = transform.multiply(jnp.asarray(x), jnp.asarray(gain))
        assert result.dtype == jnp.float64
        full = dense.full_grid(gain, shape)
        expected = np.stack([dense.spectral_filter(signal, full) for signal in x])
        np.testing.assert_allclose(result, expected, atol=1e-13)


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_any_number_of_leading_axes(route, leading):
    x = np.random.default_rng(2).normal(size=(*leading, 4, 6, 2)).astype(np.float32)
    gain = jnp.asarray(random_gain((4, 6), 2), jnp.float32)
    result = transform.multiply(jnp.asarray(x), gain)
    assert result.shape == x.shape
    each = [transform.multiply(signal[None], gain)[0] for signal in x.reshape(-1, 4, 6, 2)]
    np.testing.assert_allclose(result.reshape(-1, 4, 6, 2), each, atol=1e-6)


@pytest.mark.parametrize("shape", [(513,), (600, 4), (3, 700)])
def test_long_axes_take_the_fft_and_agree_with_the_matrices(shape, monkeypatch):
    gain = jnp.asarray(random_gain(shape, 1), jnp.float32)
    x = jax.random.normal(jax.random.key(0), (2, *shape, 1))
    assert "fft" in str(jax.make_jaxpr(lambda x: transform.multiply(x, gain))(x))
    by_fft = transform.multiply(x, gain)
    monkeypatch.setattr(transform, "MATRIX_LIMIT", 2048)
    assert "fft" not in str(jax.make_jaxpr(lambda x: transform.multiply(x, gain))(x))
    np.testing.assert_allclose(transform.multiply(x, gain), by_fft, atol=5e-6)


def test_the_draw_of_a_key_does_not_depend_on_the_route(monkeypatch):
    covariance = sagd.power_law((16, 12), alpha=-0.5)
    by_matrices = covariance.sample(jax.random.key(3), (4, 16, 12, 3))
    monkeypatch.setattr(transform, "MATRIX_LIMIT", 0)
    by_fft = covariance.sample(jax.random.key(3), (4, 16, 12, 3))
    np.testing.assert_allclose(by_fft, by_matrices, atol=3e-6)


SHARDED = """
    import re
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    import sagd_jax as sagd
    from sagd_jax import transform

    COLLECTIVES = r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    assert len(jax.devices()) == 8
    covariance = sagd.power_law((6, 5), alpha=-0.5)
    shape = (16, 6, 5, 1)
    diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), covariance)
    key, x0 = jax.random.key(0), jax.random.normal(jax.random.key(1), shape)
    t = jnp.linspace(0.1, 0.9, 16)
    functions = dict(
        filter=lambda key, x, t: covariance.pinv_sqrt(x),
        diffuse=lambda key, x, t: diffusion.diffuse(key, x, t)[0],
        prior_sample=lambda key, x, t: diffusion.prior_sample(key, shape),
        control=lambda key, x, t: x - x.mean(axis=0),
    )
    expected = {name: np.asarray(f(key, x0, t)) for name, f in functions.items()}

    def check(route, mesh, names):
        batch = NamedSharding(mesh, P(mesh.axis_names))
        placed = jax.device_put(x0, batch), jax.device_put(t, batch)
        for name in names:
            # A function of its own, so that nothing traced by the other route is found again.
            function = lambda *args, name=name: functions[name](*args)
            compiled = jax.jit(function, out_shardings=batch).lower(key, *placed).compile()
            found = sorted(set(re.findall(COLLECTIVES, compiled.as_text())))
            error = np.max(np.abs(np.asarray(compiled(key, *placed)) - expected[name]))
            print(route, name, error < 1e-5, *found)

    def mesh(**axes):
        return jax.make_mesh(
            tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes)
        )

    check("matrices", mesh(data=8), functions)
    transform.MATRIX_LIMIT = 0
    with jax.set_mesh(mesh(data=8)):
        check("fft", mesh(data=8), functions)
    with jax.set_mesh(mesh(data=4, fsdp=2)):
        check("fft on two axes", mesh(data=4, fsdp=2), ["diffuse"])
"""


def test_a_sharded_batch_is_filtered_without_communication():
    """Of the programs compiled for eight devices only the control, a mean, has a collective."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SHARDED)],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 9
    for line in lines:
        communicates = not line.endswith("True")
        assert " True" in line, f"other numbers than on one device: {line}"
        assert communicates == ("control" in line), line
