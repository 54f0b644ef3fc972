"""What samples are compared with: the run's data in features, read once, and kept between calls.

The reference is a split of the run's data, clean and unaugmented; the held-out data another split, or,
where there is none, the half of the reference that is then left out of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagd_jax import data
from sagd_jax.data.config import DataConfig
from sagd_jax.data.corrupted import corrupted
from sagd_jax.data.source import Source
from sagd_jax.data.sources import SOURCES
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.evaluation import classifier, denoising, features, sets
from sagd_jax.evaluation.features import EvaluationError, Features
from sagd_jax.evaluation.judge import EDGES, Asked, Compared, check, judge
from sagd_jax.evaluation.sets import Set
from sagd_jax.evaluation.torch_metrics import TorchFidelity
from sagd_jax.run.record import DataRecord
from sagd_jax.run.saved import Run
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.system import schema

_DENOISED = 1024  # held-out examples that are denoised, at most
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
        for name in ("flip", "crop_padding", "corrupted_fraction", "corrupted_flags")
    }
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


class Bench:
    """Judges sets of samples against one reference; what it needs is made when it is first needed.

    Args:
      record: of the run's data.
      compared: the reference and held-out data.
      mesh: devices for features.
      cache: a folder for the classifier and the reference's statistics; None: none is kept.
      given: reference statistics by features, from a file.
      seed: of the classifier.
      torch: the weights of torch-fidelity's metrics.
      say: told what takes long.
    """

    def __init__(
        self,
        record: DataRecord,
        compared: Data,
        mesh: Mesh,
        *,
        cache: Path | None = None,
        given: Mapping[str, Set] | None = None,
        seed: int = 0,
        torch: TorchFidelity | None = None,
        say: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._record, self._data, self._mesh = record, compared, mesh
        self._cache, self._say, self._seed, self._torch = cache, say, seed, torch or TorchFidelity()
        self._features: dict[str, Features] = {}
        self._sets: dict[tuple[str, str], Set] = {}
        self._given = dict(given or {})

    @property
    def has(self) -> set[str]:
        """What there is of `judge.NEEDS`, but for the run."""
        shape = self._record.shape
        images = self._record.dtype == "uint8" and len(shape) == 3 and shape[-1] in (1, 3)
        corruption = self._data.corrupted is not None
        return {*(["torch"] if images else []), *(["corruption"] if corruption else [])}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells one reference from another, for settings of results."""
        parts = {"reference": self._data.reference, "held_out": self._data.held_out}
        return {
            name: {**part.fingerprint, "count": len(part.indices)} for name, part in parts.items()
        }

    def features(self, name: str) -> Features:
        """Those of a name; a classifier is trained at the first call."""
        if name not in self._features:
            self._features[name] = self._make(name)
        return self._features[name]

    def _make(self, name: str) -> Features:
        value_range = self._record.value_range
        if name == "pixels":
            return features.pixels(value_range)
        if name != "classifier":
            return features.of_user(name, value_range)
        reference, held_out = self._data.reference, self._data.held_out
        train, test = (_Some(p.source, p.indices) for p in (reference, held_out))
        identity = json.dumps(self.identity, sort_keys=True)
        settings = classifier.Settings(seed=self._seed)
        made = classifier.trained(train, test, identity, self._cache, settings, self._say)
        return features.of_classifier(made, value_range, self._mesh)

    def reference(self, name: str) -> Set:
        """The reference in these features."""
        return self._set("reference", self._data.reference, name)

    def held_out(self, name: str) -> Set:
        """The held-out data in these features."""
        return self._set("held-out", self._data.held_out, name)

    def _set(self, what: str, part: Part, name: str) -> Set:
        if (what, name) in self._sets:
            return self._sets[what, name]
        chosen = self.features(name)
        expected = sets.identified(part.fingerprint, len(part.indices), chosen)
        found = self._given.get(name) if what == "reference" else None
        if found is not None:
            sets.require(found, expected, f"--reference: its statistics of {name}")
        # Code of the user's may change between two calls, and pixels are read as fast as a file of them.
        keeps = self._cache is not None and name == "classifier"
        digest = hashlib.blake2b(json.dumps(expected, sort_keys=True).encode(), digest_size=8)
        file = (self._cache or Path()) / f"reference-{digest.hexdigest()}.npz"
        if found is None and keeps and file.is_file():
            try:
                found = sets.read(file)
                sets.require(found, expected, str(file))
            except EvaluationError:
                found = None  # of an earlier version, or damaged: it is made anew
        if found is None:
            found = sets.of_source(part.source, part.indices, chosen, part.fingerprint)
            if keeps:
                self._keep(file, found)
        self._sets[what, name] = found
        return found

    def _keep(self, file: Path, found: Set) -> None:
        try:
            sets.write(file, found)
        except OSError as error:
            self._say(f"the reference's statistics could not be kept in {file}: {error}")

    def check(self, asked: Sequence[Asked], count: int) -> None:
        """Refuses what so many samples cannot be asked, before any is drawn.

        Raises:
          EvaluationError: one line.
        """
        size = int(np.prod(self._record.shape))
        sizes = {"pixels": size, "classifier": classifier.FEATURES}
        for one in asked:
            if one.metric.needs == "torch":
                self._torch.check(one.name)
            if one.features not in sizes:
                part = self._data.reference
                raw = part.source.fetch(part.indices[:2])["x"]
                sizes[one.features] = self.features(one.features)(raw).shape[1]
            check(one, count, sizes[one.features])
            check(one, len(self._data.reference.indices), sizes[one.features])

    def judge(self, asked: Asked, raw: np.ndarray, samples: dict[str, Set]) -> dict[str, Any]:
        """A metric of samples in their own range, `(n, *shape)`.

        Args:
          samples: keeps their features from one metric to the next.
        """
        if asked.metric.needs == "torch":
            part = self._data.reference
            found = self._torch(asked.name, raw, part.source.fetch(part.indices)["x"])
            return {**found, "num_samples": len(raw), "num_reference": len(part.indices)}
        name = asked.features
        if name not in samples:
            samples[name] = sets.of_array(raw, self.features(name), {"data": "samples"})
        compared = Compared(
            samples[name], self.reference(name), self.held_out(name), self._record.shape
        )
        if asked.metric.needs == "corruption":
            assert self._data.corrupted is not None
            own = self._set("corrupted", self._data.corrupted, name)
            compared = dataclasses.replace(compared, corrupted=own, band=self._data.band)
        return judge(asked, compared)

    def denoising(self, run: Run, seed: int = 0) -> dict[str, Any]:
        """The error of a run's network per band and time, on held-out examples, without a class."""
        x0 = self.held_out("pixels").features[:_DENOISED].reshape(-1, *self._record.shape)
        key = jax.random.key(seed)
        found = denoising.denoising_errors(key, run.denoiser(), run.diffusion, x0, EDGES)
        values = {n: np.asarray(v).tolist() for n, v in dataclasses.asdict(found).items()}
        return {**values, "num_examples": len(x0)}


class _Some(Source):
    """Some examples of a source."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self._source, self._indices = source, indices
        self.shape, self.dtype, self.value_range = source.shape, source.dtype, source.value_range
        self.num_classes, self.kind = source.num_classes, source.kind

    def __len__(self) -> int:
        return len(self._indices)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        return self._source.fetch(self._indices[indices], seed=seed, step=step)
