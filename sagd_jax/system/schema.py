"""Typed configuration: frozen dataclasses whose fields carry their own checks and words.

A section of the configuration is a frozen dataclass with fields made by `field`. `build` turns a
nested mapping (a config file's values, or the JSON of a checkpoint) into such an object, checking
every name, type and bound; the first fault raises `ConfigError` with one line that says where, what
and what is allowed. Values are data: nothing is evaluated.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import math
import numbers
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sagd_jax.system.errors import ForPeople, check_choice, one_line

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
OWN = "module:function, the import path of one of your own"

LARGEST_SEED = 2**31 - 1  # JAX takes seeds modulo 2**32: larger ones would be others in silence


class ConfigError(ForPeople, ValueError):
    """A configuration that cannot be used; the message is one line."""


class Free(dict):
    """The values of a field that may have any names: scalars, or lists of them, as JSON has them."""

    def __hash__(self) -> int:  # type: ignore[override]  # a default of a dataclass must have one
        return hash(tuple(sorted(self)))


class OrImportPath(tuple):
    """Words that a field can have, or else an import path, `module:function`.

    >>> "white" in OrImportPath(["white"]), "my_module:rings" in OrImportPath(["white"])
    (True, True)
    """

    def __contains__(self, word: Any) -> bool:
        return super().__contains__(word) or is_import_path(word)


def is_import_path(word: Any) -> bool:
    """Whether a word of a config has the form of an import path, `module:function`.

    >>> is_import_path("my_module:rings"), is_import_path("power_law")
    (True, False)
    """
    return isinstance(word, str) and _IMPORT_PATH.fullmatch(word) is not None


def field(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[Any] | None = None,
    only: Mapping[str, Sequence[Any]] | None = None,
    hint: Any = None,
    may_change: bool = False,
) -> Any:
    """A field of a section.

    Args:
      default: its value where nothing is given.
      doc: one line for people, with the unit.
      low, high: inclusive bounds of a number (of each number of a sequence).
      above, below: exclusive bounds.
      choices: allowed values.
      only: `{other field: its values}` with which this field has an effect; setting it to anything
        but its default under others is an error, since it would be ignored in silence.
      hint: the type, for a field of a function's `kind` whose default does not tell it.
      may_change: whether a run that goes on may have another value than before.
    """
    metadata = {
        "doc": doc,
        "low": low,
        "high": high,
        "above": above,
        "below": below,
        "choices": choices,
        "only": only,
        "hint": hint,
        "may_change": may_change,
    }
    return dataclasses.field(default=default, metadata=metadata)


def section(
    cls: type, *, may_change: bool = False, only: Mapping[str, Sequence[Any]] | None = None
) -> Any:
    """A field that is a nested section; `only` as in `field`, but its fields may be set anyway."""
    metadata = {"doc": (cls.__doc__ or "").strip(), "may_change": may_change, "only": only}
    return dataclasses.field(default_factory=cls, metadata=metadata)


def check(instance: Any) -> None:
    """Checks the fields of a dataclass that was not made by `build`: types, bounds, choices.

    Raises:
      ConfigError: for the first field that is not as it was declared; one line.
    """
    hints = typing.get_type_hints(type(instance))
    for f in dataclasses.fields(instance):
        checked(getattr(instance, f.name), hints[f.name], f.metadata, f.name)


def checked(value: Any, hint: Any, rule: Mapping[str, Any], name: str) -> Any:
    """A value as its type, within its bounds; ConfigError, naming its range, for another."""
    try:
        result = _convert(value, hint, name)
        _check_bounds(result, rule, name)
    except ConfigError as error:
        if hint not in (int, float):
            raise
        expected = f"a {'whole ' if hint is int else ''}number {bounds(rule)}".strip()
        raise ConfigError(f"{name}={value}: expected {expected}") from error
    return result


def check_seed(seed: int, name: str = "seed") -> None:
    """Raises ConfigError for a seed that JAX would take for another."""
    checked(seed, int, {"low": 0, "high": LARGEST_SEED}, name)


def parse(text: str, hint: Any) -> Any:
    """A value from the text of a flag; what cannot be one is returned as the text it is."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if text == "None":
            return None
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
    if hint is str:
        return text
    if hint == tuple[str, ...] and not text.startswith(("(", "[")):
        return tuple(name.strip() for name in _split(text) if name.strip())
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, tuple | list) or typing.get_origin(hint) is not tuple:
        return value
    return (value,)


def _split(text: str) -> list[str]:
    """Parts between the commas that are in no brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


@contextlib.contextmanager
def as_config_error(where: str) -> Iterator[None]:
    """Turns a ValueError of the parts into a ConfigError that says `where`."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error


