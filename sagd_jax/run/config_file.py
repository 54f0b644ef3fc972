"""A configuration from a Python file and flags.

A config file is Python with a function `get_config()`; it usually starts from `default_config()`:

    import sagd_jax as sagd

    def get_config():
        config = sagd.default_config()
        config.data.name = "mnist"
        config.noise.kind, config.noise.alpha = "power_law", -0.04
        return config

`read_config` runs such a file, applies `--config.section.field=value` flags and returns a checked, frozen
`RunConfig`. The same class reads the JSON of a checkpoint, as data.
"""

from __future__ import annotations

import dataclasses
import runpy
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.errors import in_file
from sagd_jax.system.schema import ConfigError

# `configs/` of the source tree, to which a link leads from the package; files in an installed one.
READY = Path(__file__).parents[1] / "configs"


def read_config(path: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Runs a config file, applies overrides, and checks the result.

    Args:
      path: a Python file with `get_config()`, which returns a ConfigDict, a mapping or a RunConfig; or
        the name of one that comes with the package, `digits`.
      overrides: flags of the form `--config.section.field=value`.

    Raises:
      ConfigError: one line saying what is wrong, where, and what is allowed.
    """
    values = _run_config_file(path)
    for flag in overrides:
        _override(values, flag)
    return schema.build(RunConfig, values)


def ready_configs() -> list[str]:
    """The names of the configs that come with the package.

    >>> "digits" in ready_configs()
    True
    """
    return sorted(path.stem for path in READY.glob("*.py"))


def _run_config_file(path: str) -> dict[str, Any]:
    file = Path(path)
    if not file.is_file() and not file.is_dir() and path in ready_configs():
        file = READY / f"{path}.py"
    if not file.is_file():
        folder = file if file.is_dir() else file.parent
        near = sorted(str(p) for p in folder.glob("*.py")) if folder.is_dir() else []
        if not file.is_dir() and str(folder) == ".":
            near = ready_configs()
        found = f"there are: {', '.join(near)}" if near else "expected a Python file"
        state = "this is a folder" if file.is_dir() else "no such file"
        raise ConfigError(f"--config={path}: {state}; {found}")
    try:
        get_config = runpy.run_path(str(file)).get("get_config")
        if not callable(get_config):
            raise ConfigError(f"--config={path}: it has no function get_config()")
        config = get_config()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"--config={path}: {in_file(error, str(file))}") from error
    if isinstance(config, RunConfig):
        return schema.as_dict(config)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping):
        raise ConfigError(
            f"--config={path}: get_config() returned {type(config).__name__}, expected a ConfigDict"
        )
    return dict(config)


def _override(values: dict[str, Any], flag: str) -> None:
    name, equals, text = flag.removeprefix("--").partition("=")
    *sections, last = name.split(".")[1:] or [""]
    if not equals:
        raise ConfigError(f"{flag}: expected --{name}=value")
    hint: Any = RunConfig
    for part in [*sections, last]:
        # A name that does not exist has no type; the schema words that complaint.
        hint = typing.get_type_hints(hint).get(part) if dataclasses.is_dataclass(hint) else None
    if dataclasses.is_dataclass(hint):
        raise ConfigError(f"{flag}: {name} is a section; set one of its fields: {name}.NAME=value")
    inner = values
    for part in sections:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{flag}: there is no section {name.rpartition('.')[0]}")
    inner[last] = schema.parse(text, hint)
