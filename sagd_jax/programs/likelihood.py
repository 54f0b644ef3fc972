"""The program `python -m sagd_jax.likelihood`: the likelihood of a data split under a checkpoint.

Writes one line per example to `likelihood.jsonl`, or with `--bound` the terms of the variational bound to
`bound.jsonl`; run again with the same flags, it goes on after the last whole line. A batch is split over all devices of all processes, of which the first writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagd_jax.programs.resume import IDENTITY, open_lines, settings_of
from sagd_jax.system import cores, exits
from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.import_paths import check_allowed
from sagd_jax.system.places import check_place, writing
from sagd_jax.system.schema import LARGEST_SEED, ConfigError
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.saved import Run

SETTINGS = (
    IDENTITY,
    "step",
    "split",
    "dir",
    "seed",
    "num_steps",
    "divergence",
    "num_probes",
    "on_range",
    "label",
)
BOUND_SETTINGS = (IDENTITY, "step", "split", "dir", "seed", "num_steps", "num_times", "label")
NUM_TIMES = 32
TERMS = ("diffusion", "prior", "decoder")
_LONG = 60.0  # seconds from which on it is said how long it takes


class LikelihoodError(ForPeople, RuntimeError):
    """A likelihood that does not exist; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Computes as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax

        from sagd_jax.run.layout import whole_mesh
        from sagd_jax.run.ready import is_ready, results_of
        from sagd_jax.run.saved import load_run
        from sagd_jax.show.bars import counted
        from sagd_jax.system.processes import Agreement, broadcast

        flags, stop = program.flags, program.stop
        what = "likelihood" if is_ready(flags.workdir) else ""
        out = Path(flags.out or results_of(flags.workdir, what)).expanduser()
        main_process = jax.process_index() == 0
        if main_process:
            check_place("--out" if flags.out else "--workdir", out)
        cores.as_devices(flags.batch_size)
        mesh = whole_mesh()
        run = load_run(flags.workdir, flags.step, mesh=mesh, allow=flags.allow)
        _settle(parser, run, flags)
        source = _source(run, flags)
        count = min(flags.num_examples or len(source), len(source))
        stop.nothing_to_save = False
        with contextlib.ExitStack() as stack:
            values: list[list[float]] = []  # the nats of an example, or the terms of its bound
            if main_process:  # the first process alone reads and writes the results
                with writing(str(out)):
                    path = out / ("bound.jsonl" if flags.bound else "likelihood.jsonl")
                    names = BOUND_SETTINGS if flags.bound else SETTINGS
                    file, entries = open_lines(path, settings_of(flags, names))
                stack.enter_context(file)
                values = _values(path, entries, TERMS if flags.bound else ("nats",))
            begin = broadcast(len(values))
            values = values or [[math.nan]] * begin
            agree = Agreement(lag=0)
            if main_process and begin < count:
                print(_cost(run, flags, count - begin), flush=True)
            since = time.monotonic()
            bar = stack.enter_context(
                counted(total=count, initial=begin, unit="example", shown=main_process)
            )
            for nats in _evaluations(
                run,
                source,
                mesh,
                flags,
                begin=begin,
                count=count,
                interrupted=lambda: bool(agree(stop.exit_status or 0)),
            ):
                try:
                    _check_finite(nats, len(values))
                except LikelihoodError:
                    if main_process and not values:  # nothing that other settings could not follow
                        path.unlink()
                    raise
                if main_process:
                    with writing(str(out)):
                        for index, row in enumerate(nats.tolist(), start=len(values)):
                            terms = dict(zip(TERMS, row, strict=True)) if flags.bound else {}
                            entry = {"index": index, "nats": sum(row), **terms}
                            file.write(json.dumps(entry) + "\n")
                        file.flush()
                    if len(values) == begin:
                        _say_how_long(time.monotonic() - since, len(nats), count - begin)
                values += nats.tolist()
                bar.update(len(nats))
        source.report()
        done = min(len(values), count)
        if stop.exit_status is not None:
            print(
                f"stopped {stop.seconds_since():.1f} s after the signal with {done} of {count} "
                "examples; run the same command to go on",
                flush=True,
            )
        if done < count:
            return stop.exit_status or exits.TRY_AGAIN
        if main_process:
            print(_words(values[:count], run, flags))
        return 0


def _evaluations(run: Run, source: Any, mesh: Any, flags: Any, **which: Any) -> Iterator[Any]:
    """The nats of each example, or the terms of its bound, a batch at a time: `(batch, 1 or 3)`."""
    from sagd_jax.evaluation.likelihood import evaluate, evaluate_bound

    common = {"batch_size": flags.batch_size, "seed": flags.seed, "by_class": flags.label, **which}
    if flags.bound:
        yield from evaluate_bound(
            run, source, mesh, num_times=flags.num_times, num_steps=flags.num_steps, **common
        )
        return
    for nats in evaluate(
        run,
        source,
        mesh,
        num_steps=flags.num_steps,
        divergence=flags.divergence,
        num_probes=flags.num_probes,
        on_range=flags.on_range,
        **common,
    ):
        yield nats[:, None]


