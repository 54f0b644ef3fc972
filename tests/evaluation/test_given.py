"""Samples that others drew: read as they are, or refused in one line."""

import numpy as np
import pytest
from PIL import Image
from toy_runs import toy_run

from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.evaluation.given import read_samples

BYTES = toy_run().record.data  # (4, 4, 1)
FLOATS = toy_run(dtype=np.float32).record.data
RNG = np.random.default_rng(0)
X = RNG.integers(0, 255, (7, 4, 4, 1)).astype(np.uint8)


def test_a_file_a_set_in_files_and_pictures(tmp_path):
    np.savez(tmp_path / "a.npz", samples=X, labels=np.zeros(7))
    np.testing.assert_array_equal(read_samples(tmp_path / "a.npz", BYTES), X)
    one = tmp_path / "set"
    one.mkdir()
    for i, part in enumerate((X[:3], X[3:6], X[6:])):
        np.savez(one / f"samples-0000{i}-of-00003.npz", samples=part)
    np.testing.assert_array_equal(read_samples(one, BYTES), X)
    np.testing.assert_array_equal(read_samples(one, BYTES, 4), X[:4])
    png = tmp_path / "pictures" / "png"
    png.mkdir(parents=True)
    for i, x in enumerate(X):
        Image.fromarray(x[..., 0]).save(png / f"{i:06d}.png")
    np.testing.assert_array_equal(read_samples(png.parent, BYTES), X)
    np.testing.assert_array_equal(read_samples(png, BYTES, 2), X[:2])


@pytest.mark.parametrize(
    ("arrays", "record", "words"),
    [
        ({"samples": X[:, :3]}, BYTES, r"shape \(3, 4, 1\), the run's have \(4, 4, 1\)"),
        ({"samples": X / 255}, BYTES, "values of float64, the run's are uint8; sagd.to_uint8"),
        ({"samples": X}, FLOATS, "values of uint8, the run's are floats"),
        ({"samples": X.astype(int)}, BYTES, "values of int64"),
        ({"samples": np.where(X > 250, np.nan, X / 255)}, FLOATS, "of 7 samples are not finite"),
        ({"a": X, "b": X}, BYTES, "has the arrays a, b; expected one of name samples"),
        ({"samples": np.array(3)}, BYTES, "its samples have shape"),
    ],
)
def test_other_samples(tmp_path, arrays, record, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(EvaluationError, match=words):
        read_samples(tmp_path / "a.npz", record)


def test_no_samples(tmp_path):
    for place, words in [("none", "does not exist"), (".", "the folder is empty")]:
        with pytest.raises(EvaluationError, match=words):
            read_samples(tmp_path / place, BYTES)
    for content in (b"", b"PK\3\4 but no archive", X.tobytes()):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(EvaluationError, match=r"bad\.npz: (cannot be read|is no)"):
            read_samples(tmp_path / "bad.npz", BYTES)
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(EvaluationError, match=r"x\.npy: expected an \.npz with an array named"):
        read_samples(tmp_path / "x.npy", BYTES)
    np.savez(tmp_path / "code.npz", samples=np.array([{}], object))
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_samples(tmp_path / "code.npz", BYTES)
