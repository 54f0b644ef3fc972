"""Flags and errors of the programs: every fault of the input is one line and exit status 2."""

from __future__ import annotations

import argparse
import contextlib
import contextvars
import difflib
import errno
import io
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
# What a place says that cannot be written, or no longer: no fault of the program.
_OF_PLACES = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO,
    errno.ESTALE,
)  # fmt: skip


# The command that a program was started by where that is not its own name: `sagd train`.
called_as: contextvars.ContextVar[str | None] = contextvars.ContextVar("called_as", default=None)


class _Help(argparse.HelpFormatter):
    """Help that fits a screen: a usage of one line, and what a flag does beside it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=100)

    def _get_default_metavar_for_optional(self, action):  # type: ignore[override]
        return action.dest.rpartition("_")[2].upper() if action.type is None else "N"

    def _format_usage(self, usage, actions, groups, prefix):  # type: ignore[override]
        required = [action for action in actions if action.required]
        words = super()._format_usage(usage, required, [], prefix).rstrip()
        return f"{words} [flags]\n\n"


class Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations and complains in one line.

    Args:
      fields: gives the names of what can be set by `--config.NAME=value`, for a parser with
        `--config`; called to suggest one of them.
      options: as for `argparse.ArgumentParser`.
    """

    def __init__(self, fields: Callable[[], Sequence[str]] = tuple, **options) -> None:
        options["prog"] = called_as.get() or options.get("prog")
        super().__init__(allow_abbrev=False, **{"formatter_class": _Help, **options})
        self._fields = fields

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

    def fault(
        self, argv: Sequence[str], *checks: Callable[[argparse.Namespace], Any]
    ) -> str | None:
        """What is wrong with the flags of a program that is called later; None if nothing is.

        Args:
          argv: the flags.
          checks: what the program does with them that may call `error`.
        """
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                flags = self.parse_args(argv)
                for check in checks:
                    check(flags)
        except SystemExit:
            words = said.getvalue().strip().removeprefix(f"{self.prog}: ")
            return words.removesuffix(" (--help lists the flags)")
        return None

    def add_allow(self) -> None:
        """Adds `--allow`, of the programs that read checkpoints."""
        self.add_argument(
            "--allow",
            action="append",
            default=[],
            metavar="MODULE:FUNCTION",
            help="import this, if the checkpoint names it; may be given several times",
        )

    def add_config_help(self, fields: Callable[[], str]) -> None:
        """Adds `--help` and `--help=config`, to a parser with `add_help=False`.

        Args:
          fields: the text of the latter; called when it is asked for.
        """

        class Help(argparse.Action):
            def __call__(self, parser, namespace, values, option_string=None):
                if values not in (None, "config"):
                    parser.error(f"--help={values}: expected --help or --help=config")
                print(fields() if values else parser.format_help(), flush=True)
                parser.exit()

        self.add_argument(
            "-h",
            "--help",
            nargs="?",
            metavar="config",
            action=Help,
            help="show this message; --help=config: all fields of the config",
        )

    def _refuse(self, rest: Sequence[str]) -> None:
        if not rest:
            return
        known = [flag for action in self._actions for flag in action.option_strings]
        fields = [f"{_OVERRIDE}{name}" for name in self._fields()]
        name, equals, value = rest[0].partition("=")
        close = nearest(name, [*known, *fields])
        if f"{_OVERRIDE}{name}" in fields:
            close = [f"{_OVERRIDE}{name}"]
        # With its value, where there is one way to read it.
        meant = f"{close[0]}{equals}{value}" if len(close) == 1 else " or ".join(close)
        hint = f"; did you mean {meant}?" if close else ""
        self.error(f"unknown argument {rest[0]!r}{hint}")


def nearest(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """The flags whose names are like this one, as a whole or in their last part; the nearest first."""
    asked = name.lstrip("-").replace("-", "_")
    likeness = {}
    for flag in known:
        whole = flag.lstrip("-")
        last = whole.rpartition(".")[2]
        likeness[flag] = max(
            difflib.SequenceMatcher(None, asked, part).ratio() for part in (whole, last)
        )
        if asked in last.split("_"):  # --steps for --num_steps
            likeness[flag] = max(likeness[flag], 0.95)
    best = max(likeness.values(), default=0.0)
    near = [flag for flag in likeness if likeness[flag] >= max(0.6, best - 0.05)]
    # Of equals those of the training itself are meant most often.
    return sorted(near, key=lambda flag: (-likeness[flag], ".train." not in flag))[:most]


def at_least(low: int, high: int | None = None) -> Callable[[str], int]:
    """A flag's type: a whole number from `low` on, or from `low` to `high`."""

    def whole_number(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            bound = "on" if high is None else f"to {high}"
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number from {low} {bound}")
        return value

    return whole_number


def a_class(text: str) -> int:
    """A flag's type: the number of a class."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text}: expected the number of a class, from 0 on; folders have theirs in the order of their names"
        ) from None


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
    except Exception as error:
        of_a_place = isinstance(error, OSError) and error.errno in _OF_PLACES
        if of_a_place:
            print(f"{program}: {one_line(error)}", file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        status = exits.BAD_INPUT if of_a_place else exits.BUG
        exits.leave_without_waiting(status)
        raise SystemExit(status) from None


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
