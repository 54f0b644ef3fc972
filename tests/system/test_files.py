"""Files that are either whole or not there."""

import os
import pathlib

import pytest
from etils import epath

from sagd_jax.system.files import PlaceError, writable, write_whole


@pytest.mark.parametrize("kind", [pathlib.Path, epath.Path])
@pytest.mark.parametrize("content", ["words: é", b"\x00\x01"])
def test_it_replaces_the_file_and_leaves_nothing_else(tmp_path, kind, content):
    file = kind(tmp_path) / "file"
    file.write_text("before")
    write_whole(file, content)
    expected = content.encode() if isinstance(content, str) else content
    assert file.read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_file_before(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("before")

    def full(self, data):
        with open(self, "wb") as half:
            half.write(bytes(data)[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(file, "after")
    assert file.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no" / "file", "x")


@pytest.mark.parametrize(
    ("make", "folder", "words"),
    [
        (lambda p: p.write_text(""), True, "this is a file, expected a folder"),
        (lambda p: p.mkdir(), False, "this is a folder, expected a file"),
        (lambda p: p.parent.rmdir() or p.parent.write_text(""), True, "above is not a folder"),
        (lambda p: p.symlink_to(p.with_name("nothing")), True, "a link to nothing"),
    ],
)
def test_a_place_that_is_something_else_is_refused(tmp_path, make, folder, words):
    place = tmp_path / "above" / "place"
    place.parent.mkdir()
    make(place)
    with pytest.raises(PlaceError, match=words) as refused:
        writable(place, "--out", folder=folder)
    assert str(place) in str(refused.value) and "\n" not in str(refused.value)


def test_a_place_that_takes_no_file_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    writable(tmp_path / "a" / "b")
    writable(tmp_path / "a" / "file", folder=False)
    assert not list(tmp_path.iterdir())
    with pytest.raises(PlaceError, match="--out=/proc/results: cannot be written: "):
        writable("/proc/results", "--out")
    with pytest.raises(PlaceError, match="File name too long"):
        writable(tmp_path / ("x" * 300))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlaceError, match=f"{tmp_path}: cannot be written: No space left on device"):
        writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_object_store_is_not_asked():
    writable("gs://bucket/runs")
