"""Samples step by step are those of sample.py."""

import dataclasses

import numpy as np
import pytest
from toy_runs import toy_run

from sagd_jax.diffusion.samplers import Ddim
from sagd_jax.programs.explored_samples import Trajectories, picture
from sagd_jax.run.draw import Drawer, is_bounded
from sagd_jax.run.layout import local_mesh
from sagd_jax.system.schema import ConfigError


@pytest.mark.parametrize("options", [{}, {"classes": 3}, {"dtype": np.float32}], ids=str)
def test_the_last_step_is_what_the_drawer_draws(options):
    run = toy_run(model={"prediction": "v", "class_conditional": "classes" in options}, **options)
    states = Trajectories(run).draw(seed=4, count=5, num_steps=6)
    assert states.shape == (7, 5, 4, 4, 1) and states.dtype == run.record.data.dtype
    drawer = Drawer(
        run.record,
        run.model,
        run.diffusion,
        local_mesh(),
        sampler=Ddim(),
        num_steps=6,
        seed=4,
        clip=is_bounded(run.record, run.diffusion),
    )
    drawn = drawer(run.params, 0, 5)
    tolerance = 1 if drawn.dtype == np.uint8 else 1e-5
    assert np.abs(states[-1].astype(float) - drawn).max() <= tolerance
    assert np.abs(states[0].astype(float) - states[-1]).max() > 10 * tolerance
    assert picture(run, states, 3).dtype == np.uint8


def test_numbers_that_cannot_be_are_one_line():
    trajectories = Trajectories(toy_run())
    for changed, words in (
        ({"count": 65}, "samples=65: expected 1 to 64"),
        ({"num_steps": 0}, "steps=0: expected 1 to 250"),
        ({"method": "none"}, "method='none': expected one of"),
        ({"seed": -1}, "seed=-1: expected"),
    ):
        with pytest.raises(ConfigError, match=f"^{words}"):
            trajectories.draw(**{"seed": 0, "count": 2, "num_steps": 3, **changed})
    with pytest.raises(ConfigError, match="not finite from step"):
        Trajectories(toy_run(float("nan"), dtype=np.float32)).draw(0, 2, 3)


def test_a_trajectory_that_no_session_could_keep_is_refused():
    run = toy_run()
    data = dataclasses.replace(run.record.data, shape=(512, 512, 3))
    run = dataclasses.replace(run, record=dataclasses.replace(run.record, data=data))
    with pytest.raises(ConfigError, match="values to keep; expected at most"):
        Trajectories(run).draw(0, 64, 250)


def test_a_model_without_steps_is_refused():
    run = toy_run(objective={"kind": "consistency"})
    with pytest.raises(ConfigError, match="a consistency model, which has no steps"):
        Trajectories(run)
