"""Typed configuration: frozen dataclasses whose fields carry their own checks and words.

A section of the configuration is a frozen dataclass with fields made by `field`. `build` turns a
nested mapping (a config file's values, or the JSON of a checkpoint) into such an object, checking
every name, type and bound; the first fault raises `ConfigError` with one line that says where, what
and what is allowed. Values are data: nothing is evaluated.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import math
import numbers
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from sagd_jax.system.errors import ForPeople, check_choice

LARGEST_SEED = 2**31 - 1  # JAX takes seeds modulo 2**32: larger ones would be others in silence


class ConfigError(ForPeople, ValueError):
    """A configuration that cannot be used; the message is one line."""


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


def section(cls: type, *, may_change: bool = False) -> Any:
    """A field that is a nested section."""
    metadata = {"doc": (cls.__doc__ or "").strip(), "may_change": may_change}
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
        expected = f"a {'whole ' if hint is int else ''}number {_range(rule)}".strip()
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
        return tuple(name.strip() for name in text.split(",") if name.strip())
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, tuple | list) or typing.get_origin(hint) is not tuple:
        return value
    return (value,)


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
    name = {float: "a finite number", int: "a whole number", bool: "True or False", str: "a string"}
    raise ConfigError(f"{path}={value!r}: expected {name[hint]}, got {type(value).__name__}")


def _check_bounds(value: Any, rule: Mapping[str, Any], path: str) -> None:
    if isinstance(value, tuple):
        for i, item in enumerate(value):
            _check_bounds(item, rule, f"{path}[{i}]")
        return
    if value is None:
        return
    if rule.get("choices") is not None:
        check_choice(path, value, rule["choices"], ConfigError)
    for name, fails, words in (
        # Negated, so that NaN fails too.
        ("low", lambda v, b: not v >= b, "at least"),
        ("high", lambda v, b: not v <= b, "at most"),
        ("above", lambda v, b: not v > b, "more than"),
        ("below", lambda v, b: not v < b, "less than"),
    ):
        if rule.get(name) is not None and fails(value, rule[name]):
            raise ConfigError(f"{path}={value!r}: expected {words} {rule[name]!r}")


def _range(rule: Mapping[str, Any]) -> str:
    """The bounds of a number in words, such as `in [0, 1)`."""
    low, high = rule.get("low"), rule.get("high")
    above, below = rule.get("above"), rule.get("below")
    start = f"[{low:g}" if low is not None else f"({above:g}" if above is not None else ""
    end = f"{high:g}]" if high is not None else f"{below:g})" if below is not None else ""
    if start and end:
        return f"in {start}, {end}"
    signs = {"low": ">=", "above": ">", "high": "<=", "below": "<"}
    return "".join(f"{sign} {rule[k]:g}" for k, sign in signs.items() if rule.get(k) is not None)


def _check_used(config: Any, where: str) -> None:
    for f in dataclasses.fields(config):
        only = f.metadata.get("only") or {}
        if getattr(config, f.name) == f.default:
            continue
        for other, allowed in only.items():
            if getattr(config, other) not in allowed:
                values = " or ".join(map(repr, allowed))
                raise ConfigError(
                    f"{where}.{f.name}={getattr(config, f.name)!r} has no effect with "
                    f"{where}.{other}={getattr(config, other)!r}; it needs {other}={values}"
                )