def _settle(parser: Parser, run: Run, flags: Any) -> None:
    """Puts into the flags what they leave to the run; refuses what does not go together."""
    from sagd_jax.data.sources import SOURCES
    from sagd_jax.diffusion.likelihood import default_divergence
    from sagd_jax.diffusion.schedules.blurs import Heat
    from sagd_jax.run.draw import sampled_kind

    if sampled_kind(run.diffusion):
        raise LikelihoodError(
            f"--workdir={flags.workdir}: it was trained on corrupted examples alone, at whose cleanest levels "
            "there is noise: clean data have no likelihood under it"
        )
    if isinstance(run.diffusion.schedule, Heat) and not flags.bound:
        raise LikelihoodError(
            f"--workdir={flags.workdir}: the noise of heat begins with a jump, so that its flow ends in blurred data "
            "with noise: clean data have no likelihood under it; --bound gives their bound"
        )
    flags.step, flags.checkpoint = run.step, run.identity
    flags.dir = os.path.abspath(os.path.expanduser(flags.dir)) if flags.dir else None
    if run.config.objective.kind == "consistency":
        parser.error(
            f"--workdir={flags.workdir}: this checkpoint is a consistency model, which has no likelihood; "
            "give the diffusion model that it was made from"
        )
    if flags.bound:
        for name in ("divergence", "num_probes", "on_range"):
            if getattr(flags, name) != parser.get_default(name):
                parser.error(f"--{name}={getattr(flags, name)}: not used by --bound; leave it out")
        flags.num_times = flags.num_times or flags.num_steps or NUM_TIMES
    elif flags.num_times:
        parser.error(f"--num_times={flags.num_times}: only --bound uses it")
    else:
        flags.num_steps = flags.num_steps or 32
    flags.divergence = flags.divergence or default_divergence(run.record.data.shape)
    # Without splits of its own a source has the one that the run was trained on.
    known = SOURCES.get(run.config.data.name)  # None: of one's own
    has_splits = known is not None and "split" in known.fields
    flags.split = flags.split or ("test" if has_splits else "train")


def _source(run: Run, flags: Any) -> Any:
    from sagd_jax import data

    config = run.record.config.data
    check_allowed({"data.name": config.name}, flags.allow)
    # What a record names is not opened: a checkpoint may come from anywhere.
    if config.dir and not flags.dir:
        raise ConfigError(
            f"this checkpoint says that its data is in {config.dir}: pass --dir={config.dir}, if that "
            "is where to read it, or --dir with another place"
        )
    if config.corrupted_flags:
        raise ConfigError(
            f"this run's data are marked as corrupted by a file, {config.corrupted_flags}, which is "
            "not opened: likelihoods of such data are not computed by this program"
        )
    changes = {"split": flags.split, **({"dir": flags.dir} if flags.dir else {})}
    source = data.open_source(dataclasses.replace(config, **changes))
    if tuple(source.shape) != run.record.data.shape:
        raise ConfigError(
            f"--split={flags.split}: its examples have shape {tuple(source.shape)}, the network "
            f"was trained on {run.record.data.shape}"
        )
    if run.config.noise.unit_draws:
        raise ConfigError(
            "config.noise.unit_draws=True: the noise of this run is not Gaussian, so there is no likelihood"
        )
    if flags.bound and not run.diffusion.covariance.is_full_rank:
        raise ConfigError("--bound: the covariance of this run is singular, so there is no bound")
    if not (flags.on_range or run.diffusion.covariance.is_full_rank):
        raise ConfigError(
            "the covariance of this run is singular, so the model has a density on its range "
            "only: pass --on_range for the density of the data's projection on it"
        )
    return source


def _values(path: Path, entries: list[dict[str, Any]], names: Sequence[str]) -> list[list[float]]:
    values = []
    for number, entry in enumerate(entries):
        row: list[Any] = [entry.get(name) for name in names]
        if entry.get("index") != number or not all(isinstance(v, int | float) for v in row):
            raise ConfigError(f"{path}: line {number + 2} is not one that this program wrote")
        if not np.all(np.isfinite(row)):
            raise ConfigError(
                f"{path}: line {number + 2} says {entry['nats']}, which is no result (an earlier version wrote "
                "it); delete the file, or use another --out"
            )
        values.append([float(v) for v in row])
    return values


def _check_finite(nats: np.ndarray, first: int) -> None:
    nats = nats.sum(axis=1)
    bad = ~np.isfinite(nats)
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        raise LikelihoodError(
            f"{bad.sum()} of {len(nats)} examples ({first} to {first + len(nats) - 1}) have a "
            f"likelihood that is not finite (number {first + index}: {nats[index]}), and were not "
            "written: the network overflows, or the example lies far outside of the data; try "
            "another --step or more --num_steps"
        )


