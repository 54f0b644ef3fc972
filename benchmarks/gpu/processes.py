"""The programs that this one starts: their environment, and this one again for one measurement."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ITSELF = [sys.executable, "-m", "benchmarks.gpu"]


def environment(flags: argparse.Namespace, platform: str | None = None) -> dict[str, str]:
    """Of the programs that this one starts. It holds no device itself: memory is theirs."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "JAX_PLATFORMS": platform or flags.platform, "PYTHONPATH": path}


def passed_on(flags: argparse.Namespace) -> list[str]:
    """The flags that a process started for one measurement needs too."""
    shared = [f"--data={flags.data}", f"--platform={flags.platform}"]
    return [*shared, f"--steps_per_call={flags.steps_per_call}", *["--tiny"] * flags.tiny]


def one_value(flags: argparse.Namespace, flag: str, platform: str) -> Any:
    """What this program prints as JSON when it is started with `flag`."""
    command = [*ITSELF, flag, *passed_on(flags)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(flags, platform), capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{flag}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
