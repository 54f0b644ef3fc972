"""Sources without files: digits, synthetic, arrays, latents, augmentation, and the interface."""

import jax
import numpy as np
import pytest
from snapshots import snapshot

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError
from sagd_jax.data.source import check_indices
from sagd_jax.system import schema


def test_digits_splits():
    train, test, everything = (
        data.open_source(DataConfig(split=s)) for s in ("train", "test", "all")
    )
    assert (len(train), len(test), len(everything)) == (1437, 360, 1797)
    assert train.shape == (8, 8, 1)
    assert train.dtype == np.uint8
    assert train.num_classes == 10
    labels = [s.fetch(np.arange(len(s)))["label"] for s in (train, test)]
    for digit in range(10):
        # Every fifth of a class, give or take one.
        held_out, kept = (labels[1] == digit).sum(), (labels[0] == digit).sum()
        assert abs(held_out - (held_out + kept) / 5) <= 1
    x = everything.fetch(np.arange(1797))["x"]
    both = np.concatenate([s.fetch(np.arange(len(s)))["x"] for s in (train, test)])
    assert sorted(map(bytes, x)) == sorted(map(bytes, both))


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    raw = load_digits().images
    x = data.open_source(DataConfig(split="all")).fetch(np.arange(1797))["x"][..., 0]
    assert x.max() == 255
    np.testing.assert_allclose(x.astype(float) * 16 / 255, raw, atol=16 / 255 / 2 + 1e-9)


def test_synthetic_fields_have_their_spectrum():
    config = DataConfig(
        name="synthetic", field_shape=(8, 9), field_alpha=-0.7, num_examples=3000, channels=2
    )
    source = data.open_source(config)
    assert source.shape == (8, 9, 2)
    assert source.kind == "field"
    x = source.fetch(np.arange(3000))["x"].astype(np.float64)
    power = np.abs(np.fft.rfftn(x, axes=(1, 2), norm="ortho")) ** 2
    from sagd_jax import power_law

    expected = np.asarray(power_law((8, 9), alpha=-0.7).variance)
    error = power.std(axis=0) / np.sqrt(3000)
    assert np.all(np.abs(power.mean(axis=0) - expected) < 5 * error)


def test_synthetic_splits_are_apart_and_fixed():
    base = {"name": "synthetic", "field_shape": (16,), "num_examples": 300}
    train, test, longer = (
        data.open_source(DataConfig(**base | changes)).fetch(np.arange(300))["x"]
        for changes in ({}, {"split": "test"}, {"num_examples": 400})
    )
    assert not np.any(np.all(train == test, axis=(1, 2)))
    np.testing.assert_array_equal(train, longer)


def test_values_go_to_the_unit_range_and_back():
    x = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = data.normalise(x, (0, 255))
    assert float(unit.min()) == -1
    assert float(unit.max()) == 1
    np.testing.assert_array_equal(data.denormalise(unit, (0, 255), np.uint8), x)
    beyond = data.denormalise(np.array([-3.0, 3.0]), (0, 255), np.uint8)
    np.testing.assert_array_equal(beyond, [0, 255])


def test_ranges_per_channel():
    low, high = (0.0, -2.0), (1.0, 2.0)
    x = np.array([[[0.0, -2.0], [1.0, 2.0]]], np.float32)
    np.testing.assert_allclose(
        data.normalise(x, (low, high)), [[[-1, -1], [1, 1]]], rtol=0, atol=1e-6
    )
    back = data.denormalise(data.normalise(x, (low, high)), (low, high), np.float32)
    np.testing.assert_allclose(back, x, atol=1e-6)


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (20, 6, 7, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", images=x, label=np.arange(20) % 4)
    before = snapshot(tmp_path)
    for file, classes, limit in (("x.npy", 0, 2048), ("x.npy", 0, 0), ("x.npz", 4, 2048)):
        source = data.open_source(
            DataConfig(name="array", dir=str(tmp_path / file), memory_limit_mb=limit)
        )
        assert source.value_range == (0, 255)
        assert source.num_classes == classes
        assert source.in_memory == (limit > 0)
        batch = source.fetch(np.array([3, 0, 3]))
        np.testing.assert_array_equal(batch["x"], x[[3, 0, 3]])
        np.testing.assert_array_equal(batch["label"], [3, 0, 3] if classes else [0, 0, 0])
        assert not batch["corrupted"].any()
    assert snapshot(tmp_path) == before


def test_float_arrays_are_float32_in_their_range(tmp_path):
    x = np.linspace(-5, 5, 80).reshape(4, 20, 1)
    np.save(tmp_path / "x.npy", x)
    source = data.open_source(
        DataConfig(name="array", dir=str(tmp_path / "x.npy"), value_range=(-5.0, 5.0))
    )
    batch = source.fetch(np.arange(4))
    assert batch["x"].dtype == np.float32
    unit = data.normalise(batch["x"], source.value_range)
    np.testing.assert_allclose(unit, x / 5, atol=1e-6)


def test_latents_get_unit_statistics_and_go_back(tmp_path):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 4, 4, 3)) * [0.1, 5.0, 2.0] + [1000.0, 0.0, -3.0]).astype(np.float32)
    np.save(tmp_path / "z.npy", x)
    source = data.open_source(DataConfig(name="latents", dir=str(tmp_path / "z.npy")))
    assert source.kind == "latents"
    unit = np.asarray(
        data.normalise(source.fetch(np.arange(50))["x"], source.value_range), np.float64
    )
    np.testing.assert_allclose(unit.mean(axis=(0, 1, 2)), 0, atol=1e-2)
    np.testing.assert_allclose(unit.std(axis=(0, 1, 2)), 1, atol=1e-2)
    back = data.denormalise(unit, source.value_range, np.float32)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5)


