"""`python -m sagd_jax.restore`: files in, files of the same names, sizes and formats out.

The network says v = 0, which is exact for data of unit variance: in a coordinate with corruption N the posterior
mean is y / (1 + N) on the restoring path and y / (1 + 1.1 N) at the cap, but for the noise drawn there.
"""

import dataclasses
import functools
import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import toy_runs
from PIL import Image

import sagd_jax as sagd
from sagd_jax.programs import restore

SHAPE = (4, 4)
N = np.where(np.asarray(sagd.bases.cosine(SHAPE).radius) > 0.3, 3.0, 0.0)


class Zero(nn.Module):
    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False, kind=None):
        return 0 * x * self.param("scale", nn.initializers.ones, ())


def capped_run(shape=SHAPE, n=N, restoring=True, dtype=np.uint8):
    run = toy_runs.toy_run(shape=(6, *shape, 1), dtype=dtype)
    basis = sagd.bases.cosine(shape)
    schedule = sagd.schedules.capped(
        sagd.schedules.cosine(), sagd.white(shape), n, basis=basis, restoring=restoring
    )
    return dataclasses.replace(
        run, model=Zero(), diffusion=sagd.Diffusion(schedule), params={"scale": jnp.float32(1)}
    )


@functools.cache
def runs():
    sound = toy_runs.with_data(
        capped_run((16,), np.full((16, 1), 1.0), dtype=np.float32), kind="audio", sample_rate=800.0
    )
    two = capped_run(n=np.stack([N, 2 * N]))
    return {
        "images": capped_run(), "cap": capped_run(restoring=False), "sound": sound, "two": two,
        "plain": toy_runs.toy_run(), "scaled": toy_runs.with_data(capped_run(), scaled=True),
    }  # fmt: skip


@pytest.fixture
def served(monkeypatch):
    toy_runs.serve(monkeypatch, **runs())


def flags(workdir, folder, *more):
    return [f"--workdir={workdir}", f"--input={folder / 'in'}", f"--out={folder / 'out'}", *more]


def wiener(x, n=N, factor=1.0):
    basis = sagd.bases.cosine(x.shape[-1 - len(n.shape) + 1 : -1])
    return np.asarray(basis.inverse(basis.forward(jnp.asarray(x, jnp.float32)) / (1 + factor * n)))


def test_files_keep_their_names_sizes_and_formats(served, tmp_path, capsys):
    rng = np.random.default_rng(0)
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    pictures = {"one.png": (4, 4), "wide.png": (5, 11), "b.png": (4, 4), "c.jpg": (8, 4)}
    for name, size in pictures.items():
        Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(folder / name, quality=95)
    stack = rng.uniform(-1, 1, (3, 4, 4, 1)).astype(np.float64)
    np.save(folder / "stack.npy", stack)
    np.save(folder / "bare.npy", rng.integers(0, 256, (6, 4)).astype(np.uint8))
    (folder / "notes.txt").write_text("not a signal")
    assert restore.main(flags("images", tmp_path)) == 0
    assert "passed over 1 other" in capsys.readouterr().out
    out = tmp_path / "out" / "a"
    for name, size in pictures.items():
        with Image.open(out / name) as picture, Image.open(folder / name) as before:
            assert picture.format == before.format and picture.size == size[::-1]
            assert picture.mode == "L"
    # One tile, exactly.
    with Image.open(folder / "one.png") as before, Image.open(out / "one.png") as after:
        y = np.asarray(before)[..., None] / 127.5 - 1
        expected = np.round(np.clip((wiener(y[None])[0] + 1) * 127.5, 0, 255))
        assert np.abs(np.asarray(after)[..., None] - expected).max() <= 1
    done = np.load(out / "stack.npy")
    assert done.dtype == np.float64 and done.shape == stack.shape
    # The range of this run's floats is that of its bytes.
    unit = stack / 127.5 - 1
    np.testing.assert_allclose(done / 127.5 - 1, wiener(unit), atol=1e-4)
    bare = np.load(out / "bare.npy")
    assert bare.dtype == np.uint8 and bare.shape == (6, 4)

    # Run again, only what is missing is made; with other flags the folder is refused.
    (out / "b.png").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert restore.main(flags("images", tmp_path)) == 0
    assert "wrote 1 of 6" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert restore.main(flags("images", tmp_path)) == 0
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        restore.main(flags("images", tmp_path, "--draws=2"))
    assert stopped.value.code == 2 and "use another --out" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "restore.json").read_text())["draws"] == 0


