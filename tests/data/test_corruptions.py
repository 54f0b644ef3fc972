"""Corruptions: what they add, where in the spectrum, and what their randomness is keyed by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax import data, radial_frequency
from sagd_jax.data import DataConfig, DataError, corruptions
from sagd_jax.spectral import spectra


def keys(n, **options):
    return corruptions.example_keys(0, jnp.arange(n), **options)


def power(x):
    axes = tuple(range(1, x.ndim - 1))
    values = np.abs(np.fft.rfftn(np.asarray(x, np.float64), axes=axes, norm="ortho")) ** 2
    return values.mean(axis=(0, -1))


def test_keys_belong_to_examples():
    both = corruptions.example_keys(0, jnp.array([4, 9]))
    one = corruptions.example_keys(0, jnp.array([9]))
    assert both[1] == one[0]
    fresh = [corruptions.example_keys(0, jnp.array([9]), step)[0] for step in (0, 1)]
    assert fresh[0] != fresh[1]
    assert all(key != one[0] for key in fresh)
    assert corruptions.example_keys(1, jnp.array([9]))[0] != one[0]


def test_band_noise_has_its_energy_in_its_band():
    band = spectra.band_pass((16, 16), [(0.4, 0.5)])
    x = jnp.ones((500, 16, 16, 2))
    added = corruptions.shaped_noise(keys(500), x, band, amplitude=0.3) - x
    inside = np.asarray(band.variance)[..., 0] > 0
    assert power(added)[~inside].max() < 1e-10
    energy = np.mean(np.square(added), axis=(1, 2, 3))
    error = energy.std() / np.sqrt(500)
    assert abs(energy.mean() - 0.09) < 5 * error


def test_sinusoids_have_their_frequencies_and_energy():
    added = corruptions.sinusoids(
        keys(50), jnp.zeros((50, 16, 20, 1)), [(3 / 16, -4 / 20)], amplitude=0.5
    )
    np.testing.assert_allclose(np.std(added, axis=(1, 2, 3)), 0.5, rtol=1e-4)
    spectrum = power(added)
    place = np.unravel_index(spectrum.argmax(), spectrum.shape)
    assert place == (13, 4)  # (3, -4) is (-3, 4).
    assert spectrum.max() / spectrum.sum() > 1 - 1e-6
    assert np.ptp(added[:, 0, 0, 0]) > 0.5  # Phases differ.


def test_hum_has_a_fundamental_and_falling_overtones():
    x = jnp.zeros((20, 8000, 2))
    added = corruptions.hum(keys(20), x, 60.0, sample_rate=8000, harmonics=2, amplitude=0.1)
    spectrum = power(added)
    np.testing.assert_allclose(np.std(added, axis=(1, 2)), 0.1, rtol=1e-3)
    lines = spectrum[[60, 120, 180]]
    np.testing.assert_allclose(lines / lines[0], [1, 1 / 4, 1 / 9], rtol=1e-2)
    assert lines.sum() / spectrum.sum() > 1 - 1e-5


def test_a_long_phase_stays_exact():
    n = 2**20
    wave = corruptions.sinusoids(keys(1), jnp.zeros((1, n, 1)), [(0.123456,)], 1.0)[0, :, 0]
    phase = float(jax.random.uniform(keys(1)[0], (1,))[0])
    k = np.arange(n - 5, n)
    expected = np.sqrt(2) * np.cos(2 * np.pi * (0.123456 * k + phase))
    np.testing.assert_allclose(wave[-5:], expected, atol=1e-4)


def test_stripes_are_square_and_along_one_axis():
    added = corruptions.stripes(keys(9), jnp.zeros((9, 16, 12, 1)), 0.25, amplitude=0.2)
    np.testing.assert_allclose(np.abs(added), 0.2, rtol=1e-6)
    np.testing.assert_array_equal(added, np.broadcast_to(added[:, :, :1], added.shape))
    np.testing.assert_allclose(added[:, 2:], -added[:, :-2], rtol=1e-6)


def test_blur_has_a_gaussian_gain():
    x = jax.random.normal(jax.random.key(0), (4, 16, 15, 2))
    y = corruptions.blur(keys(4), x, width=1.5)
    f = radial_frequency((16, 15))
    gain = np.exp(-2 * np.pi**2 * 1.5**2 * f**2)[..., None]
    expected = np.fft.irfftn(
        np.fft.rfftn(np.asarray(x), axes=(1, 2)) * gain, s=(16, 15), axes=(1, 2)
    )
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_jpeg_grid_keeps_flat_blocks_and_drops_fine_detail():
    # A block mean that is a multiple of the DC step 16 (of 8 times the value) is kept exactly.
    flat = jnp.full((1, 16, 24, 3), 2 * 16 / 8 / 127.5)
    np.testing.assert_allclose(corruptions.jpeg_grid(keys(1), flat), flat, atol=1e-6)
    fine = 0.02 * (-1.0) ** jnp.arange(16)[:, None, None] * jnp.ones((1, 16, 16, 1))
    np.testing.assert_allclose(corruptions.jpeg_grid(keys(1), fine), 0, atol=1e-6)
    x = jax.random.uniform(jax.random.key(0), (2, 13, 9, 1), minval=-1, maxval=1)
    np.testing.assert_allclose(corruptions.jpeg_grid(keys(2), x, 0.0), x, atol=1e-5)
    assert corruptions.jpeg_grid(keys(2), x).shape == x.shape


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: corruptions.sinusoids(keys(2), x, [0.1, 0.2]), "vectors of 2 numbers"),
        (lambda x: corruptions.sinusoids(keys(2), x, [(0.1,)]), "vectors of 2 numbers"),
        (lambda x: corruptions.stripes(keys(2), x, 0.6), r"in \(0, 0.5\]"),
        (lambda x: corruptions.jpeg_grid(keys(2), x[..., 0]), "height, width, channels"),
        (lambda x: corruptions.hum(keys(2), x[:, 0], 60.0, 300.0), "at most 50 Hz"),
    ],
)
def test_bad_arguments(function, message):
    with pytest.raises(ValueError, match=message):
        function(jnp.zeros((2, 8, 8, 1)))


BAND = {"corruption": "band", "corruption_band": (0.5, 0.7), "corruption_strength": 0.5}


def test_a_corrupted_source_adds_what_the_function_adds():
    plain, source = data.open_source(DataConfig()), data.open_source(DataConfig(**BAND))
    indices = np.array([5, 900])
    clean = data.normalise(plain.fetch(indices)["x"], (0, 255))
    batch = source.fetch(indices)
    assert batch["x"].dtype == np.float32
    assert source.dtype == np.uint8
    assert batch["corrupted"].all()
    band = spectra.band_pass((8, 8), [(0.5, 0.7)])
    expected = corruptions.shaped_noise(
        corruptions.example_keys(0, jnp.asarray(indices)), clean, band, 0.5
    )
    np.testing.assert_allclose(data.normalise(batch["x"], (0, 255)), expected, atol=1e-5)


def test_frozen_and_fresh():
    frozen = data.open_source(DataConfig(**BAND))
    fresh = data.open_source(DataConfig(**BAND, corruption_frozen=False))
    one, other = ({"seed": 1, "step": 2}, {"seed": 1, "step": 3})
    indices = np.arange(3)
    assert np.array_equal(frozen.fetch(indices, **one)["x"], frozen.fetch(indices, **other)["x"])
    assert np.array_equal(fresh.fetch(indices, **one)["x"], fresh.fetch(indices, **one)["x"])
    assert not np.array_equal(fresh.fetch(indices, **one)["x"], fresh.fetch(indices, **other)["x"])
    # An example does not depend on its batch.
    assert np.array_equal(
        fresh.fetch(indices, **one)["x"][2:], fresh.fetch(indices[2:], **one)["x"]
    )


def test_a_share_of_the_examples_by_rule_and_by_file(tmp_path):
    plain = data.open_source(DataConfig())
    some = data.open_source(DataConfig(**BAND, corrupted_fraction=0.3))
    indices = np.arange(len(plain))
    flags = some.fetch(indices)["corrupted"]
    assert abs(flags.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / len(flags))
    clean = ~flags
    np.testing.assert_array_equal(
        some.fetch(indices[clean])["x"], plain.fetch(indices[clean])["x"].astype(np.float32)
    )
    changed = some.fetch(indices[flags])["x"] != plain.fetch(indices[flags])["x"]
    assert changed.any(axis=(1, 2, 3)).all()

    np.save(tmp_path / "flags.npy", flags)
    path = str(tmp_path / "flags.npy")
    by_file = data.open_source(DataConfig(**BAND, corrupted_flags=path))
    np.testing.assert_array_equal(by_file.fetch(indices)["x"], some.fetch(indices)["x"])
    # Without a corruption the flags say what is on disk already.
    flagged = data.open_source(DataConfig(corrupted_flags=path)).fetch(indices)
    np.testing.assert_array_equal(flagged["corrupted"], flags)
    assert flagged["x"].dtype == np.uint8

    np.save(tmp_path / "short.npy", flags[:-1])
    with pytest.raises(DataError, match=r"expected an \.npy of 1437 booleans"):
        data.open_source(DataConfig(corrupted_flags=str(tmp_path / "short.npy")))


@pytest.mark.parametrize(
    "changes",
    [
        {"corruption": "moire", "corruption_frequency": (0.25, 0.125, 0.375, 0.0)},
        {"corruption": "wedge", "corruption_angle": 90.0, "corruption_band": (0.3, 1.0)},
        {"corruption": "stripes", "corruption_frequency": (0.25,)},
        {"corruption": "jpeg_grid"},
        {"corruption": "blur"},
    ],
)
def test_every_corruption_by_config(changes):
    source = data.open_source(DataConfig(**changes))
    x = source.fetch(np.arange(4))["x"]
    assert np.isfinite(x).all()
    assert not np.array_equal(x, data.open_source(DataConfig()).fetch(np.arange(4))["x"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corruption": "band"}, r"expected \(low, high\)"),
        ({"corruption": "band", "corruption_band": (0.4, 0.5)}, "holds no frequency"),
        ({"corruption": "hum", "corruption_frequency": (60.0,)}, "hum is for audio"),
        ({"corruption": "moire", "corruption_frequency": (0.1,)}, "vectors of 2 numbers"),
        ({"corruption": "stripes"}, "expected one number"),
    ],
)
def test_corruptions_that_do_not_fit_the_data(changes, message):
    with pytest.raises(DataError, match=message) as raised:
        data.open_source(DataConfig(**changes))
    assert "\n" not in str(raised.value)


def test_noise_per_example_is_exact():
    """Two covariances that share a key share their draw, so a choice per example is a `where`."""
    hole, full = spectra.band_pass((8, 8), [(0, 0.5), (0.7, 1)]), spectra.white((8, 8))
    key, shape = jax.random.key(0), (6, 8, 8, 1)
    corrupted = jnp.array([True, False] * 3)
    choice = jnp.where(
        corrupted[:, None, None, None], hole.sample(key, shape), full.sample(key, shape)
    )
    np.testing.assert_allclose(hole.project(choice)[::2], choice[::2], atol=1e-5)
    np.testing.assert_array_equal(choice[1::2], jax.random.normal(key, shape)[1::2])
