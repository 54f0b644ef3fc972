"""Rows or columns of their own brightness, as of a sensor whose rows differ."""

from __future__ import annotations

import math

import numpy as np

from sagd_jax.spectral.detector import finding as kinds
from sagd_jax.spectral.detector.candidate import DECIBEL, Candidate
from sagd_jax.spectral.detector.evidence import Evidence
from sagd_jax.spectral.detector.lines import MEAN, QUANTILE, QUIET, SOME
from sagd_jax.spectral.half_grid import to_full_grid

_TINY = 1e-13
_LEAST_CONTRAST, _LEAST_OF_SOME, _SCORE_OF_SOME = 7.0, 3.0, 8.0  # decibels; score
_FALLS = 0.7  # nats from the second quarter of the frequencies to the last; of edges it is 1.12
_BESIDE = (3, 4, 5)  # bins beside an axis that its own are compared with


def stripes_of(evidence: Evidence, view: str) -> list[Candidate]:
    """Candidates of them: power along one axis that does not fall towards its end."""
    result: list[Candidate] = []
    shape = evidence.shape
    if min(shape) < 4 * max(_BESIDE):
        return result
    half = evidence.view[view].total.shape
    for axis in (0, 1):
        n = shape[axis]
        step = np.arange(1, n // 2 + 1)
        beside = np.array([*_BESIDE, *(-np.array(_BESIDE))])
        contrast, level, score = {}, {}, {}
        for name, values in (
            (MEAN, np.log(evidence.mean(view) + _TINY)),
            (QUIET, evidence.quantile(view, QUANTILE)),
        ):
            full = to_full_grid(values, shape)
            full = full if axis == 0 else full.T
            difference = full[step, 0] - np.median(full[step][:, beside], axis=1)
            scatter = 1.4826 * np.median(
                np.abs(full[step, 3] - np.median(full[step][:, beside], axis=1))
            )
            quarters = [slice(n // 2 * q // 4, n // 2 * (q + 1) // 4) for q in range(4)]
            contrast[name] = [float(np.median(difference[q])) for q in quarters]
            level[name] = [float(np.median(full[step, 0][q])) for q in quarters]
            score[name] = min(contrast[name][2:]) / max(scatter / math.sqrt(n / 8), 1e-9)
        name = max(contrast, key=lambda name: min(contrast[name][2:]))
        # Edges across the whole picture, as of a level horizon, fall as 1 / sin^2(pi f) still, and all else with
        # them; of rows the contrast grows where the data fall.
        chance = (2 if name == QUIET else 1) / math.sqrt(max(evidence.count, 1) * n / 8)
        _, second, third, last = level[name]
        rise = contrast[name][3] - contrast[name][1]
        edges = second - last > _FALLS + 1.5 * chance and third - last > 0.1 and rise < 0.3
        flat = third - last < 1.0 and rise > -0.3 and not edges
        seen = name
        least = min(contrast[name][2:]) * DECIBEL
        if least < _LEAST_CONTRAST or not flat:
            if least < _LEAST_OF_SOME or score[name] < _SCORE_OF_SOME:
                continue
            seen = SOME  # of what few examples have little is seen: who has it is to tell
        rows, columns = np.indices(half)
        rows = np.minimum(rows, shape[0] - rows)
        along, across = (rows, columns) if axis == 0 else (columns, rows)
        result.append(
            Candidate(
                kinds.STRIPES,
                view,
                min(contrast[name][2:]),
                float(min(score[name], 99.0)),
                seen,
                core=(across == 0) & (along > n // 8),
                around=np.isin(across, _BESIDE) & (along > n // 8),
                control=(across == _BESIDE[0]) & (along > n // 8),
                ratio=1.5,
                axis=axis,
                quiet_score=score[QUIET],
            )
        )
    return result