def _cost(run: Run, flags: Any, examples: int) -> str:
    """What is about to be computed, in evaluations of the network."""
    if flags.bound:
        steps = (
            "in the limit of many steps"
            if flags.num_steps is None
            else f"for {flags.num_steps} steps"
        )
        return (
            f"{examples} examples of {_place(flags)}, step {run.step}: the bound {steps}; each takes "
            f"{flags.num_times} evaluations of the network"
        )
    evaluations = 4 * flags.num_steps
    size = math.prod(run.record.data.shape)
    exact = flags.divergence == "exact"
    derivatives = size if exact else flags.num_probes
    return (
        f"{examples} examples of {_place(flags)}, step {run.step}: each takes {evaluations} evaluations "
        f"of the network and {evaluations * derivatives} derivatives of it "
        f"({flags.divergence} divergence, "
        + (f"{size} values)" if exact else f"{flags.num_probes} probes)")
    )


def _place(flags: Any) -> str:
    """Where the examples are from: a folder has no splits."""
    return flags.dir or flags.split


def _say_how_long(seconds: float, done: int, count: int) -> None:
    left = seconds * (count - done) / done
    if left > _LONG:
        minutes = left / 60
        words = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{minutes:.0f} minutes"
        print(
            f"the first {done} took {seconds:.0f} s, with compiling: about {words} for the others, "
            "or less",
            flush=True,
        )


def _words(values: list[list[float]], run: Run, flags: Any) -> str:
    from sagd_jax.diffusion.likelihood import bits_per_dim
    from sagd_jax.evaluation.likelihood import bin_width

    rows = np.asarray(values)
    nats = rows.sum(axis=1)
    data = run.record.data
    size = math.prod(data.shape)
    error = nats.std(ddof=1) / math.sqrt(len(nats)) if len(nats) > 1 else math.nan
    line = (
        f"{len(nats)} examples of {_place(flags)}, step {run.step}: "
        f"{nats.mean():.3f} +- {error:.3f} nats per example, {nats.mean() / size:.4f} per dimension"
    )
    if flags.bound:
        terms = ", ".join(f"{n} {v:.3f}" for n, v in zip(TERMS, rows.mean(axis=0), strict=True))
        line = f"{line}: a bound on -log p ({terms})"
        bits = nats.mean() / size / math.log(2)
        return f"{line}; {bits:.4f} bits per dimension" if data.dtype == "uint8" else line
    if data.dtype != "uint8":
        return line
    bits = bits_per_dim(nats, data.shape, bin_width(data))
    return (
        f"{line}; {float(bits.mean()):.4f} bits per dimension (uniform dequantisation; pixels "
        f"{data.low[0]:g} to {data.high[0]:g} scaled to -1 to 1, {bin_width(data):.5f} apart)"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.likelihood",
        description="Log-likelihood of a data split under a checkpoint's EMA weights, in nats and "
        "(for 8-bit data) bits per dimension.",
        epilog="Writes a line for each example into likelihood.jsonl, as it goes; the same command again "
        "goes on after the last of them. What it costs is said before it starts.",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        help="directory of a training run, or the name of a ready one: digits",
    )
    parser.add_allow()
    parser.add_argument("--out", help="directory for likelihood.jsonl (default: the workdir)")
    parser.add_argument(
        "--split",
        help="of the run's data; default test, or all of a source without splits, such as a folder",
    )
    parser.add_argument(
        "--dir",
        help="where the data is, if the run read a folder or file: the place that it was trained on "
        "is not opened unasked",
    )
    parser.add_argument("--num_examples", type=at_least(1), help="default: all")
    parser.add_argument("--batch_size", type=at_least(1), default=16, help="default 16")
    parser.add_argument(
        "--bound",
        action="store_true",
        help="the variational bound on -log p instead, with its terms, in bound.jsonl: by evaluations of "
        "the network alone, and of the values themselves for 8-bit data",
    )
    parser.add_argument(
        "--num_steps",
        type=at_least(1),
        help="of the solver, default 32; of --bound, T ancestral steps instead of their continuous limit",
    )
    parser.add_argument(
        "--num_times",
        type=at_least(1),
        help=f"times drawn per example for --bound, default {NUM_TIMES}, or one of each of its steps",
    )
    parser.add_argument(
        "--divergence",
        choices=("exact", "hutchinson"),
        help="exact costs one derivative per dimension, hutchinson one per probe; default exact for "
        "examples of up to 256 values, hutchinson above",
    )
    parser.add_argument("--num_probes", type=at_least(1), default=1, help="default 1")
    parser.add_argument("--on_range", action="store_true", help="for a singular covariance")
    parser.add_argument(
        "--label", action="store_true", help="condition on each example's own class"
    )
    parser.add_argument("--seed", type=at_least(0, LARGEST_SEED), default=0, help="default 0")
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    return parser
