"""Where samples are judged: the data that they are compared with in features, read once, and kept between calls."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagd_jax.data.source import Source
from sagd_jax.diffusion.bound import Bound
from sagd_jax.evaluation import classifier, denoising, features, sets
from sagd_jax.evaluation.compared import Data, Part
from sagd_jax.evaluation.features import EvaluationError, Features
from sagd_jax.evaluation.judge import EDGES, Asked, Compared, check, judge
from sagd_jax.evaluation.likelihood import evaluate_bound
from sagd_jax.evaluation.sets import Set
from sagd_jax.evaluation.torch_metrics import TorchFidelity
from sagd_jax.run.record import DataRecord
from sagd_jax.run.saved import Run

_DENOISED = 1024  # held-out examples that are denoised, at most
_BOUNDED, _BOUND_BATCH = 1024, 64  # held-out examples of a bound, and those at once
NUM_TIMES = 32  # of the continuous bound, per example


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
        self._known: dict[str, dict[Any, Any]] = {}
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
            samples[name],
            self.reference(name),
            self.held_out(name),
            self._record.shape,
            known=self._known.setdefault(name, {}),
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

    def bound(self, run: Run, num_steps: Sequence[int], seed: int = 0) -> dict[str, Any]:
        """The bound (31) of held-out examples in nats, given their classes where the network has any.

        Returns:
          The mean of the continuous one over examples, its standard error and the means of its terms (of
          8-bit data also bits per dimension), and the same of so many steps each as "steps".
        """
        part = self._data.held_out
        source = _Some(part.source, part.indices[:_BOUNDED])
        of_steps = {str(steps): self._bound(run, source, steps, seed) for steps in num_steps}
        whole = self._bound(run, source, None, seed)
        return {**whole, "steps": of_steps, "num_examples": len(source)}

    def _bound(self, run: Run, source: Source, steps: int | None, seed: int) -> dict[str, float]:
        record = self._record
        batches = evaluate_bound(
            run,
            source,
            self._mesh,
            batch_size=_BOUND_BATCH,
            seed=seed,
            by_class=bool(run.model.num_classes),
            num_steps=steps,
            num_times=steps or NUM_TIMES,
        )
        terms = np.concatenate(list(batches))
        nats = terms.sum(axis=1)
        found = {
            "value": nats.mean(),
            "standard_error": nats.std(ddof=1) / np.sqrt(len(nats)),
            **dict(zip(Bound._fields, terms.mean(axis=0), strict=True)),
        }
        if record.dtype == "uint8":
            found["bits_per_dimension"] = found["value"] / math.prod(record.shape) / math.log(2)
        return {name: float(value) for name, value in found.items()}


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
