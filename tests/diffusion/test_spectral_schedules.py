"""Schedules with a coefficient per coordinate: closed forms, what is refused, other people's numbers."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spectral_cases
from spectral_cases import COSINE, FOURIER, HAAR, SHAPE, spectrum

import sagd_jax as sagd
from sagd_jax.diffusion.schedules import Schedule
from sagd_jax.diffusion.schedules.scalar import Shifted
from sagd_jax.diffusion.schedules.spectral import SpectralSchedule, checked, on_grid

CASES = spectral_cases.schedules()
PUBLISHED = json.loads(pathlib.Path(__file__).with_name("published.json").read_text())
FLOW, COS = sagd.schedules.rectified_flow(), sagd.schedules.cosine()


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
    """Log-SNR linear in t, as GUD's."""

    first: float
    slope: float

    def alpha(self, t):
        return jnp.sqrt(jax.nn.sigmoid(self.first - self.slope * jnp.asarray(t)))

    def sigma(self, t):
        return jnp.sqrt(jax.nn.sigmoid(-(self.first - self.slope * jnp.asarray(t))))

    def log_snr(self, t):
        return self.first - self.slope * jnp.asarray(t)


@pytest.mark.parametrize("name", CASES)
def test_shapes_clock_and_pytree(name):
    _basis, schedule = CASES[name]
    assert schedule.alpha(0.3).shape == (*SHAPE, 1)
    assert schedule.sigma(jnp.array([0.3, 0.6])).shape == (2, *SHAPE, 1)
    assert schedule.input_scale(jnp.array([0.3, 0.6])).shape[0] == 2
    assert schedule.clock.basis is None
    assert float(schedule.clock.time(schedule.clock.log_snr(0.4))) == pytest.approx(0.4, abs=1e-4)
    leaves, structure = jax.tree.flatten(schedule)
    again = jax.tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(again.alpha(0.4), schedule.alpha(0.4))
    jax.tree.map(lambda leaf: None, schedule)
    np.testing.assert_allclose(
        jax.jit(lambda s, t: s.sigma(t))(schedule, 0.4), schedule.sigma(0.4), atol=1e-6
    )
    clean = np.asarray(schedule.alpha(0.0)), np.asarray(schedule.sigma(0.0))
    np.testing.assert_allclose(clean[0], 1, atol=1e-5)
    np.testing.assert_allclose(clean[1], 0, atol=1e-5)


def test_scalar_schedules_have_no_leaves():
    assert jax.tree.leaves(COS) == [] and COS.clock is COS and COS.basis is None
    assert float(FLOW.input_scale(0.5)) == pytest.approx(2**0.5)


def test_equal_snr_gives_all_coordinates_the_ratio_of_the_mean():
    _, schedule = CASES["equal_snr"]
    snr = np.exp(schedule.log_snr(0.3)) * spectrum(COSINE)
    expected = np.exp(FLOW.log_snr(0.3)) * spectrum(COSINE).mean()
    np.testing.assert_allclose(snr, expected, rtol=1e-4)
    without = sagd.schedules.equal_snr(FLOW, spectrum(COSINE), COSINE, include_dc=False)
    ratio = np.exp(np.asarray(without.shift) - np.asarray(schedule.shift))
    others = spectrum(COSINE).reshape(-1)[1:].mean()
    np.testing.assert_allclose(ratio, others / spectrum(COSINE).mean(), rtol=1e-6)


def test_flipped_gives_the_ratio_of_the_mirrored_rank():
    basis = sagd.bases.cosine((6,))
    values = np.array([9.0, 7, 5, 3, 2, 1])
    schedule = sagd.schedules.flipped_snr(COS, values, basis)
    np.testing.assert_allclose(np.exp(schedule.shift[:, 0]) * values, values[::-1], rtol=1e-6)


@pytest.mark.parametrize("schedule", [sagd.schedules.equal_snr, sagd.schedules.flipped_snr])
def test_weak_coordinates_of_steep_data_drown_though_their_coefficients_say_otherwise(schedule):
    # As photographs: most of the power in the constant, a millionth of it in the finest detail.
    basis = sagd.bases.cosine((64,))
    values = 40 / (1 + np.arange(64.0)) ** 4
    for unit in (1, 255**2):
        shaped = schedule(COS, unit * values, basis)
        alpha, sigma = np.asarray(shaped.alpha(1.0)), np.asarray(shaped.sigma(1.0))
        assert np.any(alpha > sigma)
        assert np.all(alpha[:, 0] ** 2 * values < 0.05 * sigma[:, 0] ** 2 * max(1, values.mean()))
        assert shaped.ends_in_noise()
    # A base that leaves data of the mean power above the noise ends so for the strongest coordinate.
    early = Shifted(COS, 12.0)
    assert not schedule(early, values, basis).ends_in_noise()
    # Nothing is known of the data that are behind any other shift.
    assert not sagd.schedules.shifted(COS, shaped.shift, basis).ends_in_noise()


