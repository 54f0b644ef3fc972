"""The training step: the average of the weights, skipped steps, and covariances per example."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sagd_jax as sagd
from sagd_jax.run.config import RunConfig, TrainConfig
from sagd_jax.system import schema
from sagd_jax.training.objectives import Denoising
from sagd_jax.training.step import ema_update, initial_state, make_steps

SHAPE = (8, 8, 1)
LOW = sagd.band_pass((8, 8), [(0, 0.5)])  # noise below, a hole above
PATTERN = jnp.cos(jnp.pi * jnp.arange(8))[:, None, None] * jnp.ones(SHAPE)  # vertical Nyquist


class Stub(nn.Module):
    """Predicts a learned multiple of one pattern, whatever it sees."""

    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        weight = self.param("weight", nn.initializers.ones, ())
        return jnp.broadcast_to(weight * PATTERN, x.shape)


def batch(value=128, corrupted=False, size=16):
    return {
        "x": jnp.full((1, size, *SHAPE), value, jnp.uint8),
        "label": jnp.zeros((1, size), jnp.int32),
        "corrupted": jnp.full((1, size), corrupted),
    }


def stub_steps(corrupted=None, **sections):
    sections = {"model": {"prediction": "epsilon"}, **sections}
    covariance = sagd.white((8, 8))
    if corrupted is not None:
        sections["corrupted_noise"] = {"kind": "band_pass"}  # that there is one
        covariance = sagd.stack([covariance, corrupted])
    config = schema.build(RunConfig, sections)
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), covariance)
    optimizer = optax.sgd(0.1)
    objective = Denoising(config, Stub(), diffusion, (0.0, 255.0))
    return jax.jit(make_steps(config, objective, optimizer)), initial_state(
        {"weight": jnp.float32(1)}, optimizer
    )


def test_the_average_of_constant_weights_is_that_constant_from_the_first_step():
    params = {"a": jnp.array([1.5, -2.0])}
    for warmup in (True, False):
        ema = jax.tree.map(jnp.copy, params)
        for step in range(5):
            ema = ema_update(ema, params, jnp.int32(step), TrainConfig(ema_warmup=warmup))
            np.testing.assert_allclose(ema["a"], params["a"], rtol=1e-6)


def test_the_average_follows_its_formula():
    config = TrainConfig(ema_decay=0.9, ema_warmup=True)
    values = np.random.default_rng(0).normal(size=30)
    ema, expected = jnp.float32(values[0]), values[0]
    for n, value in enumerate(values):
        ema = ema_update(ema, jnp.float32(value), jnp.int32(n), config)
        decay = min(0.9, (1 + n) / (10 + n))
        expected += (1 - decay) * (value - expected)
    assert ema == pytest.approx(expected, rel=1e-5)


def test_what_is_predicted_in_the_hole_of_a_corrupted_example_teaches_nothing():
    steps, state = stub_steps(corrupted=LOW)
    assert float(jnp.abs(LOW.project(PATTERN)).max()) < 1e-5  # the pattern is in the hole
    clean, _ = steps(state, batch(corrupted=False))
    hidden, metrics = steps(state, batch(corrupted=True))
    assert abs(float(clean["params"]["weight"]) - 1) > 0.05
    assert float(hidden["params"]["weight"]) == pytest.approx(1, abs=1e-6)
    # What is left is the noise outside of the hole, of unit variance over all of its frequencies.
    assert 0.7 < float(metrics["loss"][0]) < 1.3


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    steps, state = stub_steps()
    broken = {**state, "params": {"weight": jnp.float32(jnp.inf)}}
    after, metrics = steps(broken, batch())
    assert bool(metrics["skipped"][0])
    assert int(after["step"]) == 1
    assert float(after["ema"]["weight"]) == 1
    after, metrics = steps(state, batch())
    assert not bool(metrics["skipped"][0])
    assert float(after["params"]["weight"]) != 1


def test_two_steps_in_one_call_are_two_calls():
    steps, state = stub_steps()
    once, _ = steps(steps(state, batch(10))[0], batch(200))
    stack = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), batch(10), batch(200))
    twice, metrics = steps(state, stack)
    assert metrics["loss"].shape == (2,)
    assert float(twice["params"]["weight"]) == float(once["params"]["weight"])


def test_quarters_of_t_add_up_to_the_loss():
    steps, state = stub_steps()
    _, metrics = steps(state, batch(size=64))
    assert float(metrics["quarter_count"].sum()) == 64
    assert float(metrics["quarter_loss"].sum()) / 64 == pytest.approx(
        float(metrics["loss"][0]), rel=1e-5
    )
