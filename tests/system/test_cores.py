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
        ({"cpu/cpu.cfs_quota_us": "0\n", "cpu/cpu.cfs_period_us": "0\n"}, math.inf),
    ],
    ids=["none", "v2 without", "v2", "v1 without", "v1", "v1 of nothing"],
)
def test_quota_of_a_container(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores._quota(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1000000\n"}, 1e6),
        ({"memory/memory.limit_in_bytes": "2000000\n"}, 2e6),
    ],
    ids=["v2", "v1"],
)
def test_memory_of_a_container(tmp_path, files, expected):
    (tmp_path / "memory").mkdir()
    whole = cores._memory(tmp_path)
    assert whole > 1e8
    (tmp_path / "memory.max").write_text("max\n")
    assert cores._memory(tmp_path) == whole
    (tmp_path / "memory.max").unlink()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores._memory(tmp_path) == expected


def test_cores_of_this_process():
    assert 1 <= cores.available() <= os.cpu_count()


PROGRAM = """
import jax
from sagd_jax.system import cores

cores.available = lambda: {cores}
cores._memory = lambda root: {memory} * 2**30
cores.as_devices({rows}, equal={equal})

print(jax.device_count())
cores.as_devices(7)
"""


@pytest.mark.parametrize(
    ("cpus", "memory", "rows", "equal", "environment", "expected"),
    [
        (4, 64, 6, True, {}, 3),  # the most that divide the rows
        (4, 64, 6, False, {}, 4),
        (4, 64, 2, False, {}, 2),
        (64, 64, 128, True, {}, 8),
        (64, 9, 128, True, {}, 2),
        (4, 64, 4, True, {"JAX_NUM_CPU_DEVICES": "2"}, 2),
        (4, 64, 4, True, {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, 1),
    ],
)
def test_devices_of_a_cpu(cpus, memory, rows, equal, environment, expected):
    bare = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(cores=cpus, memory=memory, rows=rows, equal=equal)],
        env={**bare, **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == str(expected), done.stderr
