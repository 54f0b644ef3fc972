"""Previews: the picture that sample.py's samples would make, or none; their grid and sampler."""

import types

import numpy as np
import pytest
from PIL import Image
from toy_runs import toy_run

import sagd_jax as sagd
from sagd_jax.diffusion.samplers import Ddim, Sde
from sagd_jax.run import layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.draw import Drawer
from sagd_jax.show import pictures
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training import preview
from sagd_jax.training.actions import Moment, Parts
from sagd_jax.training.preview import Preview


def drawer(monkeypatch, **options):
    """What the preview gives its drawer."""
    seen = {}
    monkeypatch.setattr(preview, "Drawer", lambda *args, **given: seen.update(given))
    monkeypatch.setattr(preview, "is_bounded", lambda *args: False)
    monkeypatch.setattr(preview.layout, "replicated", lambda mesh: None)
    config = schema.build(RunConfig, {"preview": options})
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8, 8)))
    record = types.SimpleNamespace(config=config, data=None)
    preview.Preview(
        types.SimpleNamespace(record=record, model=None, diffusion=diffusion, mesh=None)
    )
    return seen


def test_the_grid_and_all_options_of_the_method_are_used(monkeypatch):
    options = {"times": "edm", "rho": 3.0, "ratio_min": 0.1, "num_steps": 5}
    seen = drawer(monkeypatch, **options, method="sde", churn=2.0)
    expected = sagd.time_grids.edm(sagd.schedules.cosine(), 5, rho=3.0, ratio_min=0.1)
    np.testing.assert_array_equal(seen["times"], expected)
    assert seen["sampler"] == Sde(churn=2.0)
    uniform = drawer(monkeypatch, num_steps=4)["times"]
    np.testing.assert_array_equal(uniform, [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"times": "edm", "ratio_min": 1e9}, r"config\.preview: ratio_min=1000000000\.0"),
        ({"rho": 3.0}, "rho=3.0 has no effect"),
        ({"times": "log"}, "'uniform', 'uniform_log_snr', 'edm'"),
    ],
)
def test_faults_of_the_grid(monkeypatch, options, words):
    with pytest.raises(ConfigError, match=words):
        drawer(monkeypatch, **options)


def previewed(scale, workdir):
    """What is shown elsewhere of a preview at step 7, whose options are these few."""
    run = toy_run(scale, preview={"every": 1, "num_samples": 4, "num_steps": 3})
    mesh = layout.whole_mesh()
    parts = Parts(run.record, None, run.model, run.diffusion, None, mesh)
    shown = []
    progress = types.SimpleNamespace(image=lambda *picture: shown.append(picture))
    state = {"ema": run.params}
    Preview(parts)(Moment(7, state, workdir, progress, True, lambda: False))
    return run, shown


def test_a_preview_is_the_grid_of_the_samples(tmp_path):
    run, shown = previewed(0.3, tmp_path)
    mesh = layout.local_mesh()
    draw = Drawer(
        run.record, run.model, run.diffusion, mesh, sampler=Ddim(), num_steps=3, clip=True
    )
    expected = pictures.grid(draw(run.params, 0, 4))
    with Image.open(tmp_path / "previews" / "step_00000007.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), expected[..., 0])
    assert len(shown) == 1


def test_one_that_is_not_finite_is_said_and_not_shown(tmp_path, caplog):
    _, shown = previewed(float("nan"), tmp_path)
    assert "no preview of step 7: 4 of 4 samples (0 to 3) are not finite" in caplog.text
    assert not shown and not list(tmp_path.iterdir())
