"""The data that samples are compared with: a reference, held-out data, and where the run's corruption is.

The reference is a split of the run's data, clean and unaugmented; the held-out data another split, or,
where there is none, the half of the reference that is then left out of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from sagd_jax import data
from sagd_jax.data.config import DataConfig
from sagd_jax.data.corrupted import corrupted
from sagd_jax.data.source import Source
from sagd_jax.data.sources import SOURCES
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.evaluation import sets
from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.run.record import DataRecord
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.system import schema

HALVES = "halves"  # held-out data where there is no split of them


@dataclasses.dataclass(frozen=True)
class Part:
    """Some examples of a source.

    Attributes:
      source: of them.
      indices: which.
      fingerprint: data, split and preprocessing, by name.
    """

    source: Source
    indices: np.ndarray
    fingerprint: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Data:
    """What samples are compared with.

    Attributes:
      reference, held_out: the reference and the data for floors.
      corrupted: the reference as the run corrupts it, where it does and `band` is known.
      band: the frequencies of the corruption, bool on the half grid.
    """

    reference: Part
    held_out: Part
    corrupted: Part | None = None
    band: np.ndarray | None = None


def clean(config: DataConfig) -> DataConfig:
    """The data without what a run does to them."""
    plain = DataConfig()
    undone = {
        name: getattr(plain, name)
        for name in (
            "flip", "crop_padding", "corrupted_fraction", "corrupted_flags", "corrupted_all", "restored",
            "filtered_bands", "filtered_unit",
        )
    }  # fmt: skip
    named = [f.name for f in dataclasses.fields(config) if f.name.startswith("corruption")]
    return dataclasses.replace(config, **undone, **{n: getattr(plain, n) for n in named})


def with_corruption(compared: Data, config: DataConfig, band: np.ndarray | None) -> Data:
    """Adds the corruption of a run's data to what samples are compared with.

    Args:
      config: of the run, with its corruption, or without any.
      band: where it is, bool on the half grid; None: not known.
    """
    if config.corruption == "none" or band is None or not band.any():
        return compared
    plain = clean(config)
    undone = {n: getattr(plain, n) for n in ("flip", "crop_padding", "corrupted_flags")}
    config = dataclasses.replace(config, corrupted_fraction=1.0, **undone)
    part = compared.reference
    source = corrupted(part.source, config)
    values = schema.as_dict(config)
    words = {name: v for name, v in values.items() if name.startswith("corrupt")}
    own = {**part.fingerprint, "corruption": words}
    return dataclasses.replace(
        compared, corrupted=dataclasses.replace(part, source=source, fingerprint=own), band=band
    )


def hole(diffusion: Diffusion) -> np.ndarray | None:
    """The frequencies that a run omits, bool on the half grid; None where it has no such hole."""
    covariance = diffusion.covariance
    if not isinstance(covariance, FourierCovariance):
        return None
    band = np.asarray((covariance.variance == 0).all(axis=-1))
    return band if band.any() else None


def has_splits(config: DataConfig) -> bool:
    """Whether the source knows splits; one of the user's own does not."""
    known = SOURCES.get(config.name)
    return known is not None and "split" in known.fields


def open_data(
    config: DataConfig,
    record: DataRecord,
    split: str | None = None,
    held_out: str | None = None,
    count: int | None = None,
    source: Source | None = None,
) -> Data:
    """Opens what samples are compared with.

    Args:
      config: of clean data (`clean`).
      record: of the run, whose shape and range they must have.
      split: of the reference; None: the run's own.
      held_out: the other split, or `HALVES`; None: `test`, or halves of a source without splits.
      count: the number of examples of the reference; None: all.
      source: of `config` and `split`, if it is open already.

    Raises:
      DataError, EvaluationError: one line.
    """
    split = split or config.split
    held_out = held_out or ("test" if has_splits(config) else HALVES)
    if held_out == split:
        raise EvaluationError(
            f"--held_out={held_out}: this is the reference itself; give another split, or {HALVES}"
        )
    reference = source or _opened(_of_split(config, split), record)
    chosen = sets.order(len(reference))
    fingerprint = _fingerprint(reference, config, split, record)
    if held_out == HALVES:
        middle = len(chosen) // 2
        chosen, others = chosen[:middle], chosen[middle:]
        fingerprint = {**fingerprint, "split": f"{split}, first half"}
        other = Part(reference, others, {**fingerprint, "split": f"{split}, second half"})
    else:
        own = _opened(_of_split(config, held_out), record)
        other = Part(own, sets.order(len(own)), _fingerprint(own, config, held_out, record))
    if count is not None and count > len(chosen):
        raise EvaluationError(
            f"--num_reference={count}: the reference ({fingerprint['split']}) has {len(chosen)} examples"
        )
    return Data(Part(reference, chosen[:count], fingerprint), other)


def _of_split(config: DataConfig, split: str) -> DataConfig:
    changes: dict[str, Any] = {"split": split}
    return dataclasses.replace(config, **changes)


def _opened(config: DataConfig, record: DataRecord) -> Source:
    source = data.open_source(config)
    if tuple(source.shape) != record.shape:
        raise EvaluationError(
            f"split {config.split!r}: its examples have shape {tuple(source.shape)}, the network was "
            f"trained on {record.shape}"
        )
    return source


def _fingerprint(
    source: Source, config: DataConfig, split: str, record: DataRecord
) -> dict[str, Any]:
    low, high = (np.asarray(edge, np.float64).tolist() for edge in record.value_range)
    return {
        "data": sets.data_fingerprint(source, _of_split(config, split)),
        "split": split,
        "preprocessing": f"{list(record.shape)}, {low} to {high} as -1 to 1",
    }
