"""How a program ends: its exit statuses, and the ways of leaving when others wait for it.

A scheduler should run a command again that ended with 75 (EX_TEMPFAIL of sysexits.h), and nothing
else.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from sagd_jax.system.errors import one_line

BUG = 1
BAD_INPUT = 2
TRY_AGAIN = 75  # stopped by SIGTERM, or out of contact with another process
INTERRUPTED = 130  # by Ctrl-C, as shells have it


def leave(status: int) -> NoReturn:
    """Ends the program; a signal from now on must not make a finished run look like a failed one."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(status)


def leave_without_waiting(status: int) -> None:
    """Ends one of several processes at once, where an orderly end would wait for the others.

    Where this process is the only one, it returns.
    """
    jax = sys.modules.get("jax")
    if jax is not None and jax.distributed.is_initialized():
        sys.stdout.flush()
        os._exit(status)


def leave_if_peers_are_lost(error: Exception) -> None:
    """Ends one of several processes whose devices failed, mostly since another process is gone.

    At once: an orderly end would wait for the others. The status asks a scheduler to try again.
    """
    import jax

    if jax.process_count() > 1:
        print(
            f"process {jax.process_index()} of {jax.process_count()}: lost another process, or a "
            f"device ({one_line(error, 300)}); run the same command on all to go on from the newest "
            "checkpoint",
            file=sys.stderr,
            flush=True,
        )
        os._exit(TRY_AGAIN)
