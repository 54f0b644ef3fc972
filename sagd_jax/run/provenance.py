"""Where a figure comes from: command, commit, versions and hardware, for the files in results/."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from typing import Any


def provenance(argv: Sequence[str]) -> dict[str, Any]:
    """What a result needs beside its numbers to be repeated."""
    import jax

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True)
        return done.stdout.strip()

    return {
        "command": "python " + " ".join(argv),
        "commit": git("rev-parse", "--short", "HEAD"),
        "uncommitted changes": bool(git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "hardware": f"{os.cpu_count()} x {_processor()}",
        "device": jax.devices()[0].device_kind,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
