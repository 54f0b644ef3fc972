"""A run of an earlier version: its checkpoint loads, resumes bit for bit, samples and evaluates.

`stored/before_the_folders.zip` was made by the programs of commit c4f9bd5, with this config in the words
of its time and the XLA flags of `conftest.py`: the checkpoint of step 2, the weights of step 4, and what
sample.py and the likelihood program gave for step 2. Where jax computes the same as there, bit for bit
(`arithmetic`), so must the package.
"""

import json
import shutil
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import call

import sagd_jax as sagd
from sagd_jax.programs import inspect
from sagd_jax.run.saved import load_run

CONFIG = """
import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.noise.kind, config.noise.alpha = "power_law", -0.5
    config.corrupted_noise.kind, config.corrupted_noise.bands = "band_pass", ((0.0, 0.4), (0.6, 1.0))
    config.data.corruption, config.data.corruption_band = "band", (0.4, 0.6)
    config.data.corrupted_fraction = 0.25
    config.schedule.kind = "cosine"
    config.model.prediction, config.model.class_conditional = "v", True
    config.model.unet.block_out_channels = (8,)
    config.model.unet.layers_per_block = 1
    config.model.unet.mid_attention = False
    config.model.unet.norm_num_groups = 4
    config.train.num_steps, config.train.batch_size = 4, 16
    config.optimizer.warmup_steps = 2
    config.log.every, config.log.tensorboard = 2, False
    config.checkpoint.every = 2
    config.preview.every = None
    return config
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with zipfile.ZipFile(Path(__file__).parent / "stored" / "before_the_folders.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.py"
    path.write_text(CONFIG)
    return f"--config={path}"


def weights(workdir, step):
    found = {}
    for name in ("ema", "params"):
        params = load_run(workdir, step, ema=name == "ema").params
        for path, leaf in jax.tree.leaves_with_path(params):
            found[f"{name}/{jax.tree_util.keystr(path, simple=True, separator='/')}"] = leaf
    return found


def arithmetic():
    """Results of convolutions, products and transcendental functions, by jax alone."""

    def network(w, x):
        y = jax.lax.conv_general_dilated(
            x, w["conv"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        y = jax.nn.silu(y - y.mean(axis=(1, 2, 3), keepdims=True))
        return jnp.sum(jax.nn.softmax(y @ w["dense"]) * jnp.cos(y[..., :5]))

    keys = jax.random.split(jax.random.key(0), 3)
    w = {
        "conv": jax.random.normal(keys[0], (3, 3, 4, 8)),
        "dense": jax.random.normal(keys[1], (8, 5)),
    }
    value, slope = jax.jit(jax.value_and_grad(network))(
        w, jax.random.normal(keys[2], (16, 8, 8, 4))
    )
    return {"value": np.asarray(value), **{name: np.asarray(g) for name, g in slope.items()}}


@pytest.fixture(scope="module")
def exact(stored):
    """Whether jax on this machine computes what it did where the checkpoint was made."""
    with np.load(stored / "arithmetic.npz", allow_pickle=False) as file:
        return all(np.array_equal(file[name], value) for name, value in arithmetic().items())


def test_it_loads(stored):
    denoiser, diffusion, metadata = sagd.load(stored / "run")
    assert metadata["step"] == 2 and metadata["prediction"] == "v"
    assert metadata["config"]["corrupted_noise"]["kind"] == "band_pass"
    assert diffusion.schedule == sagd.schedules.cosine()
    np.testing.assert_array_equal(
        diffusion.covariance.variance, sagd.power_law((8, 8), -0.5).variance
    )
    x, t = np.zeros((2, 8, 8, 1), np.float32), np.full(2, 0.5, np.float32)
    assert denoiser(x, t, np.zeros(2, np.int32)).shape == (2, 8, 8, 1)


def test_inspect_shows_the_fields_that_have_an_effect(stored, capsys):
    assert inspect.main([str(stored / "run")]) == 0
    short = capsys.readouterr().out
    assert inspect.main([str(stored / "run"), "--all"]) == 0
    whole = capsys.readouterr().out
    for text in ('"alpha": -0.5', '"unet": {', '"prediction": "v"'):
        assert text in short and text in whole
    for text in ('"dit": {', '"beta_min"', '"gamma_low"'):
        assert text not in short and text in whole
    assert "--all shows the others" in short and "--all" not in whole


@pytest.mark.thorough
def test_it_resumes_bit_for_bit(stored, flags, exact, tmp_path, cache):
    workdir = tmp_path / "run"
    shutil.copytree(stored / "run", workdir)
    done = call("train.py", flags, f"--workdir={workdir}", cache=cache)
    assert done.returncode == 0, done.stderr
    assert "resuming at step 2" in done.stdout
    with np.load(stored / "weights.npz", allow_pickle=False) as file:
        expected = dict(file)
    found = weights(workdir, 4)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=0 if exact else 2e-5, rtol=0)


def test_it_samples(stored, exact, tmp_path, cache):
    done = call(
        "sample.py",
        f"--workdir={stored / 'run'}",
        f"--out={tmp_path}",
        *("--num_samples=8", "--num_steps=4", "--method=ddpm", "--seed=3"),
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    with np.load(stored / "samples.npz") as before, np.load(tmp_path / "samples.npz") as now:
        np.testing.assert_array_equal(now["labels"], before["labels"])
        gap = np.abs(now["samples"].astype(int) - before["samples"].astype(int))
    assert gap.max() <= (0 if exact else 1)


def test_its_likelihood_is_what_it_was(stored, tmp_path, cache):
    done = call(
        "sagd_jax.likelihood",
        f"--workdir={stored / 'run'}",
        f"--out={tmp_path}",
        *("--num_examples=4", "--num_steps=4", "--batch_size=4", "--divergence=hutchinson"),
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    before, now = (
        [json.loads(line) for line in (folder / "likelihood.jsonl").read_text().splitlines()]
        for folder in (stored, tmp_path)
    )
    # With the identity of the checkpoint added, what was begun then can be gone on with.
    assert now[0].pop("checkpoint") and now[0].pop("dir") is None
    assert now[0] == before[0]
    np.testing.assert_allclose(
        [line["nats"] for line in now[1:]], [line["nats"] for line in before[1:]], rtol=1e-4
    )
