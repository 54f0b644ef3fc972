"""Likelihoods of a source under a run whose data are exactly what its network says they are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import ArraySource
from sagd_jax.evaluation.likelihood import bin_width, evaluate
from sagd_jax.run import layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run
from sagd_jax.run.saved import Run
from sagd_jax.system import schema


class Zero(nn.Module):
    """E[v | x_t] of data that are themselves N(0, Sigma), under a schedule of unit variance."""

    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        return self.param("zero", nn.initializers.zeros, ()) * x


@pytest.fixture(scope="module")
def run():
    covariance = sagd.power_law((4, 4), -0.5)
    x = np.asarray(covariance.sample(jax.random.key(0), (7, 4, 4, 1)))
    source = ArraySource(x, value_range=(-1.0, 1.0))
    config = schema.build(RunConfig, {"model": {"prediction": "v"}, "schedule": {"kind": "cosine"}})
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), covariance)
    record = describe_run(config, source)
    return Run(Zero(), {"zero": jnp.zeros(())}, diffusion, record, 0), source, x


def nats(run, source, **options):
    mesh = layout.whole_mesh()
    return list(evaluate(run, source, mesh, num_steps=16, divergence="exact", **options))


def test_it_is_the_density_of_the_data(run):
    run, source, x = run
    pieces = nats(run, source, batch_size=3)
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    exact = run.diffusion.covariance.log_prob(x)
    np.testing.assert_allclose(np.concatenate(pieces), exact, atol=2e-2)


def test_any_range_of_examples_in_batches_of_any_size(run):
    run, source, _ = run
    (whole,) = nats(run, source, batch_size=7)
    part = np.concatenate(nats(run, source, begin=2, count=6, batch_size=3))
    np.testing.assert_allclose(part, whole[2:6], rtol=1e-5)
    assert len(np.concatenate(nats(run, source, begin=5, count=100, batch_size=7))) == 2


def test_it_ends_between_two_batches_when_asked_to(run):
    run, source, _ = run
    answers = iter([False, True])
    assert len(nats(run, source, batch_size=2, interrupted=lambda: next(answers))) == 1


def test_the_width_of_a_bin_is_that_of_the_networks_range():
    source = ArraySource(np.zeros((2, 4, 4, 1), np.uint8), value_range=(0, 255))
    assert bin_width(describe_run(RunConfig(), source).data) == pytest.approx(2 / 255)
