"""sample.py with many samples: numbered files that are drawn once, and signals."""

import signal
import subprocess

import numpy as np
import pytest
from programs import TINY, call, command, environment, run, wait_for

pytestmark = pytest.mark.thorough

NAMES = [f"samples-{i:05d}-of-00004.npz" for i in range(4)]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(TINY)
    flags = [
        f"--config={folder / 'tiny.py'}",
        f"--workdir={folder}",
        "--config.checkpoint.every=12",
    ]
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    return folder


def flags(workdir, out):
    return [f"--workdir={workdir}", f"--out={out}", "--num_samples=22", "--num_steps=2",
            "--shard_size=6", "--batch_size=4", "--method=ddpm"]  # fmt: skip


def samples(file):
    with np.load(file, allow_pickle=False) as content:
        return content["samples"]


def test_files_are_drawn_once_and_hold_what_one_file_would(workdir, cache, tmp_path):
    done = call("sample.py", *flags(workdir, tmp_path / "a"), cache=cache)
    assert done.returncode == 0, done.stderr
    files = [tmp_path / "a" / name for name in NAMES]
    assert [len(samples(file)) for file in files] == [6, 6, 6, 4]
    whole = flags(workdir, tmp_path / "b")
    whole[4] = "--shard_size=100"
    done = run("sample.py", *whole, cache=cache, devices=8)
    assert done.returncode == 0, done.stderr
    joined = np.concatenate([samples(file) for file in files]).astype(int)
    assert np.abs(joined - samples(tmp_path / "b" / "samples.npz")).max() <= 1

    # One is missing, one is torn: only these are drawn again.
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    files[1].unlink()
    files[2].write_bytes(before[files[2]][0][:-40])
    done = call("sample.py", *flags(workdir, tmp_path / "a"), cache=cache)
    assert done.returncode == 0, done.stderr
    for i, file in enumerate(files):
        _, time = before[file]
        np.testing.assert_array_equal(
            samples(file), joined[sum([6, 6, 6, 4][:i]) : sum([6, 6, 6, 4][: i + 1])]
        )
        assert (file.stat().st_mtime_ns == time) == (i in (0, 3))

    done = call("sample.py", *flags(workdir, tmp_path / "a"), cache=cache)
    assert "nothing to do" in done.stdout

    other = [*flags(workdir, tmp_path / "a"), "--seed=1"]
    done = call("sample.py", *other, cache=cache)
    assert done.returncode == 2
    assert "other samples" in done.stderr and '"seed": 0' in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_leaves_whole_files_and_says_what_is_missing(
    workdir, cache, tmp_path, number, status
):
    out = tmp_path / "out"
    many = [*flags(workdir, out), "--num_samples=100000", "--num_steps=20"]
    process = subprocess.Popen(
        command("sample.py", *many), env=environment(cache), stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(list(out.glob("samples-*.npz"))) >= 2, process)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert "after the signal" in said and "run the same command" in said
    whole = list(out.glob("samples-*.npz"))
    assert f"{16667 - len(whole)} of 16667 files are missing" in said
    assert all(len(samples(file)) == 6 for file in whole)
    assert not list(out.glob("*.tmp"))


def test_a_network_split_over_devices_draws_the_same(workdir, cache, tmp_path):
    few = ["--num_samples=8", "--shard_size=100"]
    for name, devices, more in (("one", 1, []), ("four", 4, ["--fsdp=2"])):
        done = run("sample.py", *flags(workdir, tmp_path / name), *few, *more,
                   cache=cache, devices=devices)  # fmt: skip
        assert done.returncode == 0, done.stderr
    a, b = (samples(tmp_path / n / "samples.npz").astype(int) for n in ("one", "four"))
    assert np.abs(a - b).max() <= 1
    done = run("sample.py", *flags(workdir, tmp_path / "x"), "--fsdp=3", cache=cache, devices=4)
    assert done.returncode == 2
    assert "--fsdp=3: expected a divisor of the 4 devices" in done.stderr
