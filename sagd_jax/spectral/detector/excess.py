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
from sagd_jax.spectral.detector.candidates import Candidate
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.families import Family
from sagd_jax.spectral.detector.lines import QUIET, kernel, spread_of_tone
from sagd_jax.spectral.detector.responses import Response, slope_of
from sagd_jax.spectral.detector.runs import Run, background_of_run
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.half_grid import half_grid_shape, to_full_grid, to_half_grid

_DRAWS = 100  # of the examples, for the error
_QUIETER = (1.0, 0.5, 0.25, 0.1)  # shares of the examples, the quietest, that N is estimated from
_SHIFTS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)  # of an edge, in sets, that are tried


def added_variance(
    evidence: Evidence, candidate: Candidate, power: np.ndarray, response: Response
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, its standard error, the bins that it is in): two arrays `(*half, channels)`, and a mask."""
    if candidate.kind == kinds.LINE:
        return _of_line(evidence, candidate, power, response)
    if candidate.kind == kinds.STRIPES:
        values = [
            _level(
                power[0, c],
                power[1, c],
                slope_of(power[0, c], power[1, c]),
                response.has,
                _shares(response),
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
    p: np.ndarray, q: np.ndarray, ratio: float, has: np.ndarray, shares: tuple[float, ...]
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
        if error < best[1]:
            best = (mean, error)
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
    values = []
    for c in range(evidence.channels):
        if template is None:
            p, q = power[0, 1 + c], power[1, 1 + c]
            values.append(_level(p, q, candidate.ratio, response.has, _shares(response)))
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
    inside = np.arange(run.first, run.last + 1)
    shown = template[inside]

    generator = np.random.default_rng(0)
    count = len(has)
    draws = generator.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    weight = np.vstack([has, has * draws + 1e-12])
    profile = np.maximum(weight @ rows / weight.sum(axis=1, keepdims=True), 1e-13)
    base = np.exp(background_of_run(np.log(profile), family, run))
    # Relative to what a set holds its chance is the smaller the more bins it has.
    share = sizes[inside] * shown / profile[:, inside] ** 2
    norm = share @ shown
    values = np.sum(share * (profile[:, inside] - base), axis=1) / norm
    below = float(share[0] @ base[0]) / float(norm[0])
    return float(values[0]), math.hypot(float(np.std(values[1:])), 0.04 * below)


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
    wide = Run(max(run.first - 1, 0), min(run.last + 1, len(profile) - 1), 0, 0, 0, 0)
    base = np.exp(background_of_run(np.log(profile + 1e-13), family, run))
    numbers = np.arange(wide.first, wide.last + 1)
    base = np.interp(numbers, np.arange(run.first, run.last + 1), base)
    added = profile[numbers] - base
    weight = evidence.set_sizes(candidate.family_number)[numbers] / profile[numbers] ** 2
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
            t = shown[numbers]
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
        levels = [
            _level(power[0, c], power[1, c], candidate.ratio, response.has, _shares(response))
            for c in range(1, 1 + evidence.channels)
        ]
    spread = spread_of_tone(candidate.frequency, shape, False)
    most = max(level for level, _ in levels) / seen
    mask = (spread > 0.04) & (spread * most > 0.3 * base) | (spread == spread.max())
    bins = (spread > 0.002) & (spread * most > 0.03 * base) | (spread == spread.max())
    share = np.where(bins, spread / seen, 0.0)[..., None]
    variance = share * np.array([max(level, 0.0) for level, _ in levels])
    rest = math.hypot(0.03, response.level_error)
    error = share * np.array([math.hypot(own, rest * level) for level, own in levels])
    return variance, error, mask
