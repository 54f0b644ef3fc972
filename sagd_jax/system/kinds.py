"""Tables of what a config can choose by a word: spectra, schedules, samplers, sources, corruptions.

A table of `Kind`s stands beside the code that it names. `of_kinds` gives a section the fields of all of
them, each with an effect under its own kinds alone; `make` calls the one that is chosen with its own
fields; `commandline.py` makes flags of them. So a new kind is a function or class and an entry in its
table, and nothing else knows of it.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

from sagd_jax.system.schema import ConfigError, Free, OrImportPath, field


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

    Raises:
      TypeError: a function's field whose type its default does not tell has no `hint`.

    >>> def blue(shape, slope): ...
    >>> sorted(kind(blue, slope=field(1.0, "of the amplitude", above=0)).fields)
    ['slope']
    """
    if dataclasses.is_dataclass(make):
        own = {f.name: f for f in dataclasses.fields(make)}
        return Kind(make, own, typing.get_type_hints(make))
    hints = {name: f.metadata["hint"] or type(f.default) for name, f in fields.items()}
    for name, hint in hints.items():
        if hint in (tuple, type(None)):
            raise TypeError(f"{name}: its default does not tell its type; give hint=")
    return Kind(make, fields, hints)


def own_options(selector: str = "kind") -> Any:
    """A section's field with the keyword arguments of a kind that is given by import path."""
    only = {selector: OrImportPath()}
    return field(Free(), f"arguments of the function that {selector} names", only=only)


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
      TypeError: two kinds have a field of one name that is not the same field, or the section has
        one of that name.
    """

    def extend(cls: type) -> type:
        for name, kinds in users(table).items():
            same = [(table[k].fields[name], table[k].hints[name]) for k in kinds]
            f, hint = same[0]
            if any((g.default, g.metadata, h) != (f.default, f.metadata, hint) for g, h in same):
                raise TypeError(f"{name}: {', '.join(kinds)} do not declare it alike")
            if prefix + name in cls.__annotations__:
                raise TypeError(f"{cls.__name__} has a field {prefix + name} of its own")
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


def choose(table: Mapping[str, Kind], name: str, values: Mapping[str, Any], selector: str) -> Any:
    """Makes the kind `name` with these values of its fields.

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
    return table[name].make(**{n: v for n, v in values.items() if n in own})
