import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.spectral.covariance import FourierCovariance, mean_over_grid
from sagd_jax.spectral.half_grid import half_grid_shape, hermitian_multiplicity

SHAPES = [(8,), (9,), (8, 8), (7, 9), (8, 1), (6, 7, 8)]


def per_channel(shape, channels=2):
    """A spectrum of its own for each channel, with a hole in the second channel."""
    radius = sagd.radial_frequency(shape, "max")[..., None]
    values = np.exp(-radius * np.arange(channels))
    values[..., 1] *= radius[..., 0] < 0.6
    return sagd.from_variance(values, shape)


BUILDERS = {
    "white": sagd.white,
    "tilted": lambda shape: sagd.power_law(shape, alpha=-0.5),
    "hole": lambda shape: sagd.band_pass(shape, [(0, 0.3), (0.6, 1)]),
    "channels": per_channel,
}


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


def signals(shape, channels=2, count=2, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, *shape, channels))
    return x.astype(np.float32)


# --- Draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["tilted", "channels"])
def test_the_spectrum_of_draws_is_the_variance(shape, name):
    covariance = BUILDERS[name](shape)
    channels = covariance.variance.shape[-1]
    count = 20_000
    draws = covariance.sample(jax.random.key(7), (count, *shape, channels))
    axes = tuple(range(1, len(shape) + 1))
    mean = (
        sum(np.sum(dense.power(chunk, axes), axis=0) for chunk in np.array_split(draws, 20)) / count
    )
    expected = dense.full_grid(covariance.variance, shape)
    # |X|^2 / lambda is exponential, or chi-squared where X is real: variance 1 or 2.
    deviation = np.where(dense.is_own_conjugate(shape), 2, 1)[..., None] ** 0.5
    error = np.abs(mean - expected)
    assert np.all(error <= 5 * deviation * expected / count**0.5 + 1e-9)


@pytest.mark.parametrize("shape", [(9,), (3, 4)])
def test_the_covariance_of_draws_is_the_dense_matrix(shape, build):
    covariance = build(shape)
    channels = covariance.variance.shape[-1]
    sigma = dense.covariance_matrix(covariance, channels)
    count = 20_000
    draws = covariance.sample(jax.random.key(11), (count, *shape, channels))
    draws = np.asarray(draws, np.float64).reshape(count, -1)
    empirical = draws.T @ draws / count
    diagonal = np.diag(sigma)
    deviation = np.sqrt((np.outer(diagonal, diagonal) + sigma**2) / count)
    assert np.all(np.abs(empirical - sigma) <= 5 * deviation)
    assert np.all(np.abs(draws.mean(axis=0)) <= 5 * np.sqrt(diagonal / count))


def test_a_draw_is_the_square_root_of_the_white_draw_of_its_key():
    key, shape = jax.random.key(1), (3, 6, 5, 2)
    covariance = sagd.power_law((6, 5), alpha=0.5)
    white = jax.random.normal(key, shape)
    np.testing.assert_array_equal(sagd.white((6, 5)).sample(key, shape), white)
    np.testing.assert_array_equal(covariance.sample(key, shape), covariance.sqrt(white))


# --- Operators -------------------------------------------------------------------------------

