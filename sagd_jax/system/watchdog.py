"""Names what a run is waiting for, where it would otherwise hang in silence.

The loop says what it is about to do (`begin`). A thread compares how long that has been going on
with a limit, and then prints a line: this process and its step, and with several processes what each
of the others was last known to be doing. They tell each other through the key-value store of JAX's
coordinator, which works while a collective hangs. One that waits for its data holds up
the rest. One that has said nothing for 40 s is lost, and the others leave with status 75.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from typing import Any, Self

from sagd_jax.system import exits

_FOLDER = "sagd_jax/progress/"
LOST_AFTER = 40.0  # seconds without a sign of life; JAX aborts the process after 50 to 100
_SILENT = 10.0


class Watchdog:
    """Watches a loop while it is entered.

    Args:
      warn_after: seconds in one phase until it is named, and again after as many; None: never.
      exit_after: seconds after which the process ends with status 75; None: never.

    Example::

      with Watchdog(warn_after=60, exit_after=None) as watchdog:
          watchdog.begin("waiting for the data of step 3")
    """

    def __init__(self, warn_after: float | None, exit_after: float | None) -> None:
        import jax

        self._limits = [limit for limit in (warn_after, exit_after) if limit is not None]
        self._warn_after, self._exit_after = warn_after, exit_after
        self._phase = ("starting", time.monotonic())
        self._closed = threading.Event()
        self._me, self._count = jax.process_index(), jax.process_count()
        self._client = _coordinator() if self._count > 1 else None
        self._beats = 0
        self._heard: dict[int, tuple[dict[str, Any], float]] = {}
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        if self._limits or self._client is not None:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def begin(self, what: str) -> None:
        """Says what the loop does from now on, such as "running step 3"."""
        self._phase = (what, time.monotonic())

    def _watch(self) -> None:
        pause = min([1.0, *(limit / 4 for limit in self._limits)])
        warned: tuple[str, float] | None = None
        while not self._closed.wait(pause):
            phase = self._phase
            age = time.monotonic() - phase[1]
            self._exchange(phase[0], age)
            self._leave_if_one_is_lost()
            if self._warn_after is not None and age > self._warn_after and warned != phase:
                self._say(phase[0], age)
                warned = phase
            if self._exit_after is not None and age > self._exit_after:
                if warned != phase:
                    self._say(phase[0], age)
                self._print(
                    f"giving up after {age:.0f} s (config.watchdog.exit_after); run the same "
                    "command to go on from the newest checkpoint"
                )
                os._exit(exits.TRY_AGAIN)

    def _leave_if_one_is_lost(self) -> None:
        for peer, (_, when) in self._heard.items():
            if peer != self._me and time.monotonic() - when > LOST_AFTER:
                self._print(
                    f"{self._describe(peer).strip()}; it is lost. Run the same command on all to go "
                    "on from the newest checkpoint"
                )
                os._exit(exits.TRY_AGAIN)

    def _say(self, what: str, age: float) -> None:
        self._print(f"no progress for {age:.0f} s: {what}")
        for peer in range(self._count):
            if peer != self._me and self._client is not None:
                self._print(self._describe(peer))

    def _describe(self, peer: int) -> str:
        if peer not in self._heard:
            return f"  process {peer} has said nothing so far"
        told, when = self._heard[peer]
        silent = time.monotonic() - when
        words = (
            f"  process {peer} on {told['host']}: {told['what']}, for {told['age'] + silent:.0f} s"
        )
        return words + (f"; no sign of life for {silent:.0f} s" if silent > _SILENT else "")

    def _print(self, words: str) -> None:
        who = f"process {self._me} of {self._count}" if self._count > 1 else "watchdog"
        print(f"{who}: {words}", file=sys.stderr, flush=True)

    def _exchange(self, what: str, age: float) -> None:
        """Tells the others, and hears what they have told."""
        if self._client is None:
            return
        self._beats += 1
        told = {"what": what, "age": age, "beat": self._beats, "host": socket.gethostname()}
        try:
            self._client.key_value_set(
                f"{_FOLDER}{self._me}", json.dumps(told), allow_overwrite=True
            )
            entries = self._client.key_value_dir_get(_FOLDER)
        except Exception:  # the coordinator is gone; what was heard before is all there is
            return
        for key, value in entries:
            peer, news = int(key.rpartition("/")[2]), json.loads(value)
            before = self._heard.get(peer)
            if before is None or before[0]["beat"] != news["beat"]:
                self._heard[peer] = (news, time.monotonic())


def _coordinator() -> Any:
    # JAX has no public name for it; without it only this process can be named.
    try:
        from jax._src import distributed
    except ImportError:
        return None
    return distributed.global_state.client
