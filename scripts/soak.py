"""Kills and stops real training runs at random moments, and checks that nothing is ever lost.

    python scripts/soak.py                          # 60 SIGKILLs, 20 SIGTERMs: half an hour on 2 cores
    python scripts/soak.py --kills=6 --terms=2 --out=/tmp/soak.json
    python scripts/soak.py --show                   # the table in results/soak.json, for people

Each run of a tiny network, of one process or of two, is started again after every signal until it
finishes. A signal comes at a moment that is drawn uniformly over the length of an undisturbed start:
while the program starts up, compiles, trains, saves or draws samples. Of two processes one, at
random, gets the signal; after a SIGKILL the other is killed too, as schedulers do. Checked are

* the exit status: 75 after SIGTERM, of both processes;
* that the next start goes on from the newest complete checkpoint, and from scratch only where there
  is none: no step is lost beyond it;
* that nothing temporary is left once the next start is under way;
* that the final parameters, their average and the optimiser's state are those of an undisturbed run
  with as many processes, bit for bit.

Exits with 1 if one of them fails; results/soak.json has a line for every signal.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CONFIG = """
import sagd_jax as sagd


def get_config():
    config = sagd.default_config()
    config.noise.kind, config.noise.alpha = "power_law", -0.5
    config.model.unet.block_out_channels = (16,)
    config.model.unet.layers_per_block = 1
    config.model.unet.mid_attention = False
    config.model.unet.norm_num_groups = 4
    config.train.num_steps, config.train.batch_size = 120, 32
    config.log.every = 10
    config.checkpoint.every = 8
    config.preview.every, config.preview.num_samples = 40, 16
    return config
