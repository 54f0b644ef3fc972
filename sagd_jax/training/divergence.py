"""Divergence: finding steps that were not finite, in metrics that are looked at late."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np


class Diverged(Exception):
    """Too many steps in a row were not finite."""

    def __init__(self, steps: list[int]) -> None:
        super().__init__(steps)
        self.steps = steps


class Guard:
    """Finds `limit` steps in a row that were skipped.

    Args:
      limit: of skipped steps in a row.
      step: the first step to be watched.
    """

    def __init__(self, limit: int, step: int) -> None:
        self._limit, self._step = limit, step
        self._unseen: collections.deque[Any] = collections.deque()
        self._bad: list[int] = []

    @property
    def healthy(self) -> bool:
        """Whether the newest step that was looked at was not skipped."""
        return not self._bad

    def watch(self, metrics: Any) -> None:
        """Adds the metrics of the next call."""
        self._unseen.append(metrics["skipped"])

    def check(self, leave: int) -> None:
        """Looks at all calls but the last `leave`; raises Diverged."""
        while len(self._unseen) > leave:
            for skipped in np.asarray(self._unseen.popleft()):
                self._bad = [*self._bad, self._step] if skipped else []
                self._step += 1
                if len(self._bad) >= self._limit:
                    raise Diverged(self._bad)
