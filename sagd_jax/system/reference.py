"""All fields of a configuration in words, for `--help=config`: defaults, allowed values, meanings."""

from __future__ import annotations

import dataclasses
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from sagd_jax.system.schema import OWN, Free, OrImportPath, bounds

_WIDTH = 100


def describe(cls: type, where: str = "config") -> str:
    """A table for each section: its own fields, then those of each kind that it can choose.

    >>> from sagd_jax.system.schema import field
    >>> @dataclasses.dataclass
    ... class Train:
    ...     '''The loop.'''
    ...     steps: int = field(5, "optimiser steps", low=1)
    >>> print(describe(Train))
    config: The loop.
      steps  5  optimiser steps; a whole number >= 1
    """
    return "\n\n".join(_sections(cls, where))


def _sections(cls: type, where: str) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    plain = [f for f in dataclasses.fields(cls) if not dataclasses.is_dataclass(hints[f.name])]
    groups: dict[str, list[dataclasses.Field]] = {"": []}
    for f in plain:
        only = f.metadata.get("only") or {}
        given = [
            f"{other} = {' or '.join(map(str, allowed)) or OWN}" for other, allowed in only.items()
        ]
        groups.setdefault(" and ".join(given), []).append(f)
    lines = [f"{where}: {' '.join((cls.__doc__ or '').split())}"]
    for condition, fields in groups.items():
        lines += [f"  with {condition}:"] if condition else []
        lines += _table(fields, hints, "    " if condition else "  ")
    yield "\n".join(lines)
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]):
            yield from _sections(hints[f.name], f"{where}.{f.name}")


def _table(fields: list[dataclasses.Field], hints: Mapping[str, Any], indent: str) -> Iterator[str]:
    names = max((len(f.name) for f in fields), default=0)
    defaults = max((len(_value(f.default)) for f in fields), default=0)
    for f in fields:
        start = f"{indent}{f.name:<{names}}  {_value(f.default):<{defaults}}  "
        words = "; ".join(filter(None, (f.metadata["doc"], _allowed(f.metadata, hints[f.name]))))
        yield textwrap.fill(words, _WIDTH, initial_indent=start, subsequent_indent=" " * len(start))


def _value(value: Any) -> str:
    """As it is written on the command line."""
    return str(value) if value != "" else "''"


def _allowed(rule: Mapping[str, Any], hint: Any) -> str:
    if rule.get("choices") is not None:
        own = [OWN] if isinstance(rule["choices"], OrImportPath) else []
        return " | ".join([*map(str, rule["choices"]), *own])
    if hint is Free:
        return "any names: --config.SECTION.options.NAME=VALUE"
    optional = typing.get_origin(hint) in (typing.Union, types.UnionType)
    if optional:
        (hint,) = (a for a in typing.get_args(hint) if a is not type(None))
    words = f"{_type(hint)} {bounds(rule)}".strip()
    if optional:
        return f"{words}, or None"
    return "" if words == "text" else words


def _type(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}
    if hint in names:
        return names[hint]
    plural = {int: "whole numbers", float: "numbers", bool: "True or False for each", str: "words"}
    return plural.get(typing.get_args(hint)[0], "pairs of numbers")