"""
OUT = ROOT / "results" / "soak.json"
LIMIT = 300.0  # seconds for one start


class Start:
    """One start of the program, in one or two processes, with what it prints in files."""

    def __init__(self, folder: Path, name: str, count: int) -> None:
        self.workdir = folder / name
        self.count = count
        self._logs = [folder / f"{name}.{i}.log" for i in range(count)]
        flags = [f"--config={folder / 'config.py'}", f"--workdir={self.workdir}"]
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.processes = []
        for i, log in enumerate(self._logs):
            more = []
            if count > 1:
                more = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={count}"]
                more += [f"--process_id={i}", "--peer_timeout=60", "--config.train.num_steps=56"]
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, str(ROOT / "train.py"), *flags, *more],
                    env={
                        **os.environ,
                        "JAX_PLATFORMS": "cpu",
                        "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
                        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                    },
                    stdout=log.open("w"),
                    stderr=subprocess.STDOUT,
                )
            )

    def wait(self, seconds: float = LIMIT) -> list[int | None]:
        """Exit statuses; None for one that does not end, which is then killed."""
        deadline = time.monotonic() + seconds
        statuses: list[int | None] = []
        for process in self.processes:
            try:
                statuses.append(process.wait(max(deadline - time.monotonic(), 0.01)))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                statuses.append(None)
        return statuses

    def said(self, process: int = 0) -> str:
        """What it has printed so far."""
        return self._logs[process].read_text(errors="replace")

    def phase(self) -> str:
        """What it seems to be doing."""
        words = self.said()
        if not re.search(r"^(starting|resuming)", words, re.MULTILINE):
            return "start-up"
        if not re.search(r"^step \d+/", words.split("; ")[-1], re.MULTILINE):
            return "compilation"
        staged = self.workdir / "checkpoints" / "staging"
        if staged.exists() and any(staged.iterdir()):
            return "save"
        steps = [int(s) for s in re.findall(r"^step (\d+)/", words, re.MULTILINE)]
        drawn = self.workdir / "previews" / f"step_{steps[-1]:08d}.png" if steps else None
        if drawn is not None and steps[-1] % 40 == 0 and not drawn.exists():
            return "samples"
        return "steps"


def newest_step(workdir: Path) -> int | None:
    """The newest complete checkpoint, by its directory alone."""
    names = [p.name for p in (workdir / "checkpoints").glob("*")]
    return max((int(n) for n in names if n.isdigit()), default=None)


def temporary_files(workdir: Path, cache: Path) -> set[tuple[Path, int]]:
    """What a start must clear away if it finds it; with inodes, since it may make the like again."""
    found = set((workdir / "checkpoints" / "staging").glob("*"))
    found |= set(workdir.glob("checkpoints/*tmp*")) | set((cache / "writing").glob("*"))
    return {(path, path.stat().st_ino) for path in found}


def final_state(workdir: Path) -> dict[str, Any]:
    """All arrays of the newest checkpoint, by name."""
    import logging

    import jax
    import numpy as np
    import orbax.checkpoint as ocp

    logging.getLogger("absl").setLevel(logging.ERROR)

    from sagd_jax.run.checkpoints import Checkpoints

    saved = Checkpoints(workdir, read_only=True).open()
    arrays = {"step": np.asarray(saved.step)}
    for item in ("params", "ema", "opt_state"):
        with ocp.StandardCheckpointer() as reader:
            stored = reader.metadata(saved.path / item).item_metadata.tree
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), stored)
        for path, leaf in jax.tree.leaves_with_path(saved.restore({item: shapes})):
            arrays[jax.tree_util.keystr(path)] = np.asarray(leaf)
    return arrays


def check_start(start: Start, before: int | None, left: set[tuple[Path, int]]) -> list[str]:
    """Complaints about how a start took up the run, from what it has printed."""
    words = start.said()
    taken = re.search(r"^(starting a new run|resuming at step (\d+))", words, re.MULTILINE)
    if taken is None:
        return []
    complaints = []
    resumed = None if taken[2] is None else int(taken[2])
    if resumed != before:
        complaints.append(f"it took up step {resumed}, the newest complete one was {before}")
    for path, inode in left:
        if path.exists() and path.stat().st_ino == inode:
            complaints.append(f"{path} was left")
    return complaints


def disturb(
    start: Start, number: signal.Signals, moment: float, choose: random.Random
) -> dict[str, Any]:
    """Sends the signal; returns what happened, or nothing if the run was over before."""
    began = time.monotonic()
    while time.monotonic() - began < moment:
        if start.processes[0].poll() is not None:
            return {}
        time.sleep(0.01)
    phase = start.phase()
    victim = choose.randrange(start.count)
    sent = time.monotonic()
    start.processes[victim].send_signal(number)
    if number == signal.SIGKILL:
        time.sleep(choose.uniform(0, 1))
        for process in start.processes:
            process.kill()
        start.wait()
        return {"signal": number.name, "phase": phase, "after": round(moment, 2)}
    met = start.count == 1 or "devices" in start.said()
    # Before the processes have met, one that leaves is waited for until a time-out.
    status = start.processes[victim].wait(LIMIT)
    if not met:
        for process in start.processes:
            process.kill()
    statuses = start.wait()
    result = {"signal": number.name, "phase": phase, "after": round(moment, 2)}
    result["seconds to exit"] = round(time.monotonic() - sent, 2)
    if status == 0 and statuses[0] == 0:
        return {}  # it finished before it could act on the signal
    if statuses != [75] * start.count and met:
        result["complaints"] = [f"exit statuses {statuses} after SIGTERM: {start.said()[-500:]}"]
    return result


def soak(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs it all; returns the table."""
    from sagd_jax.run.provenance import provenance

    choose = random.Random(flags.seed)
    (folder / "config.py").write_text(CONFIG)
    cache = folder / "cache"
    references, lengths = {}, {}
    for count in (1, 2):
        lengths[count] = []
        for name in (f"reference{count}", f"again{count}"):  # the second finds what is compiled
            began = time.monotonic()
            start = Start(folder, name, count)
            if start.wait() != [0] * count:
                raise SystemExit(f"an undisturbed run failed:\n{start.said()}")
            lengths[count].append(time.monotonic() - began)
        references[count] = final_state(folder / f"reference{count}")
        print(f"{count} process(es): {lengths[count][-1]:.1f} s undisturbed", flush=True)
    left_over = collections.Counter({"SIGKILL": flags.kills, "SIGTERM": flags.terms})
    events, runs = [], []
    while left_over.total() or len(runs) < flags.runs:
        index = len(runs)
        count = 2 if index % 4 == 3 else 1
        share = max(1, flags.runs - index)
        plan = []
        for name in ("SIGKILL", "SIGTERM"):
            plan += [name] * -(-left_over[name] // share)
        choose.shuffle(plan)
        name = f"run{index:02d}"
        workdir = folder / name
        complaints: list[str] = []
        starts = 0
        for wanted in [*plan, None]:
            before, left = newest_step(workdir), temporary_files(workdir, cache)
            start = Start(folder, name, count)
            starts += 1
            if wanted is None:
                statuses = start.wait()
                if statuses != [0] * count:
                    complaints.append(f"it did not finish: {statuses}: {start.said()[-800:]}")
                complaints += check_start(start, before, left)
                break
            moment = choose.uniform(0.05, 1.0) * lengths[count][-1]
            event = disturb(start, signal.Signals[wanted], moment, choose)
            complaints += check_start(start, before, left)
            if not event:
                break  # finished: what is left of the plan goes to other runs
            complaints += event.pop("complaints", [])
            left_over[wanted] -= 1
            events.append({"run": index, "processes": count, **event})
        final, expected = final_state(workdir), references[count]
        different = [
            name
            for name in expected
            if name not in final or final[name].tobytes() != expected[name].tobytes()
        ]
        if different or final.keys() != expected.keys():
            complaints.append(f"other arrays than the undisturbed run: {different[:5]}")
        orphans = temporary_files(workdir, cache)
        complaints += [f"{path} was left at the end" for path, _ in orphans]
        runs.append(
            {"processes": count, "starts": starts, "equal": not different, "complaints": complaints}
        )
        complaints = [words.replace(f"{folder}/", "") for words in complaints]
        words = "; ".join(complaints) or "equal bit for bit"
        print(f"run {index} of {count} process(es), {starts} starts: {words}", flush=True)
    return {**provenance(sys.argv), "seed": flags.seed, "runs": runs, "signals": events}


def show(result: dict[str, Any]) -> str:
    """The table as Markdown."""
    phases = ("start-up", "compilation", "steps", "save", "samples")
    lines = ["| processes | signal | " + " | ".join(phases) + " | in all |", "|---" * 8 + "|"]
    for count in (1, 2):
        for name in ("SIGKILL", "SIGTERM"):
            found = collections.Counter(
                e["phase"]
                for e in result["signals"]
                if e["processes"] == count and e["signal"] == name
            )
            cells = [str(found[phase]) for phase in phases]
            lines.append(f"| {count} | {name} | {' | '.join(cells)} | {found.total()} |")
    waits = sorted(e["seconds to exit"] for e in result["signals"] if e["signal"] == "SIGTERM")
    bad = sum(bool(run["complaints"]) for run in result["runs"])
    equal = sum(run["equal"] for run in result["runs"])
    lines.append("")
    lines.append(
        f"{len(result['runs'])} runs, {sum(r['starts'] for r in result['runs'])} starts: {equal} ended "
        f"bit for bit as an undisturbed run, {bad} with a complaint. From SIGTERM to exit: median "
        f"{waits[len(waits) // 2]:.1f} s, at most {waits[-1]:.1f} s."
    )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--runs", type=int, default=20, help="at least so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--show", action="store_true", help="print the table of --out, run nothing")
    flags = parser.parse_args()
    if flags.show:
        print(show(json.loads(flags.out.read_text())))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        result = soak(flags, Path(folder))
    flags.out.write_text(json.dumps(result, indent=1) + "\n")
    print(show(result))
    return int(any(run["complaints"] for run in result["runs"]))


if __name__ == "__main__":
    sys.exit(main())
