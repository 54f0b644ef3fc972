"""Metrics: computed by name, on fixed draws, in the log of the run."""

import json

import flax.linen as nn
import jax
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import data
from sagd_jax.run import layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Moment, Parts
from sagd_jax.training.metrics import MetricsAction
from sagd_jax.training.progress import Progress


class Distance:
    """The squared distance of a weight from draws: what it is can be said without any network."""

    def draw(self, batch, time_key, noise_key, label_key):
        return {"z": jax.random.normal(noise_key, batch["label"].shape)}

    def loss(self, params, ema, drawn, dropout_key):
        assert dropout_key is None
        return jax.numpy.mean((params - drawn["z"]) ** 2), {}


def parts(**metrics):
    config = schema.build(RunConfig, {"train": {"batch_size": 64}, "metrics": metrics})
    source = data.open_source(config.data)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8, 8)))
    record = describe_run(config, source)
    return Parts(record, source, None, diffusion, Distance(), layout.whole_mesh())


@pytest.fixture
def progress(tmp_path):
    with Progress(tmp_path, 0, 100, tensorboard=False, active=True) as progress:
        yield progress


def at(step, ema, progress, tmp_path, interrupted=False):
    return Moment(step, {"ema": ema}, tmp_path, progress, True, lambda: interrupted)


def test_two_steps_differ_by_the_weights_alone(progress, tmp_path):
    action = MetricsAction(parts(names=("ema_loss",), every=5))
    assert action.every == 5
    with jax.set_mesh(layout.whole_mesh()):
        for step, ema in ((5, 0.0), (10, 0.0), (15, 1e3)):
            action(at(step, jax.numpy.float32(ema), progress, tmp_path))
        action(at(20, jax.numpy.float32(0), progress, tmp_path, interrupted=True))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    first, second, far = lines
    assert first["ema_loss"] == second["ema_loss"] == pytest.approx(1, abs=0.7)
    assert far["step"] == 15 and far["ema_loss"] == pytest.approx(1e6, rel=1e-2)


def test_without_names_there_is_nothing_to_do():
    assert MetricsAction(parts()).every is None


def test_an_unknown_metric_is_named():
    with pytest.raises(
        ConfigError, match=r"config\.metrics\.names='fid': expected one of 'ema_loss'"
    ):
        MetricsAction(parts(names=("fid",)))


class Part(nn.Module):
    """Says that x_0 is a part of x_t."""

    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        return self.param("part", nn.initializers.ones, ()) * x


def test_the_error_of_each_band_is_its_closed_form(progress, tmp_path, monkeypatch):
    """Of data in one band: (1 - c alpha)^2 S there, (c sigma)^2 everywhere, for x0_hat = c x_t."""
    values = {
        "model": {"prediction": "x0"},
        "metrics": {"names": ("band_errors",), "every": 1},
        "schedule": {"kind": "rectified_flow"},
    }
    config = schema.build(RunConfig, values)
    monkeypatch.setattr("sagd_jax.training.band_errors._COUNT", 4096)  # so that chance is small
    wave = np.cos(np.pi * np.arange(8))[:, None]  # at the largest frequency
    source = data.ArraySource(np.tile(wave, (4096, 1, 1)).astype(np.float32), value_range=(-1, 1))
    diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white((8,)))
    record = describe_run(config, source)
    own = Parts(record, source, Part(), diffusion, None, layout.whole_mesh())
    action = MetricsAction(own)
    with jax.set_mesh(layout.whole_mesh()):
        for step, part in ((1, 0.0), (2, 0.5)):
            action(at(step, {"part": jax.numpy.float32(part)}, progress, tmp_path))
    nothing, half = (json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines())
    names = [f"error_band{i}of4" for i in range(1, 5)]
    # The last band has bins 3 and 4 of 8, two of the first and one of the other.
    energy = 8 / 3
    np.testing.assert_allclose([nothing[n] for n in names], [0, 0, 0, energy], atol=1e-5)
    t = (np.arange(4096) + 0.5) / 4096
    scale = 0.5 / np.hypot(1 - t, t)  # the network sees x_t at unit scale
    noise = np.mean((scale * t) ** 2)
    signal = energy * np.mean((1 - scale * (1 - t)) ** 2)
    found = [half[n] for n in names]
    np.testing.assert_allclose(found[:3], noise, rtol=0.08)
    np.testing.assert_allclose(found[3], signal + noise, rtol=0.03)
