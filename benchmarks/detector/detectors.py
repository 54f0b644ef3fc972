"""The detectors that are compared, with answers of one form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detector import landed
from benchmarks.detector.judge import CORRUPTION, Answer, Finding
from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.half_grid import half_grid_shape, hermitian_multiplicity

_NINE_OF_TEN = 1.645  # standard errors


class Landed:
    """An older detector, in a process of its own that uses another checkout of the package."""

    def __init__(self, checkout: Path):
        folder = Path(checkout).resolve()
        if not (folder / "sagd_jax" / "spectral" / "anomalies.py").is_file():
            raise SystemExit(f"--baseline={checkout}: no checkout of the package from before")
        git = ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"]
        self.commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
        environment = {**os.environ, "PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
        self._process = subprocess.Popen(
            [sys.executable, landed.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __call__(self, x: np.ndarray, rate: float = 0.0) -> Answer:
        del rate  # it knew none
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "x.npz")
            np.savez(name, x=x)
            print(name, file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process of the baseline has ended")
        return _from_json(json.loads(line), x.shape[1:-1])

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _from_json(told: dict[str, Any], spatial: Sequence[int]) -> Answer:
    findings = []
    for one in told["findings"]:
        mask = np.zeros(half_grid_shape(spatial), bool)
        mask.flat[one["bins"]] = True
        lines = tuple(tuple(f) for f in one["lines"])
        findings.append(
            Finding(one["kind"], CORRUPTION, mask, low=one["low"], high=one["high"], lines=lines)
        )
    return Answer(findings, told["suggestion"], told.get("removed", 0.0), told.get("holes", 0.0))


def current(x: np.ndarray, rate: float = 0.0) -> Answer:
    """The detector of this checkout; `rate` in samples per second, of sounds."""
    result = analyse([x], sample_rate=rate or None)
    spatial = x.shape[1:-1]
    findings = []
    for one in result.findings:
        variance, interval = _total(one.variance, one.variance_error, spatial)
        findings.append(
            Finding(
                kind=one.kind,
                verdict=one.verdict,
                mask=one.mask,
                low=one.low,
                high=one.high,
                lines=tuple(one.frequencies),
                variance=variance,
                interval=interval,
                words=_words(one),
            )
        )
    omits = "omission" in result.advice[0]
    return Answer(
        findings,
        "omission" if omits else result.advice[0],
        removed=float(result.removed) if omits else 0.0,
        holes=float((result.kept == 0).mean()) if omits else 0.0,
        has=np.asarray(result.kinds) > 0,
    )


def _total(
    variance: np.ndarray | None, error: np.ndarray | None, spatial: Sequence[int]
) -> tuple[float | None, tuple[float, float] | None]:
    """N(f) summed over all coordinates, per value and mean over channels, and what it lies in."""
    if variance is None or error is None or not np.any(variance):
        return None, None
    weight = np.broadcast_to(hermitian_multiplicity(spatial), half_grid_shape(spatial))[..., None]
    per_value = weight / (np.prod(spatial) * variance.shape[-1])
    total = float((variance * per_value).sum())
    # The errors of a finding's bins are one error.
    half = _NINE_OF_TEN * float((error * per_value).sum())
    return total, (total - half, total + half)


def _words(finding: Any) -> str:
    lines = ", ".join(
        "(" + " ".join(f"{f:.4f}" for f in line) + ")" for line in finding.frequencies
    )
    where = lines or f"{finding.low:.3f} to {finding.high:.3f}"
    return (
        f"{where}, {finding.excess_db:.1f} dB, z {finding.score:.0f}, in {finding.seen_in}, share "
        f"{finding.share:.2f}"
    )