OPERATORS = {
    "apply": lambda values: values,
    "sqrt": np.sqrt,
    "pinv": lambda values: 1 / values,
    "pinv_sqrt": lambda values: 1 / np.sqrt(values),
    "project": np.ones_like,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_everything_is_as_with_the_dense_matrix(shape, build):
    covariance = build(shape)
    channels = max(2, covariance.variance.shape[-1]) if len(shape) < 3 else 1
    if channels == 1 and covariance.variance.shape[-1] > 1:
        covariance = sagd.from_variance(covariance.variance[..., 1], shape)
    x = signals(shape, channels)
    flat = x.reshape(2, -1).astype(np.float64)
    sigma = dense.covariance_matrix(covariance, channels)
    values, vectors = np.linalg.eigh(sigma)

    @jax.jit
    def compute(covariance, x):
        filtered = {name: getattr(covariance, name)(x) for name in OPERATORS}
        return filtered, covariance.rank(channels), covariance.log_det(channels)

    filtered, rank, log_det = compute(covariance, x)
    for name, function in OPERATORS.items():
        expected = flat @ vectors * dense.on_support(values, function) @ vectors.T
        tolerance = 5e-6 * np.abs(expected).max()
        np.testing.assert_allclose(filtered[name].reshape(2, -1), expected, atol=tolerance)
    assert rank == covariance.rank(channels) == np.sum(values > 1e-9)
    expected = np.sum(dense.on_support(values, np.log))
    np.testing.assert_allclose(log_det, expected, rtol=2e-6, atol=2e-4)
    assert covariance.is_full_rank == bool(np.all(values > 1e-9))
    square = (flat @ vectors) ** 2 @ dense.on_support(values, lambda v: 1 / v)
    density = -0.5 * (square + rank * np.log(2 * np.pi) + expected)
    np.testing.assert_allclose(covariance.log_prob(x), density, rtol=1e-5)


def test_log_prob_of_white_noise_is_that_of_independent_normals():
    x = signals((4, 5), channels=2, count=3)
    expected = -0.5 * np.sum(x**2 + np.log(2 * np.pi), axis=(1, 2, 3))
    np.testing.assert_allclose(sagd.white((4, 5)).log_prob(x), expected, rtol=1e-6)


def test_white_noise_is_the_isotropic_algorithm_bit_for_bit():
    x = signals((7, 10))
    covariance = sagd.two_band((7, 10), gamma_low=0.5)
    for name in OPERATORS:
        np.testing.assert_array_equal(getattr(covariance, name)(x), x)
    assert covariance.log_det(channels=3) == 0


def test_square_roots_and_inverses_compose(build):
    covariance = build((6, 7))
    x = signals((6, 7))
    on_range = covariance.project(x)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5)  # noqa: E731
    close(covariance.sqrt(covariance.sqrt(x)), covariance.apply(x))
    close(covariance.pinv(covariance.apply(x)), on_range)
    close(covariance.pinv_sqrt(covariance.sqrt(x)), on_range)
    close(covariance.project(on_range), on_range)


# --- Transformations -------------------------------------------------------------------------


def half_grid_power(x, shape):
    axes = tuple(range(1, len(shape) + 1))
    return np.abs(np.fft.rfftn(np.float64(x), axes=axes, norm="ortho")) ** 2


@pytest.mark.parametrize("shape", [(8,), (7, 9), (4, 5, 6)])
@pytest.mark.parametrize("name", ["tilted", "channels"])
def test_gradients_with_respect_to_the_variance(shape, name):
    covariance = BUILDERS[name](shape)
    x = signals(shape, channels=covariance.variance.shape[-1])
    variance = np.asarray(covariance.variance, np.float64)
    support = variance > 0
    inverse = np.where(support, 1 / np.where(support, variance, 1), 0)
    power = half_grid_power(x, shape)
    weights = hermitian_multiplicity(shape)[:, None]
    # All are sums over the full grid of the power |X|^2 times a function of lambda.
    functions = {
        "sqrt": (lambda c: jnp.sum(c.sqrt(x) ** 2), power * support),
        "apply": (lambda c: jnp.sum(x * c.apply(x)), power),
        "pinv": (lambda c: jnp.sum(x * c.pinv(x)), -power * inverse**2),
        "log_prob": (lambda c: jnp.sum(c.log_prob(x)), (power * inverse - 1) * inverse / 2),
    }

    @jax.jit
    def gradients(variance):
        return {
            name: jax.grad(lambda v, function=function: function(FourierCovariance(v, shape)))(
                variance
            )
            for name, (function, _) in functions.items()
        }

    for name, gradient in gradients(covariance.variance).items():
        expected = np.sum(functions[name][1], axis=0) * weights
        tolerance = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=tolerance, err_msg=name)


def test_gradients_are_finite_off_the_support():
    covariance = sagd.band_pass((8,), [(0, 0.3)])
    x = jnp.asarray(signals((8,)))
    key = jax.random.key(0)

    @jax.jit
    def gradients(variance):
        functions = [lambda c, name=name: jnp.sum(getattr(c, name)(x) ** 2) for name in OPERATORS]
        functions += [
            lambda c: jnp.sum(c.log_prob(x)),
            lambda c: c.log_det(3),
            lambda c: jnp.sum(c.sample(key, (2, 8, 3)) ** 2),
        ]
        return [jax.grad(lambda v, f=f: f(FourierCovariance(v, (8,))))(variance) for f in functions]

    assert np.all(np.isfinite(gradients(covariance.variance)))


