"""Spectra of data: the estimate, the power law, planted corruptions, and no false alarms."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax import corruptions, data, power_law, radial_frequency, spectra, spectrum
from sagd_jax.anomalies import find_anomalies, suggested_mask
from sagd_jax.data import DataConfig
from sagd_jax.frequencies import hermitian_multiplicity
from sagd_jax.power_spectrum import (
    energy_share,
    estimate,
    fit_power_law,
    radial_profile,
    to_full_grid,
)

ENERGY = 0.05  # of a planted corruption, relative to the data's


def fields(shape, alpha, n, seed=0, channels=1):
    covariance = power_law(shape, alpha)
    return np.asarray(covariance.sample(jax.random.key(seed), (n, *shape, channels)))


def digits():
    source = data.load(DataConfig(split="all"))
    return np.asarray(data.normalise(source.fetch(np.arange(1797))["x"], (0, 255)))


def keys(x):
    return corruptions.example_keys(0, jnp.arange(len(x)))


def amplitude(x):
    return float(np.sqrt(ENERGY * x.var()))


def plant(x, covariance):
    return np.asarray(corruptions.shaped_noise(keys(x), x, covariance, amplitude(x)))


def support(covariance):
    return np.asarray(covariance.variance)[..., 0] > 0


def found_mask(anomalies):
    return np.any([anomaly.mask for anomaly in anomalies], axis=0)


def within_one_bin(a, b):
    """Whether each bin of the half-grid set `a` has one of `b` next to it or in its place."""
    return not np.any(a & ~wider(b))


def wider(mask):
    shape = (*mask.shape[:-1], 2 * (mask.shape[-1] - 1))
    full = to_full_grid(mask, shape)
    for axis in range(full.ndim):
        full = full | np.roll(full, 1, axis) | np.roll(full, -1, axis)
    return full[..., : mask.shape[-1]]


@pytest.mark.parametrize("shape", [(16,), (9,), (8, 9), (7, 8), (4, 6, 5)])
@pytest.mark.parametrize("pieces", [False, True])
def test_the_estimate_agrees_with_the_truth(shape, pieces):
    x = 3 + 2 * fields(shape, -0.6, 2000, channels=2)
    batches = [x[:700], x[700:]] if pieces else x
    result = estimate(batches, window="none")
    expected = 4 * np.asarray(power_law(shape, -0.6).variance)
    away = np.abs(result.power - expected) / result.standard_error
    assert away.max() < 5
    # Of a Gaussian field the spread of |F x|^2 is known: its mean, or root 2 times it where real.
    relative = result.standard_error / result.power * np.sqrt(2000)
    assert np.all((relative > 0.85) & (relative < 1.65))
    np.testing.assert_allclose(result.mean, x.mean(axis=tuple(range(x.ndim - 1))), rtol=1e-5)


def test_energy_is_the_variance():
    x = fields((8, 9), -0.5, 100) + 5.0
    result = estimate(x, window="none")
    weights = hermitian_multiplicity((8, 9))[:, None]
    assert (result.power * weights).sum() / 72 == pytest.approx(x.var(), rel=1e-5)
    everything = np.ones(result.power.shape[:-1], bool)
    assert energy_share(result, everything) == pytest.approx(1)


def test_means():
    pattern = np.cos(2 * np.pi * 3 * np.arange(16) / 16)[:, None]
    x = fields((16,), 0.0, 4000) + pattern + 2.0
    per_channel, per_site, none = (
        estimate(x, mean=mean, window="none").power[:, 0] for mean in ("channel", "site", "none")
    )
    assert per_channel[3] == pytest.approx(1 + 16 / 4, rel=0.1)
    assert per_site[3] == pytest.approx(1, rel=0.1)
    assert none[0] == pytest.approx(1 + 16 * 4, rel=0.1)
    assert per_channel[0] == pytest.approx(1, rel=0.1)


def test_the_window_removes_leakage():
    # A ramp is not periodic: without a taper it leaks like 1 / f^2, with one it does not.
    slopes = np.random.default_rng(0).normal(size=(200, 1, 1))
    x = slopes * np.linspace(-1, 1, 64)[:, None] + 1e-3 * fields((64,), 0.0, 200)
    plain, tapered = (estimate(x, window=w).power[20, 0] for w in ("none", "hann"))
    assert tapered < 0.01 * plain
    assert estimate(x).window == "hann"
    assert estimate(fields((64,), -1.0, 200)).window == "none"


def test_the_window_keeps_the_level_of_white_noise():
    result = estimate(fields((16, 16), 0.0, 4000), window="hann")
    assert result.power[4:, 4:].mean() == pytest.approx(1, abs=0.02)


def test_the_innovation_of_a_stationary_field_is_its_spectrum():
    shape = (6, 5)
    result = estimate(fields(shape, -0.5, 20_000), window="none")
    expected = np.asarray(power_law(shape, -0.5).variance)[..., 0]
    np.testing.assert_allclose(result.innovation, expected, rtol=0.1)


def test_the_innovation_ignores_what_can_be_predicted():
    # Every example is one pattern at a random size: all frequencies are known from any one of them.
    pattern = np.random.default_rng(0).normal(size=(1, 8, 8, 1))
    sizes = np.random.default_rng(1).normal(size=(5000, 1, 1, 1))
    result = estimate(sizes * pattern, window="none")
    assert result.innovation.max() < 0.01 * result.power.mean()
    assert estimate(fields((8, 8), 0.0, 100)).innovation is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: estimate(np.zeros((1, 8, 1))), "1 examples; expected at least two"),
        (lambda: estimate([]), "0 examples"),
        (lambda: estimate([np.zeros((2, 8, 1)), np.zeros((2, 9, 1))]), "examples of shapes"),
        (lambda: estimate(np.zeros((2, 8, 1)), mean="all"), "mean='all'"),
        (lambda: estimate(np.zeros((2, 8, 1)), window="box"), "window='box'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_radial_profile_averages_rings():
    shape = (16, 16)
    x = fields(shape, -0.8, 3000)
    radius, power, error = radial_profile(estimate(x, window="none"))
    truth = np.asarray(power_law(shape, -0.8).variance)[..., 0]
    weights = np.broadcast_to(hermitian_multiplicity(shape), truth.shape)
    r = radial_frequency(shape)
    ring = np.round(r * 16).astype(int)
    expected = [
        np.average(truth[(ring == k) & (r > 0)], weights=weights[(ring == k) & (r > 0)])
        for k in range(1, len(radius) + 1)
    ]
    assert np.all(np.abs(power - expected) < 5 * error)
    # Averaging over a ring of N independent bins divides the error by the root of N.
    assert error[6] / power[6] < 0.5 / np.sqrt(3000)


@pytest.mark.parametrize(
    ("shape", "alpha"),
    [((256,), -1.0), ((100,), 0.3), ((32, 32), -1.5), ((17, 20), -0.5), ((8, 12, 10), -1.0)],
)
def test_the_power_law_is_recovered_from_200_examples(shape, alpha):
    law = fit_power_law(estimate(fields(shape, alpha, 200)))
    assert abs(law.alpha - alpha) < 0.05
    assert abs(law.alpha - alpha) < 5 * law.standard_error


def test_omitted_bins_do_not_count_in_the_fit():
    x = fields((32, 32), -1.0, 400)
    band = spectra.band_pass((32, 32), [(0.6, 0.8)])
    spoilt = estimate(x + np.asarray(band.sample(jax.random.key(1), x.shape)))
    assert abs(fit_power_law(spoilt).alpha + 1) > 0.1
    assert abs(fit_power_law(spoilt, omit=support(band)).alpha + 1) < 0.03


SHAPES = [(32, 32), (24, 40), (256,), (8, 16, 16)]


@pytest.mark.parametrize("seed", range(20))
def test_clean_fields_raise_no_alarm(seed):
    rng = np.random.default_rng(seed)
    shape = SHAPES[seed % 4]
    alpha = rng.uniform(-1.5, 0.5)
    x = fields(shape, alpha, int(rng.integers(60, 300)), seed)
    assert find_anomalies(estimate(x)) == []


def test_clean_digits_raise_no_alarm():
    assert find_anomalies(estimate(digits())) == []


@pytest.mark.parametrize("low", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("alpha", [-1.0, -0.5])
def test_a_band_in_fields_is_found(low, alpha):
    band = spectra.band_pass((32, 32), [(low, low + 0.1)])
    (found,) = find_anomalies(estimate(plant(fields((32, 32), alpha, 400), band)))
    assert found.kind == "band"
    assert within_one_bin(found.mask, support(band))
    assert within_one_bin(support(band), found.mask)
    top = np.sqrt(0.5)
    assert abs(found.low - low * top) < 1 / 32
    assert abs(found.high - (low + 0.1) * top) < 1 / 32


def test_a_band_in_digits_is_found():
    band = spectra.band_pass((8, 8), [(0.5, 0.7)])
    (found,) = find_anomalies(estimate(plant(digits(), band)))
    assert found.kind == "band"
    np.testing.assert_array_equal(found.mask, support(band))
    # 5 % of what was there, and what was there: that is what a hole would remove.
    result = estimate(plant(digits(), band))
    assert found.energy == pytest.approx(energy_share(result, support(band)))
    assert found.energy > ENERGY / (1 + ENERGY)


@pytest.mark.parametrize("n", [400])
def test_a_moire_of_two_vectors_is_found(n):
    vectors = [(5 / 32, 3 / 32), (0.3, -0.2)]  # On a bin, and between bins.
    x = fields((32, 32), -1.0, n)
    x = np.asarray(corruptions.sinusoids(keys(x), x, vectors, amplitude(x)))
    anomalies = find_anomalies(estimate(x))
    assert [anomaly.kind for anomaly in anomalies] == ["line", "line"]
    for vector in vectors:
        gaps = [
            min(
                max(abs(f - s * v) for f, v in zip(anomaly.frequency, vector, strict=True))
                for s in (1, -1)
            )
            for anomaly in anomalies
        ]
        assert min(gaps) < 1 / 32


@pytest.mark.parametrize(("angle", "width"), [(30.0, 30.0), (0.0, 20.0), (135.0, 40.0)])
def test_a_wedge_is_found(angle, width):
    direction = (np.sin(np.radians(angle)), np.cos(np.radians(angle)))
    cone = spectra.wedge((32, 32), direction, width, (0.3, 1.0))
    (found,) = find_anomalies(estimate(plant(fields((32, 32), -1.0, 400), cone)))
    assert found.kind == "wedge"
    assert within_one_bin(found.mask, support(cone))
    assert within_one_bin(support(cone), found.mask)
    assert min(abs(found.angle - angle), 180 - abs(found.angle - angle)) < 5


def test_a_wedge_in_digits_is_found():
    cone = spectra.wedge((8, 8), (np.sin(np.radians(30)), np.cos(np.radians(30))), 30.0, (0.3, 1))
    found = found_mask(find_anomalies(estimate(plant(digits(), cone))))
    assert within_one_bin(found, support(cone))
    assert within_one_bin(support(cone), found)


def test_hum_and_its_harmonics_are_found():
    rate, length = 16_000, 16_384
    x = fields((length,), -0.5, 60)
    x = np.asarray(corruptions.hum(keys(x), x, 60.0, rate, harmonics=2, amplitude=amplitude(x)))
    anomalies = find_anomalies(estimate(x))
    assert {anomaly.kind for anomaly in anomalies} == {"line"}
    hertz = sorted(anomaly.frequency[0] * rate for anomaly in anomalies)
    np.testing.assert_allclose(hertz, [60, 120, 180], atol=rate / length)


@pytest.mark.parametrize("frequency", [0.25, 0.3])
def test_flicker_is_found(frequency):
    x = fields((16, 16, 16), -1.0, 80)
    vectors = [(frequency, 0.0, 0.0)]
    x = np.asarray(corruptions.sinusoids(keys(x), x, vectors, amplitude(x)))
    (found,) = find_anomalies(estimate(x))
    assert found.kind == "line"
    assert abs(abs(found.frequency[0]) - frequency) < 1 / 16
    assert found.frequency[1:] == (0.0, 0.0)


def test_a_temporal_band_is_found():
    band = spectra.band_pass((16, 16, 16), [(0.3, 0.4)], "cycles", axes=(0,))
    (found,) = find_anomalies(estimate(plant(fields((16, 16, 16), -1.0, 80), band)))
    assert found.axes == (0,)
    np.testing.assert_array_equal(found.mask, support(band))


def test_the_suggested_mask_omits_what_was_found_and_a_margin():
    band = spectra.band_pass((32, 32), [(0.4, 0.5)])
    result = estimate(plant(fields((32, 32), -1.0, 400), band))
    anomalies = find_anomalies(result)
    exact, wide = (suggested_mask(result, anomalies, margin) for margin in (0, 2))
    np.testing.assert_array_equal(exact == 0, anomalies[0].mask)
    radius = radial_frequency((32, 32)) * 32
    low, high = radius[support(band)].min(), radius[support(band)].max()
    np.testing.assert_array_less(low - 2 - 1e-9, radius[wide == 0])
    np.testing.assert_array_less(radius[wide == 0], high + 2 + 1e-9)
    assert (wide == 0).sum() > (exact == 0).sum()
    hole = spectra.from_variance(wide, (32, 32))
    np.testing.assert_allclose(
        hole.project(band.sample(jax.random.key(0), (2, 32, 32, 1))), 0, atol=1e-4
    )
    assert np.all(suggested_mask(result, []) == 1)
    with pytest.raises(ValueError, match="margin=-1"):
        suggested_mask(result, anomalies, -1)


def test_from_an_estimate_the_signal_to_noise_ratio_is_equal():
    result = estimate(fields((16, 16), -1.0, 2000, channels=2))
    covariance = spectra.from_data(result.power, (16, 16))
    ratio = result.power / np.asarray(covariance.variance)
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-5)


def config_file(folder, **fields):
    lines = [f"    config.data.{name} = {value!r}" for name, value in fields.items()]
    path = folder / "config.py"
    path.write_text(
        "from sagd_jax.training.config import default\n\n\ndef get_config():\n"
        "    config = default()\n" + "\n".join(lines) + "\n    return config\n"
    )
    return path


def test_the_program(tmp_path, capsys):
    config = config_file(
        tmp_path,
        name="synthetic",
        num_examples=400,
        corruption="band",
        corruption_band=(0.4, 0.5),
        corruption_strength=0.06,
    )
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--num_examples=300"])
    printed = capsys.readouterr().out
    for text in ("300 of 400 examples", "+- s.e.", "1. band 0.28", "% of the data's energy"):
        assert text in printed
    assert {path.name for path in out.iterdir()} == {
        "spectrum.png",
        "spectrum.json",
        "power.npy",
        "equal_snr.npy",
        "omission.npy",
        "noise_config.py",
    }
    numbers = json.loads((out / "spectrum.json").read_text())
    assert numbers["num_examples"] == 300
    assert numbers["anomalies"][0]["kind"] == "band"
    assert 0 < numbers["energy_removed_by_omission"] < 0.3
    # The snippet is a config that names a valid covariance.
    from sagd_jax.training import config as run_config
    from sagd_jax.training import factory

    text = config.read_text().replace(
        "    return config",
        "".join(f"    {line}\n" for line in (out / "noise_config.py").read_text().splitlines())
        + "    return config",
    )
    config.write_text(text)
    covariance = factory.covariance(run_config.load(str(config)).noise, (32, 32))
    band = spectra.band_pass((32, 32), [(0.4, 0.5)])
    np.testing.assert_allclose(
        covariance.project(band.sample(jax.random.key(0), (1, 32, 32, 1))), 0, atol=1e-4
    )


def test_the_program_on_clean_data_suggests_equal_snr(tmp_path, capsys):
    config = config_file(tmp_path, name="synthetic", num_examples=200, field_shape=(64,))
    spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", "--exponent=0.5"])
    assert "nothing stands out" in capsys.readouterr().out
    assert not (tmp_path / "out" / "omission.npy").exists()
    power = np.load(tmp_path / "out" / "power.npy")
    variance = np.load(tmp_path / "out" / "equal_snr.npy")
    ratio = np.sqrt(power) / variance
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_examples=1"], "--num_examples=1: expected at least 2"),
        (["--margin=-1"], "--margin=-1.0"),
        (["--config.data.split=trian"], "'train', 'test', 'all'"),
        (["--config.data.nam=digits"], "did you mean 'name'"),
        (["--windw=hann"], "did you mean --window"),
    ],
)
def test_faults_of_the_program(tmp_path, capsys, flags, message):
    config = config_file(tmp_path, name="digits")
    with pytest.raises(SystemExit) as raised:
        spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", *flags])
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_program_does_not_write_where_the_data_are(tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "x.png")
    config = config_file(tmp_path, name="folder", dir=str(folder))
    with pytest.raises(SystemExit):
        spectrum.main([f"--config={config}", f"--out={folder / 'out'}"])
    assert "where nothing is ever written" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["x.png"]
