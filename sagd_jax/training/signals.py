"""Asking a run to stop: SIGTERM from a scheduler, Ctrl-C from a person.

Either lets the step under way finish; the loop then saves and leaves. The exit status tells a
scheduler what happened: 75 (EX_TEMPFAIL of sysexits.h) after SIGTERM, which it should requeue on
(SLURM: `scontrol requeue`; Kubernetes: a podFailurePolicy on exit code 75), 130 after Ctrl-C, as
shells have it. A second Ctrl-C leaves at once, without saving.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Self

EXIT_PREEMPTED = 75
EXIT_INTERRUPTED = 130
_EXIT_STATUS = {signal.SIGTERM: EXIT_PREEMPTED, signal.SIGINT: EXIT_INTERRUPTED}


class StopRequest:
    """Catches SIGTERM and SIGINT while it is entered.

    Attributes:
      exit_status: None until a signal arrives, then the status to exit with.

    >>> with StopRequest() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.exit_status
    75
    """

    exit_status: int | None = None
    _received: float = 0.0

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._handle) for number in _EXIT_STATUS}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def seconds_since(self) -> float:
        """Seconds since the first signal."""
        return time.monotonic() - self._received

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.exit_status is not None and number == signal.SIGINT:
            os._exit(EXIT_INTERRUPTED)
        if self.exit_status is None:
            self.exit_status = _EXIT_STATUS[signal.Signals(number)]
            self._received = time.monotonic()
