"""The file of an evaluation's results: settings, provenance, and each metric of each set of samples.

It is written anew after each metric, as a whole, so that an interrupted evaluation goes on where it was.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from sagd_jax.programs.resume import different
from sagd_jax.system.files import write_whole
from sagd_jax.system.places import writing
from sagd_jax.system.schema import ConfigError

FILE = "evaluation.json"


class Results:
    """The results in a folder, of one checkpoint and one set of settings.

    Args:
      out: the folder, made if need be.
      settings: what the results depend on.
      provenance: of this call; with earlier ones kept.
      writes: whether this process writes.

    Raises:
      ConfigError: the folder holds results of other settings, or a file that is none.
    """

    def __init__(
        self, out: Path, settings: dict[str, Any], provenance: dict[str, Any], *, writes: bool
    ) -> None:
        self.path, self._writes = out / FILE, writes
        settings = json.loads(as_json(settings))
        self._content: dict[str, Any] = {"settings": settings, "provenance": [], "results": {}}
        if self.path.is_file():
            self._content |= self._before(settings)
        self._content["provenance"] = [*self._content["provenance"], provenance]

    def _before(self, settings: dict[str, Any]) -> dict[str, Any]:
        try:
            before = json.loads(self.path.read_text())
            differing = different(before["settings"], settings)
            found = {name: before[name] for name in ("provenance", "results")}
            sound = isinstance(found["provenance"], list) and all(
                isinstance(values, dict)
                for values in [found["results"], *found["results"].values()]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise ConfigError(f"{self.path} is none that this program wrote; use another --out")
        if differing:
            raise ConfigError(
                f"{self.path} is of other settings ({', '.join(differing)}); use another --out"
            )
        return found

    def get(self, block: str, metric: str) -> dict[str, Any] | None:
        """A metric of a set of samples, if it is there."""
        found: dict[str, Any] | None = self._content["results"].get(block, {}).get(metric)
        return found

    def add(self, block: str, metric: str, values: dict[str, Any]) -> None:
        """Adds one and writes the file."""
        self._content["results"].setdefault(block, {})[metric] = values
        if self._writes:
            with writing(str(self.path)):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.path, as_json(self._content) + "\n")


def as_json(values: Any) -> str:
    """As JSON that every reader takes: what is no number is null.

    >>> as_json({"ratio": [1.0, math.nan]})
    '{\\n "ratio": [\\n  1.0,\\n  null\\n ]\\n}'
    """

    def sound(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): sound(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [sound(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(sound(values), indent=1, allow_nan=False)
