"""Evaluation during training: the numbers of the program evaluate, in the log."""

import types

import pytest
from toy_runs import toy_run

from sagd_jax import data
from sagd_jax.data import DataConfig
from sagd_jax.diffusion.samplers import Ddim
from sagd_jax.evaluation import bench
from sagd_jax.evaluation import compared as compared_data
from sagd_jax.evaluation.judge import Asked
from sagd_jax.run import layout
from sagd_jax.run.draw import Drawer
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Moment, Parts
from sagd_jax.training.evaluation import Evaluation

SHAPE = (6, 8, 8, 1)


def action(scale=0.3, **options):
    run = toy_run(scale, shape=SHAPE, evaluation={"every": 1, "num_steps": 2, **options})
    source = data.open_source(DataConfig(name="digits"))
    mesh = layout.whole_mesh()
    return run, Evaluation(Parts(run.record, source, run.model, run.diffusion, None, mesh))


def logged(run, evaluation, tmp_path, is_first=True, interrupted=False):
    lines = []
    progress = types.SimpleNamespace(note=lambda step, values: lines.append((step, values)))
    state = {"ema": run.params}
    evaluation(Moment(7, state, tmp_path, progress, is_first, lambda: interrupted))
    return lines


def test_the_log_has_what_the_program_would_say(tmp_path):
    run, evaluation = action(num_samples=70, metrics=("spectral", "frechet:pixels"))
    ((step, values),) = logged(run, evaluation, tmp_path)
    assert step == 7
    assert set(values) == {
        "spectral", "spectral_floor", "frechet_pixels", "frechet_pixels_floor",
    }  # fmt: skip
    mesh = layout.local_mesh()
    draw = Drawer(
        run.record, run.model, run.diffusion, mesh, sampler=Ddim(), num_steps=2, clip=True
    )
    compared = compared_data.open_data(run.config.data, run.record.data)
    own = bench.Bench(run.record.data, compared, mesh)
    expected = own.judge(Asked("frechet", "pixels"), draw(run.params, 0, 70), {})
    assert values["frechet_pixels"] == pytest.approx(expected["value"], rel=1e-6)
    assert not logged(run, evaluation, tmp_path, is_first=False)
    assert not logged(run, evaluation, tmp_path, interrupted=True)


def test_a_network_that_overflows_ends_no_training(tmp_path, caplog):
    run, evaluation = action(float("nan"), num_samples=16)
    assert not logged(run, evaluation, tmp_path)
    assert "no evaluation of step 7: 16 of 16 samples" in caplog.text


def test_it_is_off_unless_asked_for():
    assert action(every=0)[1].every is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": ("fid",)}, r"config\.evaluation\.metrics='fid': expected one of 'frechet'"),
        ({"metrics": ("frechet:pixels",), "num_samples": 20}, "20 samples; expected at least 65"),
        ({"metrics": ("kernel:classifier",)}, "no labels to train a classifier on"),
    ],
)
def test_faults_are_found_at_the_start(options, words):
    with pytest.raises(ConfigError, match=words):
        action(**options)
