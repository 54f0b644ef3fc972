import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import calibration, schedules

SHAPE = (6, 9)
SPECTRUM = (1e-3 + sagd.radial_frequency(SHAPE)) ** -2.0
SCHEDULES = {
    "linear_beta": schedules.linear_beta(),
    "cosine": schedules.cosine(),
    "rectified_flow": schedules.rectified_flow(),
    "edm": schedules.edm(),
}
PAIRS = {
    "tilts": (sagd.power_law(SHAPE, -0.5), sagd.power_law(SHAPE, 0.5)),
    "white and hole": (sagd.white(SHAPE), sagd.band_pass(SHAPE, [(0, 0.4), (0.7, 1)])),
    "two holes": (sagd.band_pass(SHAPE, [(0, 0.7)]), sagd.band_pass(SHAPE, [(0.3, 1)])),
}


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


def mean_snr(diffusion, common, t):
    """Mean SNR per frequency over the bins in `common`, on the full grid."""
    spectrum = dense.full_grid(SPECTRUM[..., None], SHAPE)
    noise = dense.full_grid(diffusion.covariance.variance, SHAPE)
    ratio = float(diffusion.schedule.alpha(t)) ** 2 / float(diffusion.schedule.sigma(t)) ** 2
    return ratio * np.mean(spectrum[common] / noise[common])


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("include_dc", [False, True])
def test_calibrated_processes_have_equal_mean_snr_at_all_times(schedule, pair, include_dc):
    reference, covariance = PAIRS[pair]
    first, second = (dense.full_grid(c.variance, SHAPE) for c in PAIRS[pair])
    common = (first > 0) & (second > 0)
    if not include_dc:
        common[0, 0] = False
    shift = calibration.log_snr_shift(SPECTRUM, reference, covariance, include_dc=include_dc)
    one = sagd.Diffusion(schedule, reference)
    other = sagd.Diffusion(calibration.shifted(schedule, shift), covariance)
    for t in (0.05, 0.3, 0.6, 0.9):
        np.testing.assert_allclose(mean_snr(other, common, t), mean_snr(one, common, t), rtol=1e-4)
    unshifted = sagd.Diffusion(schedule, covariance)
    assert abs(mean_snr(unshifted, common, 0.3) / mean_snr(one, common, 0.3) - 1) > 0.02


def test_the_shift_counts_channels():
    reference = sagd.white((8,))
    values = np.stack([np.ones(5), 3 * np.ones(5)], axis=-1)
    covariance = sagd.from_variance(values, (8,))  # 1/2 and 3/2
    spectrum = np.stack([np.ones(5), np.zeros(5)], axis=-1)
    shift = calibration.log_snr_shift(spectrum, reference, covariance)
    assert shift == pytest.approx(np.log(0.5), rel=1e-5)
    assert calibration.log_snr_shift(np.ones((5, 1)), covariance, covariance) == 0


@pytest.mark.parametrize("shift", [-3.0, 0.0, 1.5])
def test_a_shifted_schedule_adds_to_the_log_snr(schedule, shift):
    with jax.enable_x64(True):
        shifted = calibration.shifted(schedule, shift)
        t = np.linspace(0.0113, 0.9871, 50)
        alpha, sigma = np.asarray(shifted.alpha(t)), np.asarray(shifted.sigma(t))
        base_alpha, base_sigma = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))
        expected = 2 * np.log(base_alpha / base_sigma) + shift
        np.testing.assert_allclose(2 * np.log(alpha / sigma), expected, atol=1e-9)
        np.testing.assert_allclose(shifted.log_snr(t), expected, atol=1e-9)
        np.testing.assert_allclose(shifted.time(expected), t, rtol=1e-8)
        if isinstance(schedule, schedules.Edm):
            np.testing.assert_allclose(alpha, 1, rtol=1e-12)
        elif isinstance(schedule, schedules.RectifiedFlow):
            np.testing.assert_allclose(alpha + sigma, 1, rtol=1e-12)
        else:
            np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-12)
        step = 1e-6
        for function, derivative in (
            (shifted.alpha, shifted.alpha_prime),
            (shifted.sigma, shifted.sigma_prime),
        ):
            difference = (np.asarray(function(t + step)) - function(t - step)) / (2 * step)
            np.testing.assert_allclose(derivative(t), difference, rtol=1e-5, atol=1e-8)
    assert shifted.alpha(0.0) == pytest.approx(1) and shifted.sigma(0.0) == 0
    assert np.isfinite(shifted.alpha(1.0)) and shifted.sigma(1.0) > 0
    assert shifted.num_steps == schedule.num_steps


def test_a_shift_of_rectified_flow_is_the_known_warp_of_time():
    # Scaling sigma / alpha by m moves t to m t / (1 + (m - 1) t).
    shifted = calibration.shifted(schedules.rectified_flow(), -2 * np.log(3.0))
    t = np.linspace(0, 1, 9)
    np.testing.assert_allclose(shifted.sigma(t), 3 * t / (1 + 2 * t), atol=1e-6)


def test_shifts_add_up():
    base = schedules.cosine()
    assert calibration.shifted(calibration.shifted(base, 1.0), 0.5) == calibration.shifted(
        base, 1.5
    )
    assert hash(calibration.shifted(base, 1.0)) == hash(calibration.shifted(base, 1.0))


def test_a_shifted_process_diffuses_under_jit():
    diffusion = sagd.Diffusion(calibration.shifted(schedules.cosine(), 1.0), sagd.white((8,)))
    x0 = jnp.ones((2, 8, 1))
    t = jnp.array([0.2, 0.8])
    x_t, noise = jax.jit(lambda d, k: d.diffuse(k, x0, t))(diffusion, jax.random.key(0))
    x0_hat, _ = diffusion.predict(noise, x_t, t, "epsilon")
    np.testing.assert_allclose(x0_hat, x0, atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: calibration.shifted(schedules.cosine(), float("nan")), "shift=nan"),
        (
            lambda: calibration.log_snr_shift(np.ones(5), sagd.white((8,)), sagd.white((9,))),
            r"covariance.spatial_shape=\(9,\)",
        ),
        (
            lambda: calibration.log_snr_shift(np.ones(4), sagd.white((8,)), sagd.white((8,))),
            r"spectrum.shape=\(4,\)",
        ),
        (
            lambda: calibration.log_snr_shift(
                np.ones((5, 3)),
                sagd.from_variance(np.ones((5, 2)), (8,)),
                sagd.white((8,)),
            ),
            r"spectrum.shape=\(5, 3\)",
        ),
        (
            lambda: calibration.log_snr_shift(-np.ones(5), sagd.white((8,)), sagd.white((8,))),
            "negative",
        ),
        (
            lambda: calibration.log_snr_shift(
                [1, np.nan, 1, 1, 1], sagd.white((8,)), sagd.white((8,))
            ),
            "non-finite",
        ),
        (
            lambda: calibration.log_snr_shift(
                np.ones(5),
                sagd.band_pass((8,), [(0, 0.5)]),
                sagd.band_pass((8,), [(0.5, 1)]),
            ),
            "no power",
        ),
        (
            lambda: calibration.log_snr_shift(
                [1.0, 0, 0, 0, 0], sagd.white((8,)), sagd.white((8,))
            ),
            "no power",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
