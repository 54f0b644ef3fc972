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

from sagd_jax.spectral.detector.mixtures import log_bessel

_ROUNDS = 60
_QUIET = 0.35  # of the examples: the quietest, by their surroundings
_LOUD = 0.7
_MUCH_LIKELIER, _LIKELIER = 6.0, 3.0  # nats; the second where the law of chance is known
_HALF = 0.45
_EVEN = 0.3  # standard deviation of the logarithm of the surroundings' power
_ALIKE = 1.3  # 1.2 on one axis, 1.4 on two, for Hann's taper and the bins next to a tone
_IN_SOME = 0.9  # share
_DRAWS = 20
_GOLDEN = (1 + 5**0.5) / 2
_LEAST_LEFT = 0.3
_SINGLE = 1.6  # largest shape of the powers of one coefficient


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
    slope_error, spread_error: standard errors, for so many examples.
    even: whether the surroundings are as loud in all examples.
    level_error: relative standard error of N by not knowing which examples have it.
    """

    share: float
    level: float
    has: np.ndarray
    slope: float
    spread: float
    quiet_score: float
    slope_error: float = 0.0
    spread_error: float = 0.0
    even: bool = False
    level_error: float = 0.0


def respond(
    p: np.ndarray,
    q: np.ndarray,
    ratio: float,
    control: np.ndarray,
    tone: bool = False,
    left: np.ndarray | float = 1.0,
) -> Response:
    """Fits the mixture.

    Args:
      p, q: `(examples,)`, mean power in the bins of the finding and around it.
      ratio: b, of the background in the finding over its surroundings.
      control: `(examples,)`, mean power in as many bins beside the finding.
      tone: what is added has one amplitude; else it is noise, whose power varies as the data's does.
      left: `(examples,)`, what clipping may leave of it: a slope that this alone would make is none.

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
    level, has = _mixture(p, base, shape, tone)
    share = float(has.mean())
    having = has > 0.5
    order = np.argsort(q)
    quiet = np.zeros(len(q), bool)
    own = order[having[order]]
    # Where all are as loud, all are as quiet.
    even = bool(np.log(q + floor).std() < _EVEN)
    quiet[own[: len(own) if even else max(int(_QUIET * len(own)), min(8, len(own)))]] = True
    loud = np.zeros(len(q), bool)
    loud[own[int(_LOUD * len(own)) :]] = True
    left = np.broadcast_to(np.maximum(left, _LEAST_LEFT), p.shape)
    added = p - base
    slope, spread, score = np.nan, np.nan, 0.0
    slope_error = spread_error = 0.0
    if quiet.sum() >= 5:
        low, error = float(added[quiet].mean()), float(added[quiet].std() / np.sqrt(quiet.sum()))
        score = low / max(error, 1e-12)
        # The bins of a tone are alike to a taper as those of the noise in them are.
        cross = 2 * (_ALIKE if tone else 1.0) * max(low, 0)
        explained = np.mean(base[quiet] ** 2 + cross * base[quiet]) / max(shape, 0.5)
        spread = float((added[quiet].var() - explained) / max(low, 1e-12) ** 2)
        # Of a variance from so few values that are not Gaussian.
        spread_error = float(2 * explained / max(low, 1e-12) ** 2 / np.sqrt(quiet.sum()))
        relative = error / max(low, 1e-12)
        high, louder = float(np.median(added[loud])), np.log(q[loud].mean() / q[quiet].mean())
        high -= _median_of_constant(control[loud], base[loud], max(low, 0.0), tone)
        error = 1.25 * float(added[loud].std() / np.sqrt(max(loud.sum(), 1)))
        if louder > 0.5 and low > 0 and (high > 2 * error or error < low):
            slope = float(np.log(max(high, 0.05 * low) / low) / louder)
            clipped = float(np.log(left[loud].mean() / left[quiet].mean()) / louder)
            slope -= float(np.clip(slope, min(clipped, 0.0), max(clipped, 0.0)))
            slope_error = float(np.hypot(relative, error / max(high, 0.05 * low)) / louder)
    error = _error_of_level(p, base, shape, level) if tone and share < _IN_SOME else 0.0
    return Response(share, level, has, slope, spread, score, slope_error, spread_error, even, error)


def _median_of_constant(control: np.ndarray, base: np.ndarray, level: float, tone: bool) -> float:
    """How far the median of what exceeds b q is from N where N is constant: few coefficients' power is skewed.

    By what the bins beside the finding hold in these examples, N being added to it; a tone with phases that are
    spread evenly.
    """
    beside = control * float(base.mean() / max(control.mean(), 1e-300))
    turn = np.cos(2 * np.pi * (_GOLDEN * np.arange(len(beside)) % 1))
    with_it = beside + level + 2 * np.sqrt(beside * level) * turn
    if not tone:
        with_it = beside * (1 + level / base)
    return float(np.median(with_it - base)) - level


