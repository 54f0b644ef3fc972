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
