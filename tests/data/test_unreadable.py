"""What is done where a file, a window or a clip cannot be read: at the opening, and in mid-run."""

import logging
import struct
import zlib

import numpy as np
import pytest
import soundfile
from PIL import Image

from sagd_jax import data
from sagd_jax.data import DataConfig, DataError
from sagd_jax.data.files import Unreadable, reading

BAD = (3, 7, 8)


@pytest.fixture
def damaged(tmp_path):
    """12 images, each of one value, its number; three whose damage only decoding finds."""
    for i in range(12):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
        if i in BAD:
            body = bytearray((tmp_path / f"{i}.png").read_bytes())
            body[-20] ^= 255
            (tmp_path / f"{i}.png").write_bytes(body)
    return tmp_path


def config(folder, **changes):
    return DataConfig(name="folder", dir=str(folder), on_error="skip", **changes)


def stream(folder, start, stop):
    source = data.open_source(config(folder, memory_limit_mb=0))
    batches = data.batches(source, seed=4, batch_size=5, start_step=start, stop_step=stop)
    return [batch["x"] for batch in batches]


def test_held_sets_leave_out(damaged, caplog):
    source = data.open_source(config(damaged))
    values = source.fetch(np.arange(len(source)))["x"][:, 0, 0, 0]
    np.testing.assert_array_equal(values, [i for i in range(12) if i not in BAD])
    assert caplog.text.count("left out: 3 of 12 images cannot be used; first") == 1


def test_batches_with_stand_ins_depend_on_seed_and_step_alone(damaged):
    whole = stream(damaged, 0, 8)
    for start in (3, 7):
        for x, expected in zip(stream(damaged, start, 8), whole[start:], strict=True):
            np.testing.assert_array_equal(x, expected)
    assert not set(np.unique(whole)) & set(BAD)


def test_stand_ins_are_said_once_and_counted_at_the_end(damaged, caplog):
    source = data.open_source(config(damaged, memory_limit_mb=0, flip=True))
    for _ in range(3):
        source.fetch(np.arange(12))
    assert caplog.text.count("another example stands in for") == 1
    source.report()
    assert caplog.text.count("3 of 12 images could not be read; others stood in for them") == 1


def test_flags_follow_the_example_that_is_there(damaged):
    """A flag says what is on disk, so a stand-in brings its own."""
    flags = np.arange(12) % 2 == 0
    np.save(damaged / "flags.npy", flags)
    source = data.open_source(
        config(damaged, memory_limit_mb=0, corrupted_flags=str(damaged / "flags.npy"))
    )
    batch = source.fetch(np.arange(12))
    np.testing.assert_array_equal(batch["corrupted"], flags[batch["x"][:, 0, 0, 0]])
    assert (batch["x"][list(BAD), 0, 0, 0] != BAD).all()


def test_nothing_left_to_stand_in(tmp_path):
    for i in range(2):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    source = data.open_source(config(tmp_path, memory_limit_mb=0))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 images can be read any more"):
        source.fetch(np.array([0]))


def test_only_what_a_file_can_cause_is_called_unreadable():
    for error in (
        KeyError("fmt"),
        zlib.error("Error -3\nwhile decompressing"),
        MemoryError(),
        struct.error("4 bytes"),
    ):
        with pytest.raises(Unreadable, match=r"^x.png: ") as raised, reading("x.png"):
            raise error
        assert "\n" not in str(raised.value)
    with pytest.raises(NameError), reading("x.png"):
        raise NameError("a fault of ours")


def sound(path, length=1024, rate=8000, **changes):
    x = 0.5 * np.sin(2 * np.pi * 440 * np.arange(length) / rate)
    for place, value in changes.pop("values", {}).items():
        x[place] = value
    soundfile.write(path, x, rate, **changes)
    return x


def audio(folder, **changes):
    return DataConfig(name="audio", dir=str(folder), **{"window": 64} | changes)


@pytest.mark.parametrize("value", [1.3, np.nan])
def test_bad_windows_are_left_out_or_stood_in_for(tmp_path, value, caplog):
    sound(tmp_path / "b.wav")
    sound(tmp_path / "a.wav", subtype="FLOAT", values={70: value, 1023: value})
    held = data.open_source(audio(tmp_path, on_error="skip"))
    assert len(held) == 30  # both files, but for the windows 1 and 15 of the first
    assert "left out: 2 of 32 audio windows cannot be used; first" in caplog.text
    streamed = data.open_source(audio(tmp_path, on_error="skip", memory_limit_mb=0))
    batch = streamed.fetch(np.arange(32))
    assert np.abs(batch["x"]).max() <= 0.5
    np.testing.assert_array_equal(
        np.delete(batch["index"], [1, 15]), np.delete(np.arange(32), [1, 15])
    )
    streamed.report()
    assert "2 of 32 audio windows could not be read" in caplog.text


