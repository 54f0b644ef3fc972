"""The program that analyses a data set's spectrum."""

import json

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import data
from sagd_jax.programs import spectrum
from sagd_jax.run import build
from sagd_jax.spectral import spectra
from sagd_jax.spectral.power_spectrum import estimate, fit_power_law


def config_file(folder, **fields):
    lines = [f"    config.data.{name} = {value!r}" for name, value in fields.items()]
    path = folder / "config.py"
    path.write_text(
        "import sagd_jax as sagd\n\n\ndef get_config():\n"
        "    config = sagd.default_config()\n" + "\n".join(lines) + "\n    return config\n"
    )
    return path


def test_the_program(tmp_path, capsys):
    config = config_file(
        tmp_path,
        name="synthetic",
        num_examples=400,
        field_shape=(64, 64),
        corruption="moire",
        corruption_frequency=(0.25, 0.125),
        corruption_strength=0.04,
    )
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--num_examples=300"])
    printed = capsys.readouterr().out
    for text in (
        "300 of 400 examples",
        "+- s.e.",
        "1. line at ",
        " +- 0.0078 cycles/sample: corruption",
        "what to do: omission",
        'it wraps around at the edges of an example; that of basis="cosine" does not',
    ):
        assert text in printed
    assert {path.name for path in out.iterdir()} == {
        "spectrum.png",
        "spectrum.json",
        "power.npy",
        "equal_snr.npy",
        "omission.npy",
        "corruption.npz",
        "capped_config.py",
        "noise_config.py",
    }
    numbers = json.loads((out / "spectrum.json").read_text())
    assert numbers["num_examples"] == 300
    (found,) = [f for f in numbers["findings"] if f["verdict"] == "corruption"]
    assert (found["number"], found["kind"]) == (1, "line")
    # The same number as training prints for this hole.
    from sagd_jax.run.config_file import read_config
    from sagd_jax.training.summary import hidden_energy

    hole = sagd.from_variance(np.load(out / "omission.npy"), (64, 64))
    share = hidden_energy(hole, data.open_source(read_config(str(config)).data))
    assert numbers["energy_removed_by_omission"] == pytest.approx(share)
    assert f"removes {share:.2%} of the data's energy" in printed
    with np.load(out / "corruption.npz") as levels:
        assert levels["variance"].shape == levels["error"].shape == (1, 64, 64, 1)
        assert levels["kind"].shape == levels["index"].shape == (300,)
        assert np.unravel_index(levels["variance"].argmax(), (1, 64, 64, 1))[1:3] in {
            (16, 8),
            (48, 56),
        }
    # The snippet is a config that names a valid covariance.
    covariance = build.covariance(used(config, out).noise, (64, 64))
    assert covariance.variance[16, 8, 0] == 0


def test_the_program_on_clean_data_suggests_equal_snr(tmp_path, capsys):
    config = config_file(tmp_path, name="synthetic", num_examples=200, field_shape=(64,))
    spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", "--exponent=0.5"])
    assert "nothing stands out" in capsys.readouterr().out
    assert not (tmp_path / "out" / "omission.npy").exists()
    power = np.load(tmp_path / "out" / "power.npy")
    variance = np.load(tmp_path / "out" / "equal_snr.npy")
    ratio = np.sqrt(power) / variance
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


def used(config, out, name="noise_config.py"):
    """A config with the lines that the program wrote."""
    from sagd_jax.run.config_file import read_config

    lines = [f"    {line}\n" for line in (out / name).read_text().splitlines()]
    text = config.read_text().replace("    return config", "".join(lines) + "    return config")
    (out / "config.py").write_text(text)
    return read_config(str(out / "config.py"))


