"""A run that hangs says what it waits for."""

import re
import subprocess
import sys
import time

import pytest
from programs import TINY, environment, finish, free_port

from sagd_jax.system.watchdog import Watchdog

# A source whose data stops coming, under the real loop.
STUCK = """
import argparse, os, sys, time
from pathlib import Path
from sagd_jax import data
from sagd_jax.system import processes

names = ("coordinator", "num_processes", "process_id")
processes.start(argparse.Namespace(**dict.fromkeys(names), peer_timeout=100))
from sagd_jax.training import loop
from sagd_jax.run.config_file import read_config

def stuck_source(config, open_source=data.open_source):
    source = open_source(config)
    fetch = type(source).fetch
    def slow(self, indices, seed=0, step=0):
        if step == 6 and os.environ.get("JAX_PROCESS_ID", "1") == "1":
            time.sleep(1000)
        return fetch(self, indices, seed=seed, step=step)
    type(source).fetch = slow
    return source

loop.data.open_source = stuck_source
sys.exit(loop.train(read_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2])))
"""


def test_a_phase_that_takes_too_long_is_named_once(capsys):
    with Watchdog(warn_after=0.2, exit_after=None) as watchdog:
        watchdog.begin("waiting for the data of step 3")
        time.sleep(0.9)
        watchdog.begin("running step 3")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(
        r"watchdog: no progress for [01] s: waiting for the data of step 3", lines[0]
    )


def test_progress_is_not_named(capsys):
    with Watchdog(warn_after=0.4, exit_after=None) as watchdog:
        for step in range(8):
            watchdog.begin(f"running step {step}")
            time.sleep(0.1)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_stuck_input_of_a_peer_is_named_and_the_run_ends_if_told_so(cache, tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    port = free_port()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", STUCK, str(tmp_path / "tiny.py"), str(tmp_path / "run"),
             "--config.watchdog.warn_after=30", "--config.watchdog.exit_after=33"],
            env={
                **environment(cache),
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(i),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    (_, first), (_, second) = finish(both, seconds=200)
    assert "process 0 of 2: no progress for" in first
    assert re.search(r"process 1 on \S+: waiting for the data of step 6, for \d+ s", first)
    # The first to give up is the end of the other.
    assert 75 in {process.returncode for process in both}
    assert "giving up" in first + second and "newest checkpoint" in first + second
    assert (tmp_path / "run" / "checkpoints" / "4").exists()
