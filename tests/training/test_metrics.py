"""Metrics: computed by name, on fixed draws, in the log of the run."""

import json

import jax
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
