"""What a person has set in the explorer, and how it is read from the values of a page.

The fields, with their bounds and words, are those of a config: kinds that are added to the tables of `run/noise.py`
and `run/schedule.py` appear by themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sagd_jax.run.config import RunConfig
from sagd_jax.run.noise import NOISE_KINDS, NoiseConfig
from sagd_jax.run.schedule import SCHEDULE_KINDS, ScheduleConfig
from sagd_jax.system import kinds, schema
from sagd_jax.system.kinds import Kind
from sagd_jax.system.schema import ConfigError

BAND_USES = ("off", "remove", "keep")
SECTIONS = {"noise": NOISE_KINDS, "schedule": SCHEDULE_KINDS}
# Processes of docs/choose_a_process.md: kinds and basis to begin with, and fields that are not at their defaults.
PROCESSES: dict[str, dict[str, Any]] = {
    "white": {"basis": "fourier", "noise": {"kind": "white"}, "schedule": {"kind": "cosine"}},
    "tilted": {
        "basis": "fourier",
        "noise": {"kind": "power_law", "alpha": -0.5},
        "schedule": {"kind": "cosine"},
    },
    "equal SNR": {"basis": "cosine", "noise": {"kind": "white"}, "schedule": {"kind": "equal_snr"}},
    "flipped SNR": {
        "basis": "cosine",
        "noise": {"kind": "white"},
        "schedule": {"kind": "flipped_snr"},
    },
    "blurring": {"basis": "cosine", "noise": {"kind": "white"}, "schedule": {"kind": "blurring"}},
    "heat": {"basis": "cosine", "noise": {"kind": "white"}, "schedule": {"kind": "heat"}},
    "shortest path": {
        "basis": "cosine",
        "noise": {"kind": "white"},
        "schedule": {"kind": "shortest_path"},
    },
    "moving": {
        "basis": "fourier",
        "noise": {"kind": "white"},
        "schedule": {"kind": "moving", "base": "rectified_flow", "end": "power_law:alpha=-1.0"},
    },
    "hierarchical": {
        "basis": "cosine",
        "noise": {"kind": "white"},
        "schedule": {"kind": "hierarchical", "base": "rectified_flow"},
    },
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """All that a person has set.

    Attributes:
      noise, schedule: sections of a config.
      basis: of bands and holes in noise that has none of its own.
      band: what is done with the frequencies from `low` to `high`, in cycles per sample: one of `BAND_USES`.
      holes: numbers of the findings that are taken into a hole.
      margin: of the holes, in bins.
      t: time.
      example, seed: of the data, and of the draw.
      of_data: whether the signal is the data, with their spectrum, or of unit variance.
    """

    noise: NoiseConfig = NoiseConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    basis: str = "fourier"
    band: str = "off"
    low: float = 0.1
    high: float = 0.2
    holes: tuple[int, ...] = ()
    margin: float = 1.0
    t: float = 0.5
    example: int = 0
    seed: int = 0
    of_data: bool = True


def basis_field(section: str, kind: str) -> str | None:
    """The name of the field that says the coordinates of a kind; None: it has none."""
    entry = SECTIONS[section].get(kind)
    names = () if entry is None else entry.fields
    return next((name for name in ("basis", "blur_basis") if name in names), None)


def allowed_bases(noise: str, schedule: str) -> list[str]:
    """The bases that both kinds can have; none where neither knows of one."""
    found: list[str] | None = None
    for section, kind in (("noise", noise), ("schedule", schedule)):
        name = basis_field(section, kind)
        if name is not None:
            own = list(SECTIONS[section][kind].fields[name].metadata["choices"])
            found = own if found is None else [one for one in own if one in found]
    return found or []


def own_fields(section: str, kind: str) -> list[str]:
    """The fields of a kind, but for that of its basis."""
    entry: Kind | None = SECTIONS[section].get(kind)
    return [n for n in (entry.fields if entry else ()) if n != basis_field(section, kind)]


def read(values: Mapping[str, Any], start: RunConfig) -> Choice:
    """The choice that a page's values stand for.

    Args:
      values: `noise.kind`, `noise.FIELD`, `schedule.kind`, `schedule.FIELD` and the names of `Choice`, with
        `basis`, as a page gives them: numbers, or text.
      start: what was given to begin with; kinds of one's own have its options.

    Raises:
      ConfigError: one line, for the first value that is none.
    """
    sections = {}
    for section, cls in (("noise", NoiseConfig), ("schedule", ScheduleConfig)):
        kind = values[f"{section}.kind"]
        own: dict[str, Any] = {"kind": kind}
        if schema.is_import_path(kind):
            own["options"] = dict(getattr(start, section).options)
        for name in own_fields(section, kind):
            hint = SECTIONS[section][kind].hints[name]
            own[name] = _value(values[f"{section}.{name}"], hint)
        basis = basis_field(section, kind)
        if basis is not None:
            own[basis] = values["basis"] or "fourier"
        sections[section] = schema.build(cls, own, f"config.{section}")
    band = values["band"]
    low, high = (_number(values, name, 0, 1e9) for name in ("low", "high"))
    if band != "off" and not low < high:
        raise ConfigError(f"band: from {low:g} to {high:g}; expected its end above its beginning")
    return Choice(
        sections["noise"],
        sections["schedule"],
        basis=values["basis"] or "fourier",
        band=band,
        low=low,
        high=high,
        holes=tuple(sorted(int(n) for n in values["holes"])),
        margin=_number(values, "margin", 0, 1000),
        t=_number(values, "t", 0, 1),
        example=int(_number(values, "example", 0, 2**31 - 1, whole=True)),
        seed=int(_number(values, "seed", 0, schema.LARGEST_SEED, whole=True)),
        of_data=bool(values["of_data"]),
    )


def _value(value: Any, hint: Any) -> Any:
    if isinstance(value, str):
        return schema.parse(value.strip(), hint)
    # A slider's whole numbers arrive as floats from some browsers.
    return int(value) if hint is int and isinstance(value, float) and value == int(value) else value


def _number(
    values: Mapping[str, Any], name: str, low: float, high: float, whole: bool = False
) -> float:
    rule = {"low": low, "high": high}
    hint = int if whole else float
    return schema.checked(_value(values[name], hint), hint, rule, name)


def member_text(section: NoiseConfig) -> str:
    """A section on one line, as `members` take it: the kind, and the fields that are not at their defaults."""
    fields = NOISE_KINDS[section.kind].fields
    values = kinds.options(NOISE_KINDS, section)
    words = [
        f"{name}={value if isinstance(value, str) else repr(value)}"
        for name, value in values.items()
        if value != fields[name].default
    ]
    return ":".join([section.kind, *words])
