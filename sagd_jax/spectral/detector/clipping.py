"""How much of added noise is left in each example after it was clipped.

Values are stored between two limits, black and white or the loudest that a recorder holds. Where the data
lie at a limit, half of the noise that is added there is lost, and the quiet examples, in which noise is
measured best, are often those with much sky, paper or night. So N is less in them than in the others,
and what they tell is brought to the mean of all:

    (D3)  N_i = N (1 - 3/2 c_i),    c_i the share of the values of example i that lie at a limit

Where the data lie at the limit half of the values are cut, and a quarter of the power of a tone or of noise is
left at its own frequencies (Bussgang, 1952: the gain is the chance of not being clipped); so 3/4 are lost
over c = 1/2. Where more than half is cut the rest is lost evenly. The level of a row is a mean along it, of
which the share c is lost, and (1 - c_i)^2 of the power left.
"""

from __future__ import annotations

import numpy as np


class AtLimits:
    """Counts, of each example and channel, the values at the lowest and the highest of all.

    >>> seen = AtLimits()
    >>> seen.add(np.array([[0.0, 0.0, 0.5, 1.0], [0.2, 0.2, 0.3, 0.4]]).reshape(2, 4, 1))
    >>> seen.share()[:, 0]
    array([0.75, 0.  ])
    """

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, x: np.ndarray) -> None:
        """Counts examples `(n, *spatial, channels)` in."""
        values = x.reshape(len(x), -1, x.shape[-1])
        low, high = values.min(axis=1), values.max(axis=1)
        at_low = (values == low[:, None]).mean(axis=1)
        at_high = (values == high[:, None]).mean(axis=1)
        self._parts.append(np.stack([low, at_low, high, at_high]).astype(np.float64))

    def merge(self, other: AtLimits) -> None:
        """Adds the examples that another has counted."""
        self._parts += other._parts

    def share(self) -> np.ndarray:
        """c of (D3), of each example and channel, `(n, channels)`."""
        low, at_low, high, at_high = np.concatenate(self._parts, axis=1)
        return np.where(low == low.min(axis=0), at_low, 0.0) + np.where(
            high == high.max(axis=0), at_high, 0.0
        )


def left_of_noise(share: np.ndarray) -> np.ndarray:
    """(D3), of bands, wedges and tones: N_i / N.

    >>> left_of_noise(np.array([0.0, 0.1, 0.5, 1.0]))
    array([1.  , 0.85, 0.25, 0.  ])
    """
    return np.where(share <= 0.5, 1 - 1.5 * share, 0.5 * np.maximum(1 - share, 0.0))


def left_of_levels(share: np.ndarray) -> np.ndarray:
    """(D3), of rows and columns: N_i / N."""
    return np.square(np.maximum(1 - share, 0.0))


def in_all(
    value: tuple[float, float], left: np.ndarray, has: np.ndarray, own: np.ndarray
) -> tuple[float, float]:
    """(N, standard error) of all examples, from those of some, `own`, by (D3).

    Args:
      left: N_i / N of each example.
      has: probability that an example has what is measured.

    >>> n, error = in_all((0.5, 0.0), np.array([0.5, 1.0]), np.ones(2), np.array([0]))
    >>> n, round(error, 3)
    (0.75, 0.075)
    """
    n, error = value
    weight = has[own].sum()
    if weight <= 0 or n <= 0:
        return value
    some = float((left[own] * has[own]).sum() / weight)
    factor = float((left * has).sum() / has.sum()) / max(some, 1e-3)
    # What is lost is known to some three tenths.
    return n * factor, float(np.hypot(error * factor, 0.3 * (factor - 1) * n))
