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

pytestmark = pytest.mark.thorough

BATCH = 8

PROGRAM = """
import sys
import numpy as np
from sagd_jax import data
folder, out, *cases = sys.argv[1:]
configs = {
    "digits": data.DataConfig(flip=True, crop_padding=1),
    "fresh": data.DataConfig(
        corruption="band", corruption_band=(0.5, 0.7), corruption_frozen=False,
        corrupted_fraction=0.5
    ),
    "folder": data.DataConfig(name="folder", dir=folder, memory_limit_mb=0, flip=True),
}
for case in cases:
    host, hosts, start = map(int, case.split("-"))
    arrays = {}
    for name, config in configs.items():
        rows = data.host_rows(8, host, hosts)
        batches = data.batches(
            data.open_source(config), seed=3, batch_size=8, rows=rows, start_step=start, stop_step=1003
        )
        for step, batch in enumerate(batches, start):
            if step >= 1000 or step < 2:
                arrays |= {f"{name}.{step}.{key}": value for key, value in batch.items()}
    np.savez(f"{out}/{case}.npz", **arrays)
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


def start(folder, out, devices, cases):
    """One process per number of devices: hosts share nothing, and every case opens its data anew."""
    out.mkdir()
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(data.__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(out), *cases],
        env=environment,
        stderr=subprocess.PIPE,
    )


def whole_batches(directory, hosts, first):
    """Put together from the hosts' parts."""
    parts = [np.load(directory / f"{host}-{hosts}-{first}.npz") for host in range(hosts)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0].files}


def assert_same(a, b, names):
    for name in names:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


def test_batches_do_not_depend_on_hosts_devices_or_where_one_starts(folder, tmp_path):
    one, eight = tmp_path / "one", tmp_path / "eight"
    four_hosts, two_hosts = ([f"{i}-{n}-1000" for i in range(n)] for n in (4, 2))
    processes = [
        start(folder, one, 1, ["0-1-1000", *four_hosts]),
        start(folder, eight, 8, [*reversed(two_hosts), "0-1-0"]),
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()[-2000:]
    whole = whole_batches(one, hosts=1, first=1000)
    assert len(whole) == 3 * 3 * 3
    assert whole["fresh.1000.corrupted"].any()
    assert not whole["fresh.1000.corrupted"].all()
    assert_same(whole, whole_batches(eight, hosts=2, first=1000), whole)
    assert_same(whole, whole_batches(one, hosts=4, first=1000), whole)
    assert_same(whole, whole_batches(eight, hosts=1, first=0), whole)


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
