"""Capped levels: what corrupted examples teach is the clean process, exactly.

A quadratic loss over Gaussian data is known from its second moments, so four examples, all signs of y and of
the noise, stand for all of them: the loss's slope at the exact denoiser has to vanish per coordinate.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import losses, oracle, schedules
from sagd_jax.spectral.diagonal import DiagonalCovariance

SHAPE = (4, 4)
COSINE = schedules.cosine()
BASES = {name: make(SHAPE) for name, make in sagd.bases.KINDS.items()}
TIMES = (0.02, 0.3, 0.7)


def grids(basis):
    """S, and N of two kinds, each over four decades; symmetric, as Fourier coordinates need."""
    place = np.arange(16.0).reshape(*SHAPE, 1)
    mirrored = sagd.half_grid.opposite(place[..., 0])[..., None]
    order = np.minimum(place, mirrored) if basis == BASES["fourier"] else place
    s = 10 ** (2 * np.cos(2.1 * order))
    n = np.stack([10 ** (2 * np.sin(1.3 * order)), 10 ** (2 * np.cos(0.7 * order + 1))])
    n[0][order % 4 == 1] = 0
    n[1][order == 2] = np.inf
    return s, n


def moments(monkeypatch, basis, variance_of_y):
    """Examples y and draws whose second moments are exact, four of each kind at each time."""
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    kind, t, sign = (
        a.ravel() for a in np.meshgrid(np.arange(5), TIMES, np.arange(4), indexing="ij")
    )
    y = signs[sign, 0].reshape(-1, 1, 1, 1) * np.sqrt(variance_of_y(kind))
    z = signs[sign, 1].reshape(-1, 1, 1, 1) * np.ones((1, *SHAPE, 1))
    draws = basis.inverse(jnp.asarray(z, jnp.float32))
    monkeypatch.setattr(DiagonalCovariance, "sample", lambda *a, **k: draws)
    return basis.inverse(jnp.asarray(y, jnp.float32)), jnp.asarray(t, jnp.float32), kind


def distance_from_minimum(diffusion, y, t, kind, exact, prediction):
    """How far the gain of a denoiser is from the one that minimises the loss, per kind and time."""
    basis = diffusion.schedule.basis
    x_t, x0, noise, weight = diffusion.diffuse_corrupted(jax.random.key(0), y, t, kind)
    own = diffusion.at(kind)
    state = basis.forward(x_t)
    gain = basis.forward(exact(own)(x_t, t)) / state

    def loss(gain):
        predicted = basis.inverse(gain * state)
        per_example = losses.denoising_loss(
            own, predicted, x0, noise, t, kind=prediction, weight=weight
        )
        return jnp.sum(per_example) * state[0].size

    slope = jax.grad(loss)(gain).reshape(-1, 4, *SHAPE, 1).sum(1)
    bend = (2 * weight * state**2).reshape(-1, 4, *SHAPE, 1).sum(1)
    size = jnp.abs(gain).reshape(-1, 4, *SHAPE, 1).max(1)
    taught = bend > 0
    away = jnp.where(taught, jnp.abs(slope) / jnp.where(taught, bend, 1) / (1e-2 + size), 0)
    return np.asarray(away), np.asarray(taught)


CASES = [(name, "v") for name in BASES]
CASES += [("cosine", kind) for kind in ("x0", "epsilon", "white_epsilon", "score")]


@pytest.mark.parametrize(("name", "prediction"), CASES)
def test_the_minimiser_is_the_clean_denoiser(name, prediction, monkeypatch):
    basis = BASES[name]
    s, n = grids(basis)
    covariance = sagd.power_law(SHAPE, alpha=0.4, basis=name) if name in ("fourier", "cosine") else (
        sagd.from_coefficients(1 + basis.radius, basis)
    )  # fmt: skip
    diffusion = sagd.Diffusion(schedules.capped(COSINE, covariance, n))
    finite = np.where(np.isinf(n), 1, n)

    def variance_of_y(kind):
        corrupted = np.stack([np.zeros_like(s), *finite, np.zeros_like(s), np.zeros_like(s)])
        return s + corrupted[kind]

    y, t, kind = moments(monkeypatch, basis, variance_of_y)
    data = oracle.DiagonalGaussian(basis, jnp.zeros((*SHAPE, 1)), jnp.asarray(s, jnp.float32))
    away, taught = distance_from_minimum(
        diffusion, y, t, kind, lambda own: data.denoiser(own, prediction), prediction
    )
    assert away.max() < 2e-3
    # All teach all, but where N is infinite.
    useless = np.zeros((5, len(TIMES), *SHAPE, 1), bool)
    useless[1:3] = np.isinf(np.asarray(diffusion.schedule.corruption))[:, None]
    at_rest = np.asarray(diffusion.at(kind).schedule.sigma(t)).reshape(-1, 4, *SHAPE, 1)[:, 0] == 0
    expected = ~useless.reshape(taught.shape)
    np.testing.assert_array_equal(taught | at_rest, expected | at_rest)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_variance_teaches_another_spectrum(factor, monkeypatch):
    """With N' for N, exactly that of data of variance S + N - N'."""
    basis = BASES["cosine"]
    s, n = 4.0 + np.zeros((*SHAPE, 1)), 1.0 + np.zeros((*SHAPE, 1))
    diffusion = sagd.Diffusion(schedules.capped(COSINE, sagd.white(SHAPE), factor * n, basis=basis))
    y, t, kind = moments(monkeypatch, basis, lambda kind: s + n * (kind == 1).reshape(-1, 1, 1, 1))
    chosen = kind == 1
    draws = DiagonalCovariance.sample()[chosen]
    monkeypatch.setattr(DiagonalCovariance, "sample", lambda *a, **k: draws)
    learned = jnp.asarray(s + n - factor * n, jnp.float32)
    data = oracle.DiagonalGaussian(basis, jnp.zeros((*SHAPE, 1)), learned)
    away, _ = distance_from_minimum(
        diffusion, y[chosen], t[chosen], kind[chosen], lambda own: data.denoiser(own, "v"), "v"
    )
    assert away.max() < 1e-4


@pytest.mark.parametrize(("margin", "low", "high"), [(0.1, 300, 600), (10.0, 0.95, 1.15)])
def test_a_tone_of_fixed_amplitude_wants_a_large_margin(margin, low, high):
    """Squared error of the exact network's data over their energy, N / 100; that of a filter is 1."""
    count, data = 100_000, 0.01
    rng = np.random.default_rng(0)
    own = np.sqrt(data / 2) * (rng.normal(size=count) + 1j * rng.normal(size=count))
    tone = np.exp(2j * np.pi * rng.random(count))

    def signals(one):
        spectrum = np.stack([0 * one, one, 0 * one], axis=1)
        return np.fft.irfft(spectrum, n=4, norm="ortho")[..., None].astype(np.float32)

    n = np.array([0.0, 1.0, 0.0, 1.0])
    diffusion = sagd.Diffusion(schedules.capped(COSINE, sagd.white((4,)), n, margin))
    t, kind = jnp.zeros(count), jnp.ones(count, jnp.int32)
    x_t, taught, *_ = diffusion.diffuse_corrupted(
        jax.random.key(0), jnp.asarray(signals(own + tone)), t, kind
    )
    x, target = (np.fft.rfft(z[..., 0], norm="ortho")[:, 1] for z in (x_t, taught))
    # By symmetry the mean of what is taught lies along x, and depends on |x| alone.
    order = np.argsort(np.abs(x)).reshape(50, -1)
    along = np.real(target * np.conj(x) / np.abs(x))[order].mean(axis=1, keepdims=True)
    learned = along * (x / np.abs(x))[order]
    assert low < np.mean(np.abs(learned - own[order]) ** 2) / data < high


