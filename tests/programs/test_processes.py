"""Runs under a spectral schedule and under a covariance per class: trained, resumed, opened, sampled."""

import jax.numpy as jnp
import numpy as np
import pytest
from programs import TINY, call

import sagd_jax as sagd

pytestmark = pytest.mark.thorough


def run(tmp_path, cache, *flags):
    """A run of four steps, cut after two."""
    (tmp_path / "tiny.py").write_text(TINY)
    common = [f"--config={tmp_path / 'tiny.py'}", f"--workdir={tmp_path / 'run'}", *flags]
    for steps in (2, 4):
        done = call("train.py", *common, f"--config.train.num_steps={steps}", cache=cache)
        assert done.returncode == 0, done.stderr
    assert "resuming at step 2" in done.stdout + done.stderr
    drawing = [f"--workdir={tmp_path / 'run'}", f"--out={tmp_path / 'samples'}"]
    done = call("sample.py", *drawing, "--num_samples=3", "--num_steps=3", cache=cache)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "samples" / "samples.npz") as file:
        assert file["samples"].shape == (3, 8, 8, 1)
    return done.stdout


def test_shortest_path(tmp_path, cache):
    run(
        tmp_path,
        cache,
        "--config.noise.alpha=0",
        "--config.noise.kind=white",
        "--config.schedule.kind=shortest_path",
    )
    denoiser, diffusion, _ = sagd.load(tmp_path / "run")
    assert type(diffusion.schedule).__name__ == "ShortestPath"
    # V_t = S^(1 - t): the spectrum that the checkpoint holds is that of the data.
    digits = sagd.data.open_source(sagd.data.DataConfig(name="digits"))
    expected = sagd.run.estimates.spectrum_of(digits, diffusion.schedule.basis)
    expected = np.maximum(expected, 1e-6 * expected.max())
    np.testing.assert_allclose(diffusion.schedule.spectrum, expected, rtol=1e-6)
    x_t = jnp.zeros((2, 8, 8, 1))
    assert denoiser(x_t, jnp.array([0.3, 0.9])).shape == x_t.shape
    done = call("sagd_jax.inspect", str(tmp_path / "run"), cache=cache)
    assert "schedule  shortest_path: ShortestPath(" in done.stdout


def test_a_covariance_per_class(tmp_path, cache):
    run(
        tmp_path,
        cache,
        "--config.noise.alpha=0",
        "--config.noise.kind=from_data",
        "--config.noise.per_class=True",
    )
    _, diffusion, _ = sagd.load(tmp_path / "run")
    each = diffusion.at(jnp.array([0, 9]))
    assert each.covariance.variance.shape == (2, 8, 5, 1)
    assert not np.allclose(*each.covariance.variance)


def test_epsilon_where_it_says_nothing_is_refused_before_compiling(tmp_path, cache):
    (tmp_path / "tiny.py").write_text(TINY)
    flags = [f"--config={tmp_path / 'tiny.py'}", f"--workdir={tmp_path / 'run'}", "--dry_run"]
    flags += [
        "--config.noise.alpha=0",
        "--config.noise.kind=white",
        "--config.schedule.kind=shortest_path",
    ]
    flags += ["--config.model.prediction=epsilon", "--config.preview.every=2"]
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "epsilon" in line)
    assert "alpha = 0" in line
