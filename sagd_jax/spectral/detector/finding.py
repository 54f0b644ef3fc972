"""What was found in a data set's spectrum, with what speaks for it, and what it is taken to be.

Source: own; the parts of `spectral/detector/` say how each number is come by.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

CORRUPTION, OWN, UNKNOWN = "corruption", "the data's own", "cannot tell"
LINE, HUM, BAND, WEDGE, STRIPES = "line", "hum", "band", "wedge", "stripes"
FIXED, MOSAIC, JPEG, ENLARGED, EMPTY = (
    "fixed pattern",
    "mosaic",
    "jpeg",
    "enlarged",
    "empty band",
)
# Those that are no stationary noise: a hole in the noise, or a level of noise, does not fit them.
NO_NOISE = (FIXED, JPEG, ENLARGED, EMPTY)


@dataclasses.dataclass(frozen=True, eq=False)
class Finding:
    """Something in the data that its surroundings do not have.

    Attributes:
      kind: `"line"`, `"hum"` (mains, with its harmonics), `"band"`, `"wedge"`, `"stripes"` (rows or columns
        of their own brightness), `"fixed pattern"`, `"mosaic"` (checkerboard, Bayer), `"jpeg"`,
        `"enlarged"`, `"empty band"`.
      verdict: `"corruption"`, `"the data's own"` or `"cannot tell"`.
      mask: its bins on the half grid, bool; none of a JPEG's or an enlargement's.
      frequencies: of lines, one tuple per line with one number per axis, in cycles per sample.
      low, high: of its radius over `axes`, in cycles per sample.
      angle, width: of a wedge, in degrees, from the last axis towards the first; else 0.
      excess_db: above the background, where it is most visible: `seen_in` the `"mean"`, the
        `"quiet examples"` (10 % quantile), `"some examples"`, the `"quiet places"` of examples, or the
        `"pixels"`.
      score: that over the local scale of chance.
      share: of the examples that have it.
      floor: True where its power does not follow that of its surroundings from example to example (added
        noise), False where it does, None where the examples do not tell.
      slope: the exponent of that: 0 does not, 1 follows; NaN unknown.
      coherence: |mean F|^2 n / mean |F|^2: 1 for independent phases, the number of examples for one phase.
      channels: those that have it: `("all",)`, or names of `evidence.views`.
      energy: share of the data's energy in its bins, corrupted or not.
      variance, error: N, what it adds per coordinate in the examples that have it, and its standard error
        (one for the whole finding: the errors of its bins are the same error); `(*half, channels)`, 0 outside.
      has: probability that each example has it.
      details: further numbers: period and phase of a grid, factor of an enlargement, fundamental of a hum.
    """

    kind: str
    verdict: str
    mask: np.ndarray
    axes: tuple[int, ...]
    low: float = 0.0
    high: float = 0.0
    frequencies: tuple[tuple[float, ...], ...] = ()
    angle: float = 0.0
    width: float = 0.0
    excess_db: float = 0.0
    score: float = 0.0
    seen_in: str = "mean"
    share: float = 1.0
    floor: bool | None = None
    slope: float = float("nan")
    coherence: float = 1.0
    channels: tuple[str, ...] = ("all",)
    energy: float = 0.0
    variance: np.ndarray | None = None
    error: np.ndarray | None = None
    has: np.ndarray | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def variance_error(self) -> np.ndarray | None:
        """The standard error of `variance`."""
        return self.error

    @property
    def is_noise(self) -> bool:
        """Whether it is stationary noise, which a hole or a level of noise can take account of."""
        return self.kind not in NO_NOISE and self.variance is not None
