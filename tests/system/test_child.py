"""Programs that are started for another one."""

import os
import sys
from pathlib import Path

import pytest

from sagd_jax.system import child

AUTOGROUP = Path("/proc/self/autogroup")


def run(tmp_path, program, *argv, cores=()):
    with (tmp_path / "log.txt").open("ab") as log:
        process = child.start(program, argv, log, cores)
    return process, process.wait(60), (tmp_path / "log.txt").read_text()


def test_it_runs_the_program_and_returns_its_status(tmp_path):
    _, status, words = run(tmp_path, "inspect", str(tmp_path / "nothing"))
    assert status == 2 and "nothing" in words and words.count("\n") == 1


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel shares by process alone")
def test_it_is_as_nice_as_its_starter_among_sessions_too(tmp_path):
    code = (
        "import os, sys; from sagd_jax.system import child; mine = f'nice {os.nice(3)}'\n"
        "process = child.start('command', ['--version'], sys.stdout.buffer)\n"
        "import time; found = ''\n"
        "while process.poll() is None and mine not in found:\n"
        "    found = open(f'/proc/{process.pid}/autogroup').read(); time.sleep(0.005)\n"
        "print('so' if mine in found else found)"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "so" in done.stdout.split(), done.stderr


def test_shares_are_all_cores_without_one_twice():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no such call here")
    cores = sorted(os.sched_getaffinity(0))
    shares = child.shares(len(cores))
    assert sorted(core for share in shares for core in share) in (cores, [])
    assert child.shares(len(cores) + 1) == [()] * (len(cores) + 1)
