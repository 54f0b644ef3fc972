"""What the host does, timed here, and the error of sums of gradients in bfloat16."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.scaling.cases import DEVICE_COUNTS


def host_costs() -> dict[str, Any]:
    """Seconds of one host thread for what the input pipeline and the checkpoints do.

    The batches are those of `data.batches`, as the training loop asks for them: the 512 rows of one
    host with 8 devices, of the batch of all; and which rows they are, where devices hold the set.
    """
    import hashlib

    from sagd_jax import data
    from sagd_jax.data.augment import Augmented
    from sagd_jax.data.source import ArraySource
    from sagd_jax.system.malloc import keep_freed_memory

    keep_freed_memory()  # as train.py does

    def best(function: Any, turns: int = 60) -> float:
        times = []
        for _ in range(turns):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    # As many images as ImageNet has, all of them the same few bytes.
    images = np.broadcast_to(np.uint8(0), (1_281_167, 32, 32, 3))
    source = Augmented(ArraySource(images, value_range=(0, 255)), flip=True)
    resident = source.resident()
    assert resident is not None

    def batches(of: Any) -> dict[str, float]:
        seconds = {}
        for devices in DEVICE_COUNTS:
            rows = data.host_rows(64 * devices, 0, devices // 8)
            stream = data.batches(of, seed=0, batch_size=64 * devices, rows=rows)
            # Turns of eight batches: orders are computed for that many at once.
            turn = best(lambda stream=stream: [next(stream) for _ in range(8)])
            seconds[str(devices)] = turn / 8
        return seconds

    block = bytes(2**26)
    return {
        "seconds_for_512_images_by_devices": batches(source),
        "seconds_for_512_rows_by_devices": batches(resident.rows),
        "sha256_bytes_per_second": len(block) / best(lambda: hashlib.sha256(block).digest(), 3),
    }


def sum_errors() -> list[dict[str, float]]:
    """Error of a sum of gradients in bfloat16, over that sum (root mean squares).

    The gradients are independent and normal: noise is most of a gradient. A ring adds one device's
    after the other's; rings of 16 add 16 at a time, as the axes of a torus do.
    """
    import ml_dtypes

    def ring(values: np.ndarray) -> np.ndarray:
        total = values[0]
        for value in values[1:]:
            total = total + value  # rounds to bfloat16
        return total

    rows = []
    generator = np.random.default_rng(0)
    for devices in (8, 256, 4096):
        values = generator.standard_normal((devices, 4096)).astype(ml_dtypes.bfloat16)
        exact = values.astype(np.float64).sum(axis=0)
        stages = values
        while len(stages) > 1:
            size = min(16, len(stages))
            stages = np.stack([ring(part) for part in stages.reshape(-1, size, 4096)])

        def error(total: np.ndarray, exact: np.ndarray = exact) -> float:
            off = total.astype(np.float64) - exact
            return float(np.sqrt(np.mean(off**2) / np.mean(exact**2)))

        rows.append(
            {"devices": devices, "one_ring": error(ring(values)), "rings_of_16": error(stages[0])}
        )
    return rows
