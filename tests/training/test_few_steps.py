"""Consistency, the bound and learned paths as objectives: what they minimise, what moves, what is refused."""

import json
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from programs import TINY, environment

import sagd_jax as sagd
from sagd_jax import consistency
from sagd_jax.diffusion import bound
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import PATH, with_own_path
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.few_steps import make_objective
from sagd_jax.training.optimizer import make_optimizer, rescale
from sagd_jax.training.step import initial_state, make_steps

pytestmark = pytest.mark.thorough

SHAPE = (4, 4)
COSINE = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law(SHAPE, alpha=-0.5))
LEARNED = sagd.Diffusion(sagd.schedules.learned(sagd.bases.cosine(SHAPE), knots=2, pieces=3))
X = np.random.default_rng(0).uniform(-1, 1, (1, 8, *SHAPE, 1)).astype(np.float32)
BATCHES = {"x": X, "label": np.zeros((1, 8), np.int32), "corrupted": np.zeros((1, 8), bool)}
PARAMS = {"scale": jnp.float32(0.4), "time": jnp.float32(1e-3)}


class Net(nn.Module):
    num_classes: int = 0

    @nn.compact
    def __call__(self, x, timestep, label=None, train=False):
        scale = self.param("scale", nn.initializers.ones, ())
        slope = self.param("time", nn.initializers.zeros, ())
        return (scale + slope * timestep).reshape(-1, *(1,) * (x.ndim - 1)) * x


def config_of(learned=False, **sections):
    values = {"train": {"batch_size": 8, "num_steps": 50, "ema_warmup": False, "ema_decay": 0.5}}
    values["optimizer"] = {"name": "sgd", "learning_rate": 1e-2, "warmup_steps": 0}
    if learned:
        values["schedule"] = {"kind": "learned", "knots": 2, "pieces": 3}
    for name, fields in sections.items():
        values[name] = {**values.get(name, {}), **fields}
    return schema.build(RunConfig, values)


def objective_of(config, diffusion=COSINE):
    return make_objective(config, Net(), diffusion, (-1.0, 1.0))


def drawn_of(objective, step=0):
    batch = {name: jnp.asarray(a[0]) for name, a in BATCHES.items()} | {"step": jnp.int32(step)}
    return objective.draw(batch, *jax.random.split(jax.random.key(1), 3))


def test_consistency_pairs_come_closer_by_stages_and_share_one_draw():
    config = config_of(objective={"kind": "consistency", "stages": 3, "stage_steps": 10, "q": 2.0})
    objective = objective_of(config)
    for step, stage in ((0, 0), (9, 0), (10, 1), (29, 2), (1000, 2)):
        drawn = drawn_of(objective, step)
        np.testing.assert_array_equal(drawn["stage"], np.full(8, stage))
    found, sums = objective.loss(PARAMS, PARAMS, drawn, None)
    net = Net()

    def denoiser(x, t):  # the cosine keeps the variance: the network sees x_t itself
        return net.apply({"params": PARAMS}, x, COSINE.schedule.timestep(t))

    f = consistency.function(denoiser, COSINE, "v")
    r = consistency.earlier(COSINE, drawn["t"], q=2.0, stage=2)
    pair = drawn["x0"], drawn["noise"], drawn["t"], r
    expected = consistency.loss(f, f, COSINE, *pair, norm="pseudo_huber")
    np.testing.assert_allclose(found, jnp.mean(expected), rtol=1e-5)
    assert float(jnp.sum(sums["quarter_count"])) == 8


def test_the_bound_is_trained_per_value():
    config = config_of(objective={"kind": "bound", "bound_steps": 4})
    objective = objective_of(config)
    drawn = drawn_of(objective)
    found, _ = objective.loss(PARAMS, PARAMS, drawn, None)
    nats = bound.estimate(
        lambda x, t: Net().apply({"params": PARAMS}, x, COSINE.schedule.timestep(t)),
        COSINE, drawn["x0"], drawn["noise"], drawn["t"], num_steps=4, prediction="v",
    )  # fmt: skip
    np.testing.assert_allclose(found, jnp.mean(nats) / 16, rtol=1e-5)


def trained(config, count=1, state=None):
    objective = objective_of(config, LEARNED)
    optimizer = make_optimizer(config.optimizer, config.train, path=config.objective)
    steps = jax.jit(make_steps(config, objective, optimizer))
    state = state or initial_state(with_own_path(PARAMS, LEARNED), optimizer)
    for _ in range(count):
        state, metrics = steps(state, BATCHES)
    return state, metrics, optimizer


def test_network_and_path_learn_each_from_its_own_loss():
    rate = 0.05
    both, metrics, _ = trained(config_of(True, objective={"path_learning_rate": rate}))
    assert metrics["path_steps"].shape == (1,) and np.isfinite(metrics["path_steps"][0])
    # Adam's first step is the learning rate in each number that has a gradient.
    moved = np.abs(np.asarray(both["params"][PATH]))
    np.testing.assert_allclose(moved[moved > 0], rate, rtol=2e-3)
    assert (moved > 0).any()
    np.testing.assert_allclose(both["ema"][PATH], both["params"][PATH] / 2, rtol=1e-6)
    still, metrics, _ = trained(config_of(True, objective={"path": "frozen"}))
    assert "path_steps" not in metrics
    np.testing.assert_array_equal(still["params"][PATH], 0)
    for name in PARAMS:  # what the path learns changes nothing of the network's step
        np.testing.assert_allclose(both["params"][name], still["params"][name], rtol=1e-5)
        assert still["params"][name] != PARAMS[name]
    alone, metrics, optimizer = trained(
        config_of(True, objective={"network": False, "path_learning_rate": rate})
    )
    for name in PARAMS:
        assert alone["params"][name] == PARAMS[name]
    np.testing.assert_allclose(alone["params"][PATH], both["params"][PATH], rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], metrics["path_steps"], rtol=1e-6)
    # A rollback's scale is that of all updates.
    halved = {**alone, "opt_state": rescale(alone["opt_state"], 0.0)}
    gradients = jax.tree.map(jnp.ones_like, halved["params"])
    updates, _ = optimizer.update(gradients, halved["opt_state"], halved["params"])
    assert optax.global_norm(updates) == 0


