"""Modules that are imported when they are first named: `sagd.run.config` after `import sagd_jax`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def modules_of(package: str) -> Callable[[str], Any]:
    """A `__getattr__` for a package, which finds the package's own modules.

    >>> modules_of("sagd_jax.system")("exits").TRY_AGAIN
    75
    """

    def find(name: str) -> Any:
        module = f"{package}.{name}"
        if not name.startswith("_"):
            try:
                return importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
