"""TensorBoard files, written by the thread that has the numbers.

tensorboardX's own writer hands everything to a thread of its own. On a disk that is full that thread
dies with a traceback, and once its queue is full the training waits for it for ever.
"""

from __future__ import annotations

import time
import uuid

import numpy as np

from sagd_jax.system.late import optional

_FLUSH_EVERY = 30.0  # seconds


class Board:
    """Writes scalars and pictures into a new event file.

    Args:
      folder: for TensorBoard to look into; created if missing.
      step: from which on what older files say is not shown any more.

    Raises:
      OSError: it cannot be written; so do the methods.
    """

    def __init__(self, folder: str, step: int) -> None:
        with optional("config.log.tensorboard"):
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import SessionLog
            from tensorboardX.record_writer import directory_check

        directory_check(folder)
        # The library's own name has whole seconds, in which a run may have gone back and begun anew.
        self._events = EventsWriter(f"{folder}/events", f".{uuid.uuid4().hex[:8]}")
        self._flushed = time.monotonic()
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Numbers by name."""
        with optional("config.log.tensorboard"):
            from tensorboardX import summary

        for name, value in values.items():
            self._add(step, summary=summary.scalar(name, value))
        self._flush_at_times()

    def image(self, name: str, picture: np.ndarray, step: int) -> None:
        """A picture `(height, width, 3)`, uint8."""
        with optional("config.log.tensorboard"):
            from tensorboardX import summary

        self._add(step, summary=summary.image(name, picture, dataformats="HWC"))
        self._flush_at_times()

    def close(self) -> None:
        """Writes what is left; the file is closed even where that fails."""
        self._events.close()

    def _flush_at_times(self) -> None:
        if time.monotonic() - self._flushed > _FLUSH_EVERY:
            self._flushed = time.monotonic()
            self._events.flush()

    def _add(self, step: int, **content: object) -> None:
        with optional("config.log.tensorboard"):
            from tensorboardX.proto.event_pb2 import Event

        self._events.write_event(Event(wall_time=time.time(), step=step, **content))
