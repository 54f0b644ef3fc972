"""Two workers side by side: each in a process of its own, at work in turns, medians of the rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class WorkerError(RuntimeError):
    """A worker ended before its time; the message is the end of what it said."""


class Worker:
    """A process that runs `cases.serve`."""

    def __init__(self, command: list[str]) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.about = self._answer()

    def times(self, count: int) -> dict[str, float]:
        """Seconds per performance, of so many."""
        assert self._process.stdin
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return {name: seconds / count for name, seconds in self._answer().items()}

    def end(self) -> dict[str, float]:
        """Ends the process; its memory."""
        assert self._process.stdin
        self._process.stdin.close()
        memory = self._answer()
        self._process.wait()
        return memory

    def _answer(self) -> Any:
        assert self._process.stdout and self._process.stderr
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise WorkerError(self._process.stderr.read().strip()[-1500:])


def compare(commands: dict[str, list[str]], rounds: int, seconds: float) -> dict[str, Any]:
    """Runs the workers in turns.

    Args:
      commands: of each side, `ours` and `theirs`.
      rounds: turns of each.
      seconds: of a turn, about.

    Returns:
      for each side what it said of itself, the median seconds of a performance, `wall` and `cpu` (of all
      cores), every round's, and its memory; and the ratios, with the range over the rounds.
    """
    workers = {side: Worker(command) for side, command in commands.items()}
    times: dict[str, list[dict[str, float]]] = {side: [] for side in workers}
    counts = {
        side: max(1, round(seconds / max(worker.times(1)["wall"], 1e-6)))
        for side, worker in workers.items()
    }
    for _ in range(rounds):
        for side, worker in workers.items():
            times[side].append(worker.times(counts[side]))
    result: dict[str, Any] = {}
    for side, worker in workers.items():
        median = {n: statistics.median(row[n] for row in times[side]) for n in ("wall", "cpu")}
        result[side] = {**worker.about, **median, "rounds": times[side], **worker.end()}
    for name in ("wall", "cpu"):
        ratios = [a[name] / b[name] for a, b in zip(times["ours"], times["theirs"], strict=True)]
        result[f"{name} ratio"] = result["ours"][name] / result["theirs"][name]
        result[f"{name} ratios"] = [min(ratios), max(ratios)]
    result["memory ratio"] = result["ours"]["peak MiB"] / result["theirs"]["peak MiB"]
    return result
