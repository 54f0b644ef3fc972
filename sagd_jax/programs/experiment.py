"""The program `python -m sagd_jax.experiment`: runs the arms of an experiment, and collects their figures.

Every arm is trained and evaluated by the programs that people use, once per seed, seed after seed. What
is done is left alone: stopped or killed, the same command goes on, and ends with the file of figures of
an undisturbed run. That file is written anew after every arm.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.system import child, exits
from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import write_whole
from sagd_jax.system.places import check_place
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.experiment import Experiment
    from sagd_jax.system.signals import StopRequest

PLATFORMS = ("cuda", "rocm", "tpu", "cpu")
WAIT = 120.0  # seconds for the programs of a runner that was killed to save and end


class RunnerError(ForPeople, RuntimeError):
    """An experiment that cannot go on; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing of an experiment; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        from sagd_jax.run.experiment import read_experiment

        flags, stop = program.flags, program.stop
        if flags.together is not None:
            _leave_the_device()
        experiment = read_experiment(flags.config, program.overrides)
        name = Path(flags.config).stem
        out = Path(flags.out or Path("runs") / name).expanduser()
        file = Path(flags.json or Path("results") / f"{name}.json").expanduser()
        check_place("--out", out)
        check_place("--json", file.parent)
        arms = _chosen(parser, flags.arms, experiment)
        if flags.dry_run:
            _plan(experiment, arms, out)
            return 0
        out.mkdir(parents=True, exist_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        stop.nothing_to_save = False
        with _alone(out, stop) as lock:
            runner = Runner(experiment, out, program.overrides, stop, lock)
            units = [(arm, seed) for seed in experiment.seeds for arm in arms]
            command = ["-m", "sagd_jax.experiment", *_told(argv)]
            if flags.together is not None:
                runner.together(units, flags.config, flags.together)
            failed = runner.run(units, flags.jobs, lambda: runner.write(file, command))
        if stop.exit_status is not None:
            print("stopped; the same command goes on", flush=True)
            return stop.exit_status
        for words in failed:
            print(words, file=sys.stderr)
        print(f"wrote {file}: {len(units) - len(failed)} of {len(units)} arms and seeds")
        return exits.BAD_INPUT if failed else 0


class Runner:
    """Runs arms of an experiment in a folder.

    Args:
      experiment: what to run.
      out: its folder: `ARM/SEED/run` has the training, `ARM/SEED/*.json` what is done. Experiments whose
        arms of one name have the same fields can share it, and with it their trainings.
      overrides: `--config.field=value` flags for all arms.
      stop: ends the programs that are at work when it is asked for.
      lock: descriptor of the folder's lock, which the programs hold too: a runner that is killed leaves
        programs that still write.
    """

    def __init__(
        self,
        experiment: Experiment,
        out: Path,
        overrides: Sequence[str],
        stop: StopRequest,
        lock: int,
    ) -> None:
        self._experiment, self._out, self._stop, self._lock = experiment, out, stop, lock
        self._overrides = list(overrides)
        self._locks = {
            (arm, seed): threading.Lock() for arm in experiment.arms for seed in experiment.seeds
        }
        self._writing = threading.Lock()
        self._work: set[subprocess.Popen] = set()

    def together(self, units: Sequence[tuple[str, int]], file: str, platform: str) -> None:
        """Trains and draws on one device what can be stacked; what is left, and judging, is for `run`."""
        threading.Thread(target=self._forward, daemon=True).start()
        argv = [file, f"--out={self._out}", *self._overrides]
        argv.append("--units=" + ";".join(f"{arm}:{seed}" for arm, seed in units))
        print(
            f"training and drawing on {platform}, stacked; how far it is says {self._out / 'log.txt'}",
            flush=True,
        )
        try:
            self._call("together", argv, self._out, (), platform)
        except RunnerError as error:
            if self._stop.exit_status is None:
                raise RunnerError(f"--together={platform}: {error}") from error

    def run(self, units: Sequence[tuple[str, int]], jobs: int, after_each: Any) -> list[str]:
        """Runs arms and seeds, so many at once; returns a line for each that failed."""
        failed, begun = [], time.monotonic()
        free = child.shares(jobs)
        watcher = threading.Thread(target=self._forward, daemon=True)
        watcher.start()
        done = fresh = 0

        def work(unit: tuple[str, int]) -> tuple[str, bool]:
            cores = free.pop()
            try:
                return self._unit(*unit, cores)
            finally:
                free.append(cores)

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            tasks = {pool.submit(work, unit): unit for unit in units}
            for task in concurrent.futures.as_completed(tasks):
                arm, seed = tasks[task]
                done += 1
                try:
                    words, new = task.result()
                except RunnerError as error:
                    words, new = str(error), True
                    failed.append(f"{arm}, seed {seed}: {error}")
                if self._stop.exit_status is not None:
                    continue
                fresh += new
                left = (time.monotonic() - begun) / max(fresh, 1) * (len(units) - done)
                until = f", about {_duration(left)} left" if fresh and left else ""
                print(f"{arm}, seed {seed}: {words} ({done} of {len(units)}{until})", flush=True)
                with self._writing:
                    after_each()
        return [] if self._stop.exit_status is not None else failed

    def write(self, file: Path, command: Sequence[str]) -> None:
        """Writes the figures of all that is done."""
        from sagd_jax.evaluation.experiments import as_text, collect

        write_whole(file, as_text(collect(self._experiment, self._out, command)))

    def _unit(self, arm: str, seed: int, cores: Sequence[int]) -> tuple[str, bool]:
        begun = time.monotonic()
        trained = self._train(self._experiment.trained_as(arm), seed, cores)
        evaluated = self._evaluate(arm, seed, cores)
        if not (trained or evaluated):
            return "there already", False
        parts = [word for word, new in (("trained", trained), ("evaluated", evaluated)) if new]
        return f"{' and '.join(parts)} in {_duration(time.monotonic() - begun)}", True

    def _train(self, arm: str, seed: int, cores: Sequence[int]) -> bool:
        """Trains, unless it is done; returns whether anything was to do."""
        from sagd_jax.evaluation.experiments import TRAINED, folder, mark_trained
        from sagd_jax.run.config import RunConfig
        from sagd_jax.run.experiment import config_of
        from sagd_jax.system import schema

        with self._locks[arm, seed]:
            place = folder(self._out, arm, seed)
            config = config_of(self._experiment, arm, seed, self._overrides)
            marker = place / TRAINED
            if marker.exists():
                # Filled up with the defaults of today: an earlier version had fewer fields.
                before = schema.build(
                    RunConfig, json.loads(marker.read_text())["config"], refuse_unused=False
                )
                _require_same(marker, schema.as_dict(before), schema.as_dict(config))
                return False
            start = self._experiment.arms[arm].init_from
            argv = [f"--config={self._experiment.config}", f"--workdir={place / 'run'}"]
            argv += [*self._experiment.overrides(arm, seed), *self._overrides]
            if start is not None:
                start = self._experiment.trained_as(start)
                self._train(start, seed, cores)
                argv.append(f"--init_from={folder(self._out, start, seed) / 'run'}")
            self._call("train", argv, place, cores)
            mark_trained(place, config)
            return True

    def _evaluate(self, arm: str, seed: int, cores: Sequence[int]) -> bool:
        from sagd_jax.evaluation.experiments import evaluation_name, folder
        from sagd_jax.run.provenance import provenance

        flags = self._experiment.evaluation(arm)
        if flags is None:
            return False
        place = folder(self._out, arm, seed)
        run = folder(self._out, self._experiment.trained_as(arm), seed) / "run"
        judged = place / evaluation_name(self._experiment, arm)
        marker, told = judged.with_suffix(".json"), json.loads(json.dumps(flags))
        if marker.exists():
            return False
        argv = [f"--workdir={run}", f"--out={judged}"]
        argv += [flag(name, value) for name, value in flags.items()]
        self._call("evaluate", argv, place, cores)
        content = {
            "flags": told,
            "figures": json.loads((judged / "evaluation.json").read_text())["results"],
            "provenance": provenance([]),
        }
        write_whole(marker, json.dumps(content, indent=1) + "\n")
        return True

    def _call(
        self,
        program: str,
        argv: Sequence[str],
        place: Path,
        cores: Sequence[int],
        platform: str | None = None,
    ) -> None:
        """Runs a program to its end; its words go to a log."""
        if self._stop.exit_status is not None:
            raise RunnerError("stopped")
        place.mkdir(parents=True, exist_ok=True)
        log = place / "log.txt"
        with log.open("ab") as file:
            process = child.start(program, argv, file, cores, [self._lock], platform)
            self._work.add(process)
            try:
                status = process.wait()
            finally:
                self._work.discard(process)
        if status:
            last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            said = last[-1] if last else "it said nothing"
            raise RunnerError(f"{program} ended with status {status}: {said} (all of it in {log})")

    def _forward(self) -> None:
        """Asks the programs at work to save and end, once this one is asked to."""
        while self._stop.wait(1.0) is None:
            pass
        for process in list(self._work):
            process.terminate()


@contextlib.contextmanager
def _alone(out: Path, stop: StopRequest) -> Iterator[int]:
    """Holds the folder of an experiment; its programs hold it too, until the last of them has ended."""
    import fcntl

    handle = os.open(out / "runner.lock", os.O_RDWR | os.O_CREAT, 0o644)
    begun, said = time.monotonic(), False
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - begun > WAIT or stop.exit_status is not None:
                    raise RunnerError(
                        f"--out={out}: another process runs this experiment; stop it, or give another "
                        "folder"
                    ) from None
                if not said:
                    print(f"waiting for the programs of an earlier run in {out} to end", flush=True)
                    said = True
                stop.wait(0.5)
        yield handle
    finally:
        os.close(handle)


def _leave_the_device() -> None:
    """Keeps this process and its programs to the CPU: an accelerator is for the one that has stacks."""
    import jax

    os.environ["JAX_PLATFORMS"] = "cpu"
    jax.config.update("jax_platforms", "cpu")


def _require_same(marker: Path, old: Any, new: Any) -> None:
    if old == new:
        return
    raise RunnerError(
        f"the experiment has changed since {marker.parent} was made; delete that folder to have it made "
        "anew, or give another --out"
    )


def _chosen(parser: Parser, text: str | None, experiment: Experiment) -> list[str]:
    from sagd_jax.run.experiment import slug

    if text is None:
        return list(experiment.arms)
    known = {**{slug(name): name for name in experiment.arms}, **{n: n for n in experiment.arms}}
    chosen = [part.strip() for part in text.split(";")]
    for name in chosen:
        if name not in known:
            parser.error(f"--arms: no arm {name!r}; there are {'; '.join(experiment.arms)}")
    return [known[name] for name in chosen]


def _plan(experiment: Experiment, arms: Sequence[str], out: Path) -> None:
    from sagd_jax.evaluation.experiments import TRAINED, evaluation_name, folder

    for arm in arms:
        as_arm = experiment.trained_as(arm)
        trained = sum((folder(out, as_arm, s) / TRAINED).exists() for s in experiment.seeds)
        marker = f"{evaluation_name(experiment, arm)}.json"
        evaluated = sum((folder(out, arm, s) / marker).exists() for s in experiment.seeds)
        shared = "" if as_arm == arm else f", with {as_arm}"
        print(f"{arm}: {trained} of {len(experiment.seeds)} trained{shared}, {evaluated} evaluated")


def flag(name: str, value: Any) -> str:
    """A value as the flag of a program.

    >>> flag("num_steps", (4, 8)), flag("clip", False)
    ('--num_steps=4,8', '--no-clip')
    """
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"--{name}={text}"


def _told(argv: Sequence[str] | None) -> list[str]:
    """The flags that say what was run, without those that say where or how many at once."""
    words = sys.argv[1:] if argv is None else argv
    return [word for word in words if not word.startswith(("--out", "--json", "--jobs"))]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.experiment",
        description="Train and evaluate all arms of an experiment with all seeds, what is done left "
        "alone. Running the same command again goes on.",
        epilog="Any field of the config can be set for all arms: --config.train.num_steps=1000. Exit "
        "status: 0 finished, 2 bad input or arms that failed, 75 stopped by SIGTERM, 130 by Ctrl-C.",
    )
    parser.add_argument(
        "config", metavar="FILE", help="an experiment, such as experiments/family.py"
    )
    parser.add_argument("--out", help="folder of its runs (default: of its name, in runs)")
    parser.add_argument("--json", help="file of its figures (default: of its name, in results)")
    parser.add_argument("--arms", help="only these, with semicolons between; default: all")
    parser.add_argument(
        "--jobs",
        type=at_least(1),
        default=1,
        help="trainings at once, each on its share of the cores: small networks use one core best",
    )
    parser.add_argument(
        "--together",
        metavar="PLATFORM",
        choices=PLATFORMS,
        help="train the arms and seeds that differ in numbers alone as one program, and draw their samples, on "
        f"one device of this platform ({', '.join(PLATFORMS)}); all else is done on the CPU. For accelerators, "
        "of which a small network leaves most idle",
    )
    parser.add_argument("--dry_run", action="store_true", help="say what is there, and stop")
    return parser
