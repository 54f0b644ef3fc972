"""Covariances in any basis, and one per example: operators against dense algebra."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.spectral import bases

RNG = np.random.default_rng(1)
SHAPE = (4, 4)


def cases():
    mixing = np.linalg.qr(RNG.normal(size=(2, 2)))[0]
    for basis in (
        bases.fourier((4, 3)),
        bases.cosine((4, 3)),
        bases.haar(SHAPE),
        bases.sites((4, 3)),
        bases.channels(mixing, bases.cosine((4, 3))),
        bases.principal(RNG.normal(size=(60, 4, 3, 2))),
    ):
        values = RNG.uniform(0.2, 3, size=(*basis.spatial_shape, 2))
        if isinstance(basis, bases.Fourier):
            values = values + values[np.ix_(*(-np.arange(n) % n for n in basis.spatial_shape))]
        yield basis, values
        hole = values.copy()
        hole[0, 0] = 0
        yield basis, hole


CASES = list(cases())


@pytest.mark.parametrize(("basis", "values"), CASES, ids=[str(b)[:30] for b, _ in CASES])
def test_operators_are_those_of_dense_algebra(basis, values):
    covariance = sagd.from_coefficients(values, basis)
    size = values.size
    units = jnp.eye(size).reshape(size, *values.shape)
    rows = np.asarray(basis.forward(units), np.float64).reshape(size, size).T
    variance = (values / values.mean()).ravel()
    sigma = rows.T @ np.diag(variance) @ rows
    x = RNG.normal(size=(3, size))
    signals = jnp.asarray(x.reshape(3, *values.shape), jnp.float32)
    for name, function in (
        ("apply", lambda v: v),
        ("sqrt", np.sqrt),
        ("pinv", lambda v: 1 / v),
        ("pinv_sqrt", lambda v: v**-0.5),
        ("project", np.ones_like),
    ):
        matrix = dense.spectral_function(sigma, function)
        found = np.asarray(getattr(covariance, name)(signals)).reshape(3, size)
        np.testing.assert_allclose(found, x @ matrix, atol=2e-5, err_msg=name)
    projected = x @ dense.spectral_function(sigma, np.ones_like)
    np.testing.assert_allclose(
        covariance.log_prob(signals), dense.log_prob(projected, sigma), rtol=1e-4
    )
    support = variance > 0
    assert covariance.rank(channels=2) == support.sum()
    expected = np.log(variance[support]).sum()
    np.testing.assert_allclose(covariance.log_det(channels=2), expected, rtol=1e-4, atol=1e-4)


def test_noise_is_the_filtered_white_draw_of_the_sites_whatever_the_basis():
    key = jax.random.key(3)
    white = sagd.white((8, 8)).sample(key, (5, 8, 8, 1))
    for basis in (bases.cosine((8, 8)), bases.haar((8, 8)), bases.fourier((8, 8))):
        flat = sagd.from_coefficients(np.ones((8, 8)), basis)
        np.testing.assert_array_equal(flat.sample(key, (5, 8, 8, 1)), white)
        tilted = sagd.from_coefficients(1 / (0.1 + basis.radius), basis)
        gain = np.sqrt(tilted.variance)
        expected = basis.inverse(gain * basis.forward(white))
        np.testing.assert_allclose(tilted.sample(key, (5, 8, 8, 1)), expected, atol=1e-5)


def test_coefficients_in_another_basis():
    tilt = sagd.power_law((6, 5), alpha=-0.5)
    whole = np.asarray(tilt.coefficients(bases.fourier((6, 5))))
    expected = dense.full_grid(tilt.variance, (6, 5))
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="it is diagonal in Fourier"):
        tilt.coefficients(bases.cosine((6, 5)))
    assert np.all(sagd.white((6, 5)).coefficients(bases.cosine((6, 5))) == 1)
    # White but for the constant is diagonal wherever the constant is a coordinate.
    offset = sagd.offset((8, 8), 0.5)
    for basis in (bases.cosine((8, 8)), bases.haar((8, 8))):
        values = np.asarray(offset.coefficients(basis))[..., 0]
        assert values[0, 0] == pytest.approx((1 + 0.25 * 64) / (1 + 0.25), rel=1e-5)
    with pytest.raises(ValueError, match="diagonal in"):
        offset.coefficients(bases.sites((8, 8)))


@pytest.mark.parametrize("route", ["matrices", "fft"])
def test_a_stack_gives_each_example_its_own_covariance(route, monkeypatch):
    from sagd_jax.spectral import transform

    if route == "fft":
        monkeypatch.setattr(transform, "MATRIX_LIMIT", 2)
    members = [sagd.white((6, 5)), sagd.power_law((6, 5), -0.6), sagd.band_pass((6, 5), [(0, 0.6)])]
    both = sagd.stack(members)
    index = jnp.array([2, 0, 1, 1])
    each = both.at(index)
    key = jax.random.key(0)
    found = each.sample(key, (4, 6, 5, 2))
    for i, kind in enumerate(index):
        alone = members[int(kind)].sample(key, (4, 6, 5, 2))[i]
        np.testing.assert_allclose(found[i], alone, atol=1e-6)
    x = jnp.asarray(RNG.normal(size=(4, 6, 5, 2)), jnp.float32)
    expected = [float(members[int(k)].log_prob(x[i : i + 1])[0]) for i, k in enumerate(index)]
    np.testing.assert_allclose(each.log_prob(x), expected, rtol=1e-5)
    assert [int(r) for r in each.rank(2)] == [members[int(k)].rank(2) for k in index]
    assert not both.is_full_rank and len(both) == 3


def test_a_stack_in_another_basis():
    basis = bases.cosine((4, 4))
    both = sagd.stack([sagd.white((4, 4)), sagd.from_coefficients(1 + basis.radius, basis)])
    np.testing.assert_allclose(both.at(0).variance, 1)
    assert both.at(jnp.array([1, 0])).sample(jax.random.key(0), (2, 4, 4, 1)).shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sagd.stack([]), "at least one"),
        (lambda: sagd.stack([sagd.white((4,)), sagd.white((5,))]), "one spatial shape"),
        (lambda: sagd.stack([sagd.white((4,))]).at(jnp.array([1])), "expected 0 to 0"),
        (lambda: sagd.stack([sagd.white((4,))]).at(jnp.array([0.0])), "expected integers"),
        (
            lambda: (
                sagd.stack([sagd.white((4,))] * 2)
                .at(jnp.array([0, 1]))
                .sample(jax.random.key(0), (3, 4, 1))
            ),
            "expected 2 examples",
        ),
        (lambda: sagd.from_coefficients(-np.ones((4, 4)), bases.cosine((4, 4))), "negative"),
        (lambda: sagd.from_coefficients(np.ones((4, 5)), bases.cosine((4, 4))), "variance.shape"),
        (lambda: sagd.from_coefficients(np.arange(5.0), bases.fourier((5,))), "f and -f"),
        (lambda: sagd.from_coefficients(np.zeros(4), bases.sites((4,))), "zero everywhere"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_reprs_are_short():
    for covariance in (sagd.white((8, 8)), sagd.power_law((8, 8), -0.5, basis="cosine")):
        assert len(repr(covariance)) < 120
