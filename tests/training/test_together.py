"""Runs stacked into one program: each is the run that `train` makes alone, wherever it is cut."""

import dataclasses

import jax
import numpy as np
import pytest

from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import (
    CheckpointConfig,
    DataConfig,
    LogConfig,
    ModelConfig,
    NoiseConfig,
    PreviewConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
    UNetConfig,
)
from sagd_jax.run.saved import load_run
from sagd_jax.system.signals import StopRequest
from sagd_jax.training import together
from sagd_jax.training.loop import train

pytestmark = pytest.mark.thorough

NETWORK = UNetConfig(
    block_out_channels=(8,),
    layers_per_block=1,
    attention=(False,),
    norm_num_groups=4,
    mid_attention=False,
)
WHITE = RunConfig(
    model=ModelConfig(prediction="v", class_conditional=True, unet=NETWORK),
    train=TrainConfig(num_steps=4, batch_size=8),
    log=LogConfig(every=2, tensorboard=False),
    checkpoint=CheckpointConfig(every=4),
    preview=PreviewConfig(every=None),
)
TILT = dataclasses.replace(WHITE, seed=1, noise=NoiseConfig(kind="power_law", alpha=-0.3))
BAND = dataclasses.replace(
    WHITE, data=DataConfig(corruption="band", corruption_band=(0.4, 0.6)), seed=2
)
LEARNED = dataclasses.replace(WHITE, schedule=ScheduleConfig(kind="learned", basis="cosine"))
BLURRED = dataclasses.replace(WHITE, schedule=ScheduleConfig(kind="blurring", blur_max=4.0))


def asked(configs, folder):
    return [together.Asked(c, folder / str(i)) for i, c in enumerate(configs)]


def run(configs, folder, stop=None):
    """Trains them in groups; returns the groups and what was trained to the end, by place."""
    groups = together.groups(together.assembled(asked(configs, folder)))
    with StopRequest("test") as own:
        done = [m for g in groups for m in together.train(g, stop or own, lambda words: None)]
    places = [[int(m.asked.workdir.name) for m in group] for group in groups]
    return places, sorted(int(m.asked.workdir.name) for m in done)


def assert_the_same_runs(first, second):
    one, other = load_run(first), load_run(second)
    assert one.step == other.step
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    np.testing.assert_array_equal(
        one.diffusion.covariance.variance, other.diffusion.covariance.variance
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What `train` makes of each."""
    folder = tmp_path_factory.mktemp("alone")
    for i, config in enumerate((WHITE, TILT, BAND)):
        assert train(config, folder / str(i)) == 0
    return folder


def test_numbers_make_a_group_and_anything_else_another(tmp_path):
    members = together.assembled(
        asked([WHITE, LEARNED, TILT, BLURRED, BAND, dataclasses.replace(LEARNED, seed=5)], tmp_path)
    )
    groups = [[int(m.asked.workdir.name) for m in group] for group in together.groups(members)]
    assert groups == [[0, 2, 4], [1, 5], [3]]
    # Data that two are trained on are opened once.
    assert members[0].run.source is members[2].run.source


@pytest.mark.thorough
def test_each_is_what_it_would_be_alone(alone, tmp_path):
    places, done = run([WHITE, TILT, BAND], tmp_path)
    assert places == [[0, 1, 2]] and done == [0, 1, 2]
    for name in "012":
        assert_the_same_runs(tmp_path / name, alone / name)
        # And alone there is nothing left to do.
    assert train(WHITE, tmp_path / "0") == 0
    assert run([WHITE, TILT, BAND], tmp_path)[1] == [0, 1, 2]


@pytest.mark.thorough
def test_cut_anywhere_either_goes_on(alone, tmp_path):
    class AtStep2(StopRequest):
        """Asks to stop after the second step."""

        asked = 0

        @property
        def exit_status(self):
            self.asked += 1
            return None if self.asked <= 2 else 75

        @exit_status.setter
        def exit_status(self, value):
            pass

    _, done = run([WHITE, TILT, BAND], tmp_path, AtStep2("test"))
    assert done == []
    assert {Checkpoints(tmp_path / n, read_only=True).open().step for n in "012"} == {2}
    assert train(TILT, tmp_path / "1") == 0  # alone, so that they are at different steps
    _, done = run([WHITE, TILT, BAND], tmp_path)
    assert done == [0, 1, 2]
    for name in "012":
        assert_the_same_runs(tmp_path / name, alone / name)


def test_one_that_is_not_finite_is_left_to_train_alone(tmp_path, monkeypatch):
    draw = together._next

    def poisoned(*wanted):
        batches = draw(*wanted)
        batches["x"] = batches["x"].astype(np.float32)
        batches["x"][1] = np.nan  # of the second stream
        return batches

    monkeypatch.setattr(together, "_next", poisoned)
    few = TrainConfig(num_steps=4, batch_size=8, max_skipped=3)
    lines = []
    members = together.assembled(
        asked([dataclasses.replace(c, train=few) for c in (WHITE, TILT)], tmp_path)
    )
    with StopRequest("test") as stop:
        done = together.train(members, stop, lines.append)
    assert [m.asked.workdir.name for m in done] == ["0"]
    assert any("steps from 0 on were not finite; train it alone" in line for line in lines)
    assert not Checkpoints(tmp_path / "1", read_only=True).steps()
