"""Samples of a run: seeds, and what is finite and until when."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from toy_runs import toy_run

import sagd_jax as sagd
from sagd_jax.data import corruptions, open_source
from sagd_jax.data.config import DataConfig
from sagd_jax.data.source import denormalise
from sagd_jax.diffusion.samplers import Ddim
from sagd_jax.evaluation.likelihood import evaluate
from sagd_jax.run import layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.draw import Drawer, NotFiniteError
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

ALIAS = 2**32 + 1  # JAX takes it for 1


def drawer(run, **options):
    mesh = layout.local_mesh()
    options = {"sampler": Ddim(), "num_steps": 4, **options}
    return Drawer(run.record, run.model, run.diffusion, mesh, **options)


def test_the_first_batch_that_is_not_finite_is_named():
    run = toy_run(1e15)  # about 1e15 times more in each step; float32 ends at 3.4e38
    draw = drawer(run, batch_size=3)
    with pytest.raises(NotFiniteError, match=r"3 of 3 samples \(5 to 7\) are not finite") as caught:
        draw(run.params, 5, 11)
    assert caught.value.index == 5
    assert draw.last_finite_step(run.params, 5) == 2
    assert draw.last_finite_step({"scale": jnp.float32(0.5)}, 5) is None
    assert draw.last_finite_step({"scale": jnp.float32(np.nan)}, 5) == 0


@pytest.mark.parametrize("clip", [False, True])
def test_a_prediction_that_says_nothing_at_the_start_is_refused(clip):
    run = toy_run(model={"prediction": "epsilon"})
    straight = sagd.Diffusion(sagd.schedules.rectified_flow(), run.diffusion.covariance)
    run = dataclasses.replace(run, diffusion=straight)  # alpha is 0 at the start
    with pytest.raises(ValueError, match="use a network that predicts x0, v or velocity"):
        drawer(run, clip=clip).check(run.params)


def test_seeds_that_would_be_others_are_refused():
    run = toy_run()
    source = open_source(DataConfig())
    for use in (
        lambda: drawer(run, seed=ALIAS),
        lambda: drawer(run, seed=-1),
        lambda: next(evaluate(run, source, layout.whole_mesh(), seed=ALIAS)),
        lambda: schema.build(RunConfig, {"seed": ALIAS}),
        lambda: schema.build(RunConfig, {"data": {"name": "synthetic", "field_seed": ALIAS}}),
        lambda: corruptions.example_keys(ALIAS, jnp.arange(2)),
    ):
        with pytest.raises(ConfigError, match=r"seed=.*expected"):
            use()


def test_the_way_of_samples_ends_in_the_samples():
    run, mesh = toy_run(0.3), layout.local_mesh()
    draw = Drawer(run.record, run.model, run.diffusion, mesh, sampler=Ddim(), num_steps=8)
    states = draw.trajectory(run.params, 3, 6, 5)
    assert states.shape == (5, 3, 4, 4, 1)
    last = denormalise(states[-1], run.record.data.value_range, np.dtype(np.uint8))
    np.testing.assert_array_equal(last, draw(run.params, 3, 6))
    assert draw.trajectory(run.params, 0, 2, 100).shape[0] == 9  # all that there are
