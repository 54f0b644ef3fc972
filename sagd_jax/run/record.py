"""What a checkpoint says about its run, besides arrays: written as JSON, read as data.

A record is enough to build the network, the process and the data's range again, so a sampler needs
nothing else. Reading one checks every name, type and bound by the same schema as a config file; it
is never executed, and no file that it names is opened.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sagd_jax.data.source import Source, ValueRange, normalise
from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.errors import one_line
from sagd_jax.system.schema import ConfigError, field, section

FORMAT = 1
MAX_BYTES = 16 << 20  # of a record, as JSON
_MAX_ENTRIES = 2**31  # of one example


@dataclasses.dataclass(frozen=True)
class DataRecord:
    """The data that a run was trained on."""

    shape: tuple[int, ...] = field((8, 8, 1), "of one example", low=1, high=2**24)
    low: tuple[float, ...] = field((0.0,), "raw value that the network sees as -1, per channel")
    high: tuple[float, ...] = field((255.0,), "raw value that the network sees as 1, per channel")
    dtype: str = field("uint8", "of raw values", choices=("uint8", "float32"))
    kind: str = field("image", "of signal", choices=("image", "audio", "video", "latents", "field"))
    num_classes: int = field(0, "classes; 0: no labels", low=0, high=2**24)
    num_examples: int = field(1, "examples", low=1)
    sample_rate: float | None = field(None, "samples per second", above=0, high=1e9)
    scaled: bool = field(False, "whether pictures were scaled to this size from others")
    fingerprint: tuple[str, ...] = field((), "hashes of its parts, in order; none: not known")

    @property
    def value_range(self) -> ValueRange:
        """Low and high, each an array that broadcasts over channels."""
        return np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)

    def for_people(self, raw: np.ndarray) -> np.ndarray:
        """Raw values as `show` takes them: integers as they are, floats in the network's [-1, 1]."""
        return raw if raw.dtype == np.uint8 else np.asarray(normalise(raw, self.value_range))


@dataclasses.dataclass(frozen=True)
class Record:
    """The record of a run."""

    format: int = field(FORMAT, "of this record", choices=(FORMAT,))
    sagd_jax: str = field("", "version that wrote it")
    jax: str = field("", "version of jax")
    config: RunConfig = section(RunConfig)
    data: DataRecord = section(DataRecord)


def describe_run(config: RunConfig, source: Source) -> Record:
    """The record of a run of `config` on `source`, but for the data's fingerprint."""
    import jax

    from sagd_jax.version import __version__

    low, high = (np.atleast_1d(np.asarray(edge, float)) for edge in source.value_range)
    rate = source.sample_rate
    data = DataRecord(
        shape=tuple(map(int, source.shape)),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        dtype=np.dtype(source.dtype).name,
        kind=source.kind,
        num_classes=source.num_classes,
        num_examples=len(source),
        sample_rate=None if rate is None else float(rate),
        scaled=source.scaled,
    )
    return Record(sagd_jax=__version__, jax=jax.__version__, config=config, data=data)


def identified(record: Record, source: Source) -> Record:
    """The record with the fingerprint of its data, for which all of it may have to be looked at."""
    data = dataclasses.replace(record.data, fingerprint=source.fingerprint())
    return dataclasses.replace(record, data=data)


def require_readable(record: Record) -> None:
    """Refuses to begin what could be saved but not opened again.

    Raises:
      ConfigError: `read_record` would not take the record, or not give the same one; one line.
    """
    try:
        text = json.dumps(schema.as_dict(record), allow_nan=False)
        if len(text) > MAX_BYTES:
            raise ConfigError(f"record: {len(text)} bytes, expected at most {MAX_BYTES}")
        if read_record(json.loads(text)) != record:
            raise ConfigError("record: it would be read as another one")
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"config, data: no checkpoint of this run could be opened again: {one_line(error)}"
        ) from error


def read_record(values: Mapping[str, Any]) -> Record:
    """Reads a record from JSON values.

    Raises:
      ConfigError: for anything that the schema does not allow; one line.
    """
    record = schema.build(Record, values, "record", refuse_unused=False)
    data = record.data
    if not 2 <= len(data.shape) <= 4 or math.prod(data.shape) > _MAX_ENTRIES:
        raise ConfigError(
            f"record.data.shape={data.shape}: expected one to three spatial sizes and the channels"
        )
    channels = data.shape[-1]
    for name in ("low", "high"):
        if len(getattr(data, name)) not in (1, channels):
            raise ConfigError(f"record.data.{name}: expected 1 or {channels} numbers")
    low, high = data.value_range
    if not np.all(low < high):
        raise ConfigError(
            f"record.data: low {data.low[0]!r}, high {data.high[0]!r}: expected low < high in float32"
            + (" in each channel" if len(data.low) > 1 else "")
        )
    return record