def test_latents_take_given_statistics(tmp_path):
    x = np.zeros((3, 4, 4, 2), np.float32)
    np.savez(tmp_path / "z.npz", x=x, mean=np.array([1.0, 2.0]), std=np.array([2.0, 4.0]))
    source = data.open_source(DataConfig(name="latents", dir=str(tmp_path / "z.npz")))
    unit = data.normalise(source.fetch(np.arange(3))["x"], source.value_range)
    np.testing.assert_allclose(unit[0, 0, 0], [-0.5, -0.5])


def save(path, x):
    np.save(path, x)
    return path


def with_value(value):
    x = np.zeros((3, 8, 8, 1), np.float32)
    x[1, 2, 3] = value
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (with_value(np.nan), "example 1 has NaN or infinite values"),
        (with_value(np.inf), "example 1 has NaN or infinite values"),
        (with_value(1.5), r"values from 0 to 1.5 leave data.value_range=\(-1, 1\)"),
        (np.zeros((3, 28, 28), np.uint8), "images without a channel axis"),
        (np.zeros((3, 28), np.uint8), "one to three spatial axes"),
        (np.zeros((0, 8, 8, 1), np.uint8), "one to three spatial axes"),
        (np.zeros((3, 8, 8, 1), np.int64), "dtype int64; expected uint8 or floats"),
        (np.array([{}], object), "cannot be read"),
    ],
)
def test_bad_arrays(tmp_path, x, message):
    np.save(tmp_path / "x.npy", x, allow_pickle=True)
    with pytest.raises(DataError, match=message) as raised:
        data.open_source(DataConfig(name="array", dir=str(tmp_path / "x.npy")))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "digits", "split": "trian"}, "'train', 'test', 'all'"),
        ({"name": "synthetic", "split": "all"}, "'train', 'test'"),
        ({"name": "array", "dir": "none.npy"}, "does not exist"),
        ({"name": "array", "dir": "none.npy", "split": "test"}, "has no splits"),
        ({"name": "synthetic", "field_shape": (2, 2, 2, 2)}, "one to three sizes"),
        ({"name": "digits", "crop_padding": 8}, "expected less than 8"),
        ({"name": "tfds"}, "data.tfds_name"),
    ],
)
def test_bad_configs(config, message):
    with pytest.raises(DataError, match=message):
        data.open_source(DataConfig(**config))


def test_latents_that_cannot_be(tmp_path):
    flat = save(tmp_path / "flat.npy", np.ones((4, 4, 4, 2), np.float32))
    ints = save(tmp_path / "ints.npy", np.ones((4, 4, 4, 2), np.uint8))
    for path, message in ((flat, "channel 0 is constant"), (ints, "expected floats")):
        with pytest.raises(DataError, match=message):
            data.open_source(DataConfig(name="latents", dir=str(path)))


def test_two_arrays_need_a_key(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros((2, 8, 1)), b=np.zeros((2, 8, 1)))
    with pytest.raises(DataError, match="holds a, b"):
        data.open_source(DataConfig(name="array", dir=str(tmp_path / "x.npz")))
    data.open_source(DataConfig(name="array", dir=str(tmp_path / "x.npz"), array_key="b"))


def test_the_schema_refuses_fields_without_effect():
    for values, message in (
        ({"window": 100}, "has no effect"),
        ({"nam": "digits"}, "did you mean 'name'"),
        ({"name": "digitz"}, "expected one of"),
        ({"name": "mnist", "image_size": -1}, "at least 0"),
        ({"corruption_band": (0.1, 0.2)}, "has no effect"),
    ):
        with pytest.raises(schema.ConfigError, match=message):
            schema.build(DataConfig, values, "config.data")


def test_indices_are_checked():
    with pytest.raises(IndexError, match=r"\[0, 5\)"):
        check_indices([5], 5)


def test_flips_are_keyed_by_seed_step_and_index():
    plain = data.open_source(DataConfig())
    flipping = data.open_source(DataConfig(flip=True))
    indices = np.arange(400)
    x = plain.fetch(indices)["x"]
    y = flipping.fetch(indices, seed=1, step=2)["x"]
    mirrored = np.array([np.array_equal(a[:, ::-1], b) for a, b in zip(x, y, strict=True)])
    kept = np.array([np.array_equal(a, b) for a, b in zip(x, y, strict=True)])
    assert np.all(mirrored | kept)
    assert abs(mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(400)
    # Alone, in another order, or in another batch, an example is treated alike.
    again = flipping.fetch(indices[::-1][:7], seed=1, step=2)["x"]
    np.testing.assert_array_equal(again, y[::-1][:7])
    assert not np.array_equal(flipping.fetch(indices, seed=1, step=3)["x"], y)
    assert not np.array_equal(flipping.fetch(indices, seed=2, step=2)["x"], y)


def test_crops_are_windows_of_the_reflected_example():
    plain = data.open_source(DataConfig())
    cropping = data.open_source(DataConfig(crop_padding=2))
    x = plain.fetch(np.arange(200))["x"]
    y = cropping.fetch(np.arange(200), seed=0, step=5)["x"]
    places = set()
    for a, b in zip(x, y, strict=True):
        padded = np.pad(a, [(2, 2), (2, 2), (0, 0)], mode="reflect")
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(padded[i : i + 8, j : j + 8], b)
        ]
        assert fits
        places.update(fits)
    assert len(places) == 25


def test_sources_give_numpy_and_leave_the_devices_alone():
    with jax.transfer_guard("disallow"):
        batch = data.open_source(DataConfig(flip=True, crop_padding=1)).fetch(np.arange(3))
    assert all(isinstance(value, np.ndarray) for value in batch.values())
