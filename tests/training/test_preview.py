"""Previews: the picture that sample.py's samples would make, or none."""

import types

import numpy as np
from PIL import Image
from toy_runs import toy_run

from sagd_jax.diffusion.samplers import Ddim
from sagd_jax.run import layout
from sagd_jax.run.draw import Drawer
from sagd_jax.show import pictures
from sagd_jax.training.actions import Moment, Parts
from sagd_jax.training.preview import Preview


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