def test_shortest_path_has_power_s_to_the_tau():
    values = np.array([1e-3, 0.2, 1.0, 1 + 1e-9, 5.0, 2e4])
    schedule = sagd.schedules.shortest_path(values, sagd.bases.cosine((6,)))
    for t in (0.0, 1e-4, 0.3, 0.99, 1.0):
        a, s = np.asarray(schedule.alpha(t))[:, 0], np.asarray(schedule.sigma(t))[:, 0]
        np.testing.assert_allclose(a**2 * values + s**2, values ** (1 - t), rtol=2e-5)


def test_moving_goes_from_one_spectrum_to_the_other():
    start, end = sagd.power_law(SHAPE, alpha=0.4), sagd.white(SHAPE)
    schedule = sagd.schedules.moving(FLOW, start, end)
    for t in (0.25, 1.0):
        expected = (1 - t) * np.asarray(start.coefficients(FOURIER)) + t
        np.testing.assert_allclose(schedule.sigma(t) ** 2 / t**2, expected, rtol=1e-5)


def test_hierarchical_of_large_softness_is_the_base():
    schedule = sagd.schedules.hierarchical(FLOW, HAAR.radius, 1e6, HAAR)
    np.testing.assert_allclose(schedule.alpha(0.3), 0.7 * np.ones((*SHAPE, 1)), atol=1e-5)


# What other people's code gives.


def test_blurring_as_published():
    for name, blur_max, shape, corner in (
        ("blurring", 20.0, (8, 8), 8),
        ("blurring_gddim", 10.0, (32, 32), 5),
    ):
        case = PUBLISHED[name]
        schedule = sagd.schedules.blurring(COS, sagd.bases.cosine(shape), blur_max=blur_max)
        for t, d in zip(case["t"], case["d"], strict=True):
            ratio = schedule.alpha(t)[:corner, :corner, 0] / COS.alpha(t)
            np.testing.assert_allclose(ratio, d, atol=2e-6)


def test_heat_as_published():
    case = PUBLISHED["heat_schedule"]
    last = max(case["index"])
    schedule = sagd.schedules.heat(sagd.bases.cosine((8, 8)), 20.0, 0.02)
    attenuation = {round(s, 6): a for s, a in zip(
        PUBLISHED["heat"]["attenuation_sigma"], PUBLISHED["heat"]["attenuation"], strict=True)}  # fmt: skip
    radius = schedule.basis.radius[..., 0]
    for sigma, published in attenuation.items():
        np.testing.assert_allclose(
            np.exp(-((2 * np.pi * radius * sigma) ** 2) / 2), published, atol=1e-6
        )
    for index, sigma in zip(case["index"], case["sigma"], strict=True):
        if index > 1:
            expected = np.exp(-((2 * np.pi * radius * sigma) ** 2) / 2)
            found = schedule.alpha((index - 1) / (last - 1))[..., 0]
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shortest_path_as_published():
    case = PUBLISHED["shortest_path"]
    whole = sagd.half_grid.whole_from_half(np.asarray(case["spectrum"])[..., None], (8, 8))
    schedule = sagd.schedules.shortest_path(whole, sagd.bases.fourier((8, 8)))
    for tau, alpha in zip(case["tau"], case["alpha"], strict=True):
        np.testing.assert_allclose(schedule.alpha(1 - tau)[:, :5, 0], alpha, rtol=3e-5)


