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

IDENTITY = "checkpoint"  # the setting that tells the checkpoint of a result from any other


def settings_of(flags: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The flags that determine a result."""
    return {name: getattr(flags, name) for name in names}


def claim(
    file: Path,
    settings: dict[str, Any],
    defaults: dict[str, Any],
    contents: Sequence[str] = (),
) -> bool:
    """Marks a folder as of these settings, in a file of it.

    Args:
      defaults: of settings that an earlier version had no name for.
      contents: patterns of what such a folder holds; found there without settings, it is of unknown
        ones.

    Returns:
      Whether it was not marked yet.

    Raises:
      ConfigError: it is of others.
    """
    try:
        before = file.read_text()
    except FileNotFoundError:
        found = next((str(p) for pattern in contents for p in file.parent.glob(pattern)), None)
        if found:
            raise ConfigError(
                f"{found} is of samples with unknown settings: there is no {file.name} beside it; "
                "use another --out"
            ) from None
        write_whole(file, json.dumps(settings) + "\n", alone=False)
        return True
    parsed = _parsed(before)
    differing = different({**defaults, **parsed}, settings)
    if not parsed or differing:
        _refuse_unidentified(file, parsed, differing, settings)
        raise ConfigError(
            f"{file} says that this folder is of other samples, {before.strip()}; use another --out"
            + (f" ({', '.join(differing)})" if parsed else "")
        )
    return False


def different(before: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """The settings in which two results differ, in words.

    >>> different({"seed": 1, "step": 9}, {"seed": 2, "step": 9})
    ['seed was 1, is 2']
    """
    return [
        f"{name} was {before.get(name)!r}, is {settings.get(name)!r}"
        for name in {**settings, **before}
        if before.get(name) != settings.get(name)
    ]


def open_lines(
    path: Path, settings: dict[str, Any], defaults: dict[str, Any] | None = None
) -> tuple[IO[str], list[dict[str, Any]]]:
    """Opens a file of one JSON object a line, the first of which holds the settings.

    A last line that was cut by a kill is dropped.

    Args:
      defaults: of settings that an earlier version had no name for.

    Returns:
      The file, ready for the next line, and the entries that it holds.

    Raises:
      ConfigError: it was written with other settings, or a line is not an object.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    whole: list[str] = []
    if path.exists():
        text = path.read_text()
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if whole:
        parsed = _parsed(whole[0])
        differing = different({**(defaults or {}), **parsed}, settings)
        if differing:
            _refuse_unidentified(path, parsed, differing, settings)
            raise ConfigError(
                f"{path} was written with other settings, {whole[0].strip()}; use another --out"
                + (f" ({', '.join(differing)})" if parsed else "")
            )
    write_whole(path, "".join(whole) or json.dumps(settings) + "\n")
    entries = []
    for number, line in enumerate(whole[1:], start=2):
        entries.append(_parsed(line))
        if not entries[-1]:
            raise ConfigError(f"{path}: line {number} is not one that this program wrote")
    return path.open("a"), entries


def _refuse_unidentified(
    file: Path, before: dict[str, Any], differing: list[str], settings: dict[str, Any]
) -> None:
    """What an earlier version wrote does not say of which checkpoint it is; a person may know."""
    if before and IDENTITY not in before and len(differing) == 1 and IDENTITY in settings:
        raise ConfigError(
            f"{file} does not say of which checkpoint this is (an earlier version wrote it): if it is "
            f'this one, put "{IDENTITY}": "{settings[IDENTITY]}" among its settings; otherwise use '
            "another --out"
        )


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