def test_draws_their_mean_and_spread(served, tmp_path):
    (tmp_path / "in").mkdir()
    y = np.full((40, 4, 4, 1), 100.0, np.float32)
    np.save(tmp_path / "in" / "y.npy", y)
    assert restore.main(flags("images", tmp_path, "--draws=3", "--num_steps=40")) == 0
    out = tmp_path / "out"
    draws = [np.load(out / f"y.draw{i}.npy") for i in (1, 2, 3)]
    np.testing.assert_allclose(np.load(out / "y.npy"), np.mean(draws, axis=0), rtol=1e-5)
    spread = np.load(out / "y.spread.npy")
    np.testing.assert_allclose(spread, np.std(draws, axis=0, ddof=1), rtol=1e-3, atol=1e-3)
    # Posterior variance N / (1 + N) in the corrupted coordinates, none in the others.
    variance = np.mean(np.square(spread / 127.5)) * 16
    expected = float(np.sum(N / (1 + N)))
    assert 0.8 < variance / expected < 1.1
    assert not np.allclose(draws[0], draws[1])


def test_at_the_cap_it_says_so(served, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "y.npy", np.zeros((4, 4), np.float32))
    assert restore.main(flags("cap", tmp_path)) == 0
    assert "1.1 times the variance of the corruption" in capsys.readouterr().out


def test_sound_is_cut_into_windows_with_overlap(served, tmp_path):
    import soundfile

    (tmp_path / "in").mkdir()
    time = np.arange(200) / 800
    y = 0.5 * np.sin(2 * np.pi * 40 * time).astype(np.float32)
    soundfile.write(tmp_path / "in" / "hum.wav", y, 800, subtype="PCM_24")
    assert restore.main(flags("sound", tmp_path)) == 0
    x, rate = soundfile.read(tmp_path / "out" / "hum.wav")
    assert rate == 800 and soundfile.info(tmp_path / "out" / "hum.wav").subtype == "PCM_24"
    np.testing.assert_allclose(x, y / 2, atol=1e-4)  # N = 1 everywhere: half of it, in every window


