"""`python -m sagd_jax.likelihood`: the same numbers however it is cut, and the ones of the function."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import TINY, call

import sagd_jax as sagd
from sagd_jax.run.saved import load_run

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(TINY)
    done = call(
        "train.py",
        f"--config={folder / 'tiny.py'}",
        f"--workdir={folder / 'run'}",
        "--config.train.num_steps=2",
        "--config.model.prediction=v",
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    return folder / "run"


def likelihood(workdir, out, cache, *flags):
    few = ("--num_steps=4", "--num_examples=7")
    return call(
        "sagd_jax.likelihood", f"--workdir={workdir}", f"--out={out}", *few, *flags, cache=cache
    )


def values(out):
    lines = (out / "likelihood.jsonl").read_text().splitlines()[1:]
    return [json.loads(line)["nats"] for line in lines]


def test_it_goes_on_after_the_last_whole_line(workdir, cache, tmp_path):
    from sagd_jax import data, log_likelihood
    from sagd_jax.data.source import normalise
    from sagd_jax.diffusion.likelihood import dequantize

    whole = likelihood(workdir, tmp_path / "whole", cache, "--batch_size=7")
    assert whole.returncode == 0, whole.stderr
    assert "bits per dimension" in whole.stdout
    assert "7 examples of test, step 2: each takes 16 evaluations" in whole.stdout
    assert "exact divergence, 64 values" in whole.stdout
    assert whole.stderr == ""
    expected = values(tmp_path / "whole")
    assert len(expected) == 7

    # Cut in the middle of a line, and continued with another batch size.
    (tmp_path / "cut").mkdir()
    text = (tmp_path / "whole" / "likelihood.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    (tmp_path / "cut" / "likelihood.jsonl").write_text("".join(lines[:4]) + lines[4][:9])
    again = likelihood(workdir, tmp_path / "cut", cache, "--batch_size=3")
    assert again.returncode == 0, again.stderr
    np.testing.assert_allclose(values(tmp_path / "cut"), expected, rtol=1e-5)

    run_ = load_run(workdir)
    source = data.open_source(run_.record.config.data.__class__(split="test"))
    x = normalise(source.fetch(np.arange(7))["x"], source.value_range)
    noise_key, probe_key = jax.random.split(jax.random.key(0))
    direct = log_likelihood(
        probe_key,
        run_.denoiser(),
        run_.diffusion,
        dequantize(noise_key, jnp.asarray(x)),
        num_steps=4,
    )
    np.testing.assert_allclose(direct, expected, rtol=1e-4)


def test_other_settings_and_splits_are_refused(workdir, cache, tmp_path):
    (tmp_path / "likelihood.jsonl").write_text('{"step": 1}\n')
    refused = likelihood(workdir, tmp_path, cache)
    assert refused.returncode == 2
    assert "other settings" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert (tmp_path / "likelihood.jsonl").read_text() == '{"step": 1}\n'
    refused = likelihood(workdir, tmp_path / "x", cache, "--split=validation")
    assert refused.returncode == 2
    assert "validation" in refused.stderr and len(refused.stderr.splitlines()) == 1


def test_what_has_no_likelihood(monkeypatch, tmp_path, cache):
    """Under heat clean data have a bound alone; it is said before anything is compiled."""
    heat = sagd.schedules.heat(sagd.bases.cosine((8, 8)), 3.0, 0.05, spectrum=np.ones((8, 8, 1)))
    run = types.SimpleNamespace(
        diffusion=sagd.Diffusion(heat), step=1, identity="", config=sagd.default_config()
    )
    monkeypatch.setattr("sagd_jax.run.saved.load_run", lambda *_, **__: run)
    done = likelihood(tmp_path / "run", tmp_path / "out", cache)
    assert done.returncode == 2
    assert "the noise of heat begins with a jump" in done.stderr
    assert not (tmp_path / "out").exists()
