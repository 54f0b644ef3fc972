"""What is compiled: the networks, the meshes they are laid over, and which results are compared."""

from __future__ import annotations

import dataclasses
from typing import Any

DEVICE_COUNTS = (8, 256, 4096)
PAPER_BATCH = 128


@dataclasses.dataclass(frozen=True)
class Case:
    """One compilation: a network on a mesh of `devices / fsdp` x `fsdp`.

    Attributes:
      left: leave out the program's rule that weights are whole where the network uses them, and let
        the compiler choose, to see what the rule is worth.
    """

    network: str
    devices: int
    fsdp: int
    per_device: int
    left: bool = False

    @property
    def name(self) -> str:
        """Network, mesh and examples per device, as the tables have it."""
        mesh = f"{self.devices // self.fsdp}x{self.fsdp}"
        return f"{self.network} {mesh} @{self.per_device}" + " left" * self.left


CASES = [
    Case("unet", 8, 1, 16),  # the paper's batch of 128
    Case("unet", 8, 1, 64),
    Case("unet", 256, 1, 64),
    Case("unet", 8, 8, 64),
    Case("unet", 64, 8, 64),
    Case("unet", 256, 8, 64),
    Case("unet", 64, 8, 64, left=True),
    Case("unet", 256, 8, 64, left=True),
    Case("dit", 8, 1, 32),
    Case("dit", 256, 1, 32),
    Case("dit", 8, 8, 32),
    Case("dit", 64, 8, 32),
    Case("dit", 256, 8, 32),
    Case("dit", 8, 8, 32, left=True),
    Case("dit", 64, 8, 32, left=True),
    Case("dit", 256, 8, 32, left=True),
]
# Bytes of the second are also computed from those of the first, and compared.
CHECKS = [
    ("unet 8x1 @64", "unet 256x1 @64"),
    ("dit 8x1 @32", "dit 256x1 @32"),
    ("unet 8x8 @64", "unet 32x8 @64"),
    ("dit 8x8 @32", "dit 32x8 @32"),
    ("unet 8x8 @64 left", "unet 32x8 @64 left"),
    ("dit 8x8 @32 left", "dit 32x8 @32 left"),
]
NETWORKS = {
    "unet": {
        "words": "U-Net of the paper, 32x32x3",
        "shape": (32, 32, 3),
        "model": {"dtype": "bfloat16"},
    },
    "dit": {
        "words": "DiT-XL/2, 32x32x4 latents, remat",
        "shape": (32, 32, 4),
        "model": {
            "kind": "dit",
            "dtype": "bfloat16",
            "remat": True,
            "dit": {"patch_size": (2,), "hidden_size": 1152, "depth": 28, "num_heads": 16},
        },
    },
}


def case_name(case: dict[str, Any]) -> str:
    """The name of a measured case."""
    return Case(**{f.name: case[f.name] for f in dataclasses.fields(Case)}).name