def test_in_the_cosine_basis(tmp_path, capsys):
    config = config_file(tmp_path, name="synthetic", num_examples=200, field_shape=(9, 12))
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--exponent=0.5", "--basis=cosine"])
    printed = capsys.readouterr().out
    assert "nothing stands out of its surroundings" in printed
    fields = data.DataConfig(name="synthetic", num_examples=200, field_shape=(9, 12))
    source = data.open_source(fields)
    x = normalised(source.fetch(np.arange(200))["x"], source.value_range)
    expected = estimate(x, basis="cosine")
    power = np.load(out / "power.npy")
    np.testing.assert_allclose(power, expected.power, rtol=1e-5)
    numbers = json.loads((out / "spectrum.json").read_text())
    assert numbers["basis"] == "cosine"
    assert numbers["power_law"]["alpha"] == pytest.approx(fit_power_law(expected).alpha, rel=1e-4)
    assert (out / "spectrum.png").stat().st_size > 1000
    covariance = build.covariance(used(config, out).noise, (9, 12))
    same = spectra.from_data(power, (9, 12), 0.5, basis="cosine")
    assert covariance.basis == same.basis
    np.testing.assert_allclose(covariance.variance, same.variance, rtol=1e-6)


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
def test_a_spectrum_per_class(tmp_path, capsys, basis):
    config = config_file(tmp_path, name="digits")
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--per_class", f"--basis={basis}"])
    assert "config.noise.per_class = True" in capsys.readouterr().out
    digits = data.open_source(data.DataConfig(name="digits"))
    batch = digits.fetch(np.arange(len(digits)))
    powers = np.load(out / "classes.npy")
    x = normalised(batch["x"], digits.value_range)
    for label in (0, 7):
        own = estimate(x[batch["label"] == label], basis=basis, window="none")
        np.testing.assert_allclose(powers[label], own.power, rtol=1e-4)
    stack = build.covariance_stack(used(config, out).noise, (8, 8), 10)
    expected = spectra.from_data(powers[7], (8, 8), basis=basis)
    np.testing.assert_allclose(stack.at(7).variance, expected.variance, rtol=1e-6)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_lines_for_capped_levels_are_a_config(tmp_path, capsys, share):
    rng = np.random.default_rng(0)
    x = 0.05 * rng.normal(size=(150, 64, 1))
    has = rng.random(150) < share
    phase = 2 * np.pi * (0.25 * np.arange(64) + rng.random((150, 1)))
    x[..., 0] += 0.1 * has[:, None] * np.sin(phase)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    config = config_file(tmp_path, name="array", dir=str(tmp_path / "x.npy"))
    out = tmp_path / "out"
    flags = [f"--config={config}", f"--out={out}", "--findings=1"]
    spectrum.main(flags)
    assert "to learn from the corrupted examples instead" in capsys.readouterr().out
    read = used(config, out, "capped_config.py")
    source = data.open_source(read.data)
    np.testing.assert_array_equal(source.kinds, has)
    (found,) = json.loads((out / "spectrum.json").read_text())["findings"]
    assert found["examples"] == (np.flatnonzero(has).tolist() if share < 1 else None)
    schedule = build.process(read, source)[0].schedule
    # A tone of amplitude 0.1 between f and -f: 0.1^2 / 4 per site, in 64 of them.
    np.testing.assert_allclose(schedule.corruption[0, [16, 48], 0], 0.01 / 4 * 64, rtol=0.1)
    assert int(schedule.kind) == (0 if share < 1 else 1)
    assert schedule.margin == 10  # of a tone
    # The noise's own, of variance 0.05^2 per coordinate, in the tone's coordinates too.
    np.testing.assert_allclose(schedule.spectrum[1:, 0], 0.0025, rtol=0.6)
    if share < 1:  # of the others it does not know
        spectrum.main([*flags, "--num_examples=100"])
        assert "--num_examples=150 a line" in (out / "capped_config.py").read_text()


