"""Places that results go to."""

import pytest

from sagd_jax.system.places import PlaceError, check_outside, check_place


def test_results_do_not_go_among_data(tmp_path):
    data, beside = tmp_path / "data", tmp_path / "data and more"
    data.mkdir()
    for inside in (data, data / "a" / "b", beside / ".." / "data" / "c"):
        with pytest.raises(PlaceError, match=r"^--out='.*': lies in data\.dir, where nothing"):
            check_outside("--out", inside, str(data), "data.dir")
    for outside in (beside, tmp_path, data / ".." / "out"):
        check_outside("--out", outside, data, "data.dir")
    check_outside("--out", data, "", "data.dir")  # there are none
    # A file of data may have results beside it.
    (tmp_path / "x.npy").write_bytes(b"")
    check_outside("--out", tmp_path / "out", tmp_path / "x.npy", "data.dir")


def test_a_file_is_no_place(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(PlaceError, match="is a file, expected a directory"):
        check_place("--out", tmp_path / "x" / "y")
    check_place("--out", tmp_path / "new" / "y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