def _error_of_level(p: np.ndarray, base: np.ndarray, shape: float, level: float) -> float:
    """Relative standard error of N, over drawn examples, who has it being found out anew for each draw."""
    rng = np.random.default_rng(0)
    levels = []
    for _ in range(_DRAWS):
        drawn = rng.integers(len(p), size=len(p))
        levels.append(_mixture(p[drawn], base[drawn], shape, True)[0])
    # Of few draws, some of which may have found no two kinds, robustly.
    low, high = np.quantile(levels, [0.16, 0.84])
    return float((high - low) / 2 / max(level, 1e-300))


def steadied(q: np.ndarray, control: np.ndarray, sizes: float) -> np.ndarray:
    """Powers of the surroundings, drawn together by what is chance in them.

    Examples of one stationary process are all as loud, and their surroundings differ by chance alone. Then
    what is left over a quiet surrounding is too large and over a loud one too small, as of power that does
    not follow, or even flees, its surroundings.

    Args:
      q, control: as of `respond`.
      sizes: how many times as many bins are around as in the control.
    """
    logs = np.log(q + 1e-12 + 1e-6 * float(q.mean()))
    relative = (control + 1e-12) / np.exp(logs)
    chance = 1 / (_shape(relative / np.median(relative)) * sizes)
    kept = max(0.0, 1 - chance / max(float(logs.var()), 1e-12))
    drawn = np.exp(logs.mean() + kept * (logs - logs.mean()))
    return drawn * (q.mean() / drawn.mean())


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


def _mixture(p: np.ndarray, base: np.ndarray, shape: float, tone: bool) -> tuple[float, np.ndarray]:
    """(N, probability of each example to have it): that all have it, unless two kinds are much likelier.

    Where N is no larger than the data, the powers of examples that all have it look as if only the larger
    ones had it, and more of it.
    """
    added = p - base
    without = _log_gamma_density(p, base, np.full(len(p), shape))

    def ratio(level: float) -> tuple[np.ndarray, np.ndarray]:
        # The variance of |a + n|^2 is that of |n|^2 and twice the product of both powers.
        varies = base**2 + 2 * base * level if tone else (base + level) ** 2
        if tone and shape < _SINGLE:  # exactly, of a single coefficient
            return log_bessel(2 * np.sqrt(p * level) / base) - level / base, varies
        with_it = _log_gamma_density(p, base + level, shape * (base + level) ** 2 / varies)
        return with_it - without, varies

    def climbed(level: float, share: float, rounds: int) -> tuple[float, float, np.ndarray]:
        """(log likelihood but for a constant, N, probabilities) by expectation and maximisation."""
        likelihood, has = -np.inf, np.full(len(p), share)
        for _ in range(rounds):
            more, varies = ratio(level)
            odds = np.log(share / (1 - share)) + more
            likelihood = float(np.sum(np.log1p(-share) + np.logaddexp(0.0, odds)))
            has = 1 / (1 + np.exp(-np.clip(odds, -50, 50)))
            share = float(np.clip(has.mean(), 0.5 / len(p), 1 - 0.5 / len(p)))
            weight = has / varies
            level = max(float((weight * added).sum() / weight.sum()), 1e-12)
        return likelihood, level, has

    two, level, has = climbed(max(float(np.quantile(added, 0.95)), 1e-12), 0.3, _ROUNDS)
    common = max(float(added.mean()), 1e-12)
    for _ in range(10):
        _, varies = ratio(common)
        common = max(float((added / varies).sum() / (1 / varies).sum()), 1e-12)
    gain = two - float(ratio(common)[0].sum())
    needed = _LIKELIER if tone and shape < _SINGLE else _MUCH_LIKELIER
    # A tail that is heavier than the model's looks as if half had more.
    if gain < (needed if has.mean() < _HALF else 4 * _MUCH_LIKELIER):
        return common, np.ones(len(p))
    return level, has


def _log_gamma_density(p: np.ndarray, mean: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Of a gamma variable, but for -log(p); its normalisation by Stirling's series."""
    relative = np.maximum(p, 1e-300) / mean
    normal = np.log(shape / (2 * np.pi)) / 2 + shape - 1 / (12 * shape)
    return normal + shape * (np.log(relative) - relative)
