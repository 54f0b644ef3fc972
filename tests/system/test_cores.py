"""A CPU as several devices: how many, and when it is left alone."""

import math
import os
import subprocess
import sys

import pytest

from sagd_jax.system import cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, math.inf),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
    ids=["none", "v2 without", "v2", "v1 without", "v1"],
)
def test_quota_of_a_container(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores._quota(tmp_path) == expected


def test_cores_of_this_process():
    assert 1 <= cores.available() <= os.cpu_count()


PROGRAM = """
import jax
from sagd_jax.system import cores

cores.available = lambda: {cores}
cores.as_devices({rows})

print(jax.device_count())
cores.as_devices(7)
"""


@pytest.mark.parametrize(
    ("cpus", "rows", "environment", "expected"),
    [
        (4, 6, {}, 3),  # the most that divide the rows
        (64, 128, {}, 8),
        (4, 4, {"JAX_NUM_CPU_DEVICES": "2"}, 2),
        (4, 4, {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, 1),
    ],
)
def test_devices_of_a_cpu(cpus, rows, environment, expected):
    bare = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(cores=cpus, rows=rows)],
        env={**bare, **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(expected), done.stderr
