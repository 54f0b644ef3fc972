"""The program `python -m sagd_jax.experiment`: runs the arms of an experiment, and collects their figures.

Every arm is trained and evaluated by the programs that people use, once per seed, seed after seed. What
is done is left alone: stopped or killed, the same command goes on, and ends with the file of figures of
an undisturbed run. That file is written anew after every arm. Where the folder is gone, `--known` goes on from
the file. Several experiments can be given at once: with `--together`, what any two of them have in one program
is one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.programs.chosen_sampler import asked_sampler
from sagd_jax.programs.evaluation_flags import evaluation_parser
from sagd_jax.programs.experiment_runner import Runner, RunnerError, flag, together
from sagd_jax.system import exits
from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.places import check_place
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.experiment import Experiment
    from sagd_jax.system.signals import StopRequest

PLATFORMS = ("cuda", "rocm", "tpu", "cpu")
WAIT = 120.0  # seconds for the programs of a runner that was killed to save and end


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing of an experiment; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        flags, stop = program.flags, program.stop
        if flags.together is not None:
            _leave_the_device()
        tasks = _tasks(parser, flags, program.overrides)
        for task in tasks:
            check_place("--out", task.out)
            check_place("--json", task.file.parent)
            task.check()
        if flags.dry_run:
            for task in tasks:
                if len(tasks) > 1:
                    print(f"{task.config}:")
                task.say_plan()
            return 0
        for task in tasks:
            task.out.mkdir(parents=True, exist_ok=True)
            task.file.parent.mkdir(parents=True, exist_ok=True)
        stop.nothing_to_save = False
        failed: list[str] = []
        with contextlib.ExitStack() as held:
            runners = []
            for task in tasks:
                lock = held.enter_context(_alone(task.out, stop))
                task.take_known()
                runners.append(Runner(task.experiment, task.out, program.overrides, stop, lock))
            command = ["-m", "sagd_jax.experiment", *_told(argv)]
            if flags.together is not None:
                of_all = zip(tasks, runners, strict=True)
                work = [(task.config, runner, task.new) for task, runner in of_all]
                together([one for one in work if one[-1]], flags.together)
            for task, runner in zip(tasks, runners, strict=True):
                if len(tasks) > 1:
                    print(f"{task.config}:", flush=True)
                write = functools.partial(runner.write, task.file, command)
                wrong = runner.run(task.units, flags.jobs, write)
                if stop.exit_status is not None:
                    print("stopped; the same command goes on", flush=True)
                    return stop.exit_status
                done = len(task.units) - len(wrong)
                if done:
                    words = f"{done} of {len(task.units)} arms and seeds"
                    print(f"wrote {task.file}: {words}", flush=True)
                failed += wrong
        for words in failed:
            print(words, file=sys.stderr)
        return exits.BAD_INPUT if failed else 0


@dataclasses.dataclass(frozen=True)
class _Task:
    """One experiment, and where what is of it lies."""

    config: str
    experiment: Experiment
    arms: Sequence[str]
    out: Path
    file: Path
    known: Path | None
    overrides: Sequence[str]

    @property
    def units(self) -> list[tuple[str, int]]:
        """Arms and seeds, in the order in which they are run."""
        return [(arm, seed) for seed in self.experiment.seeds for arm in self.arms]

    @property
    def new(self) -> list[tuple[str, int]]:
        """Those of which no figures of an earlier run are noted."""
        from sagd_jax.evaluation.done import noted

        of = self.experiment, self.out
        return [unit for unit in self.units if noted(*of, *unit, self.overrides) is None]

    def check(self) -> None:
        """Refuses what would fail after hours: where figures go, what is there already, flags of evaluations."""
        from sagd_jax.evaluation.done import check_file, check_unchanged

        check_file("--json", self.file)
        check_unchanged(self.experiment, self.out, self.units, self.overrides)
        for arm in self.arms:
            if fault := _fault_of_evaluation(self.experiment.evaluation(arm)):
                raise RunnerError(f"{self.config}: arm {arm!r}: evaluate: {fault}")

    def take_known(self) -> None:
        """Notes what the file of an earlier run has."""
        from sagd_jax.evaluation.done import take

        if self.known is not None:
            self._say_known(take(self.experiment, self.out, self.known, self.overrides))

    def say_plan(self) -> None:
        """Prints what there is already."""
        from sagd_jax.evaluation.done import known

        told: Collection[tuple[str, int]] = ()
        if self.known is not None:
            told = known(self.experiment, self.known, self.overrides)
            self._say_known(told)
        _plan(self.experiment, self.arms, self.out, self.overrides, told)

    def _say_known(self, found: Sized) -> None:
        print(f"{self.known} has {len(found)} arms and seeds with these settings", flush=True)


def _tasks(parser: Parser, flags: Any, overrides: Sequence[str]) -> list[_Task]:
    # Imported late: a misspelt flag should not wait for the libraries.
    from sagd_jax.run.experiment import read_experiment

    names = [Path(config).stem for config in flags.config]
    several = len(names) > 1
    if several and flags.arms is not None:
        parser.error("--arms: of one experiment; there are several here")
    if len(set(names)) < len(names):
        parser.error(f"FILE: {', '.join(flags.config)}: expected names that differ")

    def place(flag: str | None, usual: Path, name: str) -> Path:
        if flag is None:
            return usual / name
        return (Path(flag) / name if several else Path(flag)).expanduser()

    tasks = []
    for config, name in zip(flags.config, names, strict=True):
        experiment = read_experiment(config, overrides)
        known = None if flags.known is None else place(flags.known, Path(), f"{name}.json")
        if several and known is not None and not known.exists():
            known = None  # a folder need not have a file of each
        tasks.append(
            _Task(
                config,
                experiment,
                _chosen(parser, flags.arms, experiment),
                place(flags.out, Path("runs"), name),
                place(flags.json, Path("results"), f"{name}.json"),
                known,
                overrides,
            )
        )
    if flags.known is not None and all(task.known is None for task in tasks):
        parser.error(
            f"--known={flags.known}: it has no {', '.join(f'{name}.json' for name in names)}"
        )
    return tasks


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


def _fault_of_evaluation(options: Mapping[str, Any] | None) -> str | None:
    """What is wrong with the flags of an arm's evaluation, as far as it can be said without a run."""
    from sagd_jax.evaluation.features import EvaluationError
    from sagd_jax.evaluation.judge import NEEDS, parse

    parser = evaluation_parser()

    def metrics(flags: argparse.Namespace) -> None:
        try:
            parse(flags.metrics or (), True, NEEDS)
        except EvaluationError as error:
            parser.error(str(error))

    argv = [flag(name, value) for name, value in (options or {}).items()]
    sampler = functools.partial(asked_sampler, parser)
    return parser.fault(["--workdir=RUN", *argv], sampler, metrics)


