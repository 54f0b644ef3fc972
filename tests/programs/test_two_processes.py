"""Two real processes over loopback: the same numbers, one log, one set of checkpoints, one stop."""

import json
import re
import signal

import digest as digests
import numpy as np
import pytest
from programs import call, finish, run, start_two, wait_for

pytestmark = pytest.mark.thorough

WIDE = "--config.model.unet.block_out_channels=48"  # wide enough for the rule to split weights


@pytest.fixture(scope="module")
def long(config):
    """Flags of a run of 8 steps, with every loss logged."""
    return [
        config,
        WIDE,
        "--config.train.num_steps=8",
        "--config.log.every=1",
        "--config.checkpoint.every=4",
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, long, cache):
    workdir = tmp_path_factory.mktemp("runs") / "alone"
    done = call("train.py", *long, f"--workdir={workdir}", cache=cache)
    assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def two_by_four(tmp_path_factory, long, cache):
    """Trained by two processes with four devices each, parameters split over two, the set on all."""
    workdir = tmp_path_factory.mktemp("runs") / "two"
    flags = [*long, f"--workdir={workdir}", "--config.mesh.fsdp=2", "--config.preview.every=8",
             "--config.preview.num_samples=4", "--config.preview.num_steps=2",
             "--config.train.device_limit_mb=64"]  # fmt: skip
    started = start_two("train.py", *flags, cache=cache, devices=4)
    out = finish(started)
    assert [p.returncode for p in started] == [0, 0], out
    return workdir, out


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return np.array([json.loads(line)["loss"] for line in lines])


def test_two_processes_train_like_one_device(two_by_four, alone):
    workdir, _ = two_by_four
    one, eight = losses(alone), losses(workdir)
    assert len(one) == len(eight) == 8
    assert abs(one[0] - eight[0]) < 1e-6
    assert abs(one[-1] - eight[-1]) < 1e-4


def test_only_the_first_process_speaks(two_by_four):
    workdir, ((first, _), (second, _)) = two_by_four
    assert "devices   8 x cpu (mesh: data 4, fsdp 2)" in first
    assert "step 8/8" in first
    # Gloo's own lines come from several threads, and may be torn; none of ours is among them.
    ours = re.compile(r"^(data|network|devices|memory|noise|starting|step|finished) ", re.MULTILINE)
    assert ours.search(first) and not ours.search(second)
    names = {path.name for path in (workdir / "previews").iterdir()}
    assert names == {"step_00000008.png", "step_00000008.json", "data_spectrum.json"}


def digest(workdir, cache, devices, fsdp=1, two=False):
    if devices == 1 and not two:
        return [str(value) for value in digests.digest(workdir)]
    flags = [f"--workdir={workdir}", f"--fsdp={fsdp}"]
    if not two:
        done = run("tests/helpers/digest.py", *flags, cache=cache, devices=devices)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-3:]
    started = start_two("tests/helpers/digest.py", *flags, cache=cache, devices=devices)
    out = finish(started)
    assert [p.returncode for p in started] == [0, 0], out
    (first, _), (second, _) = out
    assert first.split()[-3:] == second.split()[-3:]
    return first.split()[-3:]


@pytest.mark.slow
def test_weights_are_the_same_on_other_devices(two_by_four, alone, cache):
    workdir, _ = two_by_four
    expected, step, count = digest(workdir, cache, devices=1)
    assert (step, count) == ("8", "1")
    assert digest(workdir, cache, devices=8, fsdp=8) == [expected, "8", "8"]
    assert digest(workdir, cache, devices=1, fsdp=2, two=True) == [expected, "8", "2"]
    # And the reverse: saved by one device, read by two processes with four each.
    expected, *_ = digest(alone, cache, devices=1)
    assert digest(alone, cache, devices=4, fsdp=2, two=True) == [expected, "8", "8"]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [8, 1], ids=["1x8", "2x1"])
