"""N(f): the variance that a finding adds to each coordinate, with its standard error.

Of examples that have it, weighted by how quiet they are, the mean of the power in it less what its
surroundings tell would be there. Noise in a band, a wedge or rows is taken to be white within them, so that
N is one number there, in which the chance of single coefficients averages out; a line is a tone, whose
energy goes to the bins around its frequency as that of an untapered example does.
"""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.candidate import Candidate
from sagd_jax.spectral.detector.clipping import in_all, left_of_levels, left_of_noise
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.families import Family
from sagd_jax.spectral.detector.lines import QUIET, kernel, spread_of_tone
from sagd_jax.spectral.detector.responses import Response, slope_of
from sagd_jax.spectral.detector.runs import Run, background_of_run, error_of_background
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import half_grid_shape, to_full_grid, to_half_grid

_DRAWS = 100  # of the examples, for the error
_QUIETER = (1.0, 0.5, 0.25, 0.1)  # shares of the examples, the quietest, that N is estimated from
_INEXACT = 0.3  # of the highest set
_COURSE = 0.04  # nats, of the background's course under a run
_ROUNDS = 4  # of what is added and what is below it
_SHIFTS = tuple(k / 8 for k in range(-6, 7))  # of an edge, in sets, that are tried


def added_variance(
    evidence: Evidence, candidate: Candidate, power: np.ndarray, response: Response
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, its standard error, the bins that it is in): two arrays `(*half, channels)`, and a mask."""
    if candidate.kind == kinds.LINE:
        return _of_line(evidence, candidate, power, response)
    if candidate.kind == kinds.STRIPES:
        left = left_of_levels(evidence.at_limits.share())
        values = [
            _level(
                power[0, c],
                power[1, c],
                slope_of(power[0, c], power[1, c]),
                response.has,
                _shares(response),
                left[:, c - 1],
            )
            for c in range(1, power.shape[1])
        ]
        # A taper leaves part of what is constant along an axis in the bins beside it.
        share = float(kernel(np.zeros(1), evidence.tapered)[0])
        half = np.indices(half_grid_shape(evidence.shape))
        mask = (half[1 - candidate.axis] == 0) & (half[candidate.axis] > 0)
        return _filled(evidence, [(n / share, e / share) for n, e in values], mask)
    mask, template = candidate.core, None
    assert candidate.family is not None
    if not candidate.family.geometric:
        has = response.has
        if candidate.seen_in == QUIET:
            # Where the data are quiet the noise is seen best, and its edges.
            q = power[1, 0]
            has = has * (q <= np.quantile(q, 0.25))
        low, high, mask, template = fitted_band(evidence, candidate, has)
        candidate.edges = (low, high)
    return _filled(evidence, _of_run(evidence, candidate, power, response, template), mask)


def _filled(
    evidence: Evidence, values: list[tuple[float, float]], mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    variance, error = (
        np.where(mask[..., None], np.maximum([pair[k] for pair in values], 0.0), 0.0)
        for k in (0, 1)
    )
    return variance, error, mask


def _shares(response: Response) -> tuple[float, ...]:
    """Of examples that are all as loud those with quiet surroundings are so by chance: N would seem larger."""
    return (1.0,) if response.even else _QUIETER


def _level(
    p: np.ndarray,
    q: np.ndarray,
    ratio: float,
    has: np.ndarray,
    shares: tuple[float, ...],
    left: np.ndarray,
) -> tuple[float, float]:
    """(N, standard error) from whichever share of the quietest examples gives it best."""
    order = np.argsort(q)
    best = (0.0, math.inf)
    for share in shares:
        own = order[: max(int(share * len(q)), min(8, len(q)))]
        weight = has[own]
        count = weight.sum() ** 2 / max(np.square(weight).sum(), 1e-12)
        if weight.sum() < 4:
            continue
        added = p[own] - ratio * q[own]
        mean = float((weight * added).sum() / weight.sum())
        spread = float((weight * np.square(added - mean)).sum() / weight.sum())
        base = ratio * float((weight * q[own]).sum() / weight.sum())
        error = math.sqrt(spread / count + (0.05 * base) ** 2)
        best = min(best, in_all((mean, error), left, has, own), key=lambda pair: pair[1])
    return best if math.isfinite(best[1]) else (0.0, 0.0)


def _of_run(
    evidence: Evidence,
    candidate: Candidate,
    power: np.ndarray,
    response: Response,
    template: np.ndarray | None,
) -> list[tuple[float, float]]:
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    values, every = [], left_of_noise(evidence.at_limits.share())
    for c in range(evidence.channels):
        left = every[:, c]
        if template is None:
            p, q = power[0, 1 + c], power[1, 1 + c]
            values.append(_level(p, q, candidate.ratio, response.has, _shares(response), left))
            continue
        view = "all" if evidence.channels == 1 else str(c)
        rows = evidence.set_powers(view, candidate.family_number).astype(np.float64)
        sizes = evidence.set_sizes(candidate.family_number)
        order = np.argsort(power[1, 0])
        best = (0.0, math.inf)
        for share in _shares(response):
            own = order[: max(int(share * len(order)), min(8, len(order)))]
            if response.has[own].sum() < 4:
                continue
            estimate = _with_error(rows[own], response.has[own], candidate, template, sizes)
            estimate = in_all(estimate, left, response.has, own)
            best = min(best, estimate, key=lambda pair: pair[1])
        values.append(best if math.isfinite(best[1]) else (0.0, 0.0))
    return values


def _with_error(
    rows: np.ndarray,
    has: np.ndarray,
    candidate: Candidate,
    template: np.ndarray,
    sizes: np.ndarray,
) -> tuple[float, float]:
    """(N, standard error): over drawn examples, and of the course of the background."""
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    numbers = _with_next(run, rows.shape[1])
    shown = template[numbers]

    generator = np.random.default_rng(0)
    count = len(has)
    draws = generator.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    weight = np.vstack([has, has * draws + 1e-12])
    profile = np.maximum(weight @ rows / weight.sum(axis=1, keepdims=True), 1e-13)
    share = _weight(profile[:, numbers], sizes[numbers]) * shown
    norm = share @ shown
    values = np.zeros(len(profile))
    for _ in range(_ROUNDS):
        base = _below(profile, values[:, None] * template, family, run)
        values = np.sum(share * (profile[:, numbers] - base), axis=1) / norm
    below = float(share[0] @ base[0]) / float(norm[0])
    course = error_of_background(np.log(profile[0]), family, run)
    # The edges are known to a step of those that are tried.
    ends = (_SHIFTS[1] - _SHIFTS[0]) / math.sqrt(6) / float(shown.sum()) * float(values[0])
    rest = math.hypot(ends, math.hypot(_COURSE, course) * below)
    return float(values[0]), math.hypot(float(np.std(values[1:])), rest)


def unevenness(evidence: Evidence, candidate: Candidate) -> tuple[float, float]:
    """(root mean square over a band's sets of what is off white noise, by chance alone), over the noise's power."""
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    has = np.ones(evidence.count)
    _, _, _, shown = fitted_band(evidence, candidate, has)
    rows = evidence.set_powers(candidate.view, candidate.family_number).astype(np.float64)
    profile = np.maximum(rows.mean(axis=0), 1e-13)
    numbers = _with_next(run, len(profile))
    t, level = shown[numbers], 0.0
    for _ in range(_ROUNDS):
        added = profile[numbers] - _below(profile, level * shown, family, run)
        level = float(added @ t / max(float(t @ t), 1e-300))
    size = max(level * float(np.linalg.norm(t)), 1e-300)
    count = evidence.count * evidence.set_sizes(candidate.family_number)[numbers]
    chance = float(np.linalg.norm(profile[numbers] / np.sqrt(count)))
    return float(np.linalg.norm(added - level * t)) / size, chance / size


def _with_next(run: Run, count: int) -> np.ndarray:
    """Numbers of the run's sets and the one on either side, which may lie half inside."""
    return np.arange(max(run.first - 1, 0), min(run.last + 1, count - 1) + 1)


def _weight(profile: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Relative to what a set holds its chance is the smaller the more bins it has; the template is not exact."""
    top = profile.max(axis=-1, keepdims=True)
    return sizes / (profile**2 + (_INEXACT * top) ** 2)


def _below(profile: np.ndarray, added: np.ndarray, family: Family, run: Run) -> np.ndarray:
    """Power of those sets without what is added, of which a taper puts a little into the sets that tell."""
    numbers = _with_next(run, profile.shape[-1])
    logs = np.log(np.maximum(profile - added, 0.3 * profile))
    own = numbers - (run.first - 1)
    return np.exp(background_of_run(logs, family, run, margin=1))[..., own]


def fitted_band(
    evidence: Evidence, candidate: Candidate, has: np.ndarray
) -> tuple[float, float, np.ndarray, np.ndarray]:
    """(low, high, its bins, share of N that each set shows): edges between the rings, as white noise fits best.

    A taper spreads the noise of a bin over its neighbours, and a ring may lie half inside.
    """
    family, run = candidate.family, candidate.run
    assert family is not None and run is not None
    radius = radial_frequency(evidence.shape, axes=family.axes)
    rows = evidence.set_powers(candidate.view, candidate.family_number).astype(np.float64)
    profile = has @ rows / max(has.sum(), 1e-12)
    profile = np.maximum(profile, 1e-13)
    numbers = _with_next(run, len(profile))
    weight = _weight(profile[numbers], evidence.set_sizes(candidate.family_number)[numbers])
    step = float(family.high[0] - family.low[0])
    best = (math.inf, 0.0, 0.0, radius < 0, np.zeros(len(profile)))
    tops = [0.0] if run.open_ended else _SHIFTS
    for shift_low in _SHIFTS:
        for shift_high in tops:
            low = float(family.low[run.first]) + shift_low * step
            high = float(family.high[run.last]) + shift_high * step
            mask = (radius >= low - 1e-9) & (radius < high - 1e-9)
            if run.open_ended:
                mask = radius >= low - 1e-9
            if not mask.any():
                continue
            shown = _in_sets(_blurred(mask, evidence), family, len(profile))
            t, level = shown[numbers], 0.0
            for _ in range(_ROUNDS):
                added = profile[numbers] - _below(profile, level * shown, family, run)
                level = float((weight * t) @ added / max(float((weight * t) @ t), 1e-300))
            misfit = float(weight @ np.square(added - level * t))
            if misfit < best[0]:
                best = (misfit, low, high, mask, shown)
    return best[1], best[2], best[3], best[4]


def _blurred(mask: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Where the power of noise in these bins is seen in tapered examples."""
    full = to_full_grid(mask.astype(float), evidence.shape)
    if evidence.tapered:
        for axis, n in enumerate(evidence.shape):
            if n > 2:
                beside = np.roll(full, 1, axis) + np.roll(full, -1, axis)
                full = 2 / 3 * full + beside / 6
    return to_half_grid(full)


def _in_sets(values: np.ndarray, family: Family, count: int) -> np.ndarray:
    """Mean over the bins of each set."""
    chosen = family.index >= 0
    sums = np.bincount(family.index[chosen], values[chosen], minlength=count)
    return sums / np.bincount(family.index[chosen], minlength=count)


def _of_line(
    evidence: Evidence, candidate: Candidate, power: np.ndarray, response: Response
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shape = evidence.shape
    base = candidate.background
    assert base is not None
    seen = spread_of_tone(candidate.frequency, shape, evidence.tapered)[candidate.core].mean()
    if candidate.energies is not None:
        levels = [(seen * own, seen * error) for own, error in candidate.energies]
    else:
        left = left_of_noise(evidence.at_limits.share())
        levels = [
            _level(
                power[0, c],
                power[1, c],
                candidate.ratio,
                response.has,
                _shares(response),
                left[:, c - 1],
            )
            for c in range(1, 1 + evidence.channels)
        ]
    spread = spread_of_tone(candidate.frequency, shape, False)
    most = max(level for level, _ in levels) / seen
    mask = (spread > 0.04) & (spread * most > 0.3 * base) | (spread == spread.max())
    bins = (spread > 0.0005) & (spread * most > 0.003 * base) | (spread == spread.max())
    share = np.where(bins, spread / seen, 0.0)[..., None]
    variance = share * np.array([max(level, 0.0) for level, _ in levels])
    rest = math.hypot(0.03, response.level_error)
    error = share * np.array([math.hypot(own, rest * level) for level, own in levels])
    return variance, error, mask
