"""Radial spectra of a run's data and samples, small enough to be kept: in rings, in few of them.

They stand beside the previews: `data_spectrum.json` of the data as the run sees them, and
`step_00005000.json` of the samples of the picture of that name. All are estimated alike, so that they can
be compared: signals in [-1, 1] about their mean per channel, tapered unless an axis is short.
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from sagd_jax.data.source import Source, normalise
from sagd_jax.spectral.power_spectrum import estimate, radial_profile
from sagd_jax.system.files import write_whole

FOLDER = "previews"
DATA_FILE = "data_spectrum.json"
MOST_RINGS = 96
_SMALLEST_TAPERED = 16  # sites
_EXAMPLES = 1024  # of the data, at most, and
_VALUES = 2**23  # values, but
_FEWEST = 16  # examples
_MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Profile:
    """A radial power spectrum.

    Attributes:
      radius: of the rings, in cycles per sample, increasing, `(rings,)`.
      power: variance per coefficient, mean over a ring.
      error: its standard error.
      count: examples.
    """

    radius: np.ndarray
    power: np.ndarray
    error: np.ndarray
    count: int

    @property
    def lines(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is drawn of it: radius, power and error."""
        return self.radius, self.power, self.error


def profile_of(x: np.ndarray) -> Profile | None:
    """That of signals in [-1, 1], `(n, *spatial, channels)`; None for fewer than two or a single site.

    >>> x = np.random.default_rng(0).normal(size=(200, 8, 8, 1))
    >>> found = profile_of(x)
    >>> bool(np.all(np.abs(found.power - 1) < 6 * found.error))
    True
    """
    spatial = x.shape[1:-1]
    if len(x) < 2 or math.prod(spatial) < 2:
        return None
    window = "hann" if min(spatial) >= _SMALLEST_TAPERED else "none"
    radius, power, error = radial_profile(estimate(np.asarray(x, np.float64), window=window))
    return Profile(*_merged(radius, power, error), count=len(x))


def profile_of_source(source: Source) -> Profile | None:
    """That of the data: of the clean ones among them where it is known, some of them, evenly spread."""
    chosen = np.arange(len(source))
    if source.kinds is not None and np.sum(source.kinds == 0) >= 2:
        chosen = np.flatnonzero(source.kinds == 0)
    count = max(_FEWEST, min(_EXAMPLES, _VALUES // math.prod(source.shape)))
    rows = np.linspace(0, len(chosen) - 1, min(count, len(chosen))).astype(np.int64)
    x = source.fetch(chosen[rows])["x"]
    return profile_of(np.asarray(normalise(x, source.value_range)))


def write(path: Any, profile: Profile) -> None:
    """Writes one as JSON, in a folder that exists."""
    values = {name: [float(f"{v:.6g}") for v in getattr(profile, name)] for name in _ARRAYS}
    write_whole(path, json.dumps({**values, "count": profile.count}) + "\n")


def read(path: Any) -> Profile:
    """Reads one; raises ValueError, one line, for anything that is none, and OSError."""
    text = path.read_bytes()
    try:
        found = json.loads(text[:_MAX_BYTES])
        arrays = [np.array(found[name], np.float64) for name in _ARRAYS]
        count = int(found["count"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is no spectrum of this program") from error
    sound = (
        arrays[0].ndim == 1 and arrays[0].size and all(a.shape == arrays[0].shape for a in arrays)
    )
    if not sound or not all(np.isfinite(a).all() and (a >= 0).all() for a in arrays):
        raise ValueError(f"{path} is no spectrum of this program")
    return Profile(arrays[0], arrays[1], arrays[2], count)


_ARRAYS = ("radius", "power", "error")


def _merged(
    radius: np.ndarray, power: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbouring rings as one where there are many, evenly over the logarithm of the radius."""
    if len(radius) <= MOST_RINGS:
        return radius, power, error
    share = np.log(radius / radius[0]) / np.log(radius[-1] / radius[0])
    group = np.minimum((share * MOST_RINGS).astype(int), MOST_RINGS - 1)
    group = np.unique(group, return_inverse=True)[1]  # none is empty
    number = np.bincount(group)
    means = [np.bincount(group, values) / number for values in (radius, power)]
    return means[0], means[1], np.sqrt(np.bincount(group, error**2)) / number