def test_the_posterior_as_published():
    case = PUBLISHED["shortest_path_posterior"]
    spectrum = np.asarray(PUBLISHED["shortest_path"]["spectrum"])
    whole = sagd.half_grid.whole_from_half(spectrum[..., None], (8, 8))
    diffusion = sagd.Diffusion(sagd.schedules.shortest_path(whole, sagd.bases.fourier((8, 8))))
    one, zero = jnp.ones((1, 8, 8, 1)), jnp.zeros((1, 8, 8, 1))
    times = 1 - case["tau_s"], 1 - case["tau_t"]
    of_x_t, scale = diffusion.posterior(zero, one, *times)
    of_x_0, _ = diffusion.posterior(one, zero, *times)
    for found, name in ((of_x_t, "x_t"), (of_x_0, "x0")):
        np.testing.assert_allclose(found[0, :, :5, 0], case[name], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(scale[:, :5, 0] ** 2, case["variance"], rtol=2e-4)


def test_gud_as_published():
    case = PUBLISHED["gud_linear"]
    for one in case["schedules"]:
        labels, softness = np.asarray(case["arguments"]["labels"]), float(one["softness"])
        basis = sagd.bases.cosine(labels.shape)
        base = Linear(7.0, 10 + np.ptp(labels) / softness)
        schedule = sagd.schedules.shifted(base, -(labels - labels.max()) / softness, basis)
        found = np.asarray(schedule.log_snr(np.asarray(case["t"], np.float32)))[..., 0]
        np.testing.assert_allclose(found, -np.asarray(one["gamma"]), atol=2e-5)
        found = np.asarray(schedule.alpha(np.asarray(case["t"], np.float32)))[..., 0]
        np.testing.assert_allclose(found, one["alpha"], atol=2e-6)
    case = PUBLISHED["gud_sequential"]
    for one in case["schedules"]:
        labels, softness = np.asarray(case["arguments"]["labels"]), float(one["softness"])
        schedule = sagd.schedules.hierarchical(
            Linear(13.0, 18.0), labels, softness - 1, sagd.bases.cosine(labels.shape)
        )
        found = np.asarray(schedule.log_snr(np.asarray(case["t"], np.float32)))[..., 0]
        np.testing.assert_allclose(found, -np.asarray(one["gamma"]), atol=2e-5)
    case = PUBLISHED["gud_variance"]
    values = np.asarray(case["arguments"]["variances"])
    (one,) = (one for one in case["schedules"] if one["softness"] == "inf")
    shift = sagd.schedules.equal_snr(COS, values, sagd.bases.cosine(values.shape)).shift[:, 0]
    gamma = np.asarray(one["gamma"])[0]
    np.testing.assert_allclose(gamma - gamma[0], shift[0] - shift, atol=1e-6)


# What is refused.


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Rising(SpectralSchedule):
    """Its coordinate (1, 2) is noised and then cleaned again."""

    basis: sagd.bases.Basis

    def alpha(self, t):
        return jnp.ones_like(self.sigma(t))

    def sigma(self, t):
        t = on_grid(t, self.basis)
        back = np.zeros((*self.basis.spatial_shape, 1))
        back[1, 2] = 1
        return t * (1 - back) + back * jnp.sin(2 * t)


def test_a_log_snr_that_rises_names_coordinate_and_time():
    with pytest.raises(ValueError, match=r"Rising.*coordinate \(1, 2, 0\), t = 0\.79"):
        checked(Rising(basis=COSINE))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sagd.schedules.shifted("cosine", np.zeros(SHAPE), COSINE), "base='cosine'"),
        (lambda: sagd.schedules.shifted(COS, np.zeros((3, 3)), COSINE), "shift.shape"),
        (lambda: sagd.schedules.shifted(COS, np.full(SHAPE, np.nan), COSINE), "non-finite"),
        (lambda: sagd.schedules.shifted(COS, np.arange(16.0).reshape(SHAPE), FOURIER), "f and -f"),
        (lambda: sagd.schedules.shifted(COS, np.zeros(SHAPE), "cosine"), "basis='cosine'"),
        (lambda: sagd.schedules.shifted(CASES["heat"][1], np.zeros(SHAPE), COSINE), "base="),
        (lambda: sagd.schedules.equal_snr(COS, -np.ones(SHAPE), COSINE), "spectrum: it has neg"),
        (
            lambda: sagd.schedules.equal_snr(
                COS, np.ones(SHAPE), sagd.bases.sites(SHAPE), include_dc=False
            ),
            "include_dc",
        ),
        (lambda: sagd.schedules.shortest_path(np.eye(4), COSINE), "it is 0 somewhere"),
        (lambda: sagd.schedules.blurring(COS, sagd.bases.sites(SHAPE)), "with frequencies"),
        (lambda: sagd.schedules.blurring(COS, COSINE, floor=0), "floor=0"),
        (lambda: sagd.schedules.blurring(COS, COSINE, blur_max=-1), "blur_max=-1"),
        (lambda: sagd.schedules.heat(COSINE, 1.0, 0.01, blur_min=2.0), "blur_min=2.0"),
        (lambda: sagd.schedules.heat(COSINE, 1.0, 0.0), "noise=0.0"),
        (lambda: sagd.schedules.hierarchical(COS, np.ones(SHAPE), 1.0, COSINE), "labels"),
        (lambda: sagd.schedules.hierarchical(COS, COSINE.radius, 0.0, COSINE), "softness=0.0"),
        (lambda: sagd.schedules.moving(COS, "pink", sagd.white(SHAPE)), "start='pink'"),
        (
            lambda: sagd.schedules.moving(
                COS,
                sagd.power_law(SHAPE, alpha=1.0),
                sagd.from_coefficients(1 + COSINE.radius, COSINE),
            ),
            "diagonal in",
        ),
        (
            # lambda falls by more than 1 / 15 at EDM's rho of 7: the noise would shrink.
            lambda: sagd.schedules.moving(
                sagd.schedules.edm(), sagd.power_law((64,), alpha=-1.0), sagd.power_law((64,), 1.0)
            ),
            "its log-SNR increases there",
        ),
        (lambda: sagd.Diffusion(CASES["shortest_path"][1], sagd.power_law(SHAPE, 1.0)), "white"),
        (lambda: sagd.Diffusion(CASES["blurring"][1], sagd.power_law(SHAPE, 1.0)), "diagonal in"),
        (lambda: sagd.Diffusion(CASES["blurring"][1], sagd.white((5, 5))), "spatial_shape"),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
