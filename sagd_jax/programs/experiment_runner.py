"""What runs the arms of an experiment: the programs, one after the other or several at once, what is done left alone."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.show.bars import duration
from sagd_jax.system import child
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import write_whole

if TYPE_CHECKING:
    from sagd_jax.run.experiment import Experiment
    from sagd_jax.system.signals import StopRequest


class RunnerError(ForPeople, RuntimeError):
    """An experiment that cannot go on; the message is one line."""


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

    @property
    def out(self) -> Path:
        """Its folder."""
        return self._out

    def call_together(self, work: Any, platform: str) -> None:
        """As the function `together`, with folders in the places of runners; the log is in this one's."""
        threading.Thread(target=self._forward, daemon=True).start()
        print(
            f"training and drawing on {platform}, stacked; how far it is says {self._out / 'log.txt'}",
            flush=True,
        )
        try:
            argv = [f"--work={json.dumps(work)}", *self._overrides]
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
                until = f", about {duration(left)} left" if fresh and left else ""
                print(f"{arm}, seed {seed}: {words} ({done} of {len(units)}{until})", flush=True)
                with self._writing:
                    after_each()
        return [] if self._stop.exit_status is not None else failed

    def write(self, file: Path, command: Sequence[str]) -> None:
        """Writes the figures of all that is done, if anything is."""
        from sagd_jax.evaluation.done import keep_others
        from sagd_jax.evaluation.experiments import as_text, collect

        figures = collect(self._experiment, self._out, command, self._overrides)
        if not figures["arms"]:
            return
        if aside := keep_others(file, figures):
            print(f"{file} had figures that {self._out} has not: kept as {aside}", flush=True)
        write_whole(file, as_text(figures))

    def _unit(self, arm: str, seed: int, cores: Sequence[int]) -> tuple[str, bool]:
        from sagd_jax.evaluation.done import noted

        begun = time.monotonic()
        if noted(self._experiment, self._out, arm, seed, self._overrides):
            return "known", False
        trained = self._train(self._experiment.trained_as(arm), seed, cores)
        evaluated = self._evaluate(arm, seed, cores)
        if not (trained or evaluated):
            return "there already", False
        parts = [word for word, new in (("trained", trained), ("evaluated", evaluated)) if new]
        return f"{' and '.join(parts)} in {duration(time.monotonic() - begun)}", True

    def _train(self, arm: str, seed: int, cores: Sequence[int]) -> bool:
        """Trains, unless it is done; returns whether anything was to do."""
        from sagd_jax.evaluation.done import TRAINED, folder
        from sagd_jax.evaluation.experiments import mark_trained
        from sagd_jax.run.experiment import config_of

        with self._locks[arm, seed]:
            place = folder(self._out, arm, seed)
            config = config_of(self._experiment, arm, seed, self._overrides)
            if (place / TRAINED).exists():
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
        from sagd_jax.evaluation.done import evaluation_name, folder
        from sagd_jax.run.experiment import config_of
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
        data = config_of(self._experiment, arm, seed, self._overrides).data.dir
        if data and "dir" not in flags:  # the experiment is ours, and says where its data are
            argv.append(f"--dir={data}")
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


def together(work: Sequence[tuple[str, Runner, Sequence[tuple[str, int]]]], platform: str) -> None:
    """Trains and draws on one device what can be stacked; what is left, and judging, is for `Runner.run`.

    Args:
      work: for each experiment its file, its runner, and the arms and seeds that are wanted.
      platform: of JAX.

    Raises:
      RunnerError: it could not be done, unless a signal ended it.
    """
    if work:
        first = work[0][1]
        first.call_together([(file, str(one.out), list(new)) for file, one, new in work], platform)


def flag(name: str, value: Any) -> str:
    """A value as the flag of a program.

    >>> flag("num_steps", (4, 8)), flag("clip", False)
    ('--num_steps=4,8', '--no-clip')
    """
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"--{name}={text}"
