"""A CPU as several devices, one per core.

XLA:CPU runs most of a program on one core: of the operations of one device only large ones, such as forward
convolutions, are split over threads. A batch that is split over devices keeps all cores at work: on two cores a
training step of the digits' network took 0.8, a draw in 50 steps 0.5 of the time. The results are those
of any mesh: the same random numbers, sums in another order.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST = 8  # every device holds the weights


def available() -> int:
    """The cores that this process may use, by affinity and by the quota of its container (Linux)."""
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, _quota(Path("/sys/fs/cgroup")))))


def as_devices(rows: int) -> None:
    """Makes the CPU as many devices as it has cores, of which each gets as many of `rows` as the others.

    Call before anything touches a device. What is set already stays as it is, by JAX_NUM_CPU_DEVICES or in
    XLA_FLAGS (--xla_force_host_platform_device_count), and so do several processes and other platforms.

    Args:
      rows: of the batches to come.
    """
    import jax

    set_already = jax.config.jax_num_cpu_devices >= 0  # type: ignore[attr-defined]
    set_already |= "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if set_already or jax.distributed.is_initialized():
        return
    count = max(n for n in range(1, min(available(), MOST, rows) + 1) if rows % n == 0)
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # devices are there: the program runs inside another one
        return


def _quota(root: Path) -> float:
    """Cores' worth of time that a container's processes get, of version 2 or 1 of Linux's cgroups."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            folder = root / "cpu"
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError):  # not Linux, or "max"
        return math.inf
