"""Features: what distances between sets of signals are measured in, by name.

pixels               the values themselves, in [-1, 1]
classifier           of a small classifier trained on the run's data (`classifier.py`)
module:function      a function of the user's: signals `(n, *spatial, channels)` in [-1, 1], as a
                     float32 NumPy array, to numbers `(n, D)`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sagd_jax.data.source import ValueRange, normalise
from sagd_jax.evaluation.classifier import Classifier
from sagd_jax.run import layout
from sagd_jax.system import import_paths
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.schema import is_import_path

NAMES = ("pixels", "classifier")
_BATCH = 256


class EvaluationError(ForPeople, ValueError):
    """Something that cannot be evaluated; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Features:
    """A function of raw signals with a name.

    Attributes:
      name: as in the table above.
      identity: what makes these features the same ones again, in words.
      extract: raw values `(n, *spatial, channels)` -> float32 `(n, D)`.
      notes: for the results, such as a classifier's accuracy.
    """

    name: str
    identity: str
    extract: Callable[[np.ndarray], np.ndarray]
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """The features of any number of raw signals.

        Raises:
          EvaluationError: they are not finite, or not `(n, D)`.
        """
        parts = [self.extract(raw[k : k + _BATCH]) for k in range(0, len(raw), _BATCH)]
        result = np.concatenate(parts)
        if result.ndim != 2 or len(result) != len(raw):
            raise EvaluationError(
                f"features {self.name}: shape {result.shape} for {len(raw)} signals; expected (n, D)"
            )
        if not np.isfinite(result).all():
            raise EvaluationError(f"features {self.name}: some are not finite")
        return result


def is_features(name: str) -> bool:
    """Whether a word can name features."""
    return name in NAMES or is_import_path(name)


def pixels(value_range: ValueRange) -> Features:
    """The values themselves."""

    def extract(raw: np.ndarray) -> np.ndarray:
        return np.asarray(normalise(raw, value_range)).reshape(len(raw), -1)

    return Features("pixels", "pixels", extract)


def of_classifier(classifier: Classifier, value_range: ValueRange, mesh: Mesh) -> Features:
    """A classifier's, computed over all devices of `mesh`."""
    split = layout.batch_sharding(mesh)
    batch = layout.rounded_up(_BATCH, mesh)

    @jax.jit
    def features(params: Any, raw: jax.Array) -> jax.Array:
        own = dataclasses.replace(classifier, params=params)
        return own.features(normalise(raw, value_range))

    params = jax.device_put(classifier.params, layout.replicated(mesh))

    def extract(raw: np.ndarray) -> np.ndarray:
        # Always a whole batch, so that one shape is compiled.
        rows = np.minimum(np.arange(batch), len(raw) - 1)
        return np.asarray(features(params, jax.device_put(raw[rows], split)))[: len(raw)]

    notes = {
        "fingerprint": classifier.fingerprint,
        "held_out_accuracy": classifier.accuracy,
        "num_held_out": classifier.num_held_out,
    }
    return Features("classifier", f"classifier {classifier.fingerprint}", extract, notes)


def of_user(path: str, value_range: ValueRange) -> Features:
    """Those of a function of the user's, `module:function`."""

    def extract(raw: np.ndarray) -> np.ndarray:
        x = np.asarray(normalise(raw, value_range))
        result = np.asarray(import_paths.make(path, "--metrics", object, x))
        if result.ndim != 2 or len(result) != len(x) or result.dtype.kind not in "fiu":
            raise EvaluationError(
                f"features {path}: it returned shape {result.shape}, dtype {result.dtype} for "
                f"{len(x)} signals; expected numbers (n, D)"
            )
        return result.astype(np.float32)

    return Features(path, path, extract)
