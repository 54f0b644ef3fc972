"""What both sides run: networks by the names of their options, and works on them. No framework."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Options of `sagd_jax.models.UNet`; `theirs.py` translates them for diffusers.
DIGITS = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "attention": (False, False),
    "attention_head_dim": 16,
    "norm_num_groups": 8,
}
PAPER: dict[str, Any] = {}
DIT = {"patch_size": (2, 2), "hidden_size": 384, "depth": 12, "num_heads": 6}
CLASSES = 10  # of the digits, and of the DiT: diffusers' cannot do without
STEPS = 50  # of DDIM


@dataclasses.dataclass(frozen=True)
class Case:
    """A network on images of one size, and what is done with it.

    Attributes:
      work: "step" (draws, loss, gradients, clipping, Adam and the average of the weights), "forward", or
        "ddim" (a whole draw in 50 steps).
      network: "digits", "paper" (the U-Nets) or "dit".
      bar: the largest ratio of times, ours over theirs, that the project wants.
      device: "cpu" or "gpu".
    """

    work: str
    network: str
    batch: int
    side: int
    channels: int
    bar: float
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Such as "step paper 16x32x32x3"."""
        return f"{self.work} {self.network} {self.batch}x{self.side}x{self.side}x{self.channels}"

    @property
    def classes(self) -> int:
        """Of the labels that the network is shown; 0: none."""
        return 0 if self.network == "paper" else CLASSES

    @property
    def options(self) -> dict[str, Any]:
        """Of the network, as `sagd_jax.models` names them."""
        return {"digits": DIGITS, "paper": PAPER, "dit": DIT}[self.network]


CPU = (
    Case("step", "digits", 64, 8, 1, 0.7),
    Case("forward", "digits", 64, 8, 1, 0.75),
    Case("ddim", "digits", 64, 8, 1, 0.75),
    Case("forward", "paper", 16, 32, 3, 0.75),
    Case("ddim", "paper", 16, 32, 3, 0.75),
    Case("step", "paper", 16, 32, 3, 0.95),
    Case("step", "dit", 16, 32, 3, 0.9),
    Case("forward", "dit", 16, 32, 3, 0.75),
    Case("forward", "paper", 1, 256, 3, 0.75),
    Case("step", "digits", 16, 8, 1, 0.7),
    Case("forward", "digits", 16, 8, 1, 0.75),
    Case("step", "paper", 64, 32, 3, 0.95),
    Case("forward", "paper", 64, 32, 3, 0.75),
    Case("step", "dit", 64, 32, 3, 0.9),
    Case("forward", "dit", 64, 32, 3, 0.75),
)
# In bfloat16; theirs by torch.compile, channels last.
GPU = (
    Case("step", "paper", 128, 32, 3, 0.7, "gpu"),
    Case("step", "paper", 512, 32, 3, 0.7, "gpu"),
    Case("forward", "paper", 512, 32, 3, 0.7, "gpu"),
    Case("ddim", "paper", 512, 32, 3, 0.5, "gpu"),
    Case("step", "dit", 128, 32, 3, 0.7, "gpu"),
    Case("step", "dit", 512, 32, 3, 0.7, "gpu"),
    Case("forward", "paper", 8, 256, 3, 0.7, "gpu"),
)


def by_name(name: str) -> Case:
    """The case of that name; on a GPU where it begins with "gpu "."""
    of = GPU if name.startswith("gpu ") else CPU
    return next(case for case in of if case.name == name.removeprefix("gpu "))


def memory() -> dict[str, float]:
    """Peak and present resident memory of this process, MiB (Linux)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    names = {"peak MiB": "VmHWM", "now MiB": "VmRSS"}
    return {name: int(fields[field].split()[0]) / 1024 for name, field in names.items()}


def serve(make: Callable[[Case], tuple[Callable[[], Any], dict[str, Any]]]) -> None:
    """The worker of one side: makes the work, then does it as often as each line of stdin says.

    Answers are lines of JSON: what `make` says of the work with the seconds that it and the first
    performance took; then the seconds of each number of performances; after the last, the memory.
    """
    began = time.perf_counter()
    run, about = make(by_name(sys.argv[1]))
    run()  # compiles
    made = {
        "seconds to the first": time.perf_counter() - began,
        "cpu to the first": time.process_time(),
    }
    print(json.dumps({**about, **made}), flush=True)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(line)):
            run()
        times = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps(times), flush=True)
    print(json.dumps(memory()), flush=True)