def build(
    cls: type, values: Mapping[str, Any], where: str = "config", *, refuse_unused: bool = True
) -> Any:
    """Builds the section `cls` from a mapping; missing fields take their defaults.

    Args:
      cls: the section.
      values: by field name, nested for nested sections.
      where: its name in messages.
      refuse_unused: whether a field that has no effect must be at its default; False for what an
        earlier version with other defaults may have written.

    Raises:
      ConfigError: for an unknown name, a wrong type or a value out of bounds.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}={values!r}: expected a section with fields")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(fields)}"
            raise ConfigError(f"{where}.{name}: no such field; {hint}")
    hints = typing.get_type_hints(cls)
    built = {}
    for name, value in values.items():
        path = f"{where}.{name}"
        if dataclasses.is_dataclass(hints[name]):
            built[name] = build(hints[name], value, path, refuse_unused=refuse_unused)
        else:
            built[name] = _convert(value, hints[name], path)
            _check_bounds(built[name], fields[name].metadata, path)
    result = cls(**built)
    if refuse_unused:
        _check_used(result, where)
    return result


def as_dict(config: Any) -> dict[str, Any]:
    """The section as plain nested dictionaries, lists and scalars, ready for JSON."""
    return _plain(dataclasses.asdict(config))


def field_names(cls: type, prefix: str = "") -> list[str]:
    """The names, dotted, of all fields of a section and of those within it."""
    names = []
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]):
            names += field_names(hints[f.name], f"{prefix}{f.name}.")
        else:
            names.append(prefix + f.name)
    return names


def in_effect(config: Any) -> dict[str, Any]:
    """As `as_dict`, without the fields and sections that have no effect under the others' values."""
    values = {}
    for f in dataclasses.fields(config):
        value, only = getattr(config, f.name), f.metadata.get("only") or {}
        if all(getattr(config, other) in allowed for other, allowed in only.items()):
            values[f.name] = in_effect(value) if dataclasses.is_dataclass(value) else _plain(value)
    return values


def may_change(cls: type, prefix: str = "") -> list[str]:
    """The names, dotted, of the fields and sections that a run that goes on may change."""
    names = []
    hints = typing.get_type_hints(cls)
    for f in dataclasses.fields(cls):
        if f.metadata.get("may_change"):
            names.append(prefix + f.name)
        elif dataclasses.is_dataclass(hints[f.name]):
            names += may_change(hints[f.name], f"{prefix}{f.name}.")
    return names


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value


def _convert(value: Any, hint: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        (hint,) = (arg for arg in args if arg is not type(None))
        return _convert(value, hint, path)
    if origin is tuple:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise ConfigError(f"{path}={value!r}: expected a sequence")
        if args[-1] is Ellipsis:
            args = (args[0],) * len(value)
        if len(args) != len(value):
            raise ConfigError(f"{path}={value!r}: expected {len(args)} values")
        return tuple(
            _convert(v, arg, f"{path}[{i}]")
            for i, (v, arg) in enumerate(zip(value, args, strict=True))
        )
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hint is float and is_number and math.isfinite(value):
        return float(value)
    if hint is int and is_number and isinstance(value, numbers.Integral):
        return int(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    if hint is Free:
        return _convert_free(value, path)
    name = {float: "a finite number", int: "a whole number", bool: "True or False", str: "a string"}
    raise ConfigError(f"{path}={value!r}: expected {name[hint]}, got {type(value).__name__}")


def _convert_free(value: Any, path: str) -> Free:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}={value!r}: expected names and values, such as {path}.NAME=1")

    def is_scalar(v: Any) -> bool:
        return v is None or isinstance(v, (bool, int, str)) or _is_finite(v)

    result = Free()
    for name, item in value.items():
        listed = isinstance(item, (list, tuple))
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"{path}: {name!r} cannot be the name of an argument")
        if not (all(map(is_scalar, item)) if listed else is_scalar(item)):
            raise ConfigError(
                f"{path}.{name}={item!r}: expected a finite number, text, True, False, None, or a "
                "list of such"
            )
        result[name] = list(item) if listed else item
    return result


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _check_bounds(value: Any, rule: Mapping[str, Any], path: str) -> None:
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            _check_bounds(item, rule, f"{path}[{i}]")
        return
    if value is None:
        return
    choices = rule.get("choices")
    if choices is not None and value not in choices:
        if isinstance(choices, OrImportPath):
            words = ", ".join(map(repr, choices))
            raise ConfigError(f"{path}={value!r}: expected one of {words}, or {OWN}")
        check_choice(path, value, choices, ConfigError)
    for name, fails, words in (
        # Negated, so that NaN fails too.
        ("low", lambda v, b: not v >= b, "at least"),
        ("high", lambda v, b: not v <= b, "at most"),
        ("above", lambda v, b: not v > b, "more than"),
        ("below", lambda v, b: not v < b, "less than"),
    ):
        if rule.get(name) is not None and fails(value, rule[name]):
            raise ConfigError(f"{path}={value!r}: expected {words} {rule[name]!r}")


def bounds(rule: Mapping[str, Any]) -> str:
    """The bounds of a number in words, such as `in [0, 1)`."""
    low, high = rule.get("low"), rule.get("high")
    above, below = rule.get("above"), rule.get("below")
    start = f"[{low:.10g}" if low is not None else f"({above:.10g}" if above is not None else ""
    end = f"{high:.10g}]" if high is not None else f"{below:.10g})" if below is not None else ""
    if start and end:
        return f"in {start}, {end}"
    signs = {"low": ">=", "above": ">", "high": "<=", "below": "<"}
    return "".join(f"{sign} {rule[k]:.10g}" for k, sign in signs.items() if rule.get(k) is not None)


def _check_used(config: Any, where: str) -> None:
    for f in dataclasses.fields(config):
        only = f.metadata.get("only") or {}
        if getattr(config, f.name) == f.default or dataclasses.is_dataclass(f.default_factory):
            continue
        for other, allowed in only.items():
            if getattr(config, other) not in allowed:
                values = " or ".join(map(repr, allowed)) or OWN
                raise ConfigError(
                    f"{where}.{f.name}={getattr(config, f.name)!r} has no effect with "
                    f"{where}.{other}={getattr(config, other)!r}; it needs {other}={values}"
                )