@pytest.mark.parametrize(
    ("workdir", "more", "words"),
    [
        ("plain", [], "knows no corrupted kinds"),
        ("cap", ["--draws=4"], "without a restoring path"),
        ("images", ["--kind=2"], "expected 1 to 1"),
        ("two", [], "--kind"),
        ("images", ["--class=3"], "knows no classes"),
        ("images", ["--class=dog"], "dog: expected the number of a class, from 0 on"),
        ("images", ["--overlap=1.5"], "--overlap"),
        ("images", ["--input=nowhere"], "does not exist"),
        ("sound", [], "none of its 1 files"),
    ],
)
def test_what_is_refused_in_one_line(workdir, more, words, served, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "in" / "x.png")
    with pytest.raises(SystemExit) as stopped:
        restore.main(flags(workdir, tmp_path, *more))
    err = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and words in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(p / "x.png"), "3 channels"),
        (lambda p: Image.fromarray(np.zeros((3, 8), np.uint8)).save(p / "x.png"), "at least 4x4"),
        (lambda p: (p / "x.png").write_bytes(b"none"), "no PNG"),
        (lambda p: Image.new("LA", (4, 4), (9, 99)).save(p / "x.png"), "has transparent pixels"),
        (lambda p: np.save(p / "x.npy", np.zeros((4, 4), int)), "dtype int64"),
        (lambda p: np.save(p / "x.npy", np.zeros(4, np.float32)), "shape (4,)"),
        (lambda p: np.save(p / "x.npy", np.full((4, 4), np.nan, np.float32)), "NaN"),
        (lambda p: np.save(p / "x.npy", np.full((4, 4), 1300.0)), "lie in 0 to 255"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_restored_are_named(make, words, served, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    with pytest.raises(SystemExit) as stopped:
        restore.main(flags("images", tmp_path))
    err = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and words in err and "x." in err and len(err.splitlines()) == 1


def test_faults_in_any_file_are_said_before_one_is_written(served, tmp_path, capsys):
    saved(tmp_path / "in", "a.png", 9)
    np.save(tmp_path / "in" / "x.npy", np.full((4, 4), 1300.0))
    assert "lie in 0 to 255" in refusal(capsys, "images", tmp_path)
    assert not (tmp_path / "out").exists()


def test_sound_that_ends_early_is_refused(served, tmp_path, capsys):
    import soundfile

    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "x.wav"
    soundfile.write(file, np.zeros(200), 800, subtype="PCM_16")
    file.write_bytes(file.read_bytes()[:300])
    assert "truncated: 256 of 400 bytes of sound" in refusal(capsys, "sound", tmp_path)


def saved(folder, name, value):
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(folder / name)


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        restore.main(flags(*arguments))
    err = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and len(err.splitlines()) == 1
    return err


def test_what_others_have_left_in_the_folder_is_no_result(served, tmp_path, capsys):
    saved(tmp_path / "in", "x.png", 9)
    saved(tmp_path / "out", "x.png", 200)
    assert "x.png is there already" in refusal(capsys, "images", tmp_path)
    assert np.asarray(Image.open(tmp_path / "out" / "x.png"))[0, 0] == 200
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["x.png"]


def test_an_input_with_other_contents_is_not_done(served, tmp_path, capsys):
    saved(tmp_path / "in", "x.png", 9)
    assert restore.main(flags("images", tmp_path)) == 0
    before = (tmp_path / "out" / "x.png").read_bytes()
    # A line that was cut off as the program was killed hides none that is whole.
    with (tmp_path / "out" / "restored.jsonl").open("a") as stream:
        stream.write('\n{"file": "y.p')
    saved(tmp_path / "in", "y.png", 7)
    assert restore.main(flags("images", tmp_path)) == 0
    assert (
        restore.main(flags("images", tmp_path)) == 0 and "nothing to do" in capsys.readouterr().out
    )
    saved(tmp_path / "in", "x.png", 10)
    assert "made from other contents" in refusal(capsys, "images", tmp_path)
    assert (tmp_path / "out" / "x.png").read_bytes() == before
    (tmp_path / "out" / "x.png").unlink()
    assert restore.main(flags("images", tmp_path)) == 0


def test_pictures_of_another_scale_than_the_run_s(served, tmp_path, capsys):
    saved(tmp_path / "in", "x.png", 9)
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "in" / "y.png")
    err = refusal(capsys, "scaled", tmp_path)
    assert "y.png" in err and "scaled to 4 pixels" in err and not (tmp_path / "out").exists()
    assert restore.main(flags("scaled", tmp_path, "--own_scale")) == 0


def test_files_that_cannot_be_restored_are_left_out_when_asked(served, tmp_path, capsys):
    saved(tmp_path / "in", "x.png", 9)
    (tmp_path / "in" / "y.png").write_bytes(b"none")
    np.save(tmp_path / "in" / "z.npy", np.full((4, 4), np.nan, np.float32))  # its header is fine
    err = refusal(capsys, "images", tmp_path)
    assert "1 of 3 files cannot be restored; first" in err and "--on_error=skip leaves" in err
    assert not (tmp_path / "out").exists()
    assert restore.main(flags("images", tmp_path, "--on_error=skip")) == 0
    out = capsys.readouterr().out
    assert out.count("left out: 1 of") == 2 and "y.png" in out and "z.npy" in out
    assert sorted(path.name for path in (tmp_path / "out").glob("[x-z]*")) == ["x.png"]
    (tmp_path / "in" / "x.png").unlink()
    (tmp_path / "in" / "z.npy").unlink()
    assert "1 of 1 files cannot be restored" in refusal(
        capsys, "images", tmp_path, "--on_error=skip"
    )