def test_of_a_tone_between_bins_a_share_is_taken_for_data():
    """Of one amplitude in K coordinates at once, N in each, (K - 1) / (K + margin) is left of it."""
    count, bins, margin = 20_000, np.array([1, 2, 3]), 2.0
    rng = np.random.default_rng(0)
    amplitude = rng.normal(size=(count, 1)) + 1j * rng.normal(size=(count, 1))
    weights = np.array([1.0, 0.5, 0.1])
    spectrum = np.zeros((count, 5), complex)
    spectrum[:, bins] = amplitude * weights / np.sqrt(2)
    y = np.fft.irfft(spectrum, n=8, norm="ortho")[..., None].astype(np.float32)
    n = np.zeros(8)
    n[bins] = n[-bins] = weights**2
    diffusion = sagd.Diffusion(schedules.capped(COSINE, sagd.white((8,)), n, margin))
    kind = jnp.ones(count, jnp.int32)
    x_t, taught, *_ = diffusion.diffuse_corrupted(
        jax.random.key(0), jnp.asarray(y), jnp.zeros(count), kind
    )
    x, target = (np.fft.rfft(z[..., 0], norm="ortho")[:, bins] for z in (x_t, taught))
    learned = np.linalg.lstsq(x / weights, target / weights, rcond=None)[0]
    np.testing.assert_allclose(np.ones(3) @ learned, (3 - 1) / (3 + margin), atol=0.05)


