"""What a step minimises can be anything that draws and gives a loss, and it sees the average."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.training import quarters
from sagd_jax.training.progress import Progress, averages
from sagd_jax.training.step import initial_state, make_steps


class Follow:
    """Pulls a weight w to the batch's mean m and to its own average a: (w - m)^2 + (w - a)^2."""

    def draw(self, batch, time_key, noise_key, label_key):
        return {"x": batch["x"].astype(jnp.float32)}

    def loss(self, params, ema, drawn, dropout_key):
        w, a = params["w"], jax.lax.stop_gradient(ema["w"])
        per_example = (w - drawn["x"]) ** 2 + (w - a) ** 2
        return jnp.mean(per_example), quarters.sums(per_example, jnp.full(per_example.shape, 0.6))


@pytest.mark.parametrize("parts", [1, 4])
def test_an_objective_of_ones_own_is_minimised_and_sees_the_average(parts):
    rate, decay = 0.1, 0.75
    config = schema.build(
        RunConfig,
        {"train": {"accumulate": parts, "ema_decay": decay, "ema_warmup": False, "batch_size": 8}},
    )
    optimizer = optax.sgd(rate)
    steps = jax.jit(make_steps(config, Follow(), optimizer))
    state = initial_state({"w": jnp.float32(1.0)}, optimizer)
    x = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    state, metrics = steps(state, {"x": jnp.asarray(x)})
    w = a = 1.0
    losses = []
    for row in x:
        losses.append(np.mean((w - row) ** 2) + (w - a) ** 2)
        w -= rate * (2 * (w - row.mean()) + 2 * (w - a))
        a = decay * a + (1 - decay) * w
    np.testing.assert_allclose(state["params"]["w"], w, rtol=1e-5)
    np.testing.assert_allclose(state["ema"]["w"], a, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(metrics["quarter_count"], np.tile([0, 0, 8, 0], (5, 1)))
    np.testing.assert_allclose(metrics["quarter_loss"][:, 2], 8 * np.array(losses), rtol=1e-5)


def test_quarters_are_averages_over_their_own_examples():
    t = jnp.array([0.1, 0.25, 0.26, 0.5, 1.0])
    loss = jnp.array([1.0, 3.0, 5.0, 7.0, 9.0])
    stacked = {name: np.asarray(value)[None] for name, value in quarters.sums(loss, t).items()}
    found = quarters.means(stacked)
    assert list(found) == ["loss_t1of4", "loss_t2of4", "loss_t3of4", "loss_t4of4"]
    assert found["loss_t1of4"] == 2 and found["loss_t2of4"] == 6 and found["loss_t4of4"] == 9
    assert np.isnan(found["loss_t3of4"])
    assert quarters.words(found) == ["by quarter of t 2.000 6.000 nan 9.000"]


@pytest.mark.parametrize("reported", [{}, {"pull": 2.5}])
def test_an_objective_may_report_other_numbers_or_none(reported, tmp_path):
    class Reports(Follow):
        def loss(self, params, ema, drawn, dropout_key):
            return super().loss(params, ema, drawn, dropout_key)[0], {
                name: jnp.float32(value) for name, value in reported.items()
            }

    config = schema.build(RunConfig, {"train": {"batch_size": 8}})
    optimizer = optax.sgd(0.1)
    steps = jax.jit(make_steps(config, Reports(), optimizer))
    _, metrics = steps(initial_state({"w": jnp.float32(1)}, optimizer), {"x": jnp.ones((3, 8))})
    values = averages([metrics])
    assert values.keys() == {"loss", "gradient_norm", "skipped", *reported}
    assert all(values[name] == value for name, value in reported.items())
    with Progress(tmp_path, 0, 3, tensorboard=False, active=True) as progress:
        progress.log(3, values, images=8, waited=0.0)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert reported.items() <= json.loads(line).items()
