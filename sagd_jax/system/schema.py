"""Typed configuration: frozen dataclasses whose fields carry their own checks and words.

A section of the configuration is a frozen dataclass with fields made by `field`. `build` turns a
nested mapping (a config file's values, or the JSON of a checkpoint) into such an object, checking
every name, type and bound; the first fault raises `ConfigError` with one line that says where, what
and what is allowed. Values are data: nothing is evaluated.

What a config chooses by a word (a spectrum, a schedule, a sampler, a source) stands in a table of
`Kind`s, beside the code that it names. `of_kinds` gives a section the fields of all of them, each
with an effect under its own kinds alone; `make` calls the one that is chosen with its own fields. So
a new kind is a function or class and an entry in its table, and nothing else knows of it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sagd_jax.system.errors import ForPeople, check_choice


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


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a config can choose by one word: how it is made, and which fields it takes."""

    make: Callable[..., Any]
    fields: Mapping[str, Any]
    hints: Mapping[str, Any]


def kind(make: Callable[..., Any], **fields: Any) -> Kind:
    """An entry of a table of kinds.

    Args:
      make: a function that takes the fields by name, or a dataclass, which brings its own.
      fields: of a function, made by `field`.

    >>> def blue(shape, slope): ...
    >>> sorted(kind(blue, slope=field(1.0, "of the amplitude", above=0)).fields)
    ['slope']
    """
    if dataclasses.is_dataclass(make):
        own = {f.name: f for f in dataclasses.fields(make)}
        return Kind(make, own, typing.get_type_hints(make))
    hints = {name: f.metadata["hint"] or type(f.default) for name, f in fields.items()}
    return Kind(make, fields, hints)


def users(table: Mapping[str, Kind]) -> dict[str, tuple[str, ...]]:
    """The names of all fields in a table of kinds, and the kinds that have each."""
    names = dict.fromkeys(name for entry in table.values() for name in entry.fields)
    return {name: tuple(k for k, entry in table.items() if name in entry.fields) for name in names}


def of_kinds(
    table: Mapping[str, Kind], selector: str = "kind", prefix: str = ""
) -> Callable[[type], type]:
    """Gives a section, before `dataclass` sees it, the fields of all kinds in a table.

    Args:
      table: kinds by name.
      selector: the section's field that names one of them.
      prefix: of the fields' names in the section.

    Raises:
      TypeError: two kinds have a field of one name that is not the same field.
    """

    def extend(cls: type) -> type:
        for name, kinds in users(table).items():
            same = [(table[k].fields[name], table[k].hints[name]) for k in kinds]
            f, hint = same[0]
            if any((g.default, g.metadata, h) != (f.default, f.metadata, hint) for g, h in same):
                raise TypeError(f"{name}: {', '.join(kinds)} do not declare it alike")
            setattr(
                cls, prefix + name, field(f.default, **{**f.metadata, "only": {selector: kinds}})
            )
            cls.__annotations__[prefix + name] = hint
        return cls

    return extend


def options(
    table: Mapping[str, Kind], config: Any, selector: str = "kind", prefix: str = ""
) -> dict[str, Any]:
    """The values in a section of the fields of the kind that it chooses, as `make` takes them."""
    chosen = table[getattr(config, selector)]
    return {name: getattr(config, prefix + name) for name in chosen.fields}


def make(
    table: Mapping[str, Kind], config: Any, *args: Any, selector: str = "kind", **extra: Any
) -> Any:
    """Makes what a section chooses: called with `args`, its own fields and `extra`."""
    chosen = table[getattr(config, selector)]
    return chosen.make(*args, **options(table, config, selector), **extra)


def choose(
    table: Mapping[str, Kind], name: str, values: Mapping[str, Any], selector: str
) -> Callable[[], Any]:
    """A function that makes the kind `name` with these values of its fields.

    Values of other kinds' fields may be given as long as they are the defaults, as in a config.

    Raises:
      ConfigError: for a value that would have no effect, or a name that no kind knows.
    """
    own = table[name].fields
    for field_name, value in values.items():
        kinds = users(table).get(field_name, ())
        if field_name in own or (kinds and value == table[kinds[0]].fields[field_name].default):
            continue
        has = f"it has: {', '.join(own)}" if own else "it has none"
        hint = f"; leave it out unless {selector}={' or '.join(map(repr, kinds))}" if kinds else ""
        raise ConfigError(
            f"{field_name}={value!r}: {selector}={name!r} has no option {field_name} ({has}){hint}"
        )
    return functools.partial(table[name].make, **{n: v for n, v in values.items() if n in own})


def check_numbers(instance: Any) -> None:
    """Checks the numbers of a dataclass that was not made by `build`.

    Raises:
      ConfigError: for a number that is not finite or out of bounds.
    """
    for f in dataclasses.fields(instance):
        value = getattr(instance, f.name)
        if isinstance(value, bool | str):
            continue
        try:
            if not math.isfinite(value):
                raise ConfigError
            _check_bounds(value, f.metadata, f.name)
        except ConfigError:
            expected = f"a number {_range(f.metadata)}".strip()
            raise ConfigError(f"{f.name}={value}: expected {expected}") from None


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
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number and math.isfinite(value):
        return float(value)
    if hint is int and is_number and isinstance(value, int):
        return value
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
