"""How far something is: a bar on a terminal, where tqdm is installed, else a line soon, then one a minute."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

_SOON = 10.0  # seconds to the first line, which says how long it will take
_EVERY = 60.0  # between two lines


class NoBar:
    """Stands in for `tqdm.tqdm`: counts, and shows nothing."""

    def __init__(self, *, initial: int = 0, **options: Any) -> None:
        self.n = initial

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def update(self, count: int) -> None:
        """Counts on."""
        self.n += count

    def unpause(self) -> None:
        """Nothing: there is no clock."""

    def close(self) -> None:
        """Nothing: there is nothing open."""

    @staticmethod
    def write(line: str) -> None:
        """Prints a line."""
        print(line)


def bar_class() -> Any:
    """`tqdm.tqdm`, or what stands in for it."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return NoBar
    return tqdm


class Lines(NoBar):
    """Stands in for a bar where no terminal is, as in the log of a batch job: a line soon, then one a minute."""

    def __init__(self, *, total: int, unit: str, initial: int = 0) -> None:
        super().__init__(initial=initial)
        self._total, self._unit, self._first = total, unit, initial
        self._begun = time.monotonic()
        self._next = self._begun + _SOON

    def update(self, count: int) -> None:
        """Counts on, and says so early and then once a minute."""
        super().update(count)
        now = time.monotonic()
        if now < self._next or self.n >= self._total:
            return
        self._next = now + _EVERY
        left = (now - self._begun) / max(self.n - self._first, 1) * (self._total - self.n)
        print(
            f"{self.n:,} of {self._total:,} {self._unit}s, about {duration(left)} left", flush=True
        )


def counted(*, total: int, unit: str, initial: int = 0, shown: bool = True) -> Any:
    """Shows how many of `total` are done: what `update(count)` of the result, a context manager, says.

    Args:
      total, unit: of how many of what, in the singular.
      initial: done before.
      shown: whether anything is; of several processes one shows it.
    """
    if not shown:
        return NoBar(initial=initial)
    bar = bar_class()
    if bar is NoBar or not sys.stderr.isatty():
        return Lines(total=total, unit=unit, initial=initial)
    return bar(total=total, unit=unit, initial=initial)


def duration(seconds: float) -> str:
    """Such as 1:05 or 2:01:05.

    >>> duration(65), duration(7265)
    ('1:05', '2:01:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
