"""What is imported late: the package's own modules, and the packages of its extras.

`sagd.run.config` after `import sagd_jax` is imported when it is first named. Packages that not everybody
needs are extras (setup.cfg): their imports stand inside `with optional():`, which turns one that is
missing into a line that names the extra.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

from sagd_jax.system.errors import ForPeople

# What is imported: the name that pip knows it by, and the extra of setup.cfg that brings it.
EXTRAS = {
    "grain": ("grain", "data"),
    "sklearn": ("scikit-learn", "data"),
    "tensorflow_datasets": ("tensorflow-datasets", "data"),
    "tensorboardX": ("tensorboardX", "data"),
    "PIL": ("pillow", "pictures"),
    "matplotlib": ("matplotlib", "pictures"),
    "soundfile": ("soundfile", "audio"),
    "safetensors": ("safetensors", "diffusers"),
    "gradio": ("gradio", "explore"),
}


class MissingExtraError(ForPeople, ImportError):
    """A package that is not installed; the message is one line with the command that does it."""


@contextlib.contextmanager
def optional(use: str = "this") -> Iterator[None]:
    """Around the import of an extra's package.

    Args:
      use: what it is needed for, the beginning of the message.

    Raises:
      MissingExtraError: it is not installed; the line names the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        raise MissingExtraError(_words(name, use)) from None


def require(name: str, use: str) -> None:
    """Raises MissingExtraError unless an extra's package is there, without importing it.

    For what is needed only after much work.
    """
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(_words(name, use))


def _words(name: str, use: str) -> str:
    package, extra = EXTRAS[name]
    return f"{use} needs the package {package}: pip install 'sagd_jax[{extra}]'"


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