def test_preconditioned_the_network_has_unit_variance_to_give():
    """(28b): what of v a Gaussian's spectrum does not tell, over the scale; with S = 1 it is (28)."""
    basis = BASES["cosine"]
    s, n = grids(basis)
    n = n[:1]
    known = schedules.capped(COSINE, sagd.white(SHAPE), n, basis=basis, spectrum=s)
    plain = schedules.capped(COSINE, sagd.white(SHAPE), n, basis=basis)
    unit = schedules.capped(COSINE, sagd.white(SHAPE), n, basis=basis, spectrum=np.ones_like(s))
    for kind, t in ((0, 0.02), (0, 0.6), (1, 0.02), (1, 0.6), (2, 0.3)):
        own = known.at(kind)
        a, b = (np.asarray(c, np.float64) for c in (own.alpha(t), own.sigma(t)))
        skip, scale = (np.asarray(c, np.float64) for c in own.output_scale(t))
        seen = np.asarray(own.input_scale(t), np.float64)
        # x = a x0 + b z and v = a z - b x0, of x0 = sqrt(S) and z = 1 alone.
        left = np.square(-b - skip * a) * s + np.square(a - skip * b)
        useful = scale > 0
        np.testing.assert_allclose((left / scale**2)[useful], 1, rtol=2e-3)
        np.testing.assert_allclose((a**2 * s + b**2) * seen**2, 1, rtol=1e-4)
        if kind == 0:
            np.testing.assert_allclose(own.loss_scale(t) * scale**2, 1, rtol=1e-4)
        skip, scale = unit.at(kind).output_scale(t)
        np.testing.assert_allclose(skip, 0, atol=1e-6)
        np.testing.assert_allclose(scale, plain.at(kind).output_scale(t)[1], rtol=1e-4)
    with pytest.raises(ValueError, match="spectrum: expected finite numbers > 0"):
        schedules.capped(COSINE, sagd.white(SHAPE), n, basis=basis, spectrum=0 * s)


def test_without_corruption_it_is_the_base_itself():
    for n in (np.zeros(SHAPE), np.zeros((3, *SHAPE, 1))):
        assert schedules.capped(COSINE, sagd.white(SHAPE), n) is COSINE