def test_a_path_descends_what_it_is_trained_on():
    for name in ("steps", "variance"):
        config = config_of(
            True, objective={"network": False, "path": name, "path_learning_rate": 0.05}
        )
        objective = objective_of(config, LEARNED)
        drawn = drawn_of(objective)
        params = with_own_path(PARAMS, LEARNED)
        of = jax.jit(jax.value_and_grad(lambda p, o=objective, d=drawn: o.loss(p, p, d, None)[0]))
        before, slope = of(params)
        assert float(optax.global_norm({n: slope[n] for n in PARAMS})) == 0
        moved = {**params, PATH: params[PATH] - 0.05 * jnp.sign(slope[PATH])}
        assert of(moved)[0] < before


def test_parts_of_a_batch_report_their_share():
    params = with_own_path(PARAMS, LEARNED)
    whole, half = (
        objective_of(config_of(True, train={"accumulate": parts}), LEARNED) for parts in (1, 2)
    )
    drawn = drawn_of(whole)

    @jax.jit
    def both(drawn):
        return [o.loss(params, params, drawn, None)[1]["path_steps"] for o in (whole, half)]

    one, part = both(drawn)
    np.testing.assert_allclose(one, 2 * part, rtol=1e-5)


@pytest.mark.parametrize(
    ("sections", "diffusion", "words"),
    [
        ({"objective": {"kind": "consistency"}, "model": {"prediction": "x0"}}, COSINE,
         "prediction='x0': it does not turn into x itself"),
        ({"objective": {"kind": "consistency"}, "train": {"weighting": "min_snr"}}, COSINE,
         "config.train.weighting='min_snr' has no effect"),
        ({"objective": {"kind": "consistency"}}, LEARNED, "a path is learned beside a network that"),
        ({"objective": {"kind": "consistency", "pairs": "ratio"}, "schedule": {"kind": "rectified_flow"}},
         sagd.Diffusion(sagd.schedules.rectified_flow(), COSINE.covariance), "infinite at t = 1"),
        ({"objective": {"kind": "bound"}, "train": {"times": "logit_normal"}}, COSINE,
         "the bound is an average over uniform times"),
        ({"objective": {"kind": "bound"}},
         sagd.Diffusion(COSINE.schedule, sagd.band_pass(SHAPE, [(0.5, 1)])), "with a hole"),
        ({"objective": {"path": "variance"}}, COSINE, "config.objective.path='variance': nothing is"),
        ({"objective": {"network": False}}, COSINE, "config.objective.network=False: nothing is"),
        ({"objective": {"network": False, "path": "frozen"}}, LEARNED, "nothing is trained"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(sections, diffusion, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")) as refusal:
        objective_of(config_of(**sections), diffusion)
    assert "\n" not in str(refusal.value)


MESH = """
import json, sys
import jax, numpy as np
from sagd_jax import data
from sagd_jax.run.config_file import read_config
from sagd_jax.run.denoiser import initial_parameters, with_own_path
from sagd_jax.training.few_steps import make_objective
from sagd_jax.training.prepare import prepare
from sagd_jax.training.step import initial_state, make_steps

for kind in ("consistency", "learned"):
    chosen = {"consistency": ["--config.objective.kind=consistency"], "learned": [
        "--config.schedule.kind=learned", "--config.noise.kind=white", "--config.noise.alpha=0"]}
    config = read_config(sys.argv[1], ["--config.model.prediction=v", *chosen[kind]])
    source = data.open_source(config.data)
    prepared = prepare(config, source)
    shape = tuple(source.shape)
    params = jax.jit(lambda key: initial_parameters(prepared.model, key, shape))(jax.random.key(0))
    state = jax.device_get(initial_state(with_own_path(params, prepared.diffusion), prepared.optimizer))
    batch = source.fetch(np.arange(config.train.batch_size))
    batch = {name: value[None] for name, value in batch.items()}
    with jax.set_mesh(prepared.mesh):
        there = jax.device_put(state, prepared.layout)
        compiled = prepared.steps.lower(prepared.state, prepared.batches).compile()
        text = compiled.as_text()
        for name in ("all-gather", "all-to-all", "collective-permute"):
            assert name + "(" not in text, (kind, name)
        after, metrics = compiled(there, batch, prepared.steps.seed)
    objective = make_objective(config, prepared.model, prepared.diffusion, prepared.record.data.value_range)
    alone, one = jax.jit(make_steps(config, objective, prepared.optimizer))(state, batch)
    assert prepared.mesh.size == 4
    assert np.allclose(metrics["loss"], one["loss"], rtol=1e-4), kind
    for a, b in zip(jax.tree.leaves(after["params"]), jax.tree.leaves(alone["params"]), strict=True):
        assert np.allclose(a, b, atol=2e-4), kind
print(json.dumps("equal"))
"""


def test_a_mesh_trains_like_one_device_and_moves_no_noise(tmp_path, cache):
    (tmp_path / "tiny.py").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-c", MESH, str(tmp_path / "tiny.py")],
        env=environment(cache, 4),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "equal"
