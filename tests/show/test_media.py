"""Sounds and clips as files."""

import numpy as np
import pytest
from PIL import Image

from sagd_jax.show.media import write_gif, write_wav

RATE = 8000


@pytest.mark.parametrize("channels", [1, 3])
def test_a_clip_becomes_a_gif(tmp_path, channels):
    x = np.zeros((5, 8, 8, channels), np.uint8)
    for i in range(5):
        x[i, i, :, :] = 255
    write_gif(tmp_path / "x.gif", x, frame_rate=8.0)
    with Image.open(tmp_path / "x.gif") as gif:
        assert gif.n_frames == 5
        assert gif.info["duration"] == 120  # 1/8 s in GIF's hundredths, to an even one.
        for i in range(5):
            gif.seek(i)
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB"))[..., :channels], x[i])


def test_writers_refuse_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"expected \(time, channels\)"):
        write_wav(tmp_path / "x.wav", np.zeros(5), RATE)
    with pytest.raises(ValueError, match=r"sample_rate=0\.5"):
        write_wav(tmp_path / "x.wav", np.zeros((5, 1)), 0.5)
    with pytest.raises(ValueError, match="expected uint8"):
        write_gif(tmp_path / "x.gif", np.zeros((5, 8, 8, 1)), 8)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_no_sound(tmp_path, bad):
    pytest.importorskip("soundfile")
    with pytest.raises(ValueError, match="x: 1 of 5 values are not finite"):
        write_wav(tmp_path / "x.wav", np.array([[0], [bad], [0], [1], [0]]), RATE)
    assert not list(tmp_path.iterdir())


def test_files_replace_those_before_and_are_whole(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    sound, clip = np.full((50, 1), 0.5), np.full((2, 4, 4, 1), 7, np.uint8)
    write_wav(tmp_path / "x.wav", 0 * sound, RATE)
    write_wav(tmp_path / "x.wav", sound, RATE)
    read, rate = soundfile.read(tmp_path / "x.wav")
    assert rate == RATE
    np.testing.assert_allclose(read, sound[:, 0], atol=1e-4)

    def full(self, data):
        raise OSError(28, "No space left on device")

    before = (tmp_path / "x.wav").read_bytes()
    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    for write in (
        lambda: write_wav(tmp_path / "x.wav", 0 * sound, RATE),
        lambda: write_gif(tmp_path / "x.gif", clip, 8),
    ):
        with pytest.raises(OSError, match="No space"):
            write()
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]
    assert (tmp_path / "x.wav").read_bytes() == before