def _leave_the_device() -> None:
    """Keeps this process and its programs to the CPU: an accelerator is for the one that has stacks."""
    import jax

    os.environ["JAX_PLATFORMS"] = "cpu"
    jax.config.update("jax_platforms", "cpu")


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


def _plan(
    experiment: Experiment,
    arms: Sequence[str],
    out: Path,
    overrides: Sequence[str],
    told: Collection[tuple[str, int]],
) -> None:
    """Prints what there is of each arm; `told` has the arms and seeds that the file of --known has."""
    from sagd_jax.evaluation.done import TRAINED, evaluation_name, folder, is_here, noted

    for arm in arms:
        as_arm = experiment.trained_as(arm)
        trained = sum((folder(out, as_arm, s) / TRAINED).exists() for s in experiment.seeds)
        marker = f"{evaluation_name(experiment, arm)}.json"
        evaluated = sum((folder(out, arm, s) / marker).exists() for s in experiment.seeds)
        shared = "" if as_arm == arm else f", with {as_arm}"
        before = sum(
            ((arm, s) in told and not is_here(experiment, out, arm, s))
            or noted(experiment, out, arm, s, overrides) is not None
            for s in experiment.seeds
        )
        known = f", {before} known from a file" if before else ""
        count = len(experiment.seeds)
        print(f"{arm}: {trained} of {count} trained{shared}, {evaluated} evaluated{known}")


def _told(argv: Sequence[str] | None) -> list[str]:
    """The flags that say what was run, without those that say where or how many at once."""
    told, where = [], False
    for word in sys.argv[1:] if argv is None else argv:
        if where:  # what belongs to the flag before
            where = False
        elif word.partition("=")[0] in ("--out", "--json", "--jobs", "--known"):
            where = "=" not in word
        else:
            told.append(word)
    return told


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.experiment",
        description="Train and evaluate all arms of an experiment with all seeds, what is done left "
        "alone. Running the same command again goes on.",
        epilog="Any field of the config can be set for all arms: --config.train.num_steps=1000. Exit "
        "status: 0 finished, 2 bad input or arms that failed, 75 stopped by SIGTERM, 130 by Ctrl-C.",
    )
    parser.add_argument(
        "config",
        metavar="FILE",
        nargs="+",
        help="an experiment, such as experiments/family.py; of several, --out, --json and --known are folders "
        "that have what is of each under its name",
    )
    parser.add_argument("--out", help="folder of its runs (default: of its name, in runs)")
    parser.add_argument("--json", help="file of its figures (default: of its name, in results)")
    parser.add_argument(
        "--known",
        metavar="JSON",
        help="a file of figures of an earlier run: arms and seeds that it has, with the settings of this "
        "experiment, are not run again; without it, everything that --out does not have is",
    )
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
