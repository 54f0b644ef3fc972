"""What `python -m sagd_jax.experiment --together` starts: all that an accelerator is for, of experiments.

Trains the arms and seeds that are not trained, and draws the samples that their evaluations want, those that
differ in numbers alone as one program (`training/together.py`), whichever experiment they are of. What it leaves
is what the single programs leave, so the experiments go on as if these had done it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sagd_jax.system.commandline import Parser
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.draw_together import Drawn
    from sagd_jax.run.experiment import Experiment
    from sagd_jax.system.signals import StopRequest

Unit = tuple[str, int]


class Work(NamedTuple):
    """The arms and seeds that are wanted of an experiment, and its folder."""

    experiment: Experiment
    out: Path
    units: Sequence[Unit]


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and draws what is missing; returns the exit status (0, 2, 75, 130)."""
    parser = Parser(prog="python -m sagd_jax.experiment --together", description=__doc__)
    # The parser has `--config.field=value` flags where it has a config.
    parser.add_argument("--config", help=argparse.SUPPRESS)
    parser.add_argument(
        "--work", required=True, help="JSON: [FILE, OUT, [[ARM, SEED], ...]] of each"
    )
    with started(parser, argv, several=False) as program:
        from sagd_jax.run.experiment import read_experiment

        stop, overrides = program.stop, program.overrides
        all_work = [
            Work(read_experiment(file, overrides), Path(out), [(arm, seed) for arm, seed in units])
            for file, out, units in json.loads(program.flags.work)
        ]
        stop.nothing_to_save = False
        _train(all_work, overrides, stop)
        if stop.exit_status is None:
            _draw(all_work, stop)
        return stop.exit_status or 0


def _train(all_work: Sequence[Work], overrides: Sequence[str], stop: StopRequest) -> None:
    """Trains what is missing, arms that others begin from first."""
    from sagd_jax.evaluation.done import TRAINED, folder
    from sagd_jax.evaluation.experiments import mark_trained
    from sagd_jax.run.experiment import config_of
    from sagd_jax.training import together

    orders = [_in_order(work.experiment, work.units) for work in all_work]
    rounds = itertools.zip_longest(*orders, fillvalue=())
    for wanted in rounds:
        asked, places = [], {}
        of_all = zip(all_work, wanted, strict=True)
        for work, arm, seed in [(work, *unit) for work, units in of_all for unit in units]:
            place = folder(work.out, arm, seed)
            config = config_of(work.experiment, arm, seed, overrides)
            if (place / TRAINED).exists() or config.em.rounds:
                continue
            begin = work.experiment.arms[arm].init_from
            init_from = None
            if begin is not None:
                start = work.experiment.trained_as(begin)
                init_from = str(folder(work.out, start, seed) / "run")
            asked.append(together.Asked(config, place / "run", init_from))
            places[place / "run"] = place
        for group in together.groups(together.assembled(asked)):
            begun = time.monotonic()
            done = together.train(group, stop, lambda words: print(words, flush=True))
            for member in done:
                mark_trained(places[member.asked.workdir], member.config)
            print(
                f"trained {len(done)} of {len(group)} runs as one program in "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )
            if stop.exit_status is not None:
                return


def _in_order(experiment: Experiment, units: Sequence[Unit]) -> list[list[Unit]]:
    """The trainings behind arms and seeds: first those that begin anew, then those that begin with these.

    There may be more of such rounds.
    """
    rounds: dict[Unit, int] = {}

    def add(arm: str, seed: int) -> int:
        arm = experiment.trained_as(arm)
        before = experiment.arms[arm].init_from
        rounds[arm, seed] = 0 if before is None else add(before, seed) + 1
        return rounds[arm, seed]

    for arm, seed in units:
        add(arm, seed)
    return [
        [unit for unit, own in rounds.items() if own == n] for n in sorted(set(rounds.values()))
    ]


def _draw(all_work: Sequence[Work], stop: StopRequest) -> None:
    """Draws the samples that are missing."""
    from sagd_jax.evaluation.done import TRAINED, evaluation_name, folder
    from sagd_jax.programs import evaluated_samples
    from sagd_jax.run import draw_together
    from sagd_jax.run.layout import local_mesh

    mesh = local_mesh()
    asked: list[Drawn] = []
    places: list[Path] = []
    for (experiment, out, _), (arm, seed) in [(w, unit) for w in all_work for unit in w.units]:
        run = folder(out, experiment.trained_as(arm), seed)
        judged = folder(out, arm, seed) / evaluation_name(experiment, arm)
        flags = experiment.evaluation(arm)
        if flags is None or judged.with_suffix(".json").exists() or not (run / TRAINED).exists():
            continue
        for one in _wanted(run / "run", flags, mesh):
            if not evaluated_samples.are_written(judged, one.num_steps, one.count, one.run):
                asked.append(one)
                places.append(judged)
    for group in draw_together.groups(asked):
        if stop.exit_status is not None:
            return
        begun = time.monotonic()
        drawn = draw_together.draw([asked[i] for i in group], mesh)
        for i, samples in zip(group, drawn, strict=True):
            if samples is not None:
                evaluated_samples.write(places[i], asked[i].num_steps, samples, asked[i].run)
        one = asked[group[0]]
        print(
            f"drew {one.count} samples in {one.num_steps} steps of {len(group)} runs as one program in "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )


def _wanted(workdir: Path, flags: dict[str, Any], mesh: Any) -> list[Drawn]:
    """What `python -m sagd_jax.evaluate` would draw by these flags; nothing where they ask for more."""
    from sagd_jax.diffusion.time_grids import GRIDS
    from sagd_jax.programs.chosen_sampler import asked_sampler, sampler_of
    from sagd_jax.programs.evaluation_flags import evaluation_parser
    from sagd_jax.programs.experiment_runner import flag
    from sagd_jax.run.draw import is_bounded
    from sagd_jax.run.draw_together import Drawn
    from sagd_jax.run.saved import load_run
    from sagd_jax.system.commandline import chosen_kind

    parser = evaluation_parser()
    told = [f"--workdir={workdir}", *(flag(name, value) for name, value in flags.items())]
    own = parser.parse_args(told)
    if own.label is not None or own.guidance != 1 or own.samples is not None:
        return []
    run = load_run(workdir, own.step, ema=not own.no_ema, mesh=mesh)
    if run.config.noise.per_class:
        return []
    sampler, num_steps = sampler_of(parser, own, run, asked_sampler(parser, own))
    grid = chosen_kind(parser, own, GRIDS, "times")
    clip = is_bounded(run.record, run.diffusion) if own.clip is None else own.clip
    return [
        Drawn(
            run,
            sampler,
            steps,
            grid.times(run.diffusion.schedule, steps),
            own.num_samples,
            own.seed,
            clip,
        )
        for steps in own.num_steps or [num_steps]
    ]
