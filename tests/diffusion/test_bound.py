"""The variational bound against closed forms: Gaussian, correlated and discrete data, learned paths.

Expectations are exact: a few examples and draws that have the second moments of their laws, or
Gauss-Hermite nodes, instead of random ones.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectral_cases

import sagd_jax as sagd
from sagd_jax import likelihood, oracle
from sagd_jax.diffusion import bound as bounds

pytestmark = pytest.mark.thorough

TOP, BOTTOM = 13.3, -8.0
KNOTS, PIECES = 3, 4
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)  # on each piece of a path
TIMES = ((np.arange(PIECES)[:, None] + (NODES + 1) / 2) / PIECES).ravel()
SHARES = np.tile(WEIGHTS, PIECES) / (2 * PIECES)
PATHS = [np.zeros((KNOTS, PIECES)), *np.random.default_rng(0).normal(size=(2, KNOTS, PIECES))]


def schedule(shape, path=PATHS[0]):
    return sagd.schedules.learned(
        sagd.bases.cosine(shape), knots=KNOTS, pieces=PIECES, log_snr_max=TOP, log_snr_min=BOTTOM,
        path=path,
    )  # fmt: skip


def second_moments(basis, covariance):
    """x_0 and e whose second moments, over all examples, are those of N(0, S) and of white noise."""
    size = covariance.shape[0]
    roots = np.sqrt(size) * np.linalg.cholesky(covariance).T
    units = np.sqrt(size) * np.eye(size)
    rows = [(x, sign * e) for x in roots for e in units for sign in (1, -1)]
    x, e = (jnp.asarray(np.stack(part), jnp.float32) for part in zip(*rows, strict=True))
    return (basis.inverse(part.reshape(-1, *basis.spatial_shape, 1)) for part in (x, e))


def continuous(denoiser_of, shape, x0, noise, weights=None):
    """L by quadrature over t, and its gradient with respect to the path, as a function of that."""
    base = schedule(shape)

    def total(path):
        diffusion = sagd.Diffusion(base.with_path(path))

        def at(t):
            nats = likelihood.rate(
                denoiser_of(diffusion), diffusion, x0, noise, t * jnp.ones(len(x0)), prediction="v"
            )
            return jnp.average(nats, weights=weights)

        return jnp.sum(jnp.asarray(SHARES) * jax.lax.map(at, jnp.asarray(TIMES, jnp.float32)))

    compiled = jax.jit(jax.value_and_grad(total))
    return [jax.tree.map(np.asarray, compiled(jnp.asarray(path, jnp.float32))) for path in PATHS]


def correlated(size=4):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(size, size))
    return root @ root.T / size + 0.05 * np.eye(size)


def closed_form(covariance):
    top, bottom = (
        np.linalg.slogdet(np.eye(len(covariance)) + covariance * np.exp(level))[1]
        for level in (TOP, BOTTOM)
    )
    return (top - bottom) / 2


def test_the_continuous_bound_of_correlated_data_is_that_of_its_ends():
    covariance = correlated()
    basis = sagd.bases.cosine((4,))
    x0, noise = second_moments(basis, covariance)
    rows = np.asarray(basis.forward(jnp.eye(4)[..., None]))[..., 0].T
    data = oracle.GaussianMixture(
        jnp.ones(1), jnp.zeros((1, 4, 1)), jnp.asarray(rows.T @ covariance @ rows)[None]
    )
    found = continuous(lambda d: data.denoiser(d, "v"), (4,), x0, noise)
    for value, slope in found:
        assert value == pytest.approx(closed_form(covariance), rel=2e-4)
        assert np.abs(slope).max() < 5e-3  # no path is better than another


def test_a_denoiser_that_is_wrong_has_a_bound_that_depends_on_the_path():
    basis = sagd.bases.cosine((4,))
    x0, noise = second_moments(basis, np.diag([4.0, 0.5, 0.05, 0.002]))
    found = continuous(lambda d: lambda x, t: jnp.sin(x), (4,), x0, noise)
    assert np.ptp([value for value, _ in found]) > 0.3
    assert all(np.abs(slope).max() > 0.1 for _, slope in found)


def test_the_continuous_bound_of_discrete_data_is_their_entropy():
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    points = np.array([[-0.9, -0.2], [0.1, 0.8], [0.7, -0.6]])
    combined = list(itertools.product(range(3), range(24), range(24)))
    p, i, j = np.array(combined).T
    x0 = jnp.asarray(points[p], jnp.float32)[..., None]
    noise = jnp.asarray(np.stack([nodes[i], nodes[j]], -1), jnp.float32)[..., None]
    data = oracle.GaussianMixture(
        jnp.ones(3) / 3, jnp.asarray(points)[..., None], jnp.zeros((3, 2, 2))
    )
    expected = np.log(3) - np.exp(BOTTOM) * np.trace(np.cov(points.T, bias=True)) / 2
    weights = weights[i] * weights[j]
    for value, _ in continuous(lambda d: data.denoiser(d, "v"), (2,), x0, noise, weights):
        assert value == pytest.approx(expected, abs=4e-3)


SPECTRA = {"falling": 30 * np.exp(-np.arange(8) * 1.2), "rising": 1e-3 * np.exp(np.arange(8) * 0.8)}


def of_steps(path, variance, steps):
    """L_T of Gaussian data, by `step_cost`."""
    basis = sagd.bases.cosine((8,))
    data = oracle.DiagonalGaussian(basis, jnp.zeros((8, 1)), variance[:, None])
    x = jnp.sqrt(variance)[None, :, None] * jnp.ones((2, 1, 1))
    e = jnp.array([1.0, -1.0])[:, None, None] * jnp.ones((2, 8, 1))
    x0, noise = basis.inverse(x), basis.inverse(e)
    diffusion = sagd.Diffusion(schedule((8,)).with_path(path))
    denoiser, grid = data.denoiser(diffusion, "v"), bounds.step_times(diffusion, steps)

    def at(pair):
        t, s = (time * jnp.ones(2) for time in pair)
        return jnp.mean(likelihood.step_cost(denoiser, diffusion, x0, noise, t, s, prediction="v"))

    return jnp.sum(jax.lax.map(at, (grid[1:], grid[:-1])))


def steps_in_closed_form(variance, path, steps):
    made = schedule((8,), path)
    levels = np.stack(
        [np.asarray(made.log_snr(i / steps), np.float64)[:, 0] for i in range(steps + 1)]
    )
    ratio = variance * np.exp(levels[1:])
    return np.sum(np.expm1(levels[:-1] - levels[1:]) * ratio / (1 + ratio)) / 2


def test_a_learned_path_lowers_the_bound_of_few_steps():
    steps = 8
    descend = jax.jit(jax.value_and_grad(of_steps), static_argnums=2)
    for variance in SPECTRA.values():
        path, momentum = jnp.zeros((KNOTS, PIECES)), 0.0
        before, _ = descend(path, jnp.asarray(variance, jnp.float32), steps)
        assert before == pytest.approx(steps_in_closed_form(variance, path, steps), rel=1e-3)
        for _ in range(60):
            _, slope = descend(path, jnp.asarray(variance, jnp.float32), steps)
            momentum = 0.8 * momentum + slope / (jnp.abs(slope).max() + 1e-9)
            path = path - 0.05 * momentum
        after, _ = descend(path, jnp.asarray(variance, jnp.float32), steps)
        assert after == pytest.approx(steps_in_closed_form(variance, path, steps), rel=1e-3)
        limit = closed_form(np.diag(variance))
        assert limit < after < before
        assert after - limit < 0.75 * (before - limit)


@pytest.mark.parametrize("name", ["flow", "learned"])
def test_the_whole_bound_is_the_entropy_of_gaussian_data(name):
    basis = sagd.bases.fourier((4, 4))
    if name == "flow":
        made, noise = sagd.schedules.rectified_flow(), sagd.power_law((4, 4), alpha=-0.4)
    else:
        path, noise = 0.3 * np.arange(48).reshape(6, 8) % 2, None
        made = sagd.schedules.learned(basis, path=path)
    diffusion = sagd.Diffusion(made, noise)
    data = oracle.DiagonalGaussian(
        basis, jnp.zeros((4, 4, 1)), jnp.asarray(spectral_cases.spectrum(basis))
    )
    x0 = data.sample(jax.random.key(0), 1024)

    @jax.jit
    def of(x0):
        return likelihood.bound_terms(
            jax.random.key(1), data.denoiser(diffusion, "v"), diffusion, x0,
            num_times=8, prediction="v",
        )  # fmt: skip

    terms = of(x0)
    gap = np.asarray(sum(terms) + data.log_prob(x0), np.float64)
    assert all(term.shape == (1024,) for term in terms)
    assert abs(gap.mean()) < 5 * gap.std() / 32 + 0.02
    if name == "flow":
        part = likelihood.bound(
            jax.random.key(1), data.denoiser(diffusion, "v"), diffusion, x0[5:7],
            num_times=8, prediction="v", offset=5,
        )  # fmt: skip
        np.testing.assert_allclose(part, sum(terms)[5:7], rtol=2e-3, atol=0.02)


def test_few_steps_cost_more_and_each_step_is_asked_once():
    basis = sagd.bases.cosine((8,))
    variance = SPECTRA["falling"]
    data = oracle.DiagonalGaussian(basis, jnp.zeros((8, 1)), jnp.asarray(variance)[:, None])
    diffusion = sagd.Diffusion(schedule((8,)))
    x0 = data.sample(jax.random.key(0), 2048)
    terms = likelihood.bound_terms(
        jax.random.key(1), data.denoiser(diffusion, "v"), diffusion, x0, num_times=4, num_steps=4,
        prediction="v",
    )  # fmt: skip
    nats = np.asarray(terms.diffusion)
    expected = steps_in_closed_form(variance, PATHS[0], 4)
    assert abs(nats.mean() - expected) < 5 * nats.std() / np.sqrt(2048)


def test_the_prior_of_a_process_that_ends_in_data():
    basis, heat = spectral_cases.schedules()["heat"]
    diffusion = sagd.Diffusion(heat)
    x0 = jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    found = bounds._prior(diffusion, x0, jnp.float32(1.0))
    alpha, sigma = np.asarray(heat.alpha(1.0)), np.asarray(heat.sigma(1.0))
    variance = alpha**2 * np.asarray(heat.spectrum) + sigma**2
    state = np.asarray(basis.forward(x0))
    terms = (sigma**2 + (alpha * state) ** 2) / variance - 1 - np.log(sigma**2 / variance)
    np.testing.assert_allclose(found, terms.sum((1, 2, 3)) / 2, rtol=1e-4)


def test_bins_have_probabilities():
    pixels = jnp.arange(256.0) * likelihood.PIXEL_WIDTH - 1
    for centre, scale in ((0.1234, 1.3e-3), (-1.001, 0.02), (0.5, 0.3)):
        log = bounds._log_bin(
            (pixels - centre) / scale,
            likelihood.PIXEL_WIDTH / scale,
            pixels,
            likelihood.PIXEL_WIDTH,
        )
        assert float(jnp.sum(jnp.exp(log))) == pytest.approx(1, abs=2e-4)
        assert bool(jnp.all(jnp.isfinite(log)))
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((4,), alpha=-0.5))
    x0 = pixels[np.array([0, 3, 255, 128])].reshape(1, 4, 1)
    terms = likelihood.bound_terms(
        jax.random.key(0), lambda x, t: 0 * x, diffusion, x0, num_times=1, prediction="v",
        bin_width=likelihood.PIXEL_WIDTH,
    )  # fmt: skip
    assert 0 <= float(terms.decoder[0]) < 0.5


def test_what_has_no_bound_is_refused():
    x0 = jnp.zeros((1, 4, 4, 1))

    def of(diffusion, **options):
        options = {"num_times": 2, "prediction": "v", **options}
        return likelihood.bound(jax.random.key(0), lambda x, t: x, diffusion, x0, **options)

    cosine = sagd.schedules.cosine()
    with pytest.raises(ValueError, match="its covariance is singular"):
        of(sagd.Diffusion(cosine, sagd.band_pass((4, 4), [(0.5, 1)])))
    with pytest.raises(ValueError, match=r"Hierarchical a coordinate has no noise at t = 0\.00129"):
        of(sagd.Diffusion(spectral_cases.schedules()["hierarchical"][1]))
    white = sagd.Diffusion(cosine, sagd.white((4, 4)))
    with pytest.raises(ValueError, match="num_times=0: expected an integer >= 1"):
        of(white, num_times=0)
    with pytest.raises(ValueError, match=r"num_steps=1.5: expected an integer >= 1"):
        of(white, num_steps=1.5)
    with pytest.raises(ValueError, match="bin_width=0"):
        of(white, bin_width=0)
