"""A disk that is full: training says so, keeps what it has, and stops or goes on as configured."""

import contextlib
import subprocess

import pytest
from programs import TINY, call

from sagd_jax.run.saved import load_run

pytestmark = pytest.mark.thorough

FLAGS = [
    "--config.train.num_steps=9",
    "--config.checkpoint.every=1",
    "--config.checkpoint.keep=100",
]


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for a few checkpoints of the tiny network."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run(command, capture_output=True).returncode == 0:
            yield mount
            subprocess.run(["umount", str(mount)], check=False)
            return
    pytest.skip("it takes the right to mount a file system")


@pytest.mark.parametrize("on_error", ["stop", pytest.param("continue", marks=pytest.mark.slow)])
def test_a_full_disk_is_said_and_the_last_good_checkpoint_kept(
    small_disk, cache, tmp_path, on_error
):
    (tmp_path / "tiny.py").write_text(TINY)
    flags = [f"--config={tmp_path / 'tiny.py'}", f"--workdir={small_disk}", *FLAGS,
             f"--config.checkpoint.on_error={on_error}"]  # fmt: skip
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("train.py: ") and "saving step" in last
    assert "the newest complete step is" in last
    kept = load_run(small_disk).step
    assert 0 < kept < 9
    if on_error == "continue":
        assert "going on in spite of an error" in done.stdout
        assert "step 9/9" in done.stdout
    else:
        assert "step 9/9" not in done.stdout
    # With room again, the same command goes on from there.
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    assert f"resuming at step {kept}" in done.stdout and "finished 9 steps" in done.stdout
