"""Every kind of file with damaged bytes: its values, or one line, or a word; no traceback, no hang.

Where the format has checksums (PNG, .npz, the frames of FLAC), values that changed need a word. WAV,
.npy, JPEG and WebP have none, so there a changed value cannot be told from a true one: what counts is
that nothing else goes wrong. Of FLAC's header, its rate and length, this is true as well.
"""

import io
import logging
import time

import numpy as np
import pytest
import soundfile
from mutations import mutated
from PIL import Image, ImageCms

from sagd_jax import data
from sagd_jax.data import DataConfig
from sagd_jax.run import build
from sagd_jax.run.config import NoiseConfig
from sagd_jax.system.errors import ForPeople

SHORT = 60  # mutations of each kind in the quick test
LONG = 60.0  # seconds for each kind in the slow one
_PATIENCE = 10.0  # seconds for one file
_LONGEST = 800  # characters of a message
X = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)


def image(format, **options):
    y, x = np.mgrid[:20, :30]
    waves = [np.cos(0.1 * (1 + c) * x + 0.2 * y) for c in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    body = io.BytesIO()
    Image.fromarray(np.uint8(127 + 100 * np.stack(waves, axis=-1))).save(
        body, format, exif=exif, icc_profile=profile, **options
    )
    return body.getvalue()


def sound(format, subtype):
    body = io.BytesIO()
    soundfile.write(body, 0.5 * np.sin(0.1 * np.arange(600)), 8000, subtype, format=format)
    return body.getvalue()


def arrays(save, *args, **named):
    body = io.BytesIO()
    save(body, *args, **named)
    return body.getvalue()


def everything(source):
    """All that a source gives, and a record keeps."""
    batch = source.fetch(np.arange(len(source)))
    fields = (batch["x"].tobytes(), batch["label"].tobytes(), batch["corrupted"].tobytes())
    return *fields, source.shape, source.num_classes, source.value_range


def of_folder(path):
    return everything(data.open_source(DataConfig(name="folder", dir=str(path.parent))))


def of_sounds(path):
    return everything(data.open_source(DataConfig(name="audio", dir=str(path.parent), window=64)))


def of_array(path):
    return everything(data.open_source(DataConfig(name="array", dir=str(path))))


def of_latents(path):
    return everything(data.open_source(DataConfig(name="latents", dir=str(path))))


def of_flags(path):
    np.save(path.parent / "data.npy", X)
    config = DataConfig(name="array", dir=str(path.parent / "data.npy"), corrupted_flags=str(path))
    return everything(data.open_source(config))


def of_noise(path):
    config = NoiseConfig(kind="file", file=str(path))
    return np.asarray(build.covariance(config, (16, 16)).variance).tobytes()


# The file, its bytes, how it is read, and the first byte from which checksums hold, if there are any.
STATISTICS = {"mean": np.zeros(1), "std": np.ones(1)}
KINDS = {
    "png": ("x.png", image("PNG"), of_folder, 0),
    "jpeg": ("x.jpg", image("JPEG", quality=90), of_folder, None),
    "webp": ("x.webp", image("WEBP"), of_folder, None),
    "webp, lossless": ("x.webp", image("WEBP", lossless=True), of_folder, None),
    "wav": ("x.wav", sound("WAV", "PCM_16"), of_sounds, None),
    "wav of floats": ("x.wav", sound("WAVEX", "FLOAT"), of_sounds, None),
    "flac": ("x.flac", sound("FLAC", "PCM_16"), of_sounds, 42),
    "npy": ("x.npy", arrays(np.save, X), of_array, None),
    "npz": ("x.npz", arrays(np.savez, x=X, label=np.arange(6)), of_array, 0),
    "npz, compressed": (
        "x.npz",
        arrays(np.savez_compressed, x=X / np.float32(255), **STATISTICS),
        of_latents,
        0,
    ),
    "flags": ("x.npy", arrays(np.save, np.arange(6) % 2 == 0), of_flags, None),
    "noise": ("x.npy", arrays(np.save, np.ones((16, 9))), of_noise, None),
}


def check(kind, path, rng, caplog, expected):
    _, body, read, protected = KINDS[kind]
    damaged = mutated(body, rng)
    path.write_bytes(damaged)
    caplog.clear()
    start = time.monotonic()
    try:
        with np.errstate(all="ignore"):
            got = read(path)
    except ForPeople as error:
        assert "\n" not in str(error)
        assert len(str(error)) <= _LONGEST
    else:
        covered = protected is not None and damaged.startswith(body[:protected])
        if covered and not caplog.text:
            assert got == expected, f"changed without a word: {damaged!r}"
    assert time.monotonic() - start < _PATIENCE


@pytest.fixture
def intact(tmp_path, request):
    name, body, read, _ = KINDS[request.param]
    (tmp_path / name).write_bytes(body)
    return request.param, tmp_path / name, read(tmp_path / name)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of EXIF data
@pytest.mark.parametrize("intact", KINDS, indirect=True)
def test_mutated_files(intact, caplog):
    caplog.set_level(logging.WARNING)
    kind, path, expected = intact
    rng = np.random.default_rng(0)
    for _ in range(SHORT):
        check(kind, path, rng, caplog, expected)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("intact", KINDS, indirect=True)
def test_mutated_files_for_a_minute_each(intact, caplog):
    caplog.set_level(logging.WARNING)
    kind, path, expected = intact
    seed = time.time_ns()
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        check(kind, path, rng, caplog, expected)
