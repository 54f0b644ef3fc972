"""Training on corrupted examples: the objective, the restoring share, and no corruption at all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import ArraySource, open_source
from sagd_jax.data.corrupted import Corrupted
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.run.schedule import ScheduleConfig
from sagd_jax.system import schema
from sagd_jax.training.objectives import Recovering
from sagd_jax.training.prepare import prepare
from sagd_jax.training.restoring import Restoring
from sagd_jax.training.step import initial_state
from sagd_jax.training.summary import corruption_lines

pytestmark = pytest.mark.thorough

SMALL = {"kind": "dit", "dit": {"patch_size": (4,), "hidden_size": 16, "depth": 1, "num_heads": 2}}


def config(**sections):
    values = {
        "data": {"name": "digits", "corruption": "band", "corruption_band": (0.4, 0.6),
                 "corrupted_fraction": 0.5},
        "model": SMALL,
        "train": {"batch_size": 16, "num_steps": 2},
        "preview": {"every": None},
        **sections,
    }  # fmt: skip
    return schema.build(RunConfig, values)


BAND = ("band_pass:bands=((0.4,0.6),)",)


def stepped(run, source=None):
    """The parameters after one step from fixed weights, and its loss."""
    source = source or open_source(run.data)
    prepared = prepare(run, source)
    rng = np.random.default_rng(0)
    shapes = prepared.state["params"]
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s.shape, scale=0.1), s.dtype), shapes
    )
    state = initial_state(params, prepared.optimizer)
    batch = prepared.source.fetch(np.arange(16), seed=0, step=0)
    stacked = {n: jnp.asarray(batch[n])[None] for n in ("x", "label", "corrupted")}
    with jax.set_mesh(prepared.mesh):
        state, metrics = prepared.steps(state, stacked)
    return state, metrics, prepared


def test_without_corruption_training_is_the_ordinary_one_bit_for_bit():
    capped = config(schedule={"kind": "capped", "corruption": BAND, "levels": (0.0,)})
    plain = config(schedule={"kind": "cosine"})
    (first, loss, _), (second, other, _) = stepped(capped), stepped(plain)
    assert float(loss["loss"][0]) == float(other["loss"][0])
    jax.tree.map(np.testing.assert_array_equal, first["params"], second["params"])


def test_a_step_learns_from_all_kinds_and_the_kind_is_a_label():
    run = config(schedule={"kind": "capped", "corruption": BAND, "restoring_share": 0.3})
    state, metrics, prepared = stepped(run)
    assert np.isfinite(metrics["loss"]).all() and not metrics["skipped"].any()
    table = state["params"]["kind_embedding"]["embedding"]
    assert table.shape[0] == 3
    assert prepared.batches["corrupted"].dtype == jnp.int32
    assert prepared.arrays["schedule_counts"].shape == (2, 1)


def test_the_loss_is_that_of_the_pair_with_v_in_units_of_the_level():
    """A network that knows the clean data: its loss is what is left at the levels of each kind."""
    n = np.where(np.arange(16) < 4, 3.0, 0.0).reshape(16, 1)
    basis = sagd.bases.cosine((16,))
    schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((16,)), n, basis=basis)
    diffusion = sagd.Diffusion(schedule)
    data = sagd.oracle.DiagonalGaussian(basis, jnp.zeros((16, 1)), jnp.ones((16, 1)))
    count = 4000
    kind = jnp.arange(count) % 2
    noise = jnp.where(kind[:, None, None] == 1, 1, 0) * basis.inverse(
        np.sqrt(n) * basis.forward(sagd.white((16,)).sample(jax.random.key(1), (count, 16, 1)))
    )
    y = data.sample(jax.random.key(0), count) + noise
    run = dataclasses.replace(RunConfig(), schedule=ScheduleConfig(kind="cosine"))

    class Exact:
        """As a network: what it is shown and told is not needed, since the process is known."""

        num_classes = 0

        def apply(self, variables, seen, timestep, label, kind=None, **options):
            t = (timestep + 1) / 1000
            own = diffusion.at(drawn["kind"])
            scale = own.schedule.input_scale(t)
            x = basis.inverse(basis.forward(seen) / scale)
            v = data.denoiser(own, "v")(x, t)
            return basis.inverse(basis.forward(v) * scale)

    objective = Recovering(run, Exact(), diffusion, (-1.0, 1.0))
    drawn = objective.draw(
        {"x": y, "corrupted": kind, "label": kind}, *jax.random.split(jax.random.key(3), 3)
    )
    found, _ = objective.loss({}, {}, drawn, None)
    # For S = 1 at a clean level v is unpredictable and of unit variance; at the cap the pair's is
    # larger: of variance V / (a^2 + s^2) with w^2 = k^2 / s^2, by its second moments.
    own = diffusion.at(drawn["kind"])
    variance, k, _ = own.schedule.corrupted(drawn["t"])
    a, s = own.schedule.alpha(drawn["t"]), own.schedule.sigma(drawn["t"])
    s_y = 1 + variance
    x_x, t_y, t_z = a**2 * s_y + k**2, -s, a * s / k + s * a * variance / k
    t_t, t_x = t_y**2 * s_y + t_z**2, a * t_y * s_y + k * t_z
    rest = (t_t - t_x**2 / x_x) * k**2 / s**2 / (a**2 + s**2)
    expected = float(jnp.mean(rest))
    assert abs(float(found) / expected - 1) < 0.02


def test_the_restoring_share_is_of_clean_examples_and_a_function_of_the_step():
    x = np.arange(200, dtype=np.float32).reshape(200, 1, 1) / 200
    flags = np.arange(200) % 4  # 50 clean ones
    source = Restoring(
        Corrupted(ArraySource(x, value_range=(-1, 1)), flags.astype(np.uint8)), 0.3, 4
    )
    rows = np.arange(200)
    kinds, used = [], []
    for step in range(40):
        batch = source.fetch(rows, seed=1, step=step)
        again = source.fetch(rows[50:60], seed=1, step=step)
        np.testing.assert_array_equal(again["corrupted"], batch["corrupted"][50:60])
        np.testing.assert_array_equal(again["x"], batch["x"][50:60])
        number = np.round(batch["x"][:, 0, 0] * 200).astype(int)
        on_path = batch["corrupted"] > 3
        assert np.all(flags[number[on_path]] == 0)
        np.testing.assert_array_equal(number[~on_path], rows[~on_path])
        np.testing.assert_array_equal(batch["corrupted"][~on_path], flags[~on_path])
        kinds.append(batch["corrupted"])
        used.append(number[on_path])
    kinds = np.concatenate(kinds)
    assert abs(np.mean(kinds > 3) - 0.3) < 5 * np.sqrt(0.21 / len(kinds))
    counts = np.bincount(kinds[kinds > 3])[4:]
    assert len(counts) == 3 and counts.min() > 0.8 * counts.max()
    assert len(np.unique(np.concatenate(used))) == 50


def test_a_run_says_what_it_makes_of_corrupted_examples():
    hole = config(corrupted_noise={"kind": "band_pass", "bands": ((0.0, 0.4), (0.6, 1.0))})
    source = open_source(hole.data)
    diffusion, _ = build.process(hole, source)
    (line,) = corruption_lines(hole, source, diffusion)
    assert "config.schedule.kind='capped'" in line and "docs/corrupted_data.md" in line
    capped = config(schedule={"kind": "capped", "corruption": BAND})
    diffusion, _ = build.process(capped, source)
    lines = corruption_lines(capped, source, diffusion)
    number = int(np.sum(source.kinds == 1))
    assert f"{len(source) - number} clean examples" in lines[0] and "as kind 0" in lines[0]
    assert f"{number} examples" in lines[1] and "25.0% of the coordinates" in lines[1]
    assert (
        corruption_lines(
            config(), source, sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8, 8)))
        )
        == []
    )
