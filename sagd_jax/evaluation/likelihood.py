"""The program `python -m sagd_jax.likelihood`: the likelihood of a data split under a checkpoint.

Writes one line per example to `likelihood.jsonl`; run again with the same flags, it goes on after
the last whole line. Example i's dequantisation and probes are keyed by (seed, i), so neither the
batch size nor an interruption changes any number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.commandline import Parser, at_least, one_line_errors
from sagd_jax.schema import ConfigError

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
    """Computes as the flags say; returns the exit status (0, 2, 130)."""
    parser = _parser()
    with one_line_errors(parser.prog):
        flags = parser.parse_args(argv)
        from sagd_jax import data
        from sagd_jax.loading import load_run

        run = load_run(flags.workdir, flags.step)
        flags.step = run.step
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
        file = _open(out / "likelihood.jsonl", {n: getattr(flags, n) for n in SETTINGS})
        with file:
            done = _evaluate(run, source, count, flags, file)
        print(_words(done, run, flags))
        return 0


def _evaluate(run: Any, source: Any, count: int, flags: Any, file: Any) -> list[float]:
    import jax
    import jax.numpy as jnp
    from tqdm import tqdm

    from sagd_jax.data.source import normalise
    from sagd_jax.likelihood import dequantize, log_likelihood

    record = run.record
    batch = min(flags.batch_size, count)
    noise_key, probe_key = jax.random.split(jax.random.key(flags.seed))
    width = bin_width(record.data)
    dtype = np.dtype(record.data.dtype)

    @jax.jit
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
    with tqdm(total=count, initial=len(values), unit="example", disable=None) as bar:
        for first in range(len(values), count, batch):
            # Always a whole batch, so that one shape is compiled; what is beyond is dropped.
            indices = np.minimum(np.arange(first, first + batch), len(source) - 1)
            examples = source.fetch(indices)
            nats = evaluate(run.params, examples["x"], examples["label"], jnp.int32(first))
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
    parser.add_argument("--dir", help="where the data is now, if it has moved")
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


if __name__ == "__main__":
    sys.exit(main())
