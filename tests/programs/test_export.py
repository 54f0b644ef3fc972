"""`sagd export`: the noise, the weights and the samples of a run."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from programs import TINY, call

import sagd_jax as sagd
from sagd_jax.models import load_diffusers
from sagd_jax.programs import export


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(TINY)
    flags = [f"--config={folder / 'tiny.py'}", f"--workdir={folder}", "--config.train.num_steps=2"]
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_noise_is_that_of_the_run(workdir, tmp_path, capsys):
    assert export.main(["noise", f"--workdir={workdir}", f"--out={tmp_path / 'n.npz'}"]) == 0
    assert "wrote the noise of step 2" in capsys.readouterr().out
    content = np.load(tmp_path / "n.npz")
    expected = sagd.exported.amplitude(sagd.power_law((8, 8), alpha=-0.5))
    np.testing.assert_allclose(content["amplitude"], expected, rtol=1e-6)
    assert tuple(content["spatial_shape"]) == (8, 8)


def test_the_weights_come_with_the_noise_and_a_word(workdir, tmp_path):
    out = tmp_path / "weights"
    assert export.main(["weights", f"--workdir={workdir}", f"--out={out}"]) == 0
    model, params = load_diffusers(out)
    run = sagd.load_run(workdir)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, run.params))
    assert model.block_out_channels == run.model.block_out_channels
    assert json.loads((out / "config.json").read_text())["sample_size"] == [8, 8]
    assert np.load(out / "noise.npz")["amplitude"].shape == (1, 8, 5)
    words = (out / "README.md").read_text()
    assert f"It predicts {run.config.model.prediction}" in words and "1000 t - 1" in words
    assert "would draw\nwhite noise" in words


def test_samples_become_pictures_and_nothing_else(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "samples-00000-of-00002.npz", samples=samples[:3])
    np.savez(tmp_path / "samples-00001-of-00002.npz", samples=samples[3:])
    out = tmp_path / "pictures"
    assert export.main(["samples", f"--samples={tmp_path}", f"--out={out}"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [f"{i:06d}.png" for i in range(5)]
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(np.asarray(Image.open(out / f"{i:06d}.png")), sample)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["noise", "--out=n.npz"], "noise needs --workdir"),
        (["samples", "--workdir=w", "--out=n"], "samples needs --samples, and that alone"),
        (["samples", "--samples=nowhere", "--out=n"], "no samples.npz there"),
        (["samples", "--samples=.", "--out=full"], "expected an empty folder"),
        (["samples", "--samples=sound", "--out=n"], "no grey or RGB images"),
        (["noise", "--workdir=nothing", "--out=n.npz"], "there is no checkpoint in"),
        (["noise", "--workdir=nothing", "--out=full"], "this is a folder, expected a file"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    flags, words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for folder, shape in ((".", (1, 4, 4, 1)), ("sound", (1, 8, 1)), ("full", (1,))):
        (tmp_path / folder).mkdir(exist_ok=True)
        np.savez(tmp_path / folder / "samples.npz", samples=np.zeros(shape, np.uint8))
    with pytest.raises(SystemExit) as end:
        export.main(flags)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1
    assert error.startswith("sagd export: ") and words in error
