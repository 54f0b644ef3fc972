"""The configuration section `config.data`: which data, in what shape, and what is done to it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sagd_jax.data.corrupted import CORRUPTIONS
from sagd_jax.data.sources import SOURCES
from sagd_jax.spectral.frequencies import UNITS
from sagd_jax.system import kinds, schema

_CORRUPTED = {"corruption": tuple(CORRUPTIONS)}


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(SOURCES, selector="name")
@kinds.of_kinds(CORRUPTIONS, selector="corruption", prefix="corruption_")
class DataConfig:
    """The data: a source, its shape, augmentation, and an optional corruption."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # the fields that the tables bring

    name: str = schema.field("digits", "source of the data", choices=schema.OrImportPath(SOURCES))
    options: schema.Free = kinds.own_options("name")
    flip: bool = schema.field(
        False, "mirror each example left to right with probability 1/2, anew in every epoch"
    )
    crop_padding: int = schema.field(
        0, "pad each side by reflection and crop at a random place (pixels or samples)", low=0
    )
    corruption: str = schema.field(
        "none",
        "degradation added to the data, for studying it",
        choices=("none", *CORRUPTIONS),
    )
    corruption_frozen: bool = schema.field(
        True,
        "whether the corruption belongs to the example (the same in every epoch) or is drawn anew",
        only=_CORRUPTED,
    )
    corrupted_fraction: float = schema.field(
        1.0,
        "share of the examples that is corrupted (a fixed choice, by index)",
        low=0,
        high=1,
        only=_CORRUPTED,
    )
    corrupted_flags: str = schema.field(
        "",
        "path of an .npy of booleans, one per example: which are corrupted already on disk, or, "
        "with a corruption, which shall be; or of kinds of corruption, 0 clean, 1, 2 and so on",
    )
    corrupted_all: bool = schema.field(
        False, "whether all examples are corrupted already on disk, of kind 1"
    )
    restored: str = schema.field(
        "",
        "path of an .npz, as config.em writes it, of restored versions that stand in for corrupted "
        "examples, as clean ones",
    )
    filtered_bands: tuple[tuple[float, float], ...] = schema.field(
        (), "radial bands (low, high) taken out of every example, after a corruption", low=0
    )
    filtered_unit: str = schema.field("max", "unit of filtered_bands (hz: audio)", choices=UNITS)
