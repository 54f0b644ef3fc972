"""The part `train`: short runs of train.py and sample.py, and their loss curves."""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.configurations import CONFIG_FILE, run_values
from benchmarks.gpu.processes import ROOT, environment


def run_training(flags: argparse.Namespace, arm: str, out: Path) -> dict[str, Any]:
    """Trains one arm for `--seconds`, draws its grid, and returns its figures."""
    folder = Path(flags.workdir) / arm
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = folder / "config.py"
    config.write_text(CONFIG_FILE.format(values=run_values(flags, arm)))
    run = folder / "run"
    start = time.monotonic()
    command = [sys.executable, str(ROOT / "train.py"), f"--config={config}", f"--workdir={run}"]
    status = stopped_after(flags.seconds, command, environment(flags))
    result: dict[str, Any] = {
        "arm": arm,
        "config": run_values(flags, arm) | {"data": "CIFAR-10, flipped at random"},
        "exit_status": status,
        "seconds": round(time.monotonic() - start, 1),
    }
    metrics = run / "metrics.jsonl"
    lines = (
        [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
    )
    if lines:
        timed = [line for line in lines if "images_per_second" in line]
        late = timed[len(timed) // 2 :]
        result |= {
            "steps": lines[-1]["step"],
            "images_per_second": statistics.median(line["images_per_second"] for line in late),
            "data_wait_share": statistics.median(line["data_wait_share"] for line in late),
            "skipped_steps": sum(line["skipped"] for line in lines),
            "curve": thinned(lines),
        }
    if status != 75:
        result["error"] = "expected the status 75 of a run that was stopped and saved"
        return result
    start = time.monotonic()
    samples = folder / "samples"
    command = [sys.executable, str(ROOT / "sample.py"), f"--workdir={run}", f"--out={samples}"]
    command += [
        f"--num_samples={16 if flags.tiny else 64}",
        f"--num_steps={5 if flags.tiny else 50}",
    ]
    done = subprocess.run(command, env=environment(flags), capture_output=True, text=True)
    if done.returncode:
        result["error"] = f"sample.py: {done.stderr.strip()[-1000:]}"
        return result
    result["sampling_seconds"] = round(time.monotonic() - start, 1)
    shutil.copy(samples / "grid.png", out / f"grid_{arm}.png")
    return result


def stopped_after(seconds: float, command: list[str], environment: dict[str, str]) -> int:
    """Runs a command, asks it to stop after so many seconds, and returns its exit status."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def thinned(lines: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most so many of the log lines, the last one among them, with the columns of interest."""
    every = -(-len(lines) // most)
    names = ("step", "loss", "loss_t1of4", "loss_t4of4", "gradient_norm", "images_per_second")
    chosen = lines[::-1][::every][::-1]
    return [{name: line[name] for name in names if name in line} for line in chosen]


def draw_curves(results: dict[str, Any], file: Path) -> None:
    """The loss curves of all arms in one picture; without matplotlib there is none."""
    if importlib.util.find_spec("matplotlib") is None:
        print("loss.png: skipped, there is no matplotlib here", flush=True)
        return
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for arm, result in results.items():
        curve = [line for line in result.get("curve", []) if "loss" in line]
        axes.plot([line["step"] for line in curve], [line["loss"] for line in curve], label=arm)
    axes.set(xlabel="step", ylabel="training loss", yscale="log")
    axes.legend()
    figure.savefig(file, dpi=120)