def test_what_to_do_about_loud_sound(tmp_path):
    sound(tmp_path / "a.wav", subtype="FLOAT", values={70: 1.02})
    message = r"values up to 1.02; expected \[-1, 1\] .*sample 64\): divide .*16-bit PCM"
    with pytest.raises(DataError, match=message):
        data.open_source(audio(tmp_path))


def test_a_damaged_frame_costs_its_windows_alone(tmp_path):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, 40_000), 8000)
    body = bytearray((tmp_path / "a.flac").read_bytes())
    body[len(body) // 2] ^= 255
    (tmp_path / "a.flac").write_bytes(body)
    with pytest.raises(DataError, match=r"of 40 audio windows cannot be used; first .*a.flac"):
        data.open_source(audio(tmp_path, window=1000))
    source = data.open_source(audio(tmp_path, window=1000, on_error="skip"))
    assert 30 <= len(source) < 40


def test_a_wav_shorter_than_its_header(tmp_path):
    sound(tmp_path / "a.wav")
    body = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(body[:1000])
    with pytest.raises(DataError, match="truncated: 956 of 2048 bytes of sound"):
        data.open_source(audio(tmp_path))
    # Into a pipe a program cannot write the length, and says so.
    (tmp_path / "a.wav").write_bytes(body[:4] + b"\xff" * 4 + body[8:40] + b"\xff" * 4 + body[44:])
    assert len(data.open_source(audio(tmp_path))) == 16


def test_a_wav_header_that_contradicts_itself(tmp_path, caplog):
    sound(tmp_path / "a.wav")
    data.open_source(audio(tmp_path))
    assert not caplog.text
    body = bytearray((tmp_path / "a.wav").read_bytes())
    body[25] ^= 1  # the rate, but not the bytes per second
    (tmp_path / "a.wav").write_bytes(body)
    with caplog.at_level(logging.WARNING):
        data.open_source(audio(tmp_path))
    assert "a.wav: its header contradicts itself" in caplog.text


def test_six_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(0, 0.5, 600).reshape(100, 6), 8000, "DOUBLE")
    with pytest.raises(DataError, match=r"6 channels; expected 2 \(data.channels; 1 takes"):
        data.open_source(audio(tmp_path))
    x = data.open_source(audio(tmp_path, channels=1)).fetch(np.array([0]))["x"]
    mean = np.linspace(0, 0.5, 600).reshape(100, 6).mean(axis=1)
    np.testing.assert_allclose(x[0, :, 0], mean[:64], atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64"])
def test_samples_of_every_width(tmp_path, subtype, format):
    x = sound(tmp_path / "a.wav", subtype=subtype, format=format)
    got = data.open_source(audio(tmp_path)).fetch(np.arange(16))["x"].reshape(-1)
    np.testing.assert_allclose(got, x, atol=1 / 128 if subtype == "PCM_U8" else 1e-6)


def test_metadata_that_is_no_text(tmp_path):
    x = sound(tmp_path / "a.wav", subtype="FLOAT")
    body = (tmp_path / "a.wav").read_bytes()
    info = b"INFOINAM" + struct.pack("<I", 5) + b"\xff\xfe\xe9a\0\0"
    body = body[:36] + b"LIST" + struct.pack("<I", len(info)) + info + body[36:]
    (tmp_path / "a.wav").write_bytes(body[:4] + struct.pack("<I", len(body) - 8) + body[8:])
    got = data.open_source(audio(tmp_path)).fetch(np.arange(16))["x"].reshape(-1)
    np.testing.assert_allclose(got, x, atol=1e-6)


def test_a_clip_with_a_bad_frame_goes_as_a_whole(tmp_path, caplog):
    for i in range(6):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "3.png").write_bytes(b"hello")
    video = DataConfig(name="video", dir=str(tmp_path), num_frames=2, on_error="skip")
    source = data.open_source(video)
    assert source.fetch(np.arange(2))["x"][:, :, 0, 0, 0].tolist() == [[0, 1], [4, 5]]
    assert "left out: 1 of 3 clips cannot be used; first" in caplog.text
    streamed = data.open_source(
        DataConfig(
            name="video", dir=str(tmp_path), num_frames=2, on_error="skip", memory_limit_mb=0
        )
    )
    (tmp_path / "4.png").unlink()
    assert streamed.fetch(np.array([1]))["x"][0, :, 0, 0, 0].tolist() == [0, 1]
