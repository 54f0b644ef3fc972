"""N(f) over many draws: how often it is within 10 %, and how often its interval holds the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.detector import treatments as t
from benchmarks.detector.examples import Examples, field, unit
from benchmarks.detector.judge import Answer, judge

_SETTINGS: dict[str, tuple[Callable[[np.random.Generator], Examples], t.Treatment]] = {
    "field, band": (lambda rng: _field((32, 32), rng), t.band(0.05)),
    "field, band in a half": (lambda rng: _field((32, 32), rng), t.band(0.08, 0.5)),
    "field, line": (lambda rng: _field((32, 32), rng), t.line(0.015, at=(5 / 32, 9 / 32))),
    "sound, line": (lambda rng: _field((512,), rng), t.line(0.02, at=(0.2012,))),
}


def repeat(draws: int, detector: Callable[[np.ndarray], Answer]) -> list[dict[str, Any]]:
    """For each setting: in how many draws N(f) is stated, within 10 %, and covered."""
    result = []
    for number, (name, (make, treat)) in enumerate(_SETTINGS.items()):
        scores = []
        for draw in range(draws):
            rng = np.random.default_rng([number, draw])
            x, truth = treat(make(rng), rng)
            answer = detector((2 * x - 1).astype(np.float32))
            scores.append(judge(answer, truth, x.shape[1:-1]))
        errors = [s.variance_error for s in scores if s.variance_error is not None]
        result.append(
            {
                "setting": name,
                "draws": draws,
                "found": sum(bool(s.found) for s in scores),
                "stated": len(errors),
                "within 10 %": sum(abs(e) <= 0.1 for e in errors),
                "covered": sum(bool(s.covered) for s in scores),
                "mean error": float(np.mean(errors)) if errors else None,
            }
        )
    return result


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> Examples:
    return Examples(unit(field(shape, -2.5, rng, 160))[..., None], levels=0)
