"""Progress bars, where tqdm is installed; without it there are none."""

from __future__ import annotations

from typing import Any, Self


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
