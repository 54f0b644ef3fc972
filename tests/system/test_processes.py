"""How several processes find each other, and what is said where they do not."""

import argparse
import subprocess
import sys

import pytest
from programs import environment, free_port

from sagd_jax.system import processes
from sagd_jax.system.schema import ConfigError

SLURM = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NODELIST": "127.0.0.1",
}

PROGRAM = """
from sagd_jax.system import processes
from sagd_jax.system.commandline import Parser, one_line_errors

parser = Parser(prog="program")
processes.add_flags(parser)
with one_line_errors("program"):
    processes.start(parser.parse_args())
    import jax

    print(jax.process_index(), "of", jax.process_count())
"""


def flags(coordinator=None, num_processes=None, process_id=None):
    return argparse.Namespace(
        coordinator=coordinator, num_processes=num_processes, process_id=process_id
    )


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ((), {}, None),
        (("a:1", 3, 2), {}, ("a:1", 3, 2)),
        (("[::1]:80", 1, 0), {}, ("[::1]:80", 1, 0)),
        (
            (),
            {"JAX_COORDINATOR_ADDRESS": "b:9", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"},
            ("b:9", 2, 1),
        ),
        ((), SLURM, {}),
        ((), {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),
        ((), {"TPU_WORKER_HOSTNAMES": "t0,t1"}, {}),
        ((), {"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ((), {"MEGASCALE_COORDINATOR_ADDRESS": "t0:8080"}, {}),
        ((), {"KUBERNETES_SERVICE_HOST": "k", "JOB_COMPLETION_INDEX": "1"}, {}),
        ((), {"KUBERNETES_SERVICE_HOST": "k"}, None),  # a notebook in a pod is one process
    ],
)
def test_who_asks_for_several_processes(given, environment, expected):
    settings = processes._settings(flags(*given), environment)
    if isinstance(expected, tuple):
        names = ("coordinator_address", "num_processes", "process_id")
        expected = dict(zip(names, expected, strict=True))
    assert settings == expected


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        (("a:1", None, None), {}, "--num_processes and --process_id missing"),
        (("a", 2, 0), {}, "--coordinator=a: expected host:port"),
        (("a:99999", 2, 0), {}, "--coordinator=a:99999: expected host:port"),
        (("a:1", 2, 2), {}, "--process_id=2: expected 0 to 1"),
        ((), {"JAX_PROCESS_ID": "1"}, "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES missing"),
        (
            (),
            {"JAX_COORDINATOR_ADDRESS": "b:9", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "1"},
            "JAX_NUM_PROCESSES=two",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(given, environment, message):
    with pytest.raises(ConfigError, match=message):
        processes._settings(flags(*given), environment)


@pytest.mark.parametrize("present", [0, 1])
def test_a_peer_that_does_not_come_is_one_line_and_asks_to_try_again(present, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            PROGRAM,
            f"--coordinator=127.0.0.1:{free_port()}",
            "--num_processes=2",
            f"--process_id={present}",
            "--peer_timeout=2",
        ],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 75
    (line,) = done.stderr.splitlines()
    assert f"process {present} of 2" in line and "did not all meet" in line and "127.0.0.1" in line


def test_tasks_of_a_slurm_step_find_each_other(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**environment(tmp_path), **SLURM, "SLURM_PROCID": i, "SLURM_LOCALID": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in "01"
    ]
    out = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], out
    assert [words[0].splitlines()[-1] for words in out] == ["0 of 2", "1 of 2"]


def test_a_process_alone_agrees_with_itself():
    agree = processes.Agreement()
    assert [agree(0), agree(75), agree(0)] == [0, 75, 75]
