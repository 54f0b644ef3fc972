"""Audio and video: windows, clips, what can be wrong with them, and files written from samples."""

import numpy as np
import pytest
import soundfile
from PIL import Image
from snapshots import snapshot

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError
from sagd_jax.show.media import write_wav

RATE = 8000


def tone(frequency, length, channels=1):
    t = np.arange(length) / RATE
    return np.repeat(0.5 * np.sin(2 * np.pi * frequency * t)[:, None], channels, axis=1)


def audio(folder, **changes):
    return DataConfig(name="audio", dir=str(folder), **{"window": 1000} | changes)


@pytest.fixture
def sounds(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(100, 2500), RATE)
    (tmp_path / "b").mkdir()
    soundfile.write(tmp_path / "b" / "c.flac", tone(300, 3000), RATE)
    return tmp_path


def test_windows_follow_one_another(sounds):
    before = snapshot(sounds)
    held = data.open_source(audio(sounds))
    streamed = data.open_source(audio(sounds, memory_limit_mb=0))
    assert len(held) == 5
    assert held.shape == (1000, 1)
    assert held.sample_rate == RATE
    assert held.kind == "audio"
    assert held.value_range == (-1.0, 1.0)
    x = held.fetch(np.arange(5))["x"]
    assert x.dtype == np.float32
    for first, frequency, length in ((0, 100, 2000), (2, 300, 3000)):
        expected = tone(frequency, length).reshape(-1, 1000, 1)
        np.testing.assert_allclose(x[first : first + len(expected)], expected, atol=1e-4)
    np.testing.assert_array_equal(streamed.fetch(np.array([4, 1]))["x"], x[[4, 1]])
    assert snapshot(sounds) == before


def test_stereo_and_mono(tmp_path):
    left, right = tone(100, 1000), tone(200, 1000)
    soundfile.write(tmp_path / "x.wav", np.concatenate([left, right], axis=1), RATE, "FLOAT")
    assert data.open_source(audio(tmp_path)).shape == (1000, 2)
    x = data.open_source(audio(tmp_path, channels=1)).fetch(np.array([0]))["x"][0]
    np.testing.assert_allclose(x, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "x", "rate", "message"),
    [
        ("z.wav", tone(100, 2000), 16000, r"z.wav: 16000 Hz; expected 8000 Hz"),
        ("z.wav", tone(100, 500), RATE, r"z.wav: 500 samples; expected at least 1000"),
        ("z.wav", tone(100, 2000, channels=2), RATE, r"z.wav: 2 channels; expected 1 "),
        ("z.wav", np.full((2000, 1), np.nan), RATE, "NaN or infinite"),
        ("z.wav", np.full((2000, 1), 1.5), RATE, r"values up to 1.5; expected \[-1, 1\]"),
    ],
)
def test_audio_that_does_not_fit(sounds, name, x, rate, message):
    soundfile.write(sounds / name, x, rate, "FLOAT")
    with pytest.raises(DataError, match=message) as raised:
        data.open_source(audio(sounds))
    assert "\n" not in str(raised.value)
    assert len(data.open_source(audio(sounds, on_error="skip"))) == 5


def test_truncated_audio(sounds):
    path = sounds / "b" / "c.flac"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 2 audio files .*c.flac"):
        data.open_source(audio(sounds))


def test_a_declared_rate_is_enforced(sounds):
    with pytest.raises(DataError, match="8000 Hz; expected 44100 Hz"):
        data.open_source(audio(sounds, sample_rate=44100))


def test_samples_become_sound_at_their_rate(sounds, tmp_path_factory):
    """A WAV in, a WAV out: the tone is found at its frequency in Hz."""
    out = tmp_path_factory.mktemp("out") / "x.wav"
    source = data.open_source(audio(sounds))
    x = source.fetch(np.array([2]))["x"][0]
    write_wav(out, x, source.sample_rate)
    back, rate = soundfile.read(out, always_2d=True)
    assert rate == RATE
    np.testing.assert_allclose(back, x, atol=1e-4)
    spectrum = np.abs(np.fft.rfft(back[:, 0]))
    assert np.fft.rfftfreq(1000, 1 / rate)[spectrum.argmax()] == pytest.approx(300, abs=RATE / 1000)


def frames(folder, count, size=(12, 16), channels=3, value=0):
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.full((*size, channels), value + i, np.uint8)
        Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(folder / f"f{i}.png")


def video(folder, **changes):
    return DataConfig(name="video", dir=str(folder), **changes)


def test_clips_of_frames_in_natural_order(tmp_path):
    frames(tmp_path / "a", 11)
    frames(tmp_path / "b" / "c", 5, value=100)
    before = snapshot(tmp_path)
    source = data.open_source(video(tmp_path, num_frames=5, frame_rate=4.0))
    assert len(source) == 3
    assert source.shape == (5, 12, 16, 3)
    assert source.kind == "video"
    assert source.sample_rate == 4.0
    x = source.fetch(np.arange(3))["x"]
    np.testing.assert_array_equal(x[:, :, 0, 0, 0], [range(5), range(5, 10), range(100, 105)])
    assert data.open_source(video(tmp_path)).shape[0] == 5
    streamed = data.open_source(video(tmp_path, num_frames=5, memory_limit_mb=0, image_size=8))
    assert streamed.fetch(np.array([2]))["x"].shape == (1, 5, 8, 8, 3)
    assert snapshot(tmp_path) == before


def test_short_clips(tmp_path):
    frames(tmp_path / "a", 4)
    frames(tmp_path / "b", 8)
    with pytest.raises(DataError, match=r"1 of 2 films .*a: 4 frames; expected at least 8"):
        data.open_source(video(tmp_path, num_frames=8))
    assert len(data.open_source(video(tmp_path, num_frames=8, on_error="skip"))) == 1


def test_mixed_frames(tmp_path):
    frames(tmp_path / "a", 4)
    frames(tmp_path / "b", 4, size=(8, 8))
    with pytest.raises(DataError, match="mixed sizes"):
        data.open_source(video(tmp_path))


def test_clips_in_an_array(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 7, 1), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    source = data.open_source(video(tmp_path / "x.npy"))
    assert source.shape == (4, 5, 7, 1)
    np.testing.assert_array_equal(source.fetch(np.array([5]))["x"], x[[5]])
    with pytest.raises(DataError, match=r"data\.num_frames=3: the clips of .* have 4"):
        data.open_source(video(tmp_path / "x.npy", num_frames=3))
    np.save(tmp_path / "y.npy", x[0])
    with pytest.raises(DataError, match=r"expected \(n, time, height, width, channels\)"):
        data.open_source(video(tmp_path / "y.npy"))


def test_crops_of_clips_leave_time_alone(tmp_path):
    x = np.arange(4, dtype=np.uint8).reshape(1, 4, 1, 1, 1) * np.ones((3, 1, 6, 6, 1), np.uint8)
    np.save(tmp_path / "x.npy", x)
    source = data.open_source(video(tmp_path / "x.npy", flip=True, crop_padding=2))
    np.testing.assert_array_equal(source.fetch(np.arange(3))["x"], x)


def test_audio_has_no_left_and_right(sounds):
    with pytest.raises(DataError, match="audio cannot be mirrored"):
        data.open_source(audio(sounds, flip=True))
