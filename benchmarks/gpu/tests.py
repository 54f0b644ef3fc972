"""The part `tests`: the test files that a GPU can tell something about."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from benchmarks.gpu.processes import ROOT, environment

TESTS = [
    "spectral/test_transform.py",
    "spectral/test_covariance.py",
    "diffusion/test_process.py",
    "diffusion/test_samplers.py",
    "diffusion/test_sampling.py",
    "training/test_step.py",
    "diffusion/test_likelihood.py",
    "models/test_unet.py",
    "models/test_dit.py",
    "diffusion/test_losses.py",
    "spectral/test_spectra.py",
    "diffusion/test_schedules.py",
    "diffusion/test_guidance.py",
    "diffusion/test_editing.py",
    "diffusion/test_oracle.py",
    "diffusion/test_equivalence.py",
    "diffusion/test_calibration.py",
]
TINY_TESTS = ["diffusion/test_schedules.py"]


def run_tests(flags: argparse.Namespace) -> dict[str, Any]:
    """Runs the chosen test files one by one until the time is over."""
    if importlib.util.find_spec("pytest") is None:
        print("tests: skipped, there is no pytest here", flush=True)
        return {"skipped": "no pytest"}
    end = time.monotonic() + flags.test_seconds
    files: dict[str, Any] = {}
    for name in TINY_TESTS if flags.tiny else TESTS:
        left = end - time.monotonic()
        if left < 20:
            files[name] = "not run: no time left"
            continue
        found = pytest_once(flags, [f"tests/{name}"], left, {})
        files[name] = found
        again = found.get("failures", {})
        left = end - time.monotonic()
        if again and left > 20:
            highest = {"JAX_DEFAULT_MATMUL_PRECISION": "highest"}
            second = pytest_once(flags, list(again), left, highest)
            found["still failing at the highest precision"] = sorted(second.get("failures", {}))
        print(f"tests: {name}: {json.dumps(found)[:2000]}", flush=True)
    return {"platform": flags.platform, "files": files}


def pytest_once(
    flags: argparse.Namespace, chosen: list[str], seconds: float, extra: dict[str, str]
) -> dict[str, Any]:
    """Counts, time, and the first line of every failure, by the test's id."""
    report = Path(flags.workdir) / "tests.xml"
    report.unlink(missing_ok=True)
    # The options of setup.cfg ask for parallel workers, which one device cannot have.
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "--import-mode=importlib"]
    command += ["-m", "not slow", "-p", "no:cacheprovider", "-q", f"--junitxml={report}", *chosen]
    start = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment(flags) | extra,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"stopped after {seconds:.0f} s"}
    if not report.exists():
        return {"error": (done.stdout + done.stderr)[-1000:]}
    failures = {}
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    for case in cases:
        for kind in ("failure", "error"):
            if (fault := case.find(kind)) is not None:
                file = (case.get("classname") or "").replace(".", "/") + ".py"
                words = (fault.get("message") or fault.text or "").strip()
                failures[f"{file}::{case.get('name')}"] = words[:400]
    skipped = sum(case.find("skipped") is not None for case in cases)
    return {
        "passed": len(cases) - skipped - len(failures),
        "skipped": skipped,
        "failures": failures,
        "seconds": round(time.monotonic() - start, 1),
    }
