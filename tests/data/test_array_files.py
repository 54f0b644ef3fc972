"""Files of arrays: what is damaged, what float32 cannot hold, and the classes in them."""

import numpy as np
import pytest

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError

X = np.random.default_rng(0).random((6, 8, 8, 1))


def opened(path, name="array", **changes):
    return data.open_source(DataConfig(name=name, dir=str(path), **changes))


def npz(path, **arrays):
    np.savez(path / "a.npz", **{"x": X} | arrays)
    return path / "a.npz"


def npy(path, x, **options):
    np.save(path / "a.npy", x, **options)
    return path / "a.npy"


def change(path, place, value=None):
    body = bytearray(path.read_bytes())
    body[place] = body[place] ^ 255 if value is None else value
    path.write_bytes(body)


def test_a_damaged_npz_is_refused_in_one_line(tmp_path):
    for name, damage in (
        ("cut", lambda path: path.write_bytes(path.read_bytes()[:1500])),
        ("values", lambda path: change(path, 1000)),
        ("empty", lambda path: path.write_bytes(b"")),
        ("text", lambda path: path.write_bytes(b"hello")),
    ):
        path = npz(tmp_path)
        damage(path)
        with pytest.raises(DataError, match=r"a\.npz': cannot be read: ") as raised:
            opened(path)
        assert "\n" not in str(raised.value), name


def test_a_directory_that_lost_an_array_is_refused(tmp_path):
    """The labels would be gone without a word."""
    path = npz(tmp_path, label=np.arange(6))
    place = path.read_bytes().rindex(b"label.npy")
    change(path, place)
    with pytest.raises(DataError, match="File name in directory"):
        opened(path)
    path = npz(tmp_path, label=np.arange(6))
    change(path, place + len("label"))  # no longer an .npy
    with pytest.raises(DataError, match="File name in directory"):
        opened(path)
    path = npz(tmp_path, label=np.arange(6))
    body = path.read_bytes()
    change(path, body.index(b"PK\x01\x02") + 32, 55)  # the first's comment swallows the second
    with pytest.raises(DataError, match="cannot be read"):
        opened(path)


def test_arrays_without_a_use_are_named(tmp_path, caplog):
    assert opened(npz(tmp_path, labels=np.arange(6))).num_classes == 0
    assert "passed over its arrays labels" in caplog.text


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.arange(6) * 10**8, "holds 500000000; .* below 16777216; number the classes 0, 1, 2"),
        (np.full(6, 3_100_000_000), "holds 3100000000"),
        (np.full(6, 2**64 - 1, np.uint64), "holds 18446744073709551615"),
        (np.arange(6) - 1, "holds -1; expected whole numbers >= 0"),
        (np.arange(6.0), "float64 of shape .*; expected 6 whole numbers"),
        (np.zeros((6, 1), int), r"int64 of shape \(6, 1\); expected 6 whole numbers"),
    ],
)
def test_labels_that_cannot_be(tmp_path, label, message):
    with pytest.raises(DataError, match=f"label: {message}"):
        opened(npz(tmp_path, label=label))


def test_classes_without_an_example_are_named(tmp_path, caplog):
    assert opened(npz(tmp_path, label=np.array([0, 5, 9, 9, 9, 9]))).num_classes == 10
    assert "label: 7 of 10 classes have no example: 1, 2, 3, 4, 6, ..." in caplog.text


@pytest.mark.parametrize(
    "value_range", [(0.999999999, 1.000000001), (0.99999, 1.0), (-1e300, 1e300), (0.0, 1e-40)]
)
def test_ranges_that_float32_cannot_resolve(tmp_path, value_range):
    x = np.full_like(X, np.mean(value_range))
    with pytest.raises(DataError, match=r"data.value_range: from .* does not resolve") as raised:
        opened(npy(tmp_path, x), value_range=value_range)
    assert "\n" not in str(raised.value)


def test_latents_that_float32_cannot_resolve(tmp_path):
    message = "channel 0, mean .* float32 does not resolve .*; subtract the mean"
    with pytest.raises(DataError, match=message):
        opened(npy(tmp_path, 1e4 + 1e-4 * X), "latents")
    with pytest.raises(DataError, match=message):
        opened(npz(tmp_path, mean=[3e4], std=[1e-4]), "latents")
    with pytest.raises(DataError, match=r"example 0 has a value beyond float32"):
        opened(npz(tmp_path, x=X * 1e300, mean=[0.0], std=[1.0]), "latents")


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"mean": [0.0]}, "holds mean alone; expected mean and std"),
        ({"mean": ["a"], "std": [1.0]}, "mean of dtype <U1; expected floats"),
        ({"mean": [0.0], "std": [-1.0]}, "std -1; expected more than 0"),
    ],
)
def test_statistics_that_cannot_be(tmp_path, statistics, message):
    with pytest.raises(DataError, match=message):
        opened(npz(tmp_path, **statistics), "latents")