def test_the_pair_adds_up_and_clean_kinds_are_plain_diffusion():
    n = grids(BASES["haar"])[1]
    schedule = schedules.capped(COSINE, sagd.white(SHAPE), n, basis=BASES["haar"])
    diffusion = sagd.Diffusion(schedule)
    y = jax.random.uniform(jax.random.key(1), (5, *SHAPE, 2))
    t, kind = jnp.array([0.01, 0.2, 0.5, 0.9, 1.0]), jnp.array([0, 1, 2, 3, 4])
    x_t, x0, noise, weight = diffusion.diffuse_corrupted(jax.random.key(0), y, t, kind)
    own = diffusion.at(kind)
    state = own.alpha(t, y) * own.encode(x0) + own.sigma(t, y) * own.encode(noise)
    np.testing.assert_allclose(own.encode(x_t), state, atol=2e-4)
    assert weight.shape == y.shape and np.all((weight >= 0) & (weight <= 1))
    plain = sagd.Diffusion(COSINE, sagd.white(SHAPE)).diffuse(jax.random.key(0), y, t)
    np.testing.assert_allclose(x_t[0], plain[0][0], atol=1e-5)
    np.testing.assert_array_equal(x0[3], own.decode(own.encode(y))[3])
    np.testing.assert_array_equal(weight[np.array([0, 3, 4])], 1)
    traced = jax.jit(diffusion.diffuse_corrupted)(jax.random.key(0), y, t, kind)
    for one, other in zip(traced, (x_t, x0, noise, weight), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # Under a schedule without kinds all are clean.
    plain = sagd.Diffusion(COSINE, sagd.white(SHAPE))
    again = plain.diffuse_corrupted(jax.random.key(0), y, t, 0)
    np.testing.assert_array_equal(again[0], plain.diffuse(jax.random.key(0), y, t)[0])


def test_levels_are_the_maximum_and_labels_say_where_they_differ():
    n = np.zeros((*SHAPE, 1))
    n[0, 1], n[1, 0], n[2, 2] = 0.5, np.inf, 1e5
    schedule = schedules.capped(COSINE, sagd.white(SHAPE), n, margin=0.2, basis=BASES["cosine"])
    t = jnp.linspace(0, 1, 9)
    a, s = (np.asarray(f(t)).reshape(-1, 1, 1, 1) for f in (COSINE.alpha, COSINE.sigma))
    own = schedule.at(1)
    alpha, sigma = np.asarray(own.alpha(t)), np.asarray(own.sigma(t))
    useless = n > 1e4  # no level of the cosine is as noisy as 1e5
    expected = np.maximum(s**2, 1.2 * a**2 * np.where(useless, 0, n))
    np.testing.assert_allclose(alpha, np.where(useless, 0, a), atol=1e-6)
    np.testing.assert_allclose(
        sigma**2, np.where(useless, s[-1] ** 2, expected), rtol=1e-5, atol=1e-9
    )
    np.testing.assert_array_equal(schedule.label(t, 1), 1)  # never those of clean ones
    np.testing.assert_array_equal(schedule.label(t, 0), 0)
    n = np.where(useless, 0, n)
    finite = schedules.capped(COSINE, sagd.white(SHAPE), n, margin=0.2, basis=BASES["cosine"])
    labels = np.asarray(finite.label(t, 1))
    same = np.all(np.asarray(finite.at(1).sigma(t)) == np.asarray(finite.sigma(t)), axis=(1, 2, 3))
    np.testing.assert_array_equal(labels, np.where(same, 0, 1))
    assert 0 < same.sum() < len(t)
    np.testing.assert_array_equal(finite.label(t, 2), 2)  # a restoring path has a label of its own
    mixed = finite.label(jnp.array([0.9, 0.1, 0.9]), jnp.array([1, 1, 2]))
    np.testing.assert_array_equal(mixed, [0, 1, 2])
    assert finite.kinds == 2 and finite.labels == 3
    np.testing.assert_allclose(own.input_scale(t) ** -2, alpha**2 + sigma**2, rtol=1e-5)


def test_the_restoring_path_goes_from_the_data_to_the_example():
    n = np.array([0.0, 0.5, 4.0, np.inf]).reshape(4, 1)
    for base in (COSINE, schedules.rectified_flow()):
        path = schedules.capped(base, sagd.white((4,)), n, basis=sagd.bases.cosine((4,))).at(2)
        np.testing.assert_allclose(path.sigma(1.0)[:3, 0] ** 2, n[:3, 0], rtol=1e-5)
        np.testing.assert_allclose(path.alpha(0.5)[:3], 1)
        np.testing.assert_allclose(path.sigma(0.0)[:, 0], 0, atol=1e-6)
        np.testing.assert_allclose(path.sigma(0.4)[3, 0], base.sigma(0.4), rtol=1e-6)


def test_a_base_of_its_own_basis_and_several_kinds_of_prior():
    basis = BASES["cosine"]
    base = schedules.blurring(COSINE, basis, blur_max=2.0)
    n = np.zeros((*SHAPE, 1))
    n[3, 3] = 0.3
    schedule = schedules.capped(base, sagd.white(SHAPE), n)
    assert schedule.basis is basis and schedule.clock == COSINE
    np.testing.assert_allclose(schedule.alpha(0.4), base.alpha(0.4))
    draws = sagd.Diffusion(schedule).at(1).prior_sample(jax.random.key(0), (3, *SHAPE, 1))
    assert np.all(np.isfinite(draws))
    heat = schedules.heat(basis, 3.0, 0.05, spectrum=np.ones((*SHAPE, 1)))
    mixed = schedules.capped(heat, sagd.white(SHAPE), n).at(np.array([0, 1]))
    assert sagd.Diffusion(mixed).prior_sample(jax.random.key(0), (2, *SHAPE, 1)).shape[0] == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"margin": 0.0}, "margin=0.0"),
        ({"corruption": -np.ones((*SHAPE, 1))}, "variances >= 0"),
        ({"corruption": np.full((*SHAPE, 1), np.nan)}, "variances >= 0"),
        ({"corruption": np.ones((4, 3, 1))}, "corruption.shape"),
        ({"corruption": np.ones((2, 4, 3, 1))}, "corruption.shape"),
        ({"base": "cosine"}, "base='cosine'"),
        ({"covariance": 1.0}, "covariance=1.0"),
        ({"covariance": sagd.band_pass(SHAPE, [(0, 0.5)])}, "lambda = 0"),
        ({"basis": BASES["cosine"], "covariance": sagd.power_law(SHAPE, 0.5)}, "diagonal"),
        ({"base": schedules.blurring(COSINE, BASES["cosine"]), "basis": BASES["haar"]}, "base: it is"),
        ({"corruption": np.arange(16.0).reshape(*SHAPE, 1)}, "f and -f"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_one_line(change, words):
    arguments = {
        "base": COSINE, "covariance": sagd.white(SHAPE), "corruption": np.ones((*SHAPE, 1)), **change
    }  # fmt: skip
    with pytest.raises(ValueError, match=words) as raised:
        schedules.capped(**arguments)
    assert "\n" not in str(raised.value)


def test_wrong_kinds_and_predictions_are_refused_in_one_line():
    schedule = schedules.capped(COSINE, sagd.white(SHAPE), np.ones(SHAPE), restoring=False)
    diffusion = sagd.Diffusion(schedule)
    for kind in (2, -1, 0.5, np.zeros((2, 2), int)):
        with pytest.raises(ValueError, match="kind: ") as raised:
            diffusion.at(kind)
        assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match="no restoring path"):
        schedule.restoring_path(1)
    with pytest.raises(ValueError, match="contains the spectrum"):
        sagd.Diffusion(schedule, sagd.power_law(SHAPE, 0.5))
    with pytest.raises(ValueError, match="stands still"):
        diffusion.at(1).check_readable("velocity", np.array([0.1], np.float32))
    x = jnp.zeros((2, *SHAPE, 1))
    with pytest.raises(ValueError, match="weight: shape"):
        losses.denoising_loss(diffusion, x, x, x, 0.5, kind="v", weight=jnp.ones((2, 2, 4, 4, 1)))
    with pytest.raises(ValueError, match="mahalanobis"):
        losses.denoising_loss(diffusion, x, x, x, 0.5, norm="mahalanobis", weight=x)
