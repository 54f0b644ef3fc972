"""`config.schedule.kind='capped'`: N and kinds from a config, through a checkpoint, and what is refused."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import DataConfig, open_source
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.run.config_file import read_config
from sagd_jax.run.estimates import spectrum_of
from sagd_jax.run.noise import CorruptedNoiseConfig, NoiseConfig
from sagd_jax.run.record import describe_run, read_record
from sagd_jax.run.saved import stored_process
from sagd_jax.run.schedule import ScheduleConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

ROOT = Path(sagd.__file__).parents[1]
BAND = "band_pass:bands=((0.4,0.6),)"
PLANTED = {"name": "digits", "corruption": "band", "corruption_band": (0.4, 0.6)}


def config(data=None, noise=None, **fields):
    schedule = schema.build(ScheduleConfig, {"kind": "capped", **fields}, "config.schedule")
    return dataclasses.replace(
        RunConfig(),
        data=schema.build(DataConfig, {**PLANTED, **(data or {})}),
        noise=noise or NoiseConfig(),
        schedule=schedule,
    )


def made(run):
    source = open_source(run.data)
    return source, *build.process(run, source)


@pytest.fixture(scope="module")
def band():
    return np.asarray(sagd.band_pass((8, 8), [(0.4, 0.6)]).coefficients(sagd.bases.fourier((8, 8))))


def test_a_spectrum_with_its_level_is_n(band):
    source, diffusion, arrays = made(config(corruption=(BAND,), levels=(0.25,)))
    np.testing.assert_allclose(arrays["schedule_corruption"][0], 0.25 * band, rtol=1e-5)
    np.testing.assert_array_equal(arrays["schedule_counts"], [[0], [len(source)]])
    assert diffusion.schedule.kind == 1  # no clean example: sampled as what was trained
    assert diffusion.schedule.kinds == 2 and build.num_kinds(diffusion) == 2


def test_the_config_of_digits_is_one_with_clean_examples_and_a_path():
    run = read_config(str(ROOT / "configs" / "corrupted_digits.py"))
    source, diffusion, arrays = made(run)
    assert 0.05 < arrays["schedule_counts"][0, 0] / len(source) < 0.15
    assert diffusion.schedule.labels == 3 and diffusion.schedule.kind == 0


def test_what_is_planted_is_measured(band):
    _, _, arrays = made(config(corruption=("planted",), data={"corruption_strength": 0.5}))
    found = arrays["schedule_corruption"][0]
    np.testing.assert_array_equal(found > 0, band > 0)
    assert np.all(np.abs(found[band > 0] / (0.25 * band[band > 0]) - 1) < 5 * np.sqrt(2 / 4096))
    data = {"corruption": "moire", "corruption_band": (), "corruption_frequency": (0.25, 0.125)}
    _, _, arrays = made(config(corruption=("planted",), data=data))
    lines = arrays["schedule_corruption"][0][..., 0]
    np.testing.assert_array_equal(np.argwhere(lines > 0), [[2, 1], [6, 7]])
    assert abs(lines.sum() / 64 - 1) < 0.1  # standard deviation 1


def test_a_file_says_its_basis_and_may_hold_several_kinds(tmp_path, band):
    flags = np.arange(1437) % 3
    np.save(tmp_path / "flags.npy", flags)
    data = {
        "corruption": "none",
        "corruption_band": (),
        "corrupted_flags": str(tmp_path / "flags.npy"),
    }
    file = str(tmp_path / "n.npz")
    np.savez(file, variance=np.stack([band, np.where(band > 0, np.inf, 0)]), basis="fourier")
    run = config(corruption=(file,), data=data, restoring_share=0.2, levels=(2.0, 1.0))
    source, diffusion, arrays = made(run)
    np.testing.assert_array_equal(arrays["schedule_counts"][:, 0], np.bincount(flags))
    np.testing.assert_allclose(arrays["schedule_corruption"][0], 2 * band, rtol=1e-6)
    assert np.isinf(arrays["schedule_corruption"][1].max())
    assert diffusion.schedule.kind == 0 and diffusion.schedule.labels == 5
    batch = source.fetch(np.arange(6))
    np.testing.assert_array_equal(batch["corrupted"], [0, 1, 2, 0, 1, 2])

    again = stored_process(read_record(schema.as_dict(describe_run(run, source))), arrays)
    for kind in range(5):
        for t in (0.0, 0.4, 1.0):
            np.testing.assert_array_equal(
                diffusion.at(kind).schedule.sigma(t), again.at(kind).schedule.sigma(t)
            )
    half = band[:, :5]
    np.save(tmp_path / "half.npy", half)
    _, _, from_half = made(config(corruption=(str(tmp_path / "half.npy"),)))
    np.testing.assert_allclose(from_half["schedule_corruption"][0], band, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"basis='fourier'"):
        made(config(corruption=(file,), data=data, basis="cosine"))
    np.save(tmp_path / "flags.npy", flags + 1)
    with pytest.raises(ConfigError, match="of kind 3"):
        made(config(corruption=(file,), data=data))


def test_the_least_corrupted_kind_is_sampled_where_none_is_clean(tmp_path, band):
    np.save(tmp_path / "flags.npy", 1 + np.arange(1437) % 3)
    data = {
        "corruption": "none",
        "corruption_band": (),
        "corrupted_flags": str(tmp_path / "flags.npy"),
    }
    np.save(tmp_path / "n.npy", np.stack([np.where(band > 0, np.inf, 0), 3 * band, band]))
    _, diffusion, _ = made(config(corruption=(str(tmp_path / "n.npy"),), data=data))
    assert diffusion.schedule.kind == 3


def test_without_corruption_the_process_is_the_ordinary_one():
    noise = NoiseConfig(kind="power_law", alpha=-0.3)
    source, diffusion, arrays = made(config(noise=noise, corruption=(BAND,), levels=(0.0,)))
    assert diffusion.schedule == sagd.schedules.cosine() and build.num_kinds(diffusion) == 0
    np.testing.assert_array_equal(
        diffusion.covariance.variance, sagd.power_law((8, 8), -0.3).variance
    )
    run = config(noise=noise, corruption=(BAND,), levels=(0.0,))
    again = stored_process(describe_run(run, source), arrays)
    assert again.schedule == diffusion.schedule


def test_kinds_by_folder(tmp_path):
    from PIL import Image

    for name in ("good/0.png", "scanner/a/0.png", "scanner/1.png", "film/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    data = {"name": "folder", "dir": str(tmp_path), "corrupted_folders": ("film", "scanner")}
    source = open_source(schema.build(DataConfig, data))
    assert source.kinds.tolist() == [1, 0, 2, 2]
    np.testing.assert_array_equal(source.fetch(np.arange(4))["corrupted"], source.kinds)
    for change, words in (
        ({"corrupted_folders": ("files",)}, "no file below"),
        ({"corrupted_folders": ("scanner", "a")}, "several of them"),
        ({"corrupted_all": True}, "give one of them"),
        ({"corruption": "blur"}, "which is planted"),
    ):
        with pytest.raises(ValueError, match=words) as raised:
            open_source(schema.build(DataConfig, {**data, **change}))
        assert "\n" not in str(raised.value)
    everything = schema.build(DataConfig, {"name": "digits", "corrupted_all": True, "flip": True})
    assert np.all(open_source(everything).kinds == 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, r"corruption=\(\)"),
        ({"corruption": ("none.npy",)}, "corruption='none.npy'"),
        ({"corruption": ("stripy",)}, "stripy"),
        ({"corruption": (BAND,), "levels": (1.0, 2.0)}, "2 numbers for 1 kinds"),
        ({"corruption": (BAND,), "restoring_share": 0.2}, "restored"),
        ({"corruption": (BAND,), "data": {"corruption": "none", "corruption_band": ()}}, "no example"),
        (
            {
                "corruption": ("planted",),
                "data": {"corruption": "blur", "corruption_band": ()},
            },
            "adds no corruption",
        ),
        (
            {"corruption": (BAND,), "noise": NoiseConfig(kind="band_pass", bands=((0.0, 0.5),))},
            "lambda = 0",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(change, words):
    with pytest.raises(ConfigError, match=words) as raised:
        made(config(**change))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("model", {"prediction": "velocity"}, r"config\.model\.prediction='velocity'"),
        ("model", {"project_input": True}, "project_input"),
        ("train", {"norm": "mahalanobis"}, "norm"),
    ],
)
def test_what_does_not_go_with_kinds_is_refused(section, change, words):
    run = config(corruption=(BAND,))
    part = dataclasses.replace(getattr(run, section), **change)
    with pytest.raises(ConfigError, match=words) as raised:
        made(dataclasses.replace(run, **{section: part}))
    assert "\n" not in str(raised.value)
    hole = CorruptedNoiseConfig(kind="band_pass", bands=((0.0, 0.4),))
    with pytest.raises(ConfigError, match="needs no hole"):
        made(dataclasses.replace(run, corrupted_noise=hole))


def test_a_network_is_told_the_label_and_gives_v_in_units_of_the_level():
    import flax.linen as nn

    from sagd_jax.run.denoiser import apply_network

    class Told(nn.Module):
        @nn.compact
        def __call__(self, x, timestep, label=None, train=False, kind=None):
            return x + kind.reshape(-1, 1, 1, 1)

    _, diffusion, _ = made(config(corruption=(BAND,)))
    x = jnp.ones((2, 8, 8, 1))
    for kind, t, told in ((0, 0.0, 0), (1, 0.0, 1), (1, 0.99, 0)):
        own, times = diffusion.at(kind), jnp.full(2, t)
        scale = own.schedule.input_scale(times)
        v = apply_network(Told(), {}, own, x, times, None, prediction="v")
        state = own.encode(own.decode(scale * own.encode(x)) + told) / scale
        np.testing.assert_allclose(v, own.decode(state), atol=1e-5)
        x0 = apply_network(Told(), {}, own, x, times, None, prediction="x0")
        np.testing.assert_allclose(x0, own.decode(scale * own.encode(x)) + told, atol=1e-5)


@pytest.mark.parametrize("basis", ["fourier", "cosine", "haar", "sites"])
@pytest.mark.parametrize("clean_first", [True, False])
@pytest.mark.parametrize("clean", [0, 100, 1000])
def test_the_clean_spectrum_of_data_in_any_order(basis, clean_first, clean):
    """Data of variance 0.01 about 0.5, N = 0.005 per site: S is 0.01 and the mean's energy, not N's share of it."""
    from sagd_jax.data.source import ArraySource
    from sagd_jax.run.corruption import clean_spectrum
    from sagd_jax.run.noise import Signals

    rng, count = np.random.default_rng(0), 5000
    kinds = np.where(np.arange(count) < clean, 0, 1)[:: 1 if clean_first else -1]
    x = 0.5 + 0.1 * rng.normal(size=(count, 8, 8, 1))
    x += np.sqrt(0.005) * kinds[:, None, None, None] * rng.normal(size=x.shape)
    source = ArraySource(x.astype(np.float32), value_range=(-1, 1))
    source.kinds = kinds
    own = getattr(sagd.bases, basis)((8, 8))
    signals = Signals((8, 8), source=source, where="config.schedule")
    found = clean_spectrum(signals, own, np.full((1, 8, 8, 1), 0.005))
    mean = np.asarray(own.forward(np.full((1, 8, 8, 1), 0.5, np.float32)))[0]
    noise = 0.5 if clean < 1000 else 0.2  # N is known to some percent of S from few examples
    np.testing.assert_allclose(found, 0.01 + mean**2, rtol=0.25 * noise + 0.1)


def test_coordinates_that_the_corruption_hides_have_what_their_neighbours_have():
    from sagd_jax.data.source import ArraySource
    from sagd_jax.run.corruption import clean_spectrum
    from sagd_jax.run.noise import Signals

    rng, basis = np.random.default_rng(0), sagd.bases.cosine((96, 96))
    power = 1e-3 / (0.05 + np.asarray(basis.radius))  # falls slowly
    hidden = rng.random((96, 96, 1)) < 0.5
    state = rng.normal(size=(400, 96, 96, 1)) * np.sqrt(power + hidden)
    source = ArraySource(np.asarray(basis.inverse(state), np.float32), value_range=(-9, 9))
    source.kinds = np.ones(400, np.int64)
    signals = Signals((96, 96), source=source, where="config.schedule")
    scaled = 1 / 81  # of data in [-9, 9] to [-1, 1]
    found = clean_spectrum(signals, basis, scaled * hidden[None].astype(float))
    inner = np.asarray(basis.radius) > 0.05
    ratio = np.log(found / (scaled * power))[inner]
    assert np.sqrt(np.mean(ratio**2)) < 0.15 and np.abs(ratio).max() < 0.5
    with pytest.raises(ConfigError, match=r"config.schedule.data_spectrum: in every coordinate"):
        clean_spectrum(signals, basis, np.ones((1, 96, 96, 1)))


def test_with_the_data_spectrum_a_network_of_zeros_is_the_wiener_filter():
    """(28b), and what S is estimated to be: of band-passed noise on data of one variance, that variance."""
    import flax.linen as nn

    from sagd_jax.run.denoiser import apply_network

    class Zeros(nn.Module):
        @nn.compact
        def __call__(self, x, timestep, label=None, train=False, kind=None):
            return 0 * x

    run = config(corruption=(BAND,), data_spectrum="data")
    _, diffusion, arrays = made(run)
    s = np.asarray(diffusion.schedule.spectrum)
    np.testing.assert_array_equal(s, arrays["schedule_data_spectrum"])
    own = diffusion.schedule.basis
    known = spectrum_of(open_source(DataConfig(name="digits")), own)
    inner = own.radius > 0
    ratio = np.log(s[inner] / known[inner])
    assert np.sqrt(np.mean(ratio**2)) < 0.5 and np.abs(ratio).max() < 3
    data = sagd.oracle.DiagonalGaussian(own, jnp.zeros((8, 8, 1)), jnp.asarray(s))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 1)), jnp.float32)
    for kind, t in ((0, 0.3), (1, 0.0), (1, 0.6)):
        process, times = diffusion.at(kind), jnp.full(2, t)
        v = apply_network(Zeros(), {}, process, x, times, None, prediction="v")
        np.testing.assert_allclose(v, data.denoiser(process, "v")(x, times), atol=2e-4)
    wrong = dataclasses.replace(run, model=dataclasses.replace(run.model, prediction="epsilon"))
    with pytest.raises(ConfigError, match="data_spectrum: expected 'v'"):
        made(wrong)
