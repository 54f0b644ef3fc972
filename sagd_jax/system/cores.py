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

MOST = 8
_MEMORY_EACH = 4 * 2**30  # of every device, which holds the weights
_CGROUPS = Path("/sys/fs/cgroup")  # of a container, on Linux


def available() -> int:
    """The cores that this process may use, by its affinity and the quota of its container."""
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(count, _quota(_CGROUPS))))


def as_devices(rows: int, equal: bool = False) -> None:
    """Makes the CPU as many devices as it has cores and 4 GiB of memory each, and `rows` to work on.

    Call before anything touches a device. What is set already stays as it is, by JAX_NUM_CPU_DEVICES or in
    XLA_FLAGS (--xla_force_host_platform_device_count), and so do several processes and other platforms.

    Args:
      rows: of the batches to come.
      equal: whether they have to divide over the devices, where no rows are added.
    """
    import jax

    set_already = jax.config.jax_num_cpu_devices >= 0  # type: ignore[attr-defined]
    set_already |= "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if set_already or jax.distributed.is_initialized():
        return
    most = min(available(), MOST, max(1, rows), max(1, int(_memory(_CGROUPS) // _MEMORY_EACH)))
    count = max(n for n in range(1, most + 1) if rows % n == 0 or not equal)
    try:
        jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # devices are there: the program runs inside another one
        return


def _quota(root: Path) -> float:
    """Cores' worth of time that a container's processes get, by version 2 or 1 of Linux's cgroups."""
    try:
        quota, period = _first(root / "cpu.max", root / "cpu" / "cpu.cfs_quota_us").split()[:2]
    except ValueError:  # version 1 has a file for each
        quota = _first(root / "cpu" / "cpu.cfs_quota_us") or "max"
        period = _first(root / "cpu" / "cpu.cfs_period_us") or "1"
    if quota.strip() == "max" or not (float(quota) > 0 and float(period) > 0):
        return math.inf
    return float(quota) / float(period)


def _memory(root: Path) -> float:
    """Bytes of memory that there are for this process."""
    limit = _first(root / "memory.max", root / "memory" / "memory.limit_in_bytes").strip() or "max"
    try:
        whole = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not Unix
        whole = math.inf
    return min(whole, math.inf if limit == "max" else float(limit))


def _first(*files: Path) -> str:
    for file in files:
        try:
            return file.read_text()
        except OSError:
            continue
    return ""
