"""Sets of signals to be compared: read once, in features, with a fingerprint that says what they are.

A reference holds the exact moments of all its examples and the features of up to 10,000 of them, in a
fixed random order; it can be kept in a file. Which examples and which features those are is its
fingerprint, and another one is refused by the name of what differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.data.config import DataConfig
from sagd_jax.data.order import permute
from sagd_jax.data.source import Source
from sagd_jax.evaluation.features import EvaluationError, Features
from sagd_jax.evaluation.moments import Moments
from sagd_jax.system import schema
from sagd_jax.system.files import write_whole

MOST = 10_000  # examples whose features are kept: what compares pairs costs the square of them
_VALUES = 2**28  # of float32 kept, at most
LARGEST = 4096  # features whose covariance is computed
_PIECE = 1024
_PLACES = ("dir", "memory_limit_mb", "num_threads", "prefetch")  # say nothing of what the data are


@dataclasses.dataclass(frozen=True)
class Set:
    """Signals in features.

    Attributes:
      features: of some of them, `(n, D)` float32.
      moments: of all, or None where D is above `LARGEST`.
      fingerprint: what these are, by name: data, split, count, features, preprocessing.
    """

    features: np.ndarray
    moments: Moments | None
    fingerprint: Mapping[str, Any]

    @property
    def count(self) -> int:
        """The number of all."""
        return int(self.fingerprint["count"])


def of_source(
    source: Source, indices: np.ndarray, features: Features, fingerprint: Mapping[str, Any]
) -> Set:
    """The set of a source's examples at `indices`."""
    kept: list[np.ndarray] = []
    moments: Moments | None = None
    left = MOST
    for first in range(0, len(indices), _PIECE):
        values = features(source.fetch(indices[first : first + _PIECE])["x"])
        left = min(left, _VALUES // values.shape[1])
        if values.shape[1] <= LARGEST:
            own = Moments.of(values)
            moments = own if moments is None else moments + own
        elif first >= left:
            break
        kept.append(values[: max(left - first, 0)])
    return Set(np.concatenate(kept), moments, identified(fingerprint, len(indices), features))


def of_array(raw: np.ndarray, features: Features, fingerprint: Mapping[str, Any]) -> Set:
    """The set of signals in an array; all their features are kept."""
    values = features(raw)
    moments = Moments.of(values) if values.shape[1] <= LARGEST else None
    return Set(values, moments, identified(fingerprint, len(raw), features))


def identified(fingerprint: Mapping[str, Any], count: int, features: Features) -> dict[str, Any]:
    """A fingerprint with the count and the features."""
    return {**fingerprint, "count": count, "features": features.identity}


def order(count: int) -> np.ndarray:
    """All indices in the fixed random order in which examples are taken."""
    return permute(np.arange(count), count, 0, 0).astype(np.int64)


def data_fingerprint(source: Source, config: DataConfig | None = None) -> str:
    """A hash of what a source's examples are, wherever they lie."""
    words: dict[str, Any] = {
        "count": len(source),
        "shape": list(source.shape),
        "parts": list(source.fingerprint()),
    }
    if config is not None:
        values = schema.as_dict(config)
        words["config"] = {name: v for name, v in values.items() if name not in _PLACES}
    text = json.dumps(words, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def write(file: Path, chosen: Set) -> None:
    """Keeps a set in an `.npz`; raises OSError where it cannot be written."""
    arrays: dict[str, Any] = {"features": chosen.features}
    if chosen.moments is not None:
        arrays |= {"mean": chosen.moments.mean, "scatter": chosen.moments.scatter}
    buffer = io.BytesIO()
    np.savez(buffer, fingerprint=np.array(json.dumps(dict(chosen.fingerprint))), **arrays)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, buffer.getvalue(), alone=False)


def read(file: Path) -> Set:
    """What `write` wrote.

    Raises:
      EvaluationError: the file is not such a one, or damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            fingerprint = json.loads(str(content["fingerprint"]))
            features = content["features"]
            moments = None
            if "mean" in content:
                moments = Moments(int(fingerprint["count"]), content["mean"], content["scatter"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise EvaluationError(
            f"{file}: no reference statistics, or damaged; expected a file of --save_reference"
        ) from None
    size = features.shape[-1]
    sound = features.ndim == 2 and features.dtype == np.float32 and np.isfinite(features).all()
    if moments is not None:
        shapes = moments.mean.shape, moments.scatter.shape
        sound &= shapes == ((size,), (size, size)) and bool(np.isfinite(moments.scatter).all())
    if not sound:
        raise EvaluationError(f"{file}: its arrays do not fit together, or are not finite")
    return Set(features, moments, fingerprint)


def file_of(folder: Path, name: str) -> Path:
    """Where a folder keeps the statistics in these features."""
    return folder / f"reference-{name.replace(':', '.')}.npz"


def read_all(place: Path) -> dict[str, Set]:
    """The sets in a file, or in those of a folder, by the name of their features.

    Raises:
      EvaluationError: there are none, or one is damaged.
    """
    files = sorted(place.glob("reference-*.npz")) if place.is_dir() else [place]
    if not files:
        raise EvaluationError(f"--reference={place}: no reference-*.npz is in it")
    found = [read(file) for file in files]
    return {str(one.fingerprint["features"]).split()[0]: one for one in found}


def require(found: Set, expected: Mapping[str, Any], where: str) -> None:
    """Refuses a set that is not the expected one, by the name of what differs.

    Raises:
      EvaluationError: one line.
    """
    for name, value in expected.items():
        if found.fingerprint.get(name) != value:
            raise EvaluationError(
                f"{where}: its {name} is {found.fingerprint.get(name)!r}, expected {value!r}"
            )
