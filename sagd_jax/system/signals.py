"""Asking a program to stop: SIGTERM from a scheduler, Ctrl-C from a person.

Either lets what is under way come to a point where it can be taken up again, which a line says at
once; the program then saves and leaves, with status 75 after SIGTERM and 130 after Ctrl-C (`exits.py`). A second Ctrl-C leaves at
once, without saving, and so does a first signal while there is nothing to save.

Python runs signal handlers between two bytecodes of the main thread, which may be minutes away while
that thread waits for a compiler or a device. The signals are therefore read by a thread of its own,
from the pipe that `signal.set_wakeup_fd` fills.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from typing import Self

from sagd_jax.system import exits

_EXIT_STATUS = {signal.SIGTERM: exits.TRY_AGAIN, signal.SIGINT: exits.INTERRUPTED}


class StopRequest:
    """Catches SIGTERM and SIGINT while it is entered, in the main thread.

    Args:
      program: its name, for what is printed when it leaves at once.

    Attributes:
      exit_status: None until a signal arrives, then the status to exit with.
      nothing_to_save: while True, a signal ends the process at once.

    >>> with StopRequest() as stop:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop.wait(5)
    75
    """

    exit_status: int | None = None

    def __init__(self, program: str = "", *, nothing_to_save: bool = False) -> None:
        self.nothing_to_save = nothing_to_save
        self._program = program
        self._received = 0.0
        self._arrived = threading.Event()

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._previous = {n: signal.getsignal(n) for n in _EXIT_STATUS}
        self.install()
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._writer.close()  # which ends the thread
        self._thread.join()
        self._reader.close()

    def install(self) -> None:
        """Takes the signals, again if somebody else has taken them (JAX's distributed runtime does)."""
        for number in _EXIT_STATUS:
            signal.signal(number, lambda *_: None)

    def wait(self, seconds: float) -> int | None:
        """Sleeps for so long, or until a signal arrives; returns `exit_status`."""
        self._arrived.wait(seconds)
        return self.exit_status

    def seconds_since(self) -> float:
        """Seconds since the first signal; 0 if none arrived here."""
        return time.monotonic() - self._received if self._received else 0.0

    def _listen(self) -> None:
        while numbers := self._reader.recv(16):
            for number in numbers:
                if number in _EXIT_STATUS:
                    self._receive(number)

    def _receive(self, number: int) -> None:
        again = self.exit_status is not None and number == signal.SIGINT
        if again or self.nothing_to_save:
            words = "interrupted again" if again else "stopped before there was anything to save"
            print(f"{self._program}: {words}", file=sys.stderr, flush=True)
            os._exit(self.exit_status or _EXIT_STATUS[signal.Signals(number)])
        if self.exit_status is None:
            self.exit_status = _EXIT_STATUS[signal.Signals(number)]
            self._received = time.monotonic()
            self._arrived.set()
            if self._program:
                words = "stopping when this can be gone on with (Ctrl-C: at once, unsaved)"
                print(f"{self._program}: {words}", file=sys.stderr, flush=True)
