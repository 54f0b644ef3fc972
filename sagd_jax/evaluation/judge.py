"""What samples are judged by: a table of metrics, each of a set of samples against a reference.

A metric is named `NAME` or `NAME:FEATURES`. Beside each distance stands its floor: the same distance of as
many held-out examples, which no sampler can be expected to beat; where fewer are held out than samples
drawn, the distance of so many samples stands there too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from sagd_jax.evaluation import distances, neighbours, spectra_of_samples
from sagd_jax.evaluation.features import EvaluationError, is_features
from sagd_jax.evaluation.moments import Moments
from sagd_jax.evaluation.sets import LARGEST, MOST, Set
from sagd_jax.evaluation.telling_apart import told_apart

EDGES = tuple(round(0.1 * k, 1) for k in range(11))  # of the bands of energies, in `max`
_BUDGET = 2**27  # values of float64 of energies per frequency that are held at once

Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Compared:
    """A set of samples, a reference and held-out data in one kind of features.

    Attributes:
      shape: `(*spatial, channels)` of the signals, which pixels are reshaped to.
      corrupted: the reference's data as corrupted as those of the run, if they are.
      band: where the corruption is, bool on the half grid.
      known: what was computed of the reference and the held-out data alone, by name.
    """

    samples: Set
    reference: Set
    held_out: Set
    shape: tuple[int, ...]
    corrupted: Set | None = None
    band: np.ndarray | None = None
    known: dict[Any, Any] = dataclasses.field(default_factory=dict)

    def once(self, name: Any, compute: Callable[[], Any]) -> Any:
        """What is known by a name that says nothing of the samples; else it is computed."""
        if name not in self.known:
            self.known[name] = compute()
        return self.known[name]

    def first(self, count: int) -> Compared:
        """The same with the first samples alone."""
        return dataclasses.replace(self, samples=_first(self.samples, count))

    def floor(self, count: int) -> Compared:
        """With the first held-out examples in the place of samples."""
        return dataclasses.replace(self, samples=_first(self.held_out, count))


def _first(chosen: Set, count: int) -> Set:
    features = chosen.features[:count]
    moments = None if chosen.moments is None else Moments.of(features)
    return Set(features, moments, {**chosen.fingerprint, "count": len(features)})


def _frechet(sets: Compared) -> Result:
    a, b = sets.samples.moments, sets.reference.moments
    assert a is not None and b is not None  # `check` refuses features of too many dimensions
    value = distances.frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    return {"value": value}


def _kernel(sets: Compared) -> Result:
    a, b = (s.features[:MOST] for s in (sets.samples, sets.reference))
    known = sets.once("pairs", lambda: distances.own_pairs(b))
    found = distances.kernel_distance(a, b, known=known)
    return {"value": found.value, "standard_error": found.standard_error}


def _precision_recall(sets: Compared) -> Result:
    a, b = (s.features[:MOST] for s in (sets.samples, sets.reference))
    return dataclasses.asdict(neighbours.precision_recall(b, a, known=_radii(sets, b)))


def _density_coverage(sets: Compared) -> Result:
    a, b = (s.features[:MOST] for s in (sets.samples, sets.reference))
    return dataclasses.asdict(neighbours.density_coverage(b, a, known=_radii(sets, b)))


def _radii(sets: Compared, features: np.ndarray) -> dict[int, np.ndarray]:
    """Of the reference, for both metrics of neighbours: one look at all pairs."""
    return sets.once("radii", lambda: neighbours.radii(features, (3, 5)))


def _signals(sets: Compared, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    a, b = (s.features[:most].reshape(-1, *sets.shape) for s in (sets.samples, sets.reference))
    return a, b


def _spectral(sets: Compared) -> Result:
    return dataclasses.asdict(spectra_of_samples.spectral_distance(*_signals(sets)))


def _spectral_full(sets: Compared) -> Result:
    most = max(64, _BUDGET // int(np.prod(sets.shape)))
    signals = _signals(sets, min(most, MOST))
    return dataclasses.asdict(spectra_of_samples.spectral_distance(*signals, kind="full"))


def _bands(sets: Compared) -> Result:
    found = spectra_of_samples.band_energies(*_signals(sets), EDGES)
    return {name: np.asarray(value).tolist() for name, value in dataclasses.asdict(found).items()}


def _high_frequency(sets: Compared) -> Result:
    return dataclasses.asdict(told_apart(*_signals(sets)))


def _nearest(sets: Compared) -> Result:
    train, samples, other = (
        s.features[:MOST] for s in (sets.reference, sets.samples, sets.held_out)
    )
    known = sets.once("two nearest", lambda: neighbours.two_nearest(train, other))
    return dataclasses.asdict(neighbours.nearest(train, samples, other, known=known))


def _corruption(sets: Compared) -> Result:
    assert sets.corrupted is not None and sets.band is not None  # `parse` asks for both
    samples, clean = _signals(sets)
    corrupted = sets.corrupted.features.reshape(-1, *sets.shape)
    return dataclasses.asdict(spectra_of_samples.left_over(samples, clean, corrupted, sets.band))


@dataclasses.dataclass(frozen=True)
class Metric:
    """An entry of the table.

    Attributes:
      compute: from sets in features; None: of more than those, in `bench.py`.
      features: its default ones; None: the classifier's where there are labels, else pixels.
      chosen: whether others can be named.
      words: what it is.
      shown: the number that a line for people has.
      floored: whether the same is computed of held-out data.
      needs: what not every run has, a word of `NEEDS`.
    """

    compute: Callable[[Compared], Result] | None
    features: str | None
    chosen: bool
    words: str
    shown: str = "value"
    floored: bool = True
    needs: str | None = None


METRICS: Mapping[str, Metric] = {
    "frechet": Metric(_frechet, None, True, "distance of Gaussians fitted to features"),
    "kernel": Metric(_kernel, None, True, "unbiased distance of features, cubic kernel"),
    "precision_recall": Metric(
        _precision_recall, None, True, "shares of samples and data reached", "precision"
    ),
    "density_coverage": Metric(
        _density_coverage, None, True, "how densely and how widely", "coverage"
    ),
    "spectral": Metric(_spectral, "pixels", False, "distance of radial power spectra"),
    "spectral_full": Metric(_spectral_full, "pixels", False, "distance of whole power spectra"),
    "bands": Metric(_bands, "pixels", False, "energy per radial band", "ratio"),
    "high_frequency": Metric(
        _high_frequency, "pixels", False, "how well the highest frequencies tell samples from data"
    ),
    "nearest": Metric(
        _nearest, "pixels", False, "distance to training examples", "ratio", floored=False
    ),
    "corruption": Metric(
        _corruption, "pixels", False, "share of a corruption's energy left", needs="corruption"
    ),
    "denoising": Metric(
        None, "pixels", False, "error of the network per band and time", "error", False, "run"
    ),
    "bound": Metric(
        None,
        "pixels",
        False,
        "bound on -log p, continuous and of so many steps",
        "value",
        False,
        "bound",
    ),
    "fid": Metric(None, "pixels", False, "FID of torch-fidelity", floored=False, needs="torch"),
    "kid": Metric(None, "pixels", False, "KID of torch-fidelity", floored=False, needs="torch"),
    "prc": Metric(
        None, "pixels", False, "precision, recall of torch-fidelity", floored=False, needs="torch"
    ),
}
# What a run may have, and what to do where it has not.
NEEDS = {
    "corruption": "this run's data have no corruption in a known band; name one by --band=LOW:HIGH",
    "run": "the noise of this run has a covariance per class, for which it is not computed",
    "bound": "this run has no bound on -log p: it is a consistency model, or its noise has a hole, a covariance "
    "per class or capped levels",
    "torch": "these data are no 8-bit images, grey or RGB",
}


@dataclasses.dataclass(frozen=True)
class Asked:
    """A metric that is asked for, with its features."""

    name: str
    features: str

    @property
    def metric(self) -> Metric:
        return METRICS[self.name]

    def __str__(self) -> str:
        return f"{self.name}:{self.features}" if self.metric.chosen else self.name


def default_names(labelled: bool, count: int, size: int, has: Collection[str]) -> list[str]:
    """Metrics for any checkpoint, without a download or evaluations by the thousand: of so many samples."""
    enough = labelled or (size < count and size <= LARGEST)
    return [
        name
        for name, metric in METRICS.items()
        if (enough or name != "frechet") and metric.needs not in ("torch", "bound")
        if metric.needs is None or metric.needs in has
    ]


def parse(words: Sequence[str], labelled: bool, has: Collection[str]) -> list[Asked]:
    """The metrics that words name.

    Args:
      labelled: whether the data have labels.
      has: what there is of `NEEDS`.

    Raises:
      EvaluationError: an unknown one, features where there are none to choose, the classifier's for
        data without labels, or one that this run does not have.
    """
    asked: list[Asked] = []
    for word in words:
        name, _, features = word.partition(":")
        if name not in METRICS:
            raise EvaluationError(
                f"--metrics: unknown metric {name!r}; expected some of {', '.join(METRICS)}"
            )
        metric = METRICS[name]
        if metric.needs is not None and metric.needs not in has:
            raise EvaluationError(f"--metrics={word}: {NEEDS[metric.needs]}")
        if features and not metric.chosen:
            raise EvaluationError(f"--metrics={word}: {name} is always of the signals themselves")
        if features and not is_features(features):
            raise EvaluationError(
                f"--metrics={word}: expected features pixels, classifier or module:function"
            )
        features = features or metric.features or ("classifier" if labelled else "pixels")
        if features == "classifier" and not labelled:
            raise EvaluationError(
                f"--metrics={word}: these data have no labels to train a classifier on; use "
                f"{name}:pixels"
            )
        if Asked(name, features) not in asked:
            asked.append(Asked(name, features))
    return asked


def check(asked: Asked, count: int, size: int) -> None:
    """Refuses too few samples, once the number of features is known.

    Raises:
      EvaluationError: one line.
    """
    if asked.name == "frechet" and size > LARGEST:
        raise EvaluationError(
            f"--metrics={asked}: {size} features; a covariance of at most {LARGEST} is computed: use "
            f"kernel:{asked.features}"
        )
    least = size + 1 if asked.name == "frechet" else 16
    if count < least:
        why = f"{size} features need so many for a covariance" if least > 16 else "to say anything"
        raise EvaluationError(
            f"--metrics={asked}: {count} samples; expected at least {least} ({why})"
        )


def judge(asked: Asked, sets: Compared) -> Result:
    """A metric of the samples, with its floor."""
    compute = asked.metric.compute
    assert compute is not None
    count = sets.samples.count
    result = {**compute(sets), "num_samples": count, "num_reference": sets.reference.count}
    if not asked.metric.floored:
        return result
    common = min(count, len(sets.held_out.features))
    if asked.name == "frechet" and common <= sets.samples.features.shape[1]:
        return {**result, "floor": None, "num_floor": common}
    floor = sets.once((str(asked), common), lambda: compute(sets.floor(common)))
    result |= {"floor": floor, "num_floor": common}
    if common < count and asked.name in ("frechet", "precision_recall", "density_coverage"):
        # These depend on the number of samples: what stands beside the floor has as many.
        result["at_num_floor"] = compute(sets.first(common))
    return result


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(map(_short, value)) + "]"
    return "-" if value is None or np.isnan(value) else f"{value:.2g}"


def line(asked: Asked, result: Result) -> str:
    """A result in words for people."""

    def number(values: Any) -> str:
        value = values[asked.metric.shown]
        if value is None:
            return "-"
        if isinstance(value, list):
            return " ".join(_short(v) for v in value)
        words = f"{value:.5g}"
        if "standard_error" in values and "low" not in values:
            words += f" +- {values['standard_error']:.2g}"
        if "low" in values:
            words += f" [{values['low']:.4g}, {values['high']:.4g}]"
        return words

    words = f"{asked}: {number(result)}"
    if "num_floor" not in result:
        return words
    floor = result["floor"]
    if floor is None:
        return f"{words} (no floor: only {result['num_floor']} held-out examples)"
    words += f"; floor {number(floor)}"
    if "at_num_floor" in result:
        words += f" against {number(result['at_num_floor'])}, both of {result['num_floor']}"
    return words
