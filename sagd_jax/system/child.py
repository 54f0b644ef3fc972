"""Starts one of the package's programs for another one, which it shall not outlive.

    python -m sagd_jax.system.child 0,1 train --config=... --workdir=...

runs `sagd_jax.programs.train` on the cores 0 and 1 (`-`: on all). Where the kernel can (Linux), it gets
SIGTERM when the program that started it is gone, even killed, and so saves what it has.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def start(
    program: str,
    argv: Sequence[str],
    log: IO[bytes],
    cores: Sequence[int] = (),
    keep: Sequence[int] = (),
    platform: str | None = None,
) -> subprocess.Popen:
    """Starts `sagd_jax.programs.<program>` as a process of its own, deaf to the terminal's Ctrl-C.

    Args:
      program: name of the module.
      argv: its flags.
      log: takes what it prints.
      cores: that it may use; none: all.
      keep: descriptors that it inherits, such as one that a lock hangs on.
      platform: of JAX, on which it is to compute; None: as this process.
    """
    where = ",".join(map(str, cores)) or "-"
    command = [sys.executable, "-m", "sagd_jax.system.child", where, program, *argv]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(keep),
        env=None if platform is None else {**os.environ, "JAX_PLATFORMS": f"{platform},cpu"},
    )


def shares(jobs: int) -> list[tuple[int, ...]]:
    """The cores of this process in so many equal shares; empty ones, for all, where they cannot be had.

    >>> shares(1)
    [()]
    """
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return [()] * jobs
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < jobs:
        return [()] * jobs
    return [tuple(cores[i::jobs]) for i in range(jobs)]


def _run(cores: str, program: str, argv: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # Linux shares a machine among sessions first, and this is one of its own: there `nice` of the
        # program that started it says nothing unless the session has it too.
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
    if cores != "-":
        with contextlib.suppress(OSError):  # gone since; the others will do
            os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    sys.argv = [program, *argv]
    return importlib.import_module(f"sagd_jax.programs.{program}").main(argv)


if __name__ == "__main__":
    from sagd_jax.system.exits import leave

    leave(_run(sys.argv[1], sys.argv[2], sys.argv[3:]))
