"""Errors whose message is for people, and the words in which errors are put."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class ForPeople(Exception):
    """Base of all errors whose message is one line that says what is wrong and what to do.

    A program prints that line alone and exits with status 2 (`commandline.one_line_errors`); any
    other exception is a fault of ours and shows its traceback.
    """


def check_choice(
    name: str, value: Any, allowed: Iterable[Any], error: type[Exception] = ValueError
) -> None:
    """Raises `error`, naming the argument, its value and what is allowed, unless it is allowed.

    >>> check_choice("unit", "cycles", ("cycles", "max"))
    >>> check_choice("unit", "cycle", ("cycles", "max"))
    Traceback (most recent call last):
    ValueError: unit='cycle': expected one of 'cycles', 'max'
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise error(f"{name}={value!r}: expected one of {', '.join(map(repr, allowed))}")


def one_line(error: object, longest: int | None = None) -> str:
    """What an error says, on one line; of more than `longest` characters, the two ends.

    >>> one_line(ValueError("two\\n lines"))
    'two lines'
    """
    text = " ".join(str(error).split())
    if longest is None or len(text) <= longest:
        return text
    # The cause tends to stand at either end of what libraries report, more often at the last.
    head = longest * 3 // 8
    return f"{text[:head]} ... {text[head - longest + 5 :]}"
