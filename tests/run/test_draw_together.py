"""Samples of several runs by one program: each run's are those that it draws alone."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from toy_runs import toy_run

import sagd_jax as sagd
from sagd_jax.diffusion.samplers import Ddim, Ddpm
from sagd_jax.run import draw_together, layout
from sagd_jax.run.draw import Drawer


def asked(run, **options):
    options = {"sampler": Ddim(), "num_steps": 4, "times": None, "count": 7, "seed": 3, **options}
    return draw_together.Drawn(run, clip=False, **options)


def tilted(scale, alpha, **options):
    run = toy_run(scale, classes=3, dtype=np.float32, **options)
    noise = sagd.Diffusion(run.diffusion.schedule, sagd.power_law((4, 4), alpha))
    return dataclasses.replace(run, diffusion=noise)


def test_numbers_make_a_group_and_anything_else_another():
    one, other = tilted(0.3, -0.5), tilted(0.2, 0.4)
    flow = dataclasses.replace(
        one, diffusion=sagd.Diffusion(sagd.schedules.rectified_flow(), one.diffusion.covariance)
    )
    wanted = [
        asked(one), asked(flow), asked(other), asked(other, num_steps=5), asked(other, seed=4),
        asked(other, sampler=Ddpm()), asked(one, count=8), asked(one, times=np.linspace(1, 0, 5)),
    ]  # fmt: skip
    assert draw_together.groups(wanted) == [[0, 2], [1], [3], [4], [5], [6], [7]]


def test_samples_are_those_of_each_alone(monkeypatch):
    monkeypatch.setattr(draw_together, "_AT_ONCE", 2 * 3 * 16)  # three of each at once
    mesh = layout.local_mesh()
    for sampler in (Ddim(), Ddpm()):
        group = [asked(run, sampler=sampler) for run in (tilted(0.3, -0.5), tilted(0.1, 0.4))]
        for one, samples in zip(group, draw_together.draw(group, mesh), strict=True):
            alone = Drawer(
                one.run.record, one.run.model, one.run.diffusion, mesh, sampler=sampler, num_steps=4,
                seed=3,
            )(one.run.params, 0, 7)  # fmt: skip
            assert samples.dtype == alone.dtype and samples.shape == alone.shape
            np.testing.assert_allclose(samples, alone, atol=1e-5)


def test_a_run_whose_samples_are_not_finite_has_none():
    good = tilted(0.3, -0.5)
    bad = dataclasses.replace(good, params={"scale": jnp.float32(np.nan)})
    samples, missing = draw_together.draw([asked(good), asked(bad)], layout.local_mesh())
    assert missing is None and np.isfinite(samples).all()
