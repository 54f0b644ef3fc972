"""Published figures of the accelerators that the plan is for, and what it assumes of them."""

from __future__ import annotations

import dataclasses

UTILISATION = 0.4  # of the peak, assumed wherever the flops are the limit
DISK_SPEED = 1e9  # bytes per second from one host to the checkpoints' file system, assumed


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Published figures of one accelerator.

    Attributes:
      peak: bfloat16 flop/s, dense.
      memory: bytes. memory_speed: bytes/s.
      fast: bytes/s that a device sends over the fast links, all of them together, one direction.
      fast_devices: devices that the fast links join.
      whole_torus: devices from which on the links wrap around; smaller groups have half of `fast`.
      slow: bytes/s that a device sends beyond.
      per_host: devices per host.
      source: where the figures are from.
    """

    peak: float
    memory: float
    memory_speed: float
    fast: float
    fast_devices: int
    whole_torus: int
    slow: float
    per_host: int
    source: str


HARDWARE = {
    "TPU v5e": Hardware(
        197e12,
        16e9,
        819e9,
        200e9,
        256,
        256,
        6.4e12 / 8 / 256,
        8,
        "docs.cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB at 819 GB/s, 400 GB/s both ways over "
        "4 links (51.2 TB/s of all-reduce per pod of 256: 200 GB/s each), 6.4 Tb/s per pod beyond",
    ),
    "TPU v5p": Hardware(
        459e12,
        95e9,
        2765e9,
        600e9,
        8960,
        64,
        50e9 / 8,
        4,
        "docs.cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 95 GB at 2,765 GB/s, 1,200 GB/s both ways "
        "over 6 links, a full torus from 64 chips on, 8,960 chips per pod",
    ),
    "H100 SXM": Hardware(
        989e12,
        80e9,
        3350e9,
        450e9,
        8,
        1,
        400e9 / 8,
        8,
        "NVIDIA H100 data sheet: 1,979 TFLOP/s with sparsity, half of it dense, 80 GB at 3.35 TB/s, "
        "NVLink 900 GB/s both ways; DGX H100 user guide: one 400 Gb/s InfiniBand port per GPU",
    ),
}
