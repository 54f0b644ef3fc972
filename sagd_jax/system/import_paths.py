"""Parts of one's own, named in a config by import path: `module:function`.

A config can say `my_module:rings` where it chooses a spectrum, a schedule, a network or a source by a
word. The function, or class, is called with what such a part is made of and with the keyword arguments
in `options` beside it. A config is the user's own word, and what it names is imported; a checkpoint is
data, and what its record names is imported only if the user names it once more (`check_allowed`).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sagd_jax.system.errors import one_line
from sagd_jax.system.schema import ConfigError, is_import_path


def check_allowed(named: Mapping[str, str], allow: Collection[str]) -> None:
    """Refuses what a checkpoint names by import path, unless the user names it, too.

    Args:
      named: by field, the words that a record has for parts that are about to be made.
      allow: the import paths that the user gives.

    Raises:
      ConfigError: for the first one that is not among them; one line that says how to allow it.
    """
    if isinstance(allow, str):
        raise ConfigError(f"allow={allow!r}: expected a list of import paths")
    for field, word in named.items():
        if is_import_path(word) and word not in allow:
            raise ConfigError(
                f"{field}={word!r} is code, which a checkpoint does not get imported; if it is yours, "
                f"pass --allow={word}, or allow=[{word!r}] to sagd.load"
            )


def make(path: str, where: str, expected: type, *args: Any, **options: Any) -> Any:
    """Imports what `path` names, from the current folder too, calls it, and checks what it returns.

    Args:
      path: `module:function`.
      where: the field that names it.
      expected: the type that is to come of it.

    Raises:
      ConfigError: no such module or function, a fault inside of it, or another type; one line.
    """
    what = f"{where}={path!r}"
    module_name, _, name = path.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        with faults_of(module_name, what):
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{what}: there is no module {error.name}, in {here} or where Python looks"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        state = "has no" if function is None else "has, but not as a function,"
        raise ConfigError(f"{what}: the module {module_name} ({module.__file__}) {state} {name}")
    with faults_of(module_name, what):
        result = function(*args, **options)
    if not isinstance(result, expected):
        raise ConfigError(
            f"{what}: it returned an object of type {type(result).__name__}, expected "
            f"{expected.__module__.partition('.')[0]}'s {expected.__name__}"
        )
    return result


@contextlib.contextmanager
def faults_of(module: str, what: str) -> Iterator[None]:
    """Turns an exception from code of one's own into a ConfigError that says where in it it arose.

    That a module named here does not exist is left to the caller; errors of ours stay what they are.
    """
    if module.partition(".")[0] == __name__.partition(".")[0]:
        yield
        return
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(f"{what}: {_place(error, module)}{_words(error)}") from error


def _place(error: Exception, module: str) -> str:
    """`FILE:LINE: ` of the last line of the module itself that was reached, if any was."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: "
    file = getattr(sys.modules.get(module), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)
    if file is None:  # its import failed
        found = importlib.util.find_spec(module.partition(".")[0])
        file = found.origin if found and "." not in module else None
    own = [frame for frame in frames if frame.filename == file]
    return f"{own[-1].filename}:{own[-1].lineno}: " if own else ""


def _words(error: Exception) -> str:
    words = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {one_line(words, 500)}".removesuffix(": ")
