"""The loop around the steps: what it says and logs, and where it ends when its place is gone."""

import dataclasses
import json
import re
import shutil
import time

import pytest

from sagd_jax.data import DataConfig, open_source
from sagd_jax.run.config import (
    CheckpointConfig,
    DiTConfig,
    LogConfig,
    ModelConfig,
    PreviewConfig,
    RunConfig,
    TrainConfig,
)
from sagd_jax.run.lock import LostError
from sagd_jax.training.loop import train
from sagd_jax.training.prepare import prepare
from sagd_jax.training.progress import Progress

OF_THE_MACHINE = re.compile("images_per_second|data_wait")
NETWORK = ModelConfig(kind="dit", dit=DiTConfig(hidden_size=16, depth=1, num_heads=2))
CONFIG = RunConfig(
    model=NETWORK,
    train=TrainConfig(num_steps=40, batch_size=8),
    log=LogConfig(every=2, tensorboard=False),
    checkpoint=CheckpointConfig(every=4),
    preview=PreviewConfig(every=None),
)


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A run whose work directory is deleted at step 6, what it printed, and how it ended."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        log, say = Progress.log, Progress.say

        def log_and_delete(self, step, *args, **options):
            log(self, step, *args, **options)
            if step == 6:
                while not (workdir / "checkpoints" / "4").exists():
                    time.sleep(0.01)
                shutil.rmtree(workdir)

        patch.setattr(Progress, "log", log_and_delete)
        patch.setattr(Progress, "say", lambda self, line: (lines.append(line), say(self, line)))
        with pytest.raises(LostError) as ended:
            train(CONFIG, workdir)
    return workdir, lines, ended.value


def test_a_run_whose_directory_is_gone_ends_at_the_next_save(lost):
    workdir, lines, error = lost
    assert f"{workdir} was deleted, moved or replaced" in str(error)
    assert not list(workdir.parent.iterdir())
    assert lines[-1].startswith("step 6/40")


def test_compiling_is_said_and_no_part_of_the_time_left(lost):
    _, lines, _ = lost
    first, second = (i for i, line in enumerate(lines) if line.startswith("compil"))
    assert lines[first] == "compiling the training step (minutes on a CPU, once)"
    assert second == first + 1
    seconds = int(lines[second].removeprefix("compiled in ").removesuffix(" s"))
    minutes, rest = lines[second + 1].split("  ")[-1].removesuffix(" left").split(":")
    # 38 more steps, each as long as the compilation, if that had counted.
    assert 60 * int(minutes) + int(rest) < max(seconds, 2) * 19


class Cut(BaseException):
    """An end that nothing was told of."""


def figures(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not OF_THE_MACHINE.search(k)} for line in lines]


def test_a_run_that_was_cut_logs_as_an_undisturbed_one(tmp_path, monkeypatch):
    """Its checkpoints, of steps 3 and 6, lie between log lines, of steps 5 and 10."""
    config = dataclasses.replace(
        CONFIG,
        train=TrainConfig(num_steps=10, batch_size=8),
        log=LogConfig(every=5, tensorboard=False),
        checkpoint=CheckpointConfig(every=3),
    )

    train(config, tmp_path / "whole")
    advance = Progress.advance
    for last in (4, 8):  # with the checkpoints of steps 3 and 6
        with monkeypatch.context() as patch:

            def cut(self, step, last=last):
                advance(self, step)
                if step == last:
                    raise Cut

            patch.setattr(Progress, "advance", cut)
            with pytest.raises(Cut):
                train(config, tmp_path / "cut")
        assert (tmp_path / f"cut/checkpoints/{last // 3 * 3}").exists()
    train(config, tmp_path / "cut")
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert [line["step"] for line in figures(tmp_path / "whole")] == [5, 10]


def test_a_set_on_the_devices_trains_to_the_same_numbers(tmp_path):
    """Batches picked by the compiled step are the host's, and so is all that follows."""
    for limit in (0, 1):  # MiB; the digits are 90 KiB
        config = dataclasses.replace(
            CONFIG,
            data=DataConfig(flip=True, crop_padding=1),
            train=TrainConfig(num_steps=6, batch_size=8, device_limit_mb=limit),
        )
        held = prepare(config, open_source(config.data)).steps.held
        assert (held is not None) == bool(limit)
        train(config, tmp_path / str(limit))
    assert figures(tmp_path / "0") == figures(tmp_path / "1")
    assert [line["step"] for line in figures(tmp_path / "1")] == [2, 4, 6]
