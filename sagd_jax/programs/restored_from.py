"""Which input each file in a folder of results was made from.

A line of JSON per result, `{"file": name, "input": hash}`, is written before the result itself. So a file that
lies in the folder without a line is nobody's result, and one whose input has other contents by now is the
result of another one: neither may pass for done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from sagd_jax.system.errors import ForPeople

FILE = "restored.jsonl"


class NotOursError(ForPeople, RuntimeError):
    """A folder of results holds others than those of these inputs; the message is one line."""


def fingerprint(path: Path) -> str:
    """Of a file's contents.

    >>> fingerprint(Path(__file__)) == fingerprint(Path(__file__))
    True
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]


def missing(out: Path, inputs: Mapping[Path, Path]) -> list[Path]:
    """The names of the results that are still to be made; `inputs` by the name of their results.

    Raises:
      NotOursError: a file of that name is there, and is not the result of that input.
    """
    made = _read(out)
    absent = []
    for name, path in inputs.items():
        if not (out / name).exists():
            absent.append(name)
            continue
        known = made.get(name.as_posix())
        if known is None:
            raise NotOursError(
                f"--out={out}: {name} is there already, and {FILE} does not say that it is a result; "
                "expected an empty folder, or one of this program"
            )
        if known != fingerprint(path):
            raise NotOursError(
                f"--out={out}: {name} was made from other contents than {path} has now; remove it to have it "
                "made anew, or give another --out"
            )
    return absent


def note(out: Path, name: Path, path: Path) -> None:
    """Says that the result `name`, which is about to be written, is made from `path`."""
    line = json.dumps({"file": name.as_posix(), "input": fingerprint(path)})
    with (out / FILE).open("a", encoding="utf-8") as stream:
        stream.write("\n" + line)  # before it: a line that was cut off ends there


def _read(out: Path) -> dict[str, str]:
    """The last word on each file; a line that was cut off counts for nothing."""
    try:
        lines = (out / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    made = {}
    for line in lines:
        try:
            entry = json.loads(line)
            made[str(entry["file"])] = str(entry["input"])
        except (ValueError, KeyError, TypeError):
            continue
    return made
