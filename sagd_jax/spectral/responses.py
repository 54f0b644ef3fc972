"""How a finding's power goes with its surroundings from example to example: who has it, and how much.

In example i the bins of a finding hold p_i and the bins around them q_i. Of the data's own power the
first follows the second, p_i = b q_i. What is added does not: p_i = b q_i + N in the examples that have it.

The two kinds of examples are told apart by a mixture: p_i is b q_i or b q_i + N times a gamma variable whose
shape is that of the bins beside the finding, where nothing stands out. Examples too loud to tell count as
those of unknown kind.
"""

from __future__ import annotations

import dataclasses

import numpy as np

_ROUNDS = 60
_QUIET = 0.35  # of the examples: the quietest, by their surroundings
_LOUD = 0.7


@dataclasses.dataclass(frozen=True)
class Response:
    """Attributes:
    share: of the examples that have the finding.
    level: N, the power per bin that it adds in those.
    has: probability that an example has it, `(examples,)`.
    slope: how N changes with the surroundings' power, as a power of it: 0 added noise, 1 the data's own;
      NaN where the examples are all as loud or too few have it.
    spread: relative variance of N over the quiet examples that have it, beyond what the data explain.
    quiet_score: N in the quiet examples, in standard errors.
    """

    share: float
    level: float
    has: np.ndarray
    slope: float
    spread: float
    quiet_score: float


def respond(p: np.ndarray, q: np.ndarray, ratio: float, control: np.ndarray) -> Response:
    """Fits the mixture.

    Args:
      p, q: `(examples,)`, mean power in the bins of the finding and around it.
      ratio: b, of the background in the finding over its surroundings.
      control: `(examples,)`, mean power in as many bins beside the finding.

    >>> rng = np.random.default_rng(0)
    >>> loud = np.exp(rng.normal(size=500))
    >>> has = np.arange(500) < 100
    >>> p = (loud + 20 * has) * rng.gamma(8, 1 / 8, 500)
    >>> found = respond(p, loud, 1.0, loud * rng.gamma(8, 1 / 8, 500))
    >>> abs(found.share - 0.2) < 0.02, abs(found.level / 20 - 1) < 0.1
    (True, True)
    """
    floor = 1e-13 + 1e-6 * float(q.mean())
    base = ratio * q + floor
    shape = _shape(control / (np.median(control / (q + floor)) * (q + floor)))
    level, has = _mixture(p, base, shape)
    share = float(has.mean())
    having = has > 0.5
    order = np.argsort(q)
    quiet = np.zeros(len(q), bool)
    own = order[having[order]]
    quiet[own[: max(int(_QUIET * len(own)), min(8, len(own)))]] = True
    loud = np.zeros(len(q), bool)
    loud[own[int(_LOUD * len(own)) :]] = True
    added = p - base
    slope, spread, score = np.nan, np.nan, 0.0
    if quiet.sum() >= 5:
        low, error = float(added[quiet].mean()), float(added[quiet].std() / np.sqrt(quiet.sum()))
        score = low / max(error, 1e-12)
        explained = np.mean(base[quiet] ** 2 + 2 * base[quiet] * max(low, 0)) / max(shape, 0.5)
        spread = float((added[quiet].var() - explained) / max(low, 1e-12) ** 2)
        high, louder = float(np.median(added[loud])), np.log(q[loud].mean() / q[quiet].mean())
        error = 1.25 * float(added[loud].std() / np.sqrt(max(loud.sum(), 1)))
        if louder > 0.5 and low > 0 and (high > 2 * error or error < low):
            slope = float(np.log(max(high, 0.05 * low) / low) / louder)
    return Response(share, level, has, slope, spread, score)


def slope_of(p: np.ndarray, q: np.ndarray) -> float:
    """b of p = N + b q, by least squares relative to what is expected."""
    usable = p + q > 1e-9 * float((p + q).mean())
    if usable.sum() < 8:
        return 1.0
    p, q = p[usable], q[usable]
    weight = 1 / (p + q)
    columns = np.stack([weight, q * weight], axis=1)
    for _ in range(3):
        level, ratio = np.linalg.lstsq(columns, p * weight, rcond=None)[0]
        weight = 1 / np.maximum(level + ratio * q, 1e-3 * (p + q))
        columns = np.stack([weight, q * weight], axis=1)
    return float(np.clip(ratio, 0.5, 5.0))


def _shape(relative: np.ndarray) -> float:
    """The shape of a gamma distribution with this spread of logarithms, robustly."""
    logs = np.log(np.maximum(relative, 1e-9))
    low, high = np.quantile(logs, [0.16, 0.84])
    spread = max((high - low) / 2, 0.05)
    # trigamma(k) is about 1/k + 1/(2 k^2).
    return float((1 + np.sqrt(1 + 2 * spread**2)) / (2 * spread**2))


def _mixture(p: np.ndarray, base: np.ndarray, shape: float) -> tuple[float, np.ndarray]:
    """(N, probability of each example to have it) by expectation and maximisation."""
    added = p - base
    level = max(float(np.quantile(added, 0.95)), 1e-12)
    share = 0.3
    has = np.full(len(p), share)
    for _ in range(_ROUNDS):
        ratio = _log_gamma_density(p, base + level, shape) - _log_gamma_density(p, base, shape)
        odds = np.log(share / (1 - share)) + ratio
        has = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
        share = float(np.clip(has.mean(), 0.5 / len(p), 1 - 0.5 / len(p)))
        weight = has / (base + level) ** 2
        level = max(float((weight * added).sum() / weight.sum()), 1e-12)
    return level, has


def _log_gamma_density(p: np.ndarray, mean: np.ndarray, shape: float) -> np.ndarray:
    """Up to what does not depend on the mean."""
    return -shape * (np.log(mean) + p / mean)
