"""Lines that only some examples have: how much likelier two kinds of examples are than one, at each frequency.

An example whose surroundings hold b_i at a frequency has the power p_i there. Of the data's own, p_i / b_i is an
exponential variable; with a tone of power N beside, its density is larger by L_i = exp(-r) I_0(2 sqrt(r p_i / b_i)),
r = N / b_i (Rice 1945). If a share s of the examples has the tone, the logarithm of the likelihood is larger by

    T = sum_i log(1 - s + s L_i).                                                              (D1)

No statistic is more powerful for given s and N (Neyman and Pearson 1933); s is a fifth here, and N some
multiples of the mean power around. N is the same in all examples: so the quiet ones, where it is much, count
most. Data are not quite exponential, so that T is compared with that of the bins around.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from sagd_jax.spectral.detector.background import local_background
from sagd_jax.spectral.detector.evidence import Evidence, around_each
from sagd_jax.spectral.half_grid import degrees_of_freedom, to_half_grid, unique_bins

SHARE = 0.2
_LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)  # N, over the mean power around
_MOST_OF_ONE = 4.0  # nats: a single example convinces nobody
_LARGEST_RATIO = 60.0  # of N to what is around: beyond, an example has it or has it not
_LEAST_SCALE = 0.5  # nats
_LOWEST_BIN = {1: 20, 2: 5, 3: 5}  # objects' coarse shape, and beats, lie below
_TINY = 1e-13
_TABLE = np.linspace(0.0, 60.0, 6001)


def log_bessel(x: np.ndarray) -> np.ndarray:
    """log I_0(x), by its asymptote where it is large.

    >>> bool(np.allclose(log_bessel(np.array([0.0, 3.0])), np.log(np.i0([0.0, 3.0]))))
    True
    """
    small = np.minimum(x, 50.0)
    large = np.maximum(x, 50.0)
    asymptote = large - np.log(2 * np.pi * large) / 2 + 1 / (8 * large)
    return np.where(x < 50.0, np.log(np.i0(small)), asymptote)


_LOG_BESSEL = log_bessel(_TABLE)


def two_kinds(evidence: Evidence, batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(T above that around, in nats per example; its score), over all channels, on the half grid.

    The score is the second largest over the N that are tried: a tone shows at more than one.

    >>> evidence = Evidence((256,), 1)
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 256, 1))
    >>> phase = 2 * np.pi * (0.25 * np.arange(256) + rng.random((40, 1)))
    >>> x[:40, :, 0] += 0.3 * np.cos(phase)
    >>> evidence.add(x)
    >>> excess, score = two_kinds(evidence, [x])
    >>> int(np.argmax(score)), bool(score.max() > 8)
    (64, True)
    """
    shape = evidence.shape
    count = max(evidence.count, 1)
    background, _ = local_background(np.log(evidence.mean("all") + _TINY), shape)
    # What is around a bin by its surroundings in the mean: less or more where the spectrum bends.
    bent = background - around_each(background[None], shape)[0]
    mean = np.exp(background)
    total = np.zeros((len(_LEVELS), *mean.shape))
    for x, blank in zip(batches, evidence.blank, strict=True):
        spectrum = evidence.coefficients(x)[~blank]
        if len(spectrum):
            power = np.square(np.abs(spectrum)).mean(axis=-1)
            total += _likelihoods(power, bent, mean, shape)
    excess, score = [], []
    for own in total:
        below, scale = local_background(own, shape, _LEAST_SCALE)
        excess.append((own - below) / count)
        score.append((own - below) / scale)
    second = np.argsort(score, axis=0)[-2][None]
    # A coefficient that is real is more often far from its mean than complex ones are.
    usable = unique_bins(shape) & (degrees_of_freedom(shape) > 1) & _fine(shape)
    chosen = [np.take_along_axis(np.stack(v), second, 0)[0] for v in (excess, score)]
    return np.where(usable, chosen[0], 0.0), np.where(usable, chosen[1], 0.0)


def _likelihoods(
    power: np.ndarray, bent: np.ndarray, mean: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """(D1) of these examples, `(levels, *half)`."""
    logs = np.log(np.maximum(power, _TINY))
    base = np.exp(around_each(logs, shape) + bent)
    relative = power / base
    # The geometric mean of exponential variables, and of means of channels, is below their mean.
    usual = max(float(np.median(relative)) / math.log(2), 1e-3)
    base, relative = base * usual, relative / usual
    result = []
    for level in _LEVELS:
        ratio = np.minimum(level * mean / base, _LARGEST_RATIO)
        argument = 2 * np.sqrt(ratio * relative)
        # Where the table ends the single example counts all it may.
        more = np.interp(argument, _TABLE, _LOG_BESSEL, right=2 * _LARGEST_RATIO) - ratio
        own = math.log1p(-SHARE) + np.logaddexp(0.0, more + math.log(SHARE / (1 - SHARE)))
        result.append(np.minimum(own, _MOST_OF_ONE).sum(axis=0))
    return np.stack(result)


def _fine(shape: tuple[int, ...]) -> np.ndarray:
    """Bins that are far enough from zero along some axis."""
    steps = np.meshgrid(*[np.abs(np.rint(np.fft.fftfreq(n) * n)) for n in shape], indexing="ij")
    return to_half_grid(np.max(steps, axis=0) >= _LOWEST_BIN[len(shape)])
