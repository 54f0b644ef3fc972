"""The lines to copy: of a config, and of Python, that make what the explorer shows."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from sagd_jax.diffusion import schedules
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import Choice
from sagd_jax.run.noise import DATA, NOISE_KINDS, NoiseConfig, read_member
from sagd_jax.run.schedule import SCHEDULE_KINDS, SPECTRAL_KINDS, ScheduleConfig
from sagd_jax.spectral import spectra
from sagd_jax.system import kinds, schema

_SECTIONS = {"noise": NOISE_KINDS, "schedule": SCHEDULE_KINDS}


def config_lines(explorer: Explorer, choice: Choice) -> str:
    """Lines of a config file, after `config = sagd.default_config()` or in the config that was explored.

    Raises:
      ConfigError: for noise that no config describes.
    """
    noise = explorer.noise_section(choice)
    lines = []
    if choice.holes:
        lines.append(
            f"# the holes are a file that is written when asked: {_file(explorer, choice)}"
        )
    for name, section in (("noise", noise), ("schedule", choice.schedule)):
        lines += _section_lines(name, section, getattr(explorer.config, name))
    return "\n".join(lines) + "\n"


def flags(explorer: Explorer, choice: Choice) -> str:
    """The same as flags of `sagd train`; errors are those of `config_lines`."""
    noise = explorer.noise_section(choice)
    words = []
    for name, section in (("noise", noise), ("schedule", choice.schedule)):
        for field, value in _fields(name, section, getattr(explorer.config, name)):
            text = value if isinstance(value, str) else repr(value)
            safe = all(c.isalnum() or c in "_.-/:=" for c in text)
            words.append(f"--config.{name}.{field}={text if safe else _quoted(text)}")
    return " ".join(words) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fields(name: str, section: Any, start: Any) -> list[tuple[str, Any]]:
    """Fields to set: the kind, its own, and those that were set for another and have no effect any more."""
    table = _SECTIONS[name]
    found: list[tuple[str, Any]] = [("kind", section.kind)]
    if schema.is_import_path(section.kind):
        found += [(f"options.{key}", value) for key, value in section.options.items()]
        own: dict[str, Any] = {}
    else:
        own = kinds.options(table, section)
    users = kinds.users(table)
    for field, (first, *_) in users.items():
        default = table[first].fields[field].default
        if field in own and (own[field] != default or getattr(start, field) != default):
            found.append((field, own[field]))
        elif field not in own and getattr(start, field) != default:
            found.append((field, default))
    if name == "noise" and start.per_class:
        found.append(("per_class", False))
    return found


def _section_lines(name: str, section: Any, start: Any) -> list[str]:
    return [f"config.{name}.{field} = {_literal(v)}" for field, v in _fields(name, section, start)]


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        inner = ", ".join(map(_literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _file(explorer: Explorer, choice: Choice) -> str:
    return str(explorer.holes_file(choice))


def python_lines(explorer: Explorer, choice: Choice) -> str:
    """Lines of Python that end in `diffusion`, a `sagd.Diffusion` of `schedule` and `covariance`.

    Raises:
      ConfigError: as `config_lines`.
    """
    section = explorer.noise_section(choice)
    own = schema.is_import_path(section.kind) or schema.is_import_path(choice.schedule.kind)
    if own or choice.schedule.kind == "capped":
        return _through_the_config(explorer, choice)
    made = _Lines(explorer)
    covariance = made.noise(section)
    schedule = made.schedule(choice.schedule)
    body = [
        *made.before,
        f"covariance = {covariance}",
        f"schedule = {schedule}",
        "diffusion = sagd.Diffusion(schedule, covariance)",
    ]
    head = [
        "import numpy as np" if any("np." in line for line in body) else "",
        "import sagd_jax as sagd",
    ]
    return "\n".join([*filter(None, head), "", *body]) + "\n"


def _through_the_config(explorer: Explorer, choice: Choice) -> str:
    lines = [
        "import sagd_jax as sagd",
        "",
        *_source_lines(explorer),
        "config = sagd.default_config()",
        *config_lines(explorer, choice).splitlines(),
        "config = sagd.system.schema.build(sagd.run.config.RunConfig, config.to_dict())",
        "diffusion, arrays = sagd.run.build.process(config, source)",
        "covariance, schedule = diffusion.covariance, diffusion.schedule",
    ]
    return "\n".join(lines) + "\n"


def _source_lines(explorer: Explorer) -> list[str]:
    data = explorer.config.data
    values = schema.in_effect(data)
    default = schema.as_dict(type(data)())
    words = [
        f"{name}={_literal(_tuples(value))}"
        for name, value in values.items()
        if name == "name" or value != default[name]
    ]
    return [
        f"data = sagd.data.DataConfig({', '.join(words)})",
        "source = sagd.data.open_source(data)",
    ]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


class _Lines:
    """Expressions for noise and schedule, and the lines that have to stand before them."""

    def __init__(self, explorer: Explorer) -> None:
        self._shape, self._rate = explorer.spatial, explorer.source.sample_rate
        self._explorer = explorer
        self.before: list[str] = []

    def _add(self, *lines: str) -> None:
        self.before += [line for line in lines if line not in self.before]

    def noise(self, section: NoiseConfig) -> str:
        values = kinds.options(NOISE_KINDS, section)
        special: dict[str, Callable[[dict[str, Any]], str]] = {
            "wedge": lambda v: _call(spectra.wedge, [repr(self._shape)], v),
            "notch": self._notch,
            "from_data": self._from_data,
            "file": lambda v: (
                f"sagd.spectra.on_grid({self._loaded(v['file'])}, {self._shape!r}, {_literal(v['basis'])})"
            ),
            "product": lambda v: f"sagd.product({', '.join(self._members(v))})",
            "mixture": lambda v: (
                f"sagd.mixture([{', '.join(self._members(v))}], {_literal(v['weights'])})"
            ),
            "complement": lambda v: f"sagd.complement({', '.join(self._members(v))})",
        }
        if section.kind in special:
            return special[section.kind](values)
        extra = {}
        if values.get("unit") == "hz":
            extra = {"sample_rate": self._rate, "axes": (0,)}
        return _call(NOISE_KINDS[section.kind].make, [repr(self._shape)], {**values, **extra})

    def _members(self, values: dict[str, Any]) -> list[str]:
        return [self.noise(read_member("config.noise.members", m)) for m in values["members"]]

    def _notch(self, values: dict[str, Any]) -> str:
        values = dict(values)
        if values.pop("hertz"):
            values["sample_rate"] = (self._rate, *(1.0,) * (len(self._shape) - 1))
        return _call(spectra.notch, [repr(self._shape)], values)

    def _from_data(self, values: dict[str, Any]) -> str:
        values = dict(values)
        power, basis = values.pop("power"), values["basis"]
        if power != DATA:
            name = self._loaded(power)
        else:
            name = self._spectrum_of(basis)
            if basis == "fourier":
                name += f"[..., : {self._shape[-1] // 2 + 1}, :]"
        return _call(spectra.from_data, [name, repr(self._shape)], values)

    def _loaded(self, file: str) -> str:
        self._add("import os")
        return f"np.load(os.path.expanduser({_literal(file)}), allow_pickle=False)"

    def _basis(self, name: str) -> str:
        self._add(f"{name} = sagd.bases.{name}({self._shape!r})")
        return name

    def _spectrum_of(self, basis: str) -> str:
        self._add(*_source_lines(self._explorer))
        name = f"power_{basis}"
        self._add(f"{name} = sagd.run.estimates.spectrum_of(source, {self._basis(basis)})")
        return name

    def schedule(self, section: ScheduleConfig) -> str:
        values = kinds.options(SCHEDULE_KINDS, section)
        if section.kind not in SPECTRAL_KINDS:
            return _call(schedules.KINDS[section.kind].make, [], values)
        basis = self._basis(values.get("basis") or values["blur_basis"])
        base = f"sagd.schedules.{values['base']}()" if "base" in values else ""
        kind = f"sagd.schedules.{section.kind}"
        match section.kind:
            case "equal_snr":
                extra = "" if values["include_dc"] else ", include_dc=False"
                return f"{kind}({base}, {self._spectrum(values, basis)}, {basis}{extra})"
            case "flipped_snr":
                return f"{kind}({base}, {self._spectrum(values, basis)}, {basis})"
            case "shortest_path":
                return f"{kind}({self._spectrum(values, basis)}, {basis})"
            case "shifted":
                return f"{kind}({base}, {self._shift(values['shift'], basis)}, {basis})"
            case "blurring":
                return f"{kind}({base}, {basis}, {values['blur_max']!r}, {values['blur_floor']!r})"
            case "heat":
                return self._heat(values, basis)
            case "moving":
                ends = [self._moved(values[name], basis) for name in ("start", "end")]
                return f"{kind}({base}, {ends[0]}, {ends[1]})"
            case "hierarchical":
                labels = self._labels(values["labels"], basis)
                return f"{kind}({base}, {labels}, {values['softness']!r}, {basis})"
            case "learned_slope":
                values["path"] = f"np.array([{values.pop('slope')!r}])"
        words = [f"{n}={v}" for n, v in values.items() if n != "basis"]
        return f"{kind}({basis}, {', '.join(words)})"

    def _spectrum(self, values: dict[str, Any], basis: str) -> str:
        """S, as the config has it: from the data it is kept from 0."""
        if values["spectrum"] != DATA:
            return self._on_grid(values["spectrum"], basis)
        power = self._spectrum_of(basis)
        self._add(f"S = np.maximum({power}, 1e-6 * {power}.max())")
        return "S"

    def _on_grid(self, file: str, basis: str) -> str:
        signals = f"sagd.run.noise.Signals({self._shape!r})"
        return f'sagd.run.noise.read_on_grid({signals}, "file", {_literal(file)}, {basis})'

    def _shift(self, text: str | None, basis: str) -> str:
        try:
            return f"np.full({(*self._shape, 1)!r}, {float(text or '')!r})"
        except ValueError:
            return self._on_grid(str(text), basis)

    def _labels(self, text: str, basis: str) -> str:
        own = {"coarse_first": f"-{basis}.radius", "fine_first": f"{basis}.radius"}
        return own.get(text) or self._on_grid(text, basis)

    def _heat(self, values: dict[str, Any], basis: str) -> str:
        spectrum = self._spectrum(values, basis)
        self._add(
            *_source_lines(self._explorer),
            "mean = np.zeros((*source.shape[:-1], source.shape[-1]))",
            f"mean[{(0,) * len(self._shape)!r}] = sagd.run.estimates.channel_means_of(source) "
            "* np.sqrt(mean[..., 0].size)",
        )
        numbers = ", ".join(repr(values[name]) for name in ("blur_max", "noise", "blur_min"))
        return f"sagd.schedules.heat({basis}, {numbers}, {spectrum}, mean)"

    def _moved(self, text: str, basis: str) -> str:
        made = self.noise(read_member("config.schedule", text))
        return f"sagd.from_coefficients({made}.coefficients({basis}), {basis})"


def _call(function: Any, arguments: list[str], values: dict[str, Any]) -> str:
    """A call of a function by its public name, without what is its default anyway."""
    parameters = inspect.signature(function).parameters
    words = list(arguments)
    for name, value in values.items():
        if parameters[name].default != value:
            words.append(f"{name}={_literal(value)}")
    return f"{_public(function)}({', '.join(words)})"


def _public(function: Any) -> str:
    *_, folder, module = function.__module__.split(".")
    for own in (module, folder):  # those of `sagd_jax/__init__.py`
        if own in ("spectra", "named", "schedules"):
            return f"sagd.{own}.{function.__name__}"
    # Kinds that somebody has added to a table.
    return f"__import__('importlib').import_module({function.__module__!r}).{function.__name__}"