def test_weights_saved_elsewhere_are_the_same_on_two_by_four(devices, long, cache, tmp_path):
    flags = [*long, f"--workdir={tmp_path}", "--config.mesh.fsdp=2"]
    if devices == 8:
        done = run("train.py", *flags, cache=cache, devices=8)
        assert done.returncode == 0, done.stderr
    else:
        started = start_two("train.py", *flags, cache=cache, devices=1)
        out = finish(started)
        assert [p.returncode for p in started] == [0, 0], out
    expected, *_ = digest(tmp_path, cache, devices=1)
    assert digest(tmp_path, cache, devices=4, fsdp=4, two=True) == [expected, "8", "8"]


def test_a_run_goes_on_with_another_number_of_processes(two_by_four, long, cache, tmp_path):
    import shutil

    shutil.copytree(two_by_four[0], tmp_path / "run")
    flags = [*long, f"--workdir={tmp_path / 'run'}", "--config.train.num_steps=10"]
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    assert "resuming at step 8" in done.stdout
    assert len(losses(tmp_path / "run")) == 10


def test_a_signal_to_one_process_stops_both_at_the_same_step(config, cache, tmp_path):
    workdir = tmp_path / "run"
    flags = [config, f"--workdir={workdir}", "--config.train.num_steps=1000000",
             "--config.checkpoint.every=1000000"]  # fmt: skip
    started = start_two("train.py", *flags, cache=cache, devices=1)
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size, *started)
    started[1].send_signal(signal.SIGTERM)
    (first, _), (second, _) = finish(started, seconds=60)
    assert [p.returncode for p in started] == [75, 75]
    stopped = first.splitlines()[-1].split()
    assert stopped[:3] == ["stopped", "at", "step"]
    assert f"process 1: stopped at step {stopped[3]}, saved" in second
    assert [p.name for p in (workdir / "checkpoints").iterdir() if p.name != "staging"] == [
        stopped[3]
    ]


def test_two_processes_share_the_files_of_samples(alone, cache, tmp_path):
    flags = [f"--workdir={alone}", "--num_samples=10", "--shard_size=4", "--num_steps=3",
             "--method=ddpm", "--batch_size=4"]  # fmt: skip
    started = start_two("sample.py", *flags, f"--out={tmp_path / 'two'}", cache=cache, devices=2)
    out = finish(started)
    assert [p.returncode for p in started] == [0, 0], out
    done = call("sample.py", *flags, f"--out={tmp_path / 'one'}", cache=cache)
    assert done.returncode == 0, done.stderr
    names = [f"samples-{i:05d}-of-00003.npz" for i in range(3)]
    for name in names:
        with np.load(tmp_path / "two" / name) as two, np.load(tmp_path / "one" / name) as one:
            difference = two["samples"].astype(int) - one["samples"].astype(int)
            assert np.abs(difference).max() <= 1
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == [
        "grid.png", *names, "samples.json", "spectrum.svg"
    ]  # fmt: skip


@pytest.mark.slow
def test_two_processes_evaluate_together(alone, cache, tmp_path):
    flags = ["--num_examples=5", "--num_steps=4", f"--workdir={alone}", "--batch_size=4"]
    program = "sagd_jax.likelihood"
    started = start_two(program, *flags, f"--out={tmp_path / 'two'}", cache=cache, devices=1)
    out = finish(started)
    assert [p.returncode for p in started] == [0, 0], out
    done = call(program, *flags, f"--out={tmp_path / 'one'}", cache=cache)
    assert done.returncode == 0, done.stderr

    def values(folder):
        lines = (folder / "likelihood.jsonl").read_text().splitlines()[1:]
        return [json.loads(line)["nats"] for line in lines]

    assert len(values(tmp_path / "two")) == 5
    np.testing.assert_allclose(values(tmp_path / "two"), values(tmp_path / "one"), rtol=1e-5)
    assert "examples of test" in out[0][0] and "examples of test" not in out[1][0]