def test_a_covariance_goes_through_jit_and_vmap():
    x = jnp.asarray(signals((6, 5)))
    family = [sagd.power_law((6, 5), alpha) for alpha in (-0.5, 0.0, 0.5)]
    stacked = jax.tree.map(lambda *v: jnp.stack(v), *family)
    assert stacked.spatial_shape == (6, 5)
    mapped = jax.vmap(lambda c: c.log_prob(x))(stacked)
    each = jnp.stack([jax.jit(lambda c: c.log_prob(x))(c) for c in family])
    np.testing.assert_allclose(mapped, each, rtol=1e-6)
    ranks = jax.vmap(lambda c: c.rank(3))(stacked)
    np.testing.assert_array_equal(ranks, 90)
    projected = jax.jit(lambda c: c.project(x))(sagd.band_pass((6, 5), [(0, 0.5)]))
    np.testing.assert_allclose(projected, sagd.band_pass((6, 5), [(0, 0.5)]).project(x), atol=1e-6)


def test_a_covariance_is_frozen():
    with pytest.raises(AttributeError):
        sagd.white((4,)).variance = jnp.zeros((3, 1))


# --- Dtypes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_filtered_in_float32(dtype):
    covariance = per_channel((6, 5))
    x = jnp.asarray(signals((6, 5)), dtype)
    for name in OPERATORS:
        result = getattr(covariance, name)(x)
        expected = getattr(covariance, name)(x.astype(jnp.float32)).astype(dtype)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, expected)
    key, shape = jax.random.key(0), (2, 6, 5, 2)
    draw = covariance.sample(key, shape, dtype)
    assert draw.dtype == dtype
    np.testing.assert_array_equal(draw, covariance.sample(key, shape).astype(dtype))


def test_float32_is_the_default_and_integers_become_float32():
    covariance = sagd.power_law((8,), alpha=1)
    assert covariance.sample(jax.random.key(0), (2, 8, 1)).dtype == jnp.float32
    x = np.arange(16).reshape(2, 8, 1)
    result = covariance.apply(x)
    assert result.dtype == jnp.float32
    np.testing.assert_array_equal(result, covariance.apply(x.astype(np.float32)))


def test_float64_where_it_is_enabled():
    with jax.enable_x64(True):
        covariance = sagd.power_law((5, 6), alpha=-0.5)
        x = np.float64(signals((5, 6)))
        sigma = dense.covariance_matrix(covariance, channels=2)
        expected = (x.reshape(2, -1) @ sigma.T).reshape(x.shape)
        assert covariance.apply(x).dtype == jnp.float64
        np.testing.assert_allclose(covariance.apply(x), expected, rtol=1e-11, atol=1e-12)
        assert covariance.sample(jax.random.key(0), x.shape, jnp.float64).dtype == jnp.float64


# --- Bad arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 1), (2, 9, 1), (2, 1, 8), (8,), ()])
def test_signals_of_another_shape_are_refused(shape):
    covariance = sagd.white((8,))
    if shape == (8, 1):
        assert covariance.apply(jnp.zeros(shape)).shape == shape
        return
    for name in (*OPERATORS, "log_prob"):
        if name == "project":  # full rank: nothing to remove
            continue
        with pytest.raises(ValueError, match=r"expected \(\.\.\., \*spatial, channels\)"):
            getattr(covariance, name)(jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"spatial=\(8,\)"):
        covariance.sample(jax.random.key(0), shape)


def test_another_number_of_channels_is_refused():
    covariance = per_channel((8,), channels=3)
    for call in (
        lambda: covariance.apply(jnp.zeros((2, 8, 4))),
        lambda: covariance.sample(jax.random.key(0), (2, 8, 1)),
        lambda: covariance.rank(channels=2),
        lambda: covariance.log_det(channels=1),
    ):
        with pytest.raises(ValueError, match=r"channels=.*for 3 channels"):
            call()


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_over_grid(shape):
    values = np.random.default_rng(0).random((*half_grid_shape(shape), 2))
    np.testing.assert_allclose(
        mean_over_grid(values, shape), dense.full_grid(values, shape).mean(), rtol=1e-12
    )
