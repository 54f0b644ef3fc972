"""The same batches, byte for byte, whatever the hosts and devices and wherever one starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagd_jax import data
from sagd_jax.data import DataConfig

BATCH = 8

PROGRAM = """
import sys
import numpy as np
from sagd_jax import data
folder, host, hosts, start, out = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
configs = {
    "digits": data.DataConfig(flip=True, crop_padding=1),
    "fresh": data.DataConfig(
        corruption="band", corruption_band=(0.5, 0.7), corruption_frozen=False,
        corrupted_fraction=0.5
    ),
    "folder": data.DataConfig(name="folder", dir=folder, memory_limit_mb=0, flip=True),
}
arrays = {}
for name, config in configs.items():
    rows = data.host_rows(8, host, hosts)
    batches = data.batches(
        data.open_source(config), seed=3, batch_size=8, rows=rows, start_step=start, stop_step=1003
    )
    for step, batch in enumerate(batches, start):
        if step >= 1000 or step < 2:
            arrays |= {f"{name}.{step}.{key}": value for key, value in batch.items()}
np.savez(out, **arrays)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            directory / f"{i}.png"
        )
    return directory


def start(folder, out, host, hosts, first, devices):
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(data.__file__).parents[2]),
    }
    arguments = [str(folder), str(host), str(hosts), str(first), str(out)]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, stderr=subprocess.PIPE
    )


def run(folder, directory, hosts, first, devices):
    """The whole batches, put together from the hosts' parts."""
    outs = [directory / f"{hosts}-{host}-{first}-{devices}.npz" for host in range(hosts)]
    processes = [start(folder, out, host, hosts, first, devices) for host, out in enumerate(outs)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()[-2000:]
    parts = [np.load(out) for out in outs]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def assert_same(a, b, names):
    for name in names:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


def test_batches_do_not_depend_on_hosts_devices_or_where_one_starts(folder, tmp_path):
    whole = run(folder, tmp_path, hosts=1, first=1000, devices=1)
    assert len(whole) == 3 * 3 * 3
    assert whole["fresh.1000.corrupted"].any()
    assert not whole["fresh.1000.corrupted"].all()
    for hosts, devices in ((2, 8), (4, 1)):
        assert_same(whole, run(folder, tmp_path, hosts, 1000, devices), whole)
    from_zero = run(folder, tmp_path, hosts=1, first=0, devices=8)
    assert_same(whole, from_zero, whole)


def test_one_epoch_of_a_stream_holds_every_example_once(folder):
    source = data.open_source(DataConfig(name="folder", dir=str(folder), memory_limit_mb=0))
    batches = data.batches(source, seed=0, batch_size=BATCH, stop_step=5)  # 2 epochs of 20
    x = np.concatenate([batch["x"] for batch in batches])
    everything = sorted(map(bytes, source.fetch(np.arange(20))["x"]))
    assert sorted(map(bytes, x[:20])) == everything
    assert sorted(map(bytes, x[20:])) == everything


def test_a_batch_larger_than_the_data_is_refused_at_once(folder):
    source = data.open_source(DataConfig(name="folder", dir=str(folder), memory_limit_mb=0))
    with pytest.raises(ValueError, match="batch_size=21: expected 1 to 20, the number of examples"):
        data.batches(source, seed=0, batch_size=21)


def test_host_rows_cover_the_batch():
    rows = [data.host_rows(12, host, 3) for host in range(3)]
    assert np.concatenate([np.arange(12)[r] for r in rows]).tolist() == list(range(12))
    with pytest.raises(ValueError, match="expected a multiple of num_hosts=5"):
        data.host_rows(12, 0, 5)


def test_faults_while_streaming_reach_the_reader(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / f"{i}.png")
    source = data.open_source(DataConfig(name="folder", dir=str(tmp_path), memory_limit_mb=0))
    (tmp_path / "2.png").unlink()
    with pytest.raises(data.DataError, match=r"cannot read .*2.png"):
        list(data.batches(source, seed=0, batch_size=4, stop_step=1))


def test_a_batch_from_memory_costs_little():
    """Well under a fiftieth of the hundreds of milliseconds of the smallest step of that U-Net."""
    import time

    source = data.ArraySource(np.zeros((60_000, 32, 32, 3), np.uint8), value_range=(0, 255))
    batches = data.batches(source, seed=0, batch_size=128)
    times = []
    for _ in range(30):
        before = time.perf_counter()
        next(batches)
        times.append(time.perf_counter() - before)
    assert min(times) < 2e-3
