"""Losses that are not finite: the run stops with what one needs to know, or goes back."""

import json

import pytest
from programs import call

pytestmark = pytest.mark.thorough

EXPLODE = [
    "--config.model.prediction=epsilon",
    "--config.schedule.kind=linear_beta",
    "--config.optimizer.name=sgd",
    "--config.optimizer.learning_rate=100.0",
    "--config.optimizer.clip_norm=None",
    "--config.optimizer.warmup_steps=0",
    "--config.train.max_skipped=3",
    "--config.checkpoint.every=1",
]


def test_it_stops_after_some_in_a_row_and_names_step_data_and_checkpoint(config, cache, tmp_path):
    done = call("train.py", config, f"--workdir={tmp_path}", *EXPLODE, cache=cache)
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if not line.startswith("WARNING"))
    told = json.loads((tmp_path / "diverged.json").read_text())
    first, *_, last = told["steps"]
    assert told["steps"] == [first, first + 1, last] and last == first + 2
    assert f"steps {first} to {last} in a row" in line
    indices = told["indices"][str(first)]
    assert len(indices) == 16 and f"examples {indices[0]}, {indices[1]}," in line
    good = told["checkpoint"]
    assert good < first and f"checkpoints/{good};" in line
    assert (tmp_path / "checkpoints" / str(good)).is_dir()


def test_it_goes_back_with_a_smaller_learning_rate(config, cache, tmp_path):
    more = ["--config.train.rollbacks=1", "--config.train.rollback_factor=1e-12",
            "--config.train.num_steps=8"]  # fmt: skip
    done = call("train.py", config, f"--workdir={tmp_path}", *EXPLODE, *more, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "learning rate times 1e-12" in done.stdout
    good = json.loads((tmp_path / "diverged.json").read_text())["checkpoint"]
    assert f"checkpoints/{good}; going on from there" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
    assert all(line["loss"] is not None for line in lines)
    # What it learned of the smaller rate is in the checkpoint: going on needs no second rollback.
    again = call("train.py", config, f"--workdir={tmp_path}", *EXPLODE,
                "--config.train.num_steps=9", cache=cache)  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "finished 9 steps" in again.stdout
