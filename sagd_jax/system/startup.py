"""What every program that computes begins with, in the one order that works.

Faults of the flags are one line; signals are caught from the first moment on; there is a compilation
cache before anything is compiled; the other processes are joined before anything touches a
device, after which the signals are taken again, since JAX's distributed runtime takes them too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Sequence

from sagd_jax.system import compilation_cache, processes
from sagd_jax.system.commandline import Parser, one_line_errors, set_up_logging
from sagd_jax.system.signals import StopRequest


@dataclasses.dataclass(frozen=True)
class Started:
    """A program that has begun.

    Attributes:
      flags: as parsed.
      overrides: the `--config.field=value` flags, for a parser that has `--config`.
      stop: entered; it still ends the process at once, until there is something to save.
    """

    flags: argparse.Namespace
    overrides: list[str]
    stop: StopRequest


@contextlib.contextmanager
def started(
    parser: Parser, argv: Sequence[str] | None, *, several: bool = True
) -> Iterator[Started]:
    """Parses the flags and starts up.

    Args:
      parser: of the program's own flags.
      argv: None: those of the process.
      several: whether the program may be one of several processes, which it then joins
        (`processes.py`, whose flags are added); one that is not written for that runs alone.

    Example::

      with started(parser, argv) as program:
          work(program.flags, program.stop)
    """
    if several:
        processes.add_flags(parser)
    with contextlib.ExitStack() as resources:
        # Imports and traces are millions of small objects, hardly one of them garbage: looking through
        # them every 700 took a tenth of the time to the first step.
        resources.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(50_000, 20, 50)
        resources.enter_context(one_line_errors(parser.prog))
        stop = resources.enter_context(StopRequest(parser.prog, nothing_to_save=True))
        flags, overrides = parser.parse_with_overrides(argv)
        resources.enter_context(compilation_cache.protected())
        if several:
            processes.start(flags)
            stop.install()
        set_up_logging(processes.log_level())
        yield Started(flags, overrides, stop)
