"""Files that are either whole or not there."""

import pathlib

import pytest
from etils import epath

from sagd_jax.system.files import write_whole


@pytest.mark.parametrize("kind", [pathlib.Path, epath.Path])
@pytest.mark.parametrize("content", ["words: é", b"\x00\x01", memoryview(b"view")])
def test_it_replaces_the_file_and_leaves_nothing_else(tmp_path, kind, content):
    file = kind(tmp_path) / "file"
    file.write_text("before")
    write_whole(file, content)
    expected = content.encode() if isinstance(content, str) else bytes(content)
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