@pytest.mark.parametrize(
    ("size", "said"), [(60, ""), (64, "steps beside the frequencies of windows of 64, which")]
)
def test_tones_that_do_not_fit_the_windows_are_told_of_ones_that_do(tmp_path, size, said):
    """Of f = 0.1: six periods in 60 samples, and 6.4 in 64."""
    at = np.arange(60_000)
    x = 0.05 * np.random.default_rng(0).normal(size=60_000) + 0.1 * np.sin(0.2 * np.pi * at)
    np.save(tmp_path / "x.npy", x[:, None].astype(np.float32))
    windows = {"array_window": (size,), "array_step": (67,)}  # of any phase
    config = config_file(tmp_path, name="array", dir=str(tmp_path / "x.npy"), **windows)
    spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", "--findings=1"])
    text = (tmp_path / "out" / "capped_config.py").read_text()
    assert ("windows of 60: cut" in text) is bool(said)
    assert said in text


def test_the_lines_for_capped_levels_keep_the_kinds_that_the_config_has(tmp_path, capsys):
    """The rarer corruption is kind 1 there, where the detector counts the more frequent one first."""
    rng = np.random.default_rng(0)
    x = 0.05 * rng.normal(size=(300, 64, 1))
    kinds = np.repeat([1, 2, 0, 3], [60, 140, 90, 10]).astype(np.uint8)
    for kind, place in ((1, 10), (2, 22)):
        phase = 2 * np.pi * (place / 64 * np.arange(64) + rng.random((300, 1)))
        x[..., 0] += 0.2 * (kinds == kind)[:, None] * np.sin(phase)
    np.save(tmp_path / "x.npy", x.astype(np.float32))
    np.save(tmp_path / "flags.npy", kinds)
    flags = {"corrupted_flags": str(tmp_path / "flags.npy")}
    config = config_file(tmp_path, name="array", dir=str(tmp_path / "x.npy"), **flags)
    out = tmp_path / "out"
    spectrum.main([f"--config={config}", f"--out={out}", "--findings=1,2"])
    text = (out / "capped_config.py").read_text()
    assert "corrupted_flags" not in text and "kind 3, nothing that was found" in text
    read = used(config, out, "capped_config.py")
    source = data.open_source(read.data)
    corruption = build.process(read, source)[0].schedule.corruption[..., 0]
    np.testing.assert_allclose(corruption[0, 10], 0.04 / 4 * 64, rtol=0.15)
    np.testing.assert_allclose(corruption[1, 22], 0.04 / 4 * 64, rtol=0.15)
    assert corruption[0, 22] == corruption[1, 10] == 0 and not np.any(corruption[2])
    written = np.load(out / "corruption.npz")
    np.testing.assert_array_equal(written["kind"], kinds[written["index"]])


def normalised(x, value_range):
    return np.asarray(data.normalise(x, value_range))


def sounds(folder, frequency):
    """Noise and a tone that holds most of its energy, at 8000 samples per second."""
    import soundfile

    rng = np.random.default_rng(0)
    folder.mkdir()
    phase = 2 * np.pi * (frequency * np.arange(128) / 8000 + rng.random((64, 1)))
    sound = 0.2 * np.sin(phase) + 0.05 * rng.normal(size=phase.shape)
    soundfile.write(folder / "x.wav", sound.ravel(), 8000)


def test_no_omission_is_suggested_of_what_may_be_the_signal(tmp_path, capsys):
    sounds(tmp_path / "sounds", frequency=1000)
    config = config_file(tmp_path, name="audio", dir=str(tmp_path / "sounds"), window=128)
    out = tmp_path / "out"
    flags = [f"--config={config}", f"--out={out}", "--window=none"]
    spectrum.main(flags)
    printed = capsys.readouterr().out
    # Half of a bin of 8000 / 128 Hz.
    assert "1. line at 0.12" in printed and "+- 31 Hz)" in printed
    assert "a held note looks like a hum at this length; a longer window, " in printed
    assert "--config.data.window=1024 where files are that long, tells them apart" in printed
    assert not (out / "omission.npy").exists()
    assert "equal_snr.npy" in (out / "noise_config.py").read_text()

    spectrum.main([*flags, "--findings=1"])
    assert "more than --max_removed=0.1" in capsys.readouterr().out
    assert json.loads((out / "spectrum.json").read_text())["energy_removed_by_omission"] > 0.8
    assert not (out / "omission.npy").exists()
    spectrum.main([*flags, "--findings=1", "--max_removed=1"])
    assert "omission.npy" in (out / "noise_config.py").read_text()
    spectrum.main(flags)
    assert not (out / "omission.npy").exists()  # not that of the run before


