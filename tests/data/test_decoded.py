"""Decoded sets that are kept."""

import numpy as np
import pytest

from sagd_jax.data import decoded
from sagd_jax.data.records import RecordSource

SHAPE = (7, 3, 3, 1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(decoded.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "WORTH", -1.0)
    return tmp_path / "cache"


def counted():
    """A source of seven examples, and the list of those that it has decoded."""
    read = []

    def example(index):
        read.append(index)
        return np.full(SHAPE[1:], 10 * index, np.uint8), index % 2

    return RecordSource(example, SHAPE[0], SHAPE[1:], num_classes=2), read


def values(source):
    batch = source.fetch(np.arange(len(source)))
    return batch["x"][:, 0, 0, 0].tolist(), batch["label"].tolist()


def test_the_second_time_nothing_is_decoded(cache):
    expected = ([0, 10, 20, 30, 40, 50, 60], [0, 1, 0, 1, 0, 1, 0])
    for times_decoded in (7, 0):
        source, read = counted()
        assert values(source.held(100, ["some set", "size 3"])) == expected
        assert len(read) == times_decoded
    source, read = counted()
    source.held(100, ["some set", "size 4"])  # another one
    assert len(read) == 7 and len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut short", "changed", "of another shape"])
def test_what_cannot_be_used_is_made_anew(cache, damage):
    counted()[0].held(100, ["a set"])
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "cut short":
        file.write_bytes(content[:-30])
    elif damage == "changed":
        content[content.index(b"\x1e" * 9)] ^= 1  # a pixel of the fourth example
        file.write_bytes(content)
    else:
        np.savez(file, x=np.zeros((1, 3, 3, 1), np.uint8), labels=np.zeros(1, np.int32))
    source, read = counted()
    assert values(source.held(100, ["a set"]))[0] == [0, 10, 20, 30, 40, 50, 60]
    assert len(read) == 7


def test_nothing_is_kept_of_quick_sets_or_of_others(cache, monkeypatch):
    counted()[0].held(100)  # a set that may change
    monkeypatch.setattr(decoded, "WORTH", 60.0)
    counted()[0].held(100, ["a set"])
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(decoded.VARIABLE, str(tmp_path / "file"))
    monkeypatch.setattr(decoded, "WORTH", -1.0)
    assert values(counted()[0].held(100, ["a set"]))[0][1] == 10
