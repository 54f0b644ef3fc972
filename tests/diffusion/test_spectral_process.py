"""`Diffusion` under spectral schedules: signals and states, reading predictions, densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectral_cases
from spectral_cases import SHAPE, spectrum

import sagd_jax as sagd
from sagd_jax import losses, oracle
from sagd_jax.diffusion.process import PREDICTIONS

CASES = spectral_cases.schedules()
KEY = jax.random.key(0)
X0 = jax.random.uniform(jax.random.key(5), (3, *SHAPE, 2), minval=-1, maxval=1)
T = jnp.array([0.15, 0.5, 0.85])


@pytest.mark.parametrize("name", CASES)
def test_marginals_are_those_of_the_coordinates(name):
    basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    x_t, noise = diffusion.diffuse(KEY, X0, T)
    state = schedule.alpha(T) * basis.forward(X0) + schedule.sigma(T) * basis.forward(noise)
    np.testing.assert_allclose(basis.forward(x_t), state, atol=2e-5)
    # The draw of the sites, whatever the basis, where there is noise.
    white = sagd.white(SHAPE).sample(KEY, X0.shape)
    drawn = np.where(schedule.sigma(T) > 0, basis.forward(white), 0)
    np.testing.assert_allclose(basis.forward(noise), drawn, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_the_target_is_read_back(name, kind):
    """x_0 and e come back from the target of any kind that determines them."""
    _basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    x_t, noise = diffusion.diffuse(KEY, X0, T)
    target = diffusion.target(X0, noise, T, kind) if kind != "velocity" else None
    try:
        if target is None:
            target = diffusion.target(X0, noise, T, kind)
        x0, e = diffusion.predict(target, x_t, T, kind)
    except ValueError as error:
        frozen = np.any(schedule.sigma(T) == 0) or np.any(schedule.alpha(T) == 0)
        assert (kind == "velocity" or frozen) and "\n" not in str(error)
        return
    alpha = np.asarray(schedule.alpha(T))
    if kind in ("epsilon", "score", "white_epsilon") and alpha.min() < 1e-2:
        return  # right, and divided by almost nothing
    np.testing.assert_allclose(x0, X0, atol=3e-3)
    np.testing.assert_allclose(e, noise, atol=3e-3)


def test_coordinates_at_an_end_are_read_from_the_state():
    """Hierarchical: at t = 0.5 some are data still and some are noise already."""
    basis, schedule = CASES["hierarchical"]
    diffusion = sagd.Diffusion(schedule)
    x_t, _ = diffusion.diffuse(KEY, X0, 0.5)
    a, s = np.asarray(schedule.alpha(0.5)), np.asarray(schedule.sigma(0.5))
    assert np.any(s == 0) and np.any(a == 0)
    nonsense = 7 * jnp.ones_like(x_t)
    x0, e = (basis.forward(x) for x in diffusion.predict(nonsense, x_t, 0.5, "v"))
    state = basis.forward(x_t)
    np.testing.assert_allclose(np.where(s == 0, x0 - state, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.where(s == 0, e, 0), 0, atol=1e-6)
    np.testing.assert_allclose(np.where(a == 0, e - state, 0), 0, atol=1e-5)
    with pytest.raises(ValueError, match="does not determine x_0"):
        diffusion.predict(nonsense, x_t, 0.5, "epsilon")


def test_the_posterior_of_frozen_and_still_coordinates():
    _basis, schedule = CASES["hierarchical"]
    diffusion = sagd.Diffusion(schedule)
    x0, x_t = jnp.ones((1, *SHAPE, 1)), 3 * jnp.ones((1, *SHAPE, 1))
    mean, scale = diffusion.posterior(x0, x_t, 0.3, 0.6)
    assert np.all(np.isfinite(mean)) and np.all(np.isfinite(scale))
    clean = np.asarray(schedule.sigma(0.6)) == 0
    a = np.broadcast_to(schedule.alpha(0.3), (*SHAPE, 1))
    np.testing.assert_allclose(np.asarray(mean)[0][clean], a[clean], atol=1e-6)
    assert np.all(np.broadcast_to(scale, (*SHAPE, 1))[clean] == 0)


def test_a_batch_of_times_is_each_time_alone():
    _basis, schedule = CASES["blurring"]
    diffusion = sagd.Diffusion(schedule)
    together = diffusion.diffuse(KEY, X0, T)[0]
    for i, t in enumerate(T):
        np.testing.assert_allclose(together[i], diffusion.diffuse(KEY, X0, t)[0][i], atol=1e-6)


def test_a_covariance_in_the_basis_goes_on_top():
    basis = spectral_cases.COSINE
    covariance = sagd.power_law(SHAPE, alpha=-0.4, basis="cosine")
    diffusion = sagd.Diffusion(CASES["blurring"][1], covariance)
    draws = diffusion.prior_sample(KEY, (4000, *SHAPE, 1))
    found = np.mean(np.square(np.asarray(basis.forward(draws))), axis=0)
    expected = np.asarray(CASES["blurring"][1].sigma(1.0)) ** 2 * np.asarray(covariance.variance)
    np.testing.assert_allclose(found, expected, rtol=5 * np.sqrt(2 / 4000))


def test_a_covariance_per_example_diffuses_each_with_its_own():
    members = [sagd.white(SHAPE), sagd.power_law(SHAPE, alpha=-0.5)]
    stack = sagd.Diffusion(sagd.schedules.cosine(), sagd.stack(members))
    kind = jnp.array([1, 0, 1])
    x_t, _ = stack.at(kind).diffuse(KEY, X0, T)
    for i, k in enumerate(kind):
        alone = sagd.Diffusion(sagd.schedules.cosine(), members[int(k)]).diffuse(KEY, X0, T)[0][i]
        np.testing.assert_allclose(x_t[i], alone, atol=1e-6)
    with pytest.raises(ValueError, match="one for all"):
        sagd.Diffusion(sagd.schedules.cosine(), members[0]).at(kind)


def test_the_loss_is_a_mean_over_signals_and_its_weight_follows_the_clock():
    _basis, schedule = CASES["equal_snr"]
    diffusion = sagd.Diffusion(schedule)
    _, noise = diffusion.diffuse(KEY, X0, T)
    target = diffusion.target(X0, noise, T, "v")
    loss = losses.denoising_loss(diffusion, target + 0.5, X0, noise, T, kind="v")
    np.testing.assert_allclose(loss, 0.25, rtol=1e-5)
    scalar = sagd.Diffusion(schedule.clock, sagd.white(SHAPE))
    for weighting in ("min_snr", "edm"):
        found = losses.loss_weight(diffusion, T, "v", weighting)
        np.testing.assert_allclose(found, losses.loss_weight(scalar, T, "v", weighting))


@pytest.mark.parametrize("name", CASES)
def test_the_likelihood_of_gaussian_data(name):
    """The prior's own bias, a_1^2 S / (2 s_1^2) per coordinate, is added where the prior knows no spectrum."""
    basis, schedule = CASES[name]
    diffusion = sagd.Diffusion(schedule)
    variance = jnp.asarray(spectrum(basis), jnp.float32)
    data = oracle.DiagonalGaussian(basis, jnp.zeros((*SHAPE, 1)), variance)
    x0 = data.sample(jax.random.key(3), 3)
    kind, times = "x0" if name == "heat" else "v", None
    if name == "hierarchical":  # nodes where a coordinate begins or ends
        times = np.unique(np.concatenate([np.linspace(0, 1, 49), [0.412, 0.588]]))[::-1]
    nats = sagd.log_likelihood(
        KEY, data.denoiser(diffusion, kind), diffusion, x0, num_steps=48, times=times,
        prediction=kind, divergence="exact",
    )  # fmt: skip
    first = data
    if name == "heat":  # the density just after its noise has begun
        a, s = schedule.alpha(1e-6), schedule.sigma(1e-6)
        first = oracle.DiagonalGaussian(basis, data.mean, a**2 * variance + s**2)
    a, s = np.asarray(schedule.alpha(1.0)), np.asarray(schedule.sigma(1.0))
    bias = 0 if name == "heat" else np.max(a**2 * np.asarray(variance) / (2 * s**2))
    error = np.abs(np.asarray(nats - first.log_prob(x0))) / np.prod(SHAPE)
    assert np.all(error < 1e-3 + 5 * bias), error


def test_the_likelihood_needs_an_end_that_is_noise():
    diffusion = sagd.Diffusion(sagd.schedules.heat(spectral_cases.COSINE, 3.0, 0.05))
    with pytest.raises(ValueError, match="does not end in noise"):
        sagd.log_likelihood(KEY, lambda x, t: x, diffusion, X0, prediction="v")
