"""Flags and errors of the programs: every fault of the input is one line and exit status 2."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import logging
import math
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from sagd_jax.system import exits, kinds, schema
from sagd_jax.system.errors import ForPeople, one_line
from sagd_jax.system.kinds import Kind

_OVERRIDE = "--config."


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and complains in one line."""

    def __init__(self, **options) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message} (--help lists the flags)", file=sys.stderr)
        raise SystemExit(exits.BAD_INPUT)

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        flags, rest = self.parse_known_args(args, namespace)
        self._refuse(rest)
        return flags

    def parse_with_overrides(
        self, argv: Sequence[str] | None
    ) -> tuple[argparse.Namespace, list[str]]:
        """The flags, and the `--config.field=value` ones as they are, if there is a `--config`."""
        flags, rest = self.parse_known_args(argv)
        overrides = [
            flag for flag in rest if flag.startswith(_OVERRIDE) and hasattr(flags, "config")
        ]
        self._refuse([flag for flag in rest if flag not in overrides])
        return flags, overrides

    def _refuse(self, rest: Sequence[str]) -> None:
        if not rest:
            return
        known = [flag for action in self._actions for flag in action.option_strings]
        name = rest[0].partition("=")[0]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        if not name.startswith("-") and "=" in rest[0]:
            hint = f"; did you mean {_OVERRIDE}{rest[0]}?" if "--config" in known else ""
        self.error(f"unknown argument {rest[0]!r}{hint}")


def at_least(low: int, high: int | None = None) -> Callable[[str], int]:
    """A flag's type: a whole number from `low` on, or from `low` to `high`."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            bound = "on" if high is None else f"to {high}"
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number from {low} {bound}")
        return value

    return whole_number


def number(low: float = -math.inf, high: float = math.inf) -> Callable[[str], float]:
    """A flag's type: a finite number in [low, high]."""

    def finite_number(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and low <= value <= high):
            raise argparse.ArgumentTypeError(f"{text}: expected a number in [{low:g}, {high:g}]")
        return value

    return finite_number


def add_options(parser: Parser, table: Mapping[str, Kind], selector: str) -> None:
    """Adds a flag for each field of a table of kinds; `chosen_kind` reads them.

    Args:
      table: kinds by name, as for `kinds.of_kinds`.
      selector: the flag that names one of them, without its dashes.
    """
    for name, users in kinds.users(table).items():
        own, hint = table[users[0]].fields[name], table[users[0]].hints[name]
        parser.add_argument(
            f"--{name}",
            type=_of_field(name, hint, own.metadata),
            default=own.default,
            help=f"{own.metadata['doc']}, for {selector} {' or '.join(users)}; default {own.default}",
        )


def chosen_kind(
    parser: Parser, flags: argparse.Namespace, table: Mapping[str, Kind], selector: str
) -> Any:
    """What the flags choose of a table of kinds, made with their options; one line otherwise."""
    name = getattr(flags, selector)
    for option, users in kinds.users(table).items():
        value = getattr(flags, option)
        if name not in users and value != table[users[0]].fields[option].default:
            allowed = " or ".join(f"--{selector}={user}" for user in users)
            parser.error(f"--{option}={value}: only {allowed} uses it")
    try:
        return table[name].make(**{option: getattr(flags, option) for option in table[name].fields})
    except ValueError as error:
        parser.error(f"--{selector}={name}: {one_line(error)}")


def _of_field(name: str, hint: Any, rule: Mapping[str, Any]) -> Callable[[str], Any]:
    def value(text: str) -> Any:
        try:
            return schema.checked(schema.parse(text, hint), hint, rule, name)
        except schema.ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return value


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turns the errors that say what to do into one line on stderr and exit status 2."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        raise SystemExit(exits.INTERRUPTED) from None
    except BrokenPipeError:
        raise SystemExit(exits.BUG) from None
    except ForPeople as error:
        print(f"{program}: {one_line(error)}", file=sys.stderr, flush=True)
        exits.leave_without_waiting(exits.BAD_INPUT)
        raise SystemExit(exits.BAD_INPUT) from None
    except Exception:
        traceback.print_exc()
        exits.leave_without_waiting(exits.BUG)
        raise SystemExit(exits.BUG) from None


def set_up_logging(level: int) -> None:
    """Shows this package's warnings, and nothing of what libraries say of their own threads.

    Orbax, asyncio and TensorStore print a traceback for each file that a full disk refuses; that
    one save failed is said by our own error.
    """
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level)
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    show = sys.unraisablehook

    def show_of_main_thread(error: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            show(error)

    sys.unraisablehook = show_of_main_thread
