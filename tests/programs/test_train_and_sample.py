"""train.py and sample.py as real processes: resuming, signals, damage, and what sampling depends on."""

import json
import signal
import subprocess
import time

import jax
import numpy as np
import pytest
from programs import call, command, environment, run, wait_for

from sagd_jax.run.saved import load_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config, cache):
    """A run of 12 steps that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    done = run(
        "train.py",
        config,
        f"--workdir={workdir}",
        "--config.preview.every=12",
        "--config.log.tensorboard=True",
        cache=cache,
    )
    assert done.returncode == 0, done.stderr
    return workdir


def weights(workdir, ema=True, step=None):
    return jax.tree.leaves(load_run(workdir, step, ema=ema).params)


def assert_same_weights(a, b, step=None):
    for ema in (True, False):
        for x, y in zip(weights(a, ema, step), weights(b, ema, step), strict=True):
            np.testing.assert_array_equal(x, y)


def test_a_run_leaves_checkpoints_metrics_and_pictures(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8, 12]
    for line in lines:
        assert 0 < line["loss"] < 3
        assert line["gradient_norm"] > 0
        assert {f"loss_t{i}of4" for i in (1, 2, 3, 4)} <= line.keys()
    assert "images_per_second" in lines[-1] and "data_wait_share" in lines[-1]
    assert (finished / "previews" / "step_00000012.png").stat().st_size > 500
    assert list((finished / "tensorboard").iterdir())
    run_ = load_run(finished)
    assert run_.step == 12
    assert run_.record.data.shape == (8, 8, 1)


def test_the_same_command_again_has_nothing_to_do(finished, config, cache):
    before = (finished / "metrics.jsonl").read_bytes()
    done = call("train.py", config, f"--workdir={finished}", cache=cache)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert (finished / "metrics.jsonl").read_bytes() == before


@pytest.mark.thorough
def test_killed_after_a_checkpoint_it_ends_where_an_undisturbed_run_does(
    finished, config, cache, tmp_path
):
    workdir = tmp_path / "killed"
    flags = (config, f"--workdir={workdir}")
    process = subprocess.Popen(
        command("train.py", *flags, "--config.train.num_steps=1000000"),
        env=environment(cache),
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: (workdir / "checkpoints" / "4").exists(), process)
    process.kill()
    process.wait()
    done = call("train.py", *flags, "--config.checkpoint.keep=50", cache=cache)
    assert done.returncode == 0, done.stderr
    if "nothing to do" in done.stdout:  # it had run past step 12 before the signal
        assert_same_weights(finished, workdir, step=12)
    else:
        assert "resuming at step" in done.stdout
        assert_same_weights(finished, workdir)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_signal_saves_and_the_status_says_which(number, status, config, cache, tmp_path):
    workdir = tmp_path / "signalled"
    process = subprocess.Popen(
        command(
            "train.py",
            config,
            f"--workdir={workdir}",
            "--config.train.num_steps=1000000",
            "--config.checkpoint.every=1000000",
        ),
        env=environment(cache),
        stdout=subprocess.PIPE,
        text=True,
    )
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size, process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "after the signal" in out
    stopped = load_run(workdir).step
    assert stopped > 0
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert stopped >= last


@pytest.mark.thorough
def test_a_signal_while_samples_are_drawn_does_not_wait_for_them(config, cache, tmp_path):
    workdir = tmp_path / "drawing"
    process = subprocess.Popen(
        command(
            "train.py",
            config,
            f"--workdir={workdir}",
            "--config.train.num_steps=1000000",
            "--config.log.every=3",
            "--config.checkpoint.every=1000000",
            "--config.preview.every=3",
            "--config.preview.num_samples=4096",
            "--config.preview.num_steps=100",
        ),
        env=environment(cache),
        stdout=subprocess.PIPE,
        text=True,
    )
    metrics = workdir / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size, process)
    time.sleep(3)  # three steps are done; the grid would take minutes
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped at step 3 of" in out and "after the signal" in out
    assert not (workdir / "previews").exists()
    assert load_run(workdir).step == 3


def test_a_signal_before_the_first_step_ends_it_at_once(config, cache, tmp_path):
    process = subprocess.Popen(
        command("train.py", config, f"--workdir={tmp_path / 'early'}"),
        env=environment(cache),
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(2)  # importing, or tracing
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (75, -signal.SIGTERM)  # the latter before Python runs our code
    assert process.returncode != 75 or "before there was anything to save" in err


def test_another_run_is_refused_and_nothing_is_touched(finished, config, cache):
    def contents():
        files = (p for p in finished.rglob("*") if p.is_file() and p.name != "writer.lock")
        return {p: p.read_bytes() for p in files}

    before = contents()
    done = call(
        "train.py", config, f"--workdir={finished}", "--config.noise.alpha=0.25", cache=cache
    )
    assert done.returncode == 2
    assert "config.noise.alpha was -0.5, is 0.25" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert contents() == before


def test_samples_do_not_depend_on_the_batch_size(finished, cache, tmp_path):
    drawn = {}
    for batch in (7, 64):
        out = tmp_path / str(batch)
        done = call(
            "sample.py",
            f"--workdir={finished}",
            f"--out={out}",
            f"--batch_size={batch}",
            "--num_samples=20",
            "--num_steps=5",
            "--method=ddpm",
            "--seed=3",
            cache=cache,
        )
        assert done.returncode == 0, done.stderr
        with np.load(out / "samples.npz", allow_pickle=False) as file:
            drawn[batch] = file["samples"]
        assert (out / "grid.png").exists()
    assert drawn[7].shape == (20, 8, 8, 1) and drawn[7].dtype == np.uint8
    assert np.abs(drawn[7].astype(int) - drawn[64].astype(int)).max() <= 1
    # Each sample is its own: no two alike.
    assert len({sample.tobytes() for sample in drawn[64]}) == 20


def test_one_flipped_bit_is_reported_and_an_older_step_used(finished, cache, tmp_path):
    import shutil

    workdir = tmp_path / "damaged"
    shutil.copytree(finished, workdir)
    file = max((workdir / "checkpoints" / "12" / "ema").rglob("*"), key=lambda p: p.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = run(
        "sample.py",
        f"--workdir={workdir}",
        f"--out={tmp_path / 'out'}",
        "--num_samples=1",
        "--num_steps=2",
        cache=cache,
    )
    assert done.returncode == 0
    assert "12" in done.stderr and file.name in done.stderr
    assert "step 8 of" in done.stdout


def test_a_new_run_can_start_from_the_weights_of_another(finished, config, cache, tmp_path):
    """Also on several devices, which these were not trained on."""
    done = run(
        "train.py",
        config,
        f"--workdir={tmp_path / 'next'}",
        f"--init_from={finished}",
        "--config.noise.alpha=0.5",
        "--config.train.num_steps=1",
        "--config.optimizer.learning_rate=1e-30",
        cache=cache,
        devices=2,
    )
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stdout
    assert "EMA weights" in done.stdout and "step 12" in done.stdout
    for x, y in zip(weights(tmp_path / "next", ema=False), weights(finished), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_dry_run_trains_nothing(config, cache, tmp_path):
    done = call("train.py", config, f"--workdir={tmp_path / 'dry'}", "--dry_run", cache=cache)
    assert done.returncode == 0
    assert "parameters" in done.stdout and "rank 64 of 64" in done.stdout
    assert not (tmp_path / "dry").exists()


@pytest.mark.thorough
def test_two_writers_in_one_workdir_the_second_is_refused(config, cache, tmp_path):
    workdir = tmp_path / "shared"
    first = subprocess.Popen(
        command("train.py", config, f"--workdir={workdir}", "--config.train.num_steps=1000000"),
        env=environment(cache),
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: (workdir / "metrics.jsonl").exists(), first)
    first.send_signal(signal.SIGSTOP)  # it keeps the lock, and leaves the processor to the others
    second = run("train.py", config, f"--workdir={workdir}", cache=cache)
    first.kill()
    first.wait()
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    third = call("train.py", config, f"--workdir={workdir}", "--dry_run", cache=cache)
    assert third.returncode == 0


@pytest.mark.slow
def test_the_compilers_own_settings_give_the_same_training(finished, config, tmp_path):
    """Users do not run with the quick settings of these tests."""
    plain = {**environment(tmp_path / "cache"), "XLA_FLAGS": ""}
    done = subprocess.run(
        command("train.py", config, f"--workdir={tmp_path / 'run'}", "--config.train.num_steps=4"),
        env=plain,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
        for run in (finished, tmp_path / "run")
    )
    assert ours["step"] == theirs["step"] == 4
    for name in ("loss", "gradient_norm", "loss_t1of4", "loss_t4of4"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-4)
