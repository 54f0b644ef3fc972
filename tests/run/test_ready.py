"""Runs that come with the package: found by name, sound, small, of their config, and never written to."""

import dataclasses
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from programs import call
from sklearn.datasets import load_digits

import sagd_jax as sagd
from sagd_jax.run import integrity, ready
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config_file import read_config
from sagd_jax.run.layout import whole_mesh
from sagd_jax.run.record import read_record
from sagd_jax.run.restore import NoCheckpointError
from sagd_jax.run.saved import load_run
from sagd_jax.system.files import PlaceError
from sagd_jax.training import start

DIGESTS = {"digits": "568d0b6dfb46e995"}
LARGEST = 3e6


def files():
    return sorted(path for path in ready.READY.rglob("*") if path.is_file())


def test_they_are_these_and_small():
    assert ready.ready_runs() == sorted(DIGESTS)
    assert sum(file.stat().st_size for file in files()) < LARGEST
    for name, digest in DIGESTS.items():
        (step,) = (ready.READY / name / "checkpoints").iterdir()
        assert integrity.digest(step) == digest
        integrity.verify(step, int(step.name))


@pytest.mark.parametrize("name", DIGESTS)
def test_each_is_of_the_config_of_its_name(name):
    shipped = read_record(Checkpoints(ready.READY / name, read_only=True).open().record).config
    own = read_config(name)  # pictures on the way change nothing
    assert dataclasses.replace(own, preview=shipped.preview) == shipped


def test_the_samples_of_the_first_command_are_digits(tmp_path, monkeypatch, cache):
    """Each is of its class to an eye that knows nothing but the mean of each, and their spectrum is the data's."""
    monkeypatch.chdir(tmp_path)
    before = [(file, file.stat().st_mtime_ns) for file in files()]
    done = call("sample.py", "--workdir=digits", "--batch_size=64", cache=cache)
    assert done.returncode == 0, done.stderr
    assert "of digits, which comes with the package; EMA weights; 64 samples" in done.stdout
    assert {path.name for path in Path("digits_samples").iterdir()} == {
        "grid.png", "samples.json", "samples.npz", "spectrum.svg",
    }  # fmt: skip
    assert [(file, file.stat().st_mtime_ns) for file in files()] == before
    with np.load("digits_samples/samples.npz") as file:
        samples, labels = file["samples"] / 255 * 16.0, file["labels"]
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1)
    means = np.stack([x[y == digit].mean(0) for digit in range(10)])
    nearest = np.argmin(((samples[:, None] - means) ** 2).sum((2, 3, 4)), axis=1)
    assert list(labels[:12]) == [*range(10), 0, 1]
    assert np.mean(nearest == labels) > 0.8  # of the data it is 0.91
    assert abs(samples.mean() / x.mean() - 1) < 0.05
    # White noise, or a network that has learned nothing, has as much power in all bands.
    power = [
        np.mean(np.abs(np.fft.fft2(a, axes=(1, 2))[..., 0]) ** 2, axis=0) for a in (samples, x)
    ]
    np.testing.assert_allclose(power[0][0, 1], power[1][0, 1], rtol=0.3)
    np.testing.assert_allclose(power[0][3:6, 3:6].mean(), power[1][3:6, 3:6].mean(), rtol=0.3)


def test_a_folder_of_the_name_comes_first_and_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_run("digits").step == 2800
    denoiser, _, metadata = sagd.load("digits")
    assert metadata["step"] == 2800 and denoiser.prediction == "v"
    (tmp_path / "digits").mkdir()
    with pytest.raises(NoCheckpointError, match="this folder comes before the run 'digits'"):
        load_run("digits")
    with pytest.raises(NoCheckpointError, match="no such folder; the package itself has: digits"):
        load_run("digit")


def test_results_go_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ready.results_of("digits", "evaluation") == Path("digits_evaluation")
    assert ready.results_of("digits") == Path("digits_results")
    (tmp_path / "digits").mkdir()
    assert ready.results_of("digits", "evaluation") == Path("digits/evaluation")
    with pytest.raises(PlaceError, match=r"--workdir=gs://b/run: .* say --out=FOLDER"):
        ready.results_of("gs://b/run", "samples")


def test_a_training_can_start_from_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = load_run("digits")
    shapes = jax.eval_shape(lambda: run.params)
    prepared = types.SimpleNamespace(
        record=run.record, diffusion=run.diffusion, model=run.model, mesh=whole_mesh()
    )
    params, words = start._other_weights("digits", shapes, (), prepared)
    assert words == "the EMA weights of digits at step 2800"
    assert jax.tree.all(jax.tree.map(np.array_equal, params, run.params))
