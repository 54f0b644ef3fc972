"""The program `python -m sagd_jax.likelihood`: the likelihood of a data split under a checkpoint.

Writes one line per example to `likelihood.jsonl`; run again with the same flags, it goes on after
the last whole line. Example i's dequantisation and probes are keyed by (seed, i), so neither the
batch size nor an interruption nor the number of devices changes any number (beyond rounding). A batch
is split over all devices of all processes, of which the first writes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax import compilation_cache, processes
from sagd_jax.commandline import Parser, at_least, one_line_errors, set_up_logging
from sagd_jax.schema import ConfigError
from sagd_jax.system import exits
from sagd_jax.training.signals import StopRequest

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
    with (
        one_line_errors(parser.prog),
        StopRequest(parser.prog, nothing_to_save=True) as stop,
        compilation_cache.protected(),
    ):
        flags = parser.parse_args(argv)
        processes.start(flags)
        stop.install()
        import jax

        from sagd_jax import data
        from sagd_jax.loading import load_run
        from sagd_jax.training.sharding import whole_mesh

        set_up_logging(processes.log_level())
        mesh = whole_mesh()
        run = load_run(flags.workdir, flags.step, mesh=mesh)
        flags.step = run.step
        if run.record.config.data.dir and not flags.dir:
            raise ConfigError(
                f"this checkpoint says that its data is in {run.record.config.data.dir}: pass "
                "--dir with the place to read it from"
            )
        changes = {"split": flags.split, **({"dir": flags.dir} if flags.dir else {})}
        source = data.load(dataclasses.replace(run.record.config.data, **changes))
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
        count = min(flags.num_examples or len(source), len(source))
        out = Path(flags.out or flags.workdir).expanduser()
        # The first process alone reads and writes the results.
        path = out / "likelihood.jsonl" if jax.process_index() == 0 else Path(os.devnull)
        settings = {name: getattr(flags, name) for name in SETTINGS}
        stop.nothing_to_save = False
        with _open(path, settings) as file, jax.set_mesh(mesh):
            done = _evaluate(run, source, count, flags, file, mesh, stop)
        if stop.exit_status is not None:
            print(
                f"stopped {stop.seconds_since():.1f} s after the signal with {len(done)} of {count} "
                "examples; run the same command to go on",
                flush=True,
            )
        if len(done) < count:
            return stop.exit_status or exits.TRY_AGAIN
        if jax.process_index() == 0:
            print(_words(done, run, flags))
        return 0


def _evaluate(
    run: Any, source: Any, count: int, flags: Any, file: Any, mesh: Any, stop: StopRequest
) -> list[float]:
    import jax
    import jax.numpy as jnp
    from jax.experimental import multihost_utils
    from tqdm import tqdm

    from sagd_jax.data.source import normalise
    from sagd_jax.likelihood import dequantize, log_likelihood
    from sagd_jax.training import sharding

    record = run.record
    batch = -(-min(flags.batch_size, count) // mesh.size) * mesh.size
    split = sharding.batch_sharding(mesh)
    rows = sharding.local_rows(split, batch)
    agree = processes.Agreement(lag=0)
    noise_key, probe_key = jax.random.split(jax.random.key(flags.seed))
    width = bin_width(record.data)
    dtype = np.dtype(record.data.dtype)

    @functools.partial(jax.jit, out_shardings=sharding.replicated(mesh))
    def evaluate(params: Any, raw: jax.Array, label: jax.Array, offset: jax.Array) -> jax.Array:
        x = normalise(raw, record.data.value_range)
        if dtype == np.uint8:
            x = dequantize(noise_key, x, width, offset)
        label_or_none = label if run.model.num_classes and flags.label else None
        return log_likelihood(
            probe_key,
            dataclasses.replace(run, params=params).denoiser(label_or_none),
            run.diffusion,
            x,
            num_steps=flags.num_steps,
            prediction=record.config.model.prediction,
            divergence=flags.divergence,
            num_probes=flags.num_probes,
            offset=offset,
            on_range=flags.on_range,
        )

    values = _read(file)
    if jax.process_count() > 1:  # the others have no file: how far it goes is all that they need
        begin = int(multihost_utils.broadcast_one_to_all(np.int32(len(values))))
        values = values or [math.nan] * begin
    quiet = None if jax.process_index() == 0 else True
    with tqdm(total=count, initial=len(values), unit="example", disable=quiet) as bar:
        for first in range(len(values), count, batch):
            if agree(stop.exit_status or 0):
                break
            # Always a whole batch, so that one shape is compiled; what is beyond is dropped.
            indices = np.minimum(np.arange(first, first + batch), len(source) - 1)[rows]
            examples = source.fetch(indices)
            x, label = (
                jax.make_array_from_process_local_data(split, examples[name])
                for name in ("x", "label")
            )
            nats = evaluate(run.params, x, label, jnp.int32(first))
            own = np.asarray(nats, np.float64)[: count - first]
            for index, value in enumerate(own, start=first):
                file.write(json.dumps({"index": index, "nats": value}) + "\n")
            file.flush()
            values += own.tolist()
            bar.update(len(own))
    return values[:count]


def bin_width(data: Any) -> float:
    """Distance between neighbouring raw integers in the network's range [-1, 1]."""
    low, high = (np.asarray(edge, np.float64) for edge in data.value_range)
    return float(np.max(2 / (high - low)))


def _words(values: list[float], run: Any, flags: Any) -> str:
    from sagd_jax.likelihood import bits_per_dim

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


def _open(path: Path, settings: dict[str, Any]) -> Any:
    """Opens the file to go on after its last whole line; its first line holds the settings."""
    if path == Path(os.devnull):
        return path.open("r+")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps(settings)
    whole: list[str] = []
    if path.exists():
        text = path.read_text()
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    if whole and whole[0].strip() != header:
        raise ConfigError(
            f"{path} was written with other settings, {whole[0].strip()}; use another --out"
        )
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(whole) or header + "\n")
    temporary.replace(path)
    return path.open("r+")


def _read(file: Any) -> list[float]:
    values = []
    for number, line in enumerate(file.readlines()[1:]):
        try:
            entry = json.loads(line)
            good = entry["index"] == number
            values.append(float(entry["nats"]))
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise ConfigError(f"{file.name}: line {number + 2} is not one that this program wrote")
    return values


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.likelihood",
        description="Log-likelihood of a data split under a checkpoint's EMA weights, in nats and "
        "(for 8-bit data) bits per dimension.",
    )
    parser.add_argument("--workdir", required=True, help="directory of a training run")
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
    processes.add_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
