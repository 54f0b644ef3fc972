"""Every kind of data, from its files through both programs to samples of the same kind."""

import jax
import numpy as np
import pytest
from PIL import Image
from programs import ROOT

import sagd_jax as sagd
from sagd_jax.programs import sample, train

pytestmark = pytest.mark.thorough

UNET = (
    "--config.model.unet.block_out_channels=8",
    "--config.model.unet.layers_per_block=1",
    "--config.model.unet.attention=(False,)",
    "--config.model.unet.mid_attention=False",
    "--config.model.unet.norm_num_groups=4",
)
DIT = (
    "--config.model.dit.hidden_size=16",
    "--config.model.dit.depth=1",
    "--config.model.dit.num_heads=2",
)


def train_and_sample(name, tmp_path, *flags):
    """Two steps of configs/NAME.py and four samples; returns the samples and where they are."""
    workdir, out = tmp_path / "run", tmp_path / "out"
    status = train.main(
        [
            f"--config={ROOT / 'configs' / name}.py",
            f"--workdir={workdir}",
            "--config.train.num_steps=2",
            "--config.train.batch_size=4",
            "--config.preview.every=None",
            "--config.log.tensorboard=False",
            *flags,
        ]
    )
    assert status == 0
    flags = [f"--workdir={workdir}", f"--out={out}", "--num_samples=4", "--num_steps=2"]
    assert sample.main(flags) == 0
    with np.load(out / "samples.npz", allow_pickle=False) as file:
        samples = file["samples"]
    assert (out / "grid.png").stat().st_size > 100
    return samples, out


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_folder_of_images(tmp_path, rng):
    folder = tmp_path / "images" / "nested"
    folder.mkdir(parents=True)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{i}.png")
    before = {p: p.read_bytes() for p in folder.rglob("*")}
    samples, _ = train_and_sample(
        "folder",
        tmp_path,
        f"--config.data.dir={folder.parent}",
        "--config.data.image_size=8",
        *UNET,
    )
    assert samples.shape == (4, 8, 8, 3) and samples.dtype == np.uint8
    assert {p: p.read_bytes() for p in folder.rglob("*")} == before


def test_audio_in_and_wav_files_of_the_same_rate_out(tmp_path, rng):
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path / "sounds"
    folder.mkdir()
    for i in range(5):
        wave = 0.3 * np.sin(np.arange(3000) * rng.uniform(0.05, 0.2))
        soundfile.write(folder / f"{i}.wav", wave, 8000)
    samples, out = train_and_sample(
        "audio",
        tmp_path,
        f"--config.data.dir={folder}",
        "--config.data.window=1024",
        "--config.noise.kind=band_pass",
        "--config.noise.bands=((0,995),(1005,4000))",
        "--config.noise.unit=hz",
        *DIT,
    )
    # 1000 Hz is bin 128 of 1024 at 8000 Hz: its sine and cosine are left out.
    assert sagd.load(tmp_path / "run")[1].covariance.rank(1) == 1022
    assert samples.shape == (4, 1024, 1) and samples.dtype == np.float32
    played, rate = soundfile.read(out / "wav" / "0003.wav")
    assert rate == 8000 and len(played) == 1024
    np.testing.assert_allclose(played, np.clip(samples[3, :, 0], -1, 1), atol=1e-4)


def test_clips_in_and_gifs_out(tmp_path, rng):
    for clip in range(4):
        folder = tmp_path / "clips" / f"{clip}"
        folder.mkdir(parents=True)
        for i in range(5):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{i:03d}.png")
    samples, out = train_and_sample(
        "video",
        tmp_path,
        f"--config.data.dir={tmp_path / 'clips'}",
        "--config.data.num_frames=4",
        "--config.data.image_size=8",
        "--config.data.frame_rate=10",
        *DIT,
    )
    assert samples.shape == (4, 4, 8, 8, 3)
    with Image.open(out / "gif" / "0000.gif") as gif:
        assert gif.info["duration"] == 100
        assert gif.size == (8, 8)


def test_latents(tmp_path, rng):
    file = tmp_path / "latents.npy"
    scale = np.array([1.0, 10.0, 0.1])
    np.save(file, (5 + scale * rng.standard_normal((12, 6, 5, 3))).astype(np.float32))
    samples, _ = train_and_sample("latents", tmp_path, f"--config.data.dir={file}", *DIT)
    assert samples.shape == (4, 6, 5, 3) and samples.dtype == np.float32
    assert np.all(np.isfinite(samples))


@pytest.mark.parametrize("shape", [(8, 6, 1), (16, 2)])
def test_an_array_in_a_unit_of_its_own(tmp_path, rng, shape):
    file = tmp_path / "kelvin.npy"
    np.save(file, rng.uniform(200, 300, (12, *shape)).astype(np.float32))
    flags = [f"--config.data.dir={file}", "--config.data.value_range=150,350"]
    network = UNET if len(shape) == 3 else ["--config.model.kind=dit", *DIT]
    samples, _ = train_and_sample("array", tmp_path, *flags, *network)
    assert samples.shape == (4, *shape) and samples.dtype == np.float32
    assert 0 < samples.mean() < 500


def test_selective_omission_leaves_the_band_of_the_samples_empty(tmp_path, capsys):
    samples, _ = train_and_sample(
        "omission_mnist",
        tmp_path,
        "--config.data.name=digits",
        "--config.data.corruption_band=0.5,0.7",
        "--config.noise.bands=((0,0.5),(0.7,1))",
        *UNET,
    )
    out = capsys.readouterr().out
    f = np.fft.fftfreq(8)
    radius = np.hypot(f[:, None], f) / np.hypot(0.5, 0.5)
    rank = np.sum((radius < 0.5) | (radius >= 0.7))
    assert "hole      holds" in out and f"rank {rank} of 64" in out
    assert samples.shape == (4, 8, 8, 1)
    denoiser, diffusion, metadata = sagd.load(tmp_path / "run")
    x = sagd.sample(
        jax.random.key(0),
        denoiser,
        diffusion,
        (4, *metadata["shape"]),
        num_steps=3,
        prediction=metadata["prediction"],
    )
    assert float(abs(x).max()) > 0.1
    largest = float(abs(x).max())
    np.testing.assert_allclose(x, diffusion.covariance.project(x), atol=1e-5 * largest)


def test_clean_examples_keep_the_full_covariance(tmp_path, capsys):
    samples, _ = train_and_sample(
        "omission_mnist",
        tmp_path,
        "--config.data.name=digits",
        "--config.data.corruption_band=0.5,0.7",
        "--config.data.corrupted_fraction=0.5",
        "--config.noise.kind=white",
        "--config.noise.bands=()",
        "--config.corrupted_noise.kind=band_pass",
        "--config.corrupted_noise.bands=((0,0.5),(0.7,1))",
        *UNET,
    )
    assert samples.shape == (4, 8, 8, 1)
    _, diffusion, metadata = sagd.load(tmp_path / "run")
    assert diffusion.covariance.rank(1) == 64
    assert metadata["config"]["corrupted_noise"]["kind"] == "band_pass"
