"""What tells a set of data from another: changed by every change, and by nothing else."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError
from sagd_jax.data.fingerprint import difference, of_array, of_files


def fingerprint(**config):
    return data.open_source(DataConfig(**config)).fingerprint()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for i in range(6):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


def test_of_a_folder_names_sizes_and_order_count_and_nothing_else(images, tmp_path):
    first = fingerprint(name="folder", dir=str(images))
    assert len(first) == 6 and first[0].startswith("file 0, a/0.png: ")
    moved = shutil.copytree(images, tmp_path / "elsewhere")
    assert fingerprint(name="folder", dir=f"{moved}/") == first
    # How it is read and what is done to it are the configuration's.
    assert fingerprint(name="folder", dir=str(images), memory_limit_mb=0) == first
    assert fingerprint(name="folder", dir=str(images), flip=True, corruption="blur") == first

    (moved / "b" / "3.png").rename(moved / "b" / "33.png")
    renamed = fingerprint(name="folder", dir=str(moved))
    words = "the data had file 4, b/3.png, has file 4, b/5.png (2 of 6 parts of it)"
    assert difference(first, renamed) == words

    other = images / "a" / "2.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), np.uint8)).save(other)
    changed = fingerprint(name="folder", dir=str(images))
    words = "the data's file 1, a/2.png is another one than before in name, size or order"
    assert difference(first, changed) == words


def test_many_files_make_few_lines_and_one_of_them_shows():
    class File(str):
        size = 1

        def stat(self):
            return type("", (), {"st_size": self.size})

    files = [File(f"/data/{i}.png") for i in range(10_000)]
    before = of_files(files, "/data")
    assert len(before) == 64 and before[1].startswith("files 156 to 311, from 156.png: ")
    files[200].size = 2
    assert difference(before, of_files(files, "/data")) == (
        "the data's files 156 to 311, from 156.png are others than before in name, size or order"
    )


def test_a_file_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*gone.png: No such file"):
        of_files([tmp_path / "gone.png"], tmp_path)


def test_of_an_array_every_value_counts_and_no_file_does(tmp_path):
    x = np.random.default_rng(0).uniform(-1, 1, (100, 4, 4, 2))
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x.astype(np.float32))
    first = fingerprint(name="array", dir=str(tmp_path / "x.npy"))
    assert len(first) == 64 and first[0].startswith("example 0: ")
    assert fingerprint(name="array", dir=str(tmp_path / "x.npy"), memory_limit_mb=0) == first
    assert fingerprint(name="array", dir=str(tmp_path / "x.npz")) == first
    assert fingerprint(name="latents", dir=str(tmp_path / "x.npy")) == first
    x[70, 3, 3, 1] += 1e-3
    words = "the data's example 70 is another one than before"
    assert difference(first, of_array(x)) == words
    assert difference(of_array(x, np.arange(100)), of_array(x, np.arange(100) // 2)) == (
        "the data's labels are others than before"
    )


def test_pieces_make_no_difference(monkeypatch):
    from sagd_jax.data import fingerprint as module

    x = np.arange(130 * 12, dtype=np.float32).reshape(130, 4, 3, 1)[:, ::-1]
    whole = of_array(x)
    monkeypatch.setattr(module, "_PIECE", 12)
    assert of_array(x) == whole


def test_of_flags_in_a_file(tmp_path):
    def flagged(first):
        flags = np.arange(1437) < first
        np.save(tmp_path / "flags.npy", flags)
        return fingerprint(name="digits", corrupted_flags=str(tmp_path / "flags.npy"))

    assert difference(flagged(5), flagged(6)) == "the data's flags are others than before"


def test_what_the_configuration_determines_has_none():
    assert fingerprint(name="digits") == ()
    assert fingerprint(name="synthetic", num_examples=4, field_shape=(4, 4)) == ()


def test_a_record_without_one_is_no_difference():
    assert difference((), ("labels: 1",)) == difference(("labels: 1",), ()) == ""
