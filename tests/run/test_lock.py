"""The writer's lock: one holder, named to the second, gone with its process."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from saved_states import save

from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.lock import NAME, LockedError, LostError, WriterLock

HOLD = """
import os, sys, time
from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.lock import NAME, LockedError, LostError, WriterLock
lock = WriterLock(sys.argv[1])
if os.fork() == 0:  # a data worker that outlives the trainer
    os.write(1, f"{os.getpid()}\\n".encode())
time.sleep(60)
"""


def test_second_writer_is_told_who_holds_the_lock(tmp_path):
    with (
        WriterLock(tmp_path / "run"),
        pytest.raises(LockedError, match=rf"being written by process {os.getpid()} on \S+; stop"),
    ):
        WriterLock(tmp_path / "run")
    with WriterLock(tmp_path / "run") as lock:
        lock.release()
        with WriterLock(tmp_path / "run"):
            lock.release()  # twice is harmless and frees nothing that another holds
            with pytest.raises(LockedError):
                WriterLock(tmp_path / "run")


def test_a_refused_writer_leaves_the_holders_name(tmp_path):
    with WriterLock(tmp_path):
        for _ in range(2):
            with pytest.raises(LockedError, match=f"process {os.getpid()} "):
                WriterLock(tmp_path)


def test_a_killed_holder_leaves_nothing_in_the_way(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        try:
            with pytest.raises(LockedError, match=f"process {process.pid} "):
                WriterLock(tmp_path)
            process.kill()
            process.wait()
            os.kill(worker, 0)  # still running, yet the lock went with its holder
            WriterLock(tmp_path).release()
        finally:
            process.kill()
            os.kill(worker, signal.SIGKILL)
    assert (tmp_path / NAME).exists()


def test_object_stores_have_no_lock():
    with pytest.raises(ValueError, match="local path"):
        WriterLock("gs://bucket/run")


@pytest.mark.parametrize("change", ["deleted", "moved", "replaced", "begun anew"])
def test_a_holder_finds_out_that_its_directory_is_another_one(tmp_path, change):
    workdir = tmp_path / "run"
    with WriterLock(workdir) as lock:
        lock.require()
        if change == "moved":
            workdir.rename(tmp_path / "moved")
        else:
            shutil.rmtree(workdir)
        if change == "replaced":
            workdir.mkdir()
        second = WriterLock(workdir) if change == "begun anew" else None
        with pytest.raises(LostError, match=f"{workdir} was deleted, moved or replaced"):
            lock.require()
        if second is not None:
            second.require()
            second.release()


def test_nothing_is_saved_in_a_directory_that_came_later(tmp_path):
    workdir = tmp_path / "run"
    checkpoints = Checkpoints(workdir)
    save(checkpoints, 1)
    shutil.rmtree(workdir)
    for attempt in (checkpoints.require_workdir, lambda: save(checkpoints, 2)):
        with pytest.raises(LostError):
            attempt()
    checkpoints.close()
    assert not workdir.exists()


def test_a_save_under_way_when_its_directory_goes_is_no_success(tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    seal = integrity.seal

    def late(directory, step):
        shutil.rmtree(workdir)
        seal(directory, step)

    monkeypatch.setattr(integrity, "seal", late)
    with pytest.raises(LostError), Checkpoints(workdir) as checkpoints:
        save(checkpoints, 1)
    assert not workdir.exists()