@pytest.mark.parametrize(("at", "said"), [((0.29, 0.19), True), ((0.29, 0.0), False)])
def test_a_line_that_mirrored_examples_have_elsewhere(tmp_path, capsys, at, said):
    rng = np.random.default_rng(0)
    y, x = np.indices((32, 32))
    phase = 2 * np.pi * rng.random((200, 1, 1))
    wave = np.cos(2 * np.pi * (at[0] * y + at[1] * x) + phase)
    np.save(tmp_path / "x.npy", (0.1 * rng.normal(size=wave.shape) + 0.1 * wave)[..., None])
    flags = ["--config=array", f"--config.data.dir={tmp_path / 'x.npy'}"]
    flags += ["--config.data.value_range=(-2,2)", "--findings=1", "--max_removed=1"]
    told = {}
    for flip in (True, False):
        out = tmp_path / f"flip{flip}"
        assert spectrum.main([*flags, f"--config.data.flip={flip}", f"--out={out}"]) == 0
        assert ("training mirrors them" in capsys.readouterr().out) == (said and flip)
        # The lines for capped levels, whose N is of examples as they are, say so.
        lines = (out / "capped_config.py").read_text()
        assert ("config.data.flip = False" in lines) == (said and flip)
        found = json.loads((out / "spectrum.json").read_text())["findings"]
        told[flip] = [(f["kind"], f["verdict"], f["frequencies"]) for f in found]
        for name in ("power.npy", "omission.npy"):
            values = np.load(out / name).reshape(32, 17)
            both = np.array_equal(values, np.roll(values[::-1], 1, axis=0))
            assert both == (flip or (name == "omission.npy" and not said))
    assert told[True] == told[False]


@pytest.mark.parametrize("mean", ["channel", "site"])
def test_constant_data_are_named_as_such(tmp_path, capsys, mean):
    np.save(tmp_path / "x.npy", np.full((5, 8, 8, 3), 51, np.uint8))
    config = config_file(tmp_path, name="array", dir=str(tmp_path / "x.npy"))
    with pytest.raises(SystemExit) as raised:
        spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", f"--mean={mean}"])
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert "the data are constant" in error and "-0.6, -0.6, -0.6" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--basis=haar"], "'fourier', 'cosine'"),
        (["--per_class", "--num_examples=12"], "--per_class: class"),
        (["--per_class", "--config.data.name=synthetic"], "--per_class: this data has no labels"),
        (["--findings=one"], "--findings='one': expected numbers of findings, such as 1,3"),
        (["--findings=7"], "nothing was found"),
        (["--max_removed=2"], "expected a number in [0, 1]"),
        (["--num_examples=1"], "--num_examples=1: expected at least 2"),
        (["--margin=-1"], "--margin=-1.0"),
        (["--config.data.split=trian"], "'train', 'test', 'all'"),
        (["--config.data.nam=digits"], "did you mean 'name'"),
        (["--windw=hann"], "did you mean --window"),
    ],
)
def test_faults_of_the_program(tmp_path, capsys, flags, message):
    config = config_file(tmp_path, name="digits")
    with pytest.raises(SystemExit) as raised:
        spectrum.main([f"--config={config}", f"--out={tmp_path / 'out'}", *flags])
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_program_does_not_write_where_the_data_are(tmp_path, capsys):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "x.png")
    config = config_file(tmp_path, name="folder", dir=str(folder))
    with pytest.raises(SystemExit):
        spectrum.main([f"--config={config}", f"--out={folder / 'out'}"])
    assert "where nothing is ever written" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["x.png"]
