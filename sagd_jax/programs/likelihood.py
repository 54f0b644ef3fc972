"""The program `python -m sagd_jax.likelihood`: the likelihood of a data split under a checkpoint.

Writes one line per example to `likelihood.jsonl`; run again with the same flags, it goes on after
the last whole line. A batch is split over all devices of all processes, of which the first writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagd_jax.programs.resume import open_lines, settings_of
from sagd_jax.system import exits
from sagd_jax.system.commandline import Parser, at_least
from sagd_jax.system.import_paths import check_allowed
from sagd_jax.system.schema import ConfigError
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.saved import Run

SETTINGS = (
    "step",
    "split",
    "seed",
    "num_steps",
    "divergence",
    "num_probes",
    "on_range",
    "label",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Computes as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax
        from tqdm import tqdm

        from sagd_jax.evaluation.likelihood import evaluate
        from sagd_jax.run.layout import whole_mesh
        from sagd_jax.run.saved import load_run
        from sagd_jax.system.processes import Agreement, broadcast

        flags, stop = program.flags, program.stop
        mesh = whole_mesh()
        run = load_run(flags.workdir, flags.step, mesh=mesh, allow=flags.allow)
        flags.step = run.step
        source = _source(run, flags)
        count = min(flags.num_examples or len(source), len(source))
        out = Path(flags.out or flags.workdir).expanduser()
        main_process = jax.process_index() == 0
        stop.nothing_to_save = False
        with contextlib.ExitStack() as stack:
            values: list[float] = []
            if main_process:  # the first process alone reads and writes the results
                file, entries = open_lines(out / "likelihood.jsonl", settings_of(flags, SETTINGS))
                stack.enter_context(file)
                values = _values(out / "likelihood.jsonl", entries)
            begin = broadcast(len(values))
            values = values or [math.nan] * begin
            agree = Agreement(lag=0)
            bar = stack.enter_context(
                tqdm(total=count, initial=begin, unit="example", disable=not main_process or None)
            )
            for nats in evaluate(
                run,
                source,
                mesh,
                begin=begin,
                count=count,
                batch_size=flags.batch_size,
                seed=flags.seed,
                by_class=flags.label,
                interrupted=lambda: bool(agree(stop.exit_status or 0)),
                num_steps=flags.num_steps,
                divergence=flags.divergence,
                num_probes=flags.num_probes,
                on_range=flags.on_range,
            ):
                if main_process:
                    for index, value in enumerate(nats, start=len(values)):
                        file.write(json.dumps({"index": index, "nats": value}) + "\n")
                    file.flush()
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


def _source(run: Run, flags: Any) -> Any:
    from sagd_jax import data

    config = run.record.config.data
    check_allowed({"data.name": config.name}, flags.allow)
    if config.dir and not flags.dir:
        raise ConfigError(
            f"this checkpoint says that its data is in {config.dir}: pass --dir with the place to "
            "read it from"
        )
    changes = {"split": flags.split, **({"dir": flags.dir} if flags.dir else {})}
    source = data.open_source(dataclasses.replace(config, **changes))
    if tuple(source.shape) != run.record.data.shape:
        raise ConfigError(
            f"--split={flags.split}: its examples have shape {tuple(source.shape)}, the network "
            f"was trained on {run.record.data.shape}"
        )
    if not (flags.on_range or run.diffusion.covariance.is_full_rank):
        raise ConfigError(
            "the covariance of this run is singular, so the model has a density on its range "
            "only: pass --on_range for the density of the data's projection on it"
        )
    return source


def _values(path: Path, entries: list[dict[str, Any]]) -> list[float]:
    values = []
    for number, entry in enumerate(entries):
        if entry.get("index") != number or not isinstance(entry.get("nats"), int | float):
            raise ConfigError(f"{path}: line {number + 2} is not one that this program wrote")
        values.append(float(entry["nats"]))
    return values


def _words(values: list[float], run: Run, flags: Any) -> str:
    from sagd_jax.diffusion.likelihood import bits_per_dim
    from sagd_jax.evaluation.likelihood import bin_width

    nats = np.asarray(values)
    data = run.record.data
    size = math.prod(data.shape)
    error = nats.std(ddof=1) / math.sqrt(len(nats)) if len(nats) > 1 else math.nan
    line = (
        f"{len(nats)} examples of {flags.split}, step {run.step}: "
        f"{nats.mean():.3f} +- {error:.3f} nats per example, {nats.mean() / size:.4f} per dimension"
    )
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
    )
    parser.add_argument("--workdir", required=True, help="directory of a training run")
    parser.add_allow()
    parser.add_argument("--out", help="directory for likelihood.jsonl (default: the workdir)")
    parser.add_argument("--split", default="test", help="of the run's data; default test")
    parser.add_argument("--dir", help="where the data is, if the run read a folder or file")
    parser.add_argument("--num_examples", type=at_least(1), help="default: all")
    parser.add_argument("--batch_size", type=at_least(1), default=16, help="default 16")
    parser.add_argument("--num_steps", type=at_least(1), default=32, help="default 32")
    parser.add_argument(
        "--divergence",
        choices=("exact", "hutchinson"),
        default="hutchinson",
        help="exact costs one derivative per dimension; default hutchinson",
    )
    parser.add_argument("--num_probes", type=at_least(1), default=1, help="default 1")
    parser.add_argument("--on_range", action="store_true", help="for a singular covariance")
    parser.add_argument(
        "--label", action="store_true", help="condition on each example's own class"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="default 0")
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    return parser
