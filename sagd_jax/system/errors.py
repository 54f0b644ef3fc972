"""Errors whose message is for people, and the words in which errors are put."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Iterable
from typing import Any

# What a locked ConfigDict says of a name that is no field; the whole config stands between the two.
_NO_FIELD = re.compile(
    r'Key \\?"(\w+)\\?" does not exist.*?(?:Did you mean \\?"(\w+)\\?" instead.*)?$', re.DOTALL
)


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


def in_file(error: BaseException, file: str, words: str | None = None) -> str:
    """What went wrong in somebody's Python file, on one line: its own line is what helps, not our traceback.

    Args:
      words: said in place of the error's own.
    """
    if isinstance(error, SyntaxError) and error.filename == file:
        return f"line {error.lineno}: {error.msg}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    where = f"line {lines[-1]}: " if lines else ""
    if words is not None:
        return where + words
    words = str(error)
    if found := _NO_FIELD.search(words):
        hint = f"; did you mean {found[2]!r}?" if found[2] else ""
        return f"{where}no such field {found[1]!r}{hint}"
    if isinstance(error, KeyError) and error.args:
        words = str(error.args[0])
    return f"{where}{type(error).__name__}: {one_line(words) or 'failed'}"


def reason(error: OSError) -> str:
    """What the system says, without the paths that libraries add.

    >>> reason(OSError(28, "No space left on device", "a", None, "b"))
    'No space left on device'
    """
    return os.strerror(error.errno) if error.errno else one_line(error)


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
