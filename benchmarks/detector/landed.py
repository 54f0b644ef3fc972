"""The detector that came before, run in a checkout of its own: a process that answers file by file.

    PYTHONPATH=CHECKOUT python landed.py < names of .npz files, one a line

Each file holds `x`, values in [-1, 1]. The answer is a line of JSON. This file imports nothing of the
benchmark, so that only the checkout's package is used.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from sagd_jax.spectral.analysis import analyse

_MOST_REMOVED = 0.1  # of the energy, as its program has it


def answer(x: np.ndarray) -> dict[str, Any]:
    """What the landed program finds and suggests for one set."""
    try:
        analysis = analyse([x])
    except ValueError as error:
        return {"error": str(error), "findings": [], "suggestion": "refused"}
    findings = [
        {
            "kind": anomaly.kind,
            "bins": np.flatnonzero(anomaly.mask).tolist(),
            "low": anomaly.low,
            "high": anomaly.high,
            "lines": [anomaly.frequency] if anomaly.frequency else [],
            "excess": anomaly.excess,
        }
        for anomaly in analysis.anomalies
    ]
    omits = bool(findings) and analysis.removed <= _MOST_REMOVED
    return {
        "findings": findings,
        "suggestion": "omission" if omits else "equal SNR",
        "removed": analysis.removed if omits else 0.0,
        "holes": float((analysis.kept == 0).mean()) if omits else 0.0,
    }


if __name__ == "__main__":
    for name in sys.stdin:
        print(json.dumps(answer(np.load(name.strip())["x"])), flush=True)