def test_what_to_do_about_values_beyond_the_range(tmp_path):
    message = r"to 1.02 leave data.value_range=\(-1, 1\); give data.value_range their low and high"
    with pytest.raises(DataError, match=message):
        opened(npy(tmp_path, X * (1.02 / X.max())))


@pytest.mark.parametrize("limit", [0, 2048])
@pytest.mark.parametrize("stored", [">f4", "<f8", "float16", "F"])
def test_every_byte_order_layout_and_width(tmp_path, stored, limit):
    x = np.asfortranarray(X) if stored == "F" else X.astype(stored)
    source = opened(npy(tmp_path, x), memory_limit_mb=limit)
    got = source.fetch(np.array([4, 0]))["x"]
    np.testing.assert_array_equal(got, x[[4, 0]].astype(np.float32))


@pytest.mark.parametrize("shape", ["(10**12, 8, 8, 1)", "(9" * 3, "(-1, 8, 8, 1)", "(1, 8, 8, 1)"])
def test_headers_that_the_file_does_not_fit(tmp_path, shape):
    path = npy(tmp_path, X)
    body = path.read_bytes().replace(b"(6, 8, 8, 1)", shape.replace("10**12", "9" * 12).encode())
    path.write_bytes(body)
    with pytest.raises(DataError, match=r"a.npy': cannot be read: ") as raised:
        opened(path)
    assert "\n" not in str(raised.value)


def test_clips_in_an_npz_keep_their_classes(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 3, 8, 8, 1), np.uint8), label=np.arange(4))
    source = opened(tmp_path / "a.npz", "video")
    assert source.num_classes == 4
    np.testing.assert_array_equal(source.fetch(np.array([2]))["label"], [2])


@pytest.mark.parametrize("damage", ["cut", "pickled", "value", "archive"])
def test_damaged_flags_are_refused_in_one_line(tmp_path, damage):
    examples = npz(tmp_path)
    path = npy(tmp_path, np.zeros(6, bool))
    opened(examples, corrupted_flags=str(path))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "pickled":
        npy(tmp_path, np.array([None] * 6), allow_pickle=True)
    elif damage == "value":
        change(path, -3, 64)
    else:
        path.write_bytes(examples.read_bytes())
    with pytest.raises(DataError, match=r"data.corrupted_flags='.*a.npy': ") as raised:
        opened(examples, corrupted_flags=str(path))
    assert "\n" not in str(raised.value)


def test_recordings_and_pictures_are_cut_into_windows(tmp_path):
    def made(x, window):
        limits = () if x.dtype == np.uint8 else (-1.0, 1.0)
        return opened(npy(tmp_path, x), array_window=window, value_range=limits)

    recording = np.linspace(-1, 1, 1000).astype(np.float32)
    source = made(recording, (256,))
    assert len(source) == 3 and source.shape == (256, 1)
    np.testing.assert_array_equal(source.fetch(np.array([1]))["x"][0, :, 0], recording[256:512])
    picture = np.arange(2 * 7 * 9 * 3).reshape(2, 7, 9, 3).astype(np.uint8)
    source = made(picture, (3, 4))
    assert len(source) == 8 and source.shape == (3, 4, 3)
    np.testing.assert_array_equal(source.fetch(np.array([7]))["x"][0], picture[1, 3:6, 4:8])
    for x, window, words in (
        (recording, (2000,), "at least"),
        (recording[None, None, None], (256,), "spatial axes"),
    ):
        with pytest.raises(ValueError, match=words) as raised:
            made(x, window)
        assert "\n" not in str(raised.value)


def test_windows_may_overlap(tmp_path):
    x = np.arange(2 * 7 * 9, dtype=np.uint8).reshape(2, 7, 9, 1)
    source = opened(npy(tmp_path, x), array_window=(3, 4), array_step=(2, 5))
    places = [(n, i, j) for n in (0, 1) for i in (0, 2, 4) for j in (0, 5)]
    assert len(source) == len(places)
    own = source.fetch(np.arange(len(places)))["x"]
    for got, (n, i, j) in zip(own, places, strict=True):
        np.testing.assert_array_equal(got, x[n, i : i + 3, j : j + 4])
    for fields, words in (
        ({"array_window": (3, 4), "array_step": (2,)}, "one per axis"),
        ({"array_window": (6, 6), "array_step": (1, 1), "memory_limit_mb": 0}, "larger step"),
        ({"array_step": (2, 2)}, "only with data.array_window"),
    ):
        with pytest.raises(DataError, match=words) as raised:
            opened(npy(tmp_path, x), **fields)
        assert "\n" not in str(raised.value)
