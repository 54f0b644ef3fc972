"""Results that a program adds to, run again: they belong to one set of settings.

What a program computes in parts is kept with the settings that it was computed by. The same command
goes on where it stopped; one with other settings is refused, since nothing must mix the two.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from sagd_jax.system.files import write_whole
from sagd_jax.system.schema import ConfigError


def settings_of(flags: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The flags that determine a result."""
    return {name: getattr(flags, name) for name in names}


def claim(file: Path, settings: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Marks a folder as of these settings, in a file of it.

    Args:
      defaults: of settings that an earlier version had no name for.

    Raises:
      ConfigError: it is of others.
    """
    try:
        before = file.read_text()
    except FileNotFoundError:
        write_whole(file, json.dumps(settings) + "\n", alone=False)
        return
    parsed = _parsed(before)
    if not parsed or {**defaults, **parsed} != settings:
        raise ConfigError(
            f"{file} says that this folder is of other samples, {before.strip()}; use another --out"
        )


def open_lines(path: Path, settings: dict[str, Any]) -> tuple[IO[str], list[dict[str, Any]]]:
    """Opens a file of one JSON object a line, the first of which holds the settings.

    A last line that was cut by a kill is dropped.

    Returns:
      The file, ready for the next line, and the entries that it holds.

    Raises:
      ConfigError: it was written with other settings, or a line is not an object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps(settings)
    whole: list[str] = []
    if path.exists():
        text = path.read_text()
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if whole and whole[0].strip() != header:
        raise ConfigError(
            f"{path} was written with other settings, {whole[0].strip()}; use another --out"
        )
    write_whole(path, "".join(whole) or header + "\n")
    entries = []
    for number, line in enumerate(whole[1:], start=2):
        entries.append(_parsed(line))
        if not entries[-1]:
            raise ConfigError(f"{path}: line {number} is not one that this program wrote")
    return path.open("a"), entries


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
