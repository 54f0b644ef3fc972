"""The command line of `sample.py`: samples from a checkpoint, which is all that it reads.

Sample i is a function of (seed, i) and, for a class-conditional network without `--class`, has the
class i modulo the number of classes. Neither depends on the batch size.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax.commandline import Parser, at_least, number, one_line_errors

_GRID = 100  # samples shown in grid.png, at most


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and writes samples as the flags say; returns the exit status (0, 2, 130)."""
    parser = _parser()
    with one_line_errors("sample.py"):
        flags = parser.parse_args(argv)
        logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
        # Imported late: a misspelt flag should not wait for jax.
        from sagd_jax.loading import load_run

        run = load_run(flags.workdir, flags.step, ema=not flags.no_ema)
        _check(parser, flags, run)
        out = Path(flags.out).expanduser()
        if out.exists() and not out.is_dir():
            parser.error(f"--out={flags.out}: this is a file, expected a directory")
        print(
            f"step {run.step} of {flags.workdir}, {'raw' if flags.no_ema else 'EMA'} weights; "
            f"{flags.num_samples} samples by {flags.method}, {flags.num_steps} steps",
            flush=True,
        )
        start = time.monotonic()
        samples, labels = draw(run, flags)
        out.mkdir(parents=True, exist_ok=True)
        _write(out, samples, labels, run, flags)
        print(f"wrote {out}/grid.png and samples.npz in {time.monotonic() - start:.1f} s")
        return 0


def draw(run: Any, flags: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The samples in the data's own range and dtype, and their classes (-1: none).

    Args:
      run: a `loading.Run`.
      flags: as parsed by `main`.

    Returns:
      `(num_samples, *spatial, channels)` and int32 `(num_samples,)`.
    """
    import jax
    import jax.numpy as jnp
    from tqdm import tqdm

    from sagd_jax import samplers
    from sagd_jax.data.source import denormalise
    from sagd_jax.training import factory

    data, count = run.record.data, flags.num_samples
    # Never more than asked for, and every batch of the same shape: one compilation.
    batch = min(flags.batch_size, count)
    classes = run.model.num_classes
    labels = np.full(count, -1, np.int32)
    if classes:
        everyone = np.arange(count, dtype=np.int32) % classes
        labels = everyone if flags.label is None else np.full_like(labels, flags.label)

    @jax.jit
    def one_batch(params: Any, key: jax.Array, offset: jax.Array, label: jax.Array) -> jax.Array:
        def denoiser(label: jax.Array | None) -> Any:
            project = run.record.config.model.project_input
            return factory.denoiser(run.model, params, run.diffusion, label, project_input=project)

        denoise = denoiser(label if classes else None)
        if flags.guidance != 1:
            from sagd_jax import guidance

            denoise = guidance.classifier_free(denoise, denoiser(None), flags.guidance)
        x = samplers.sample(
            key,
            denoise,
            run.diffusion,
            (batch, *data.shape),
            method=flags.method,
            num_steps=flags.num_steps,
            prediction=run.record.config.model.prediction,
            eta=flags.eta,
            churn=flags.churn,
            offset=offset,
        )
        return denormalise(x, data.value_range, data.dtype)

    key = jax.random.key(flags.seed)
    parts = []
    with tqdm(total=count, unit="sample", disable=None) as bar:
        for first in range(0, count, batch):
            own = np.resize(labels[first : first + batch], batch)
            part = np.asarray(one_batch(run.params, key, jnp.int32(first), own))
            parts.append(part[: count - first])
            bar.update(len(parts[-1]))
    return np.concatenate(parts), labels


def _write(
    out: Path, samples: np.ndarray, labels: np.ndarray, run: Any, flags: argparse.Namespace
) -> None:
    from sagd_jax import pictures
    from sagd_jax.data import writers
    from sagd_jax.data.source import normalise

    data = run.record.data
    arrays: dict[str, Any] = {"samples": samples}
    if run.model.num_classes:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    temporary = out / "samples.npz.tmp"
    temporary.write_bytes(buffer.getbuffer())
    temporary.replace(out / "samples.npz")

    def shown(part: np.ndarray) -> np.ndarray:
        return part if part.dtype == np.uint8 else np.asarray(normalise(part, data.value_range))

    pictures.write_png(out / "grid.png", pictures.grid(shown(samples[:_GRID])))
    if data.kind in ("audio", "video") and data.sample_rate:
        suffix = {"audio": "wav", "video": "gif"}[data.kind]
        (out / suffix).mkdir(exist_ok=True)
        for i, sample in enumerate(shown(samples[:_GRID])):
            path = out / suffix / f"{i:04d}.{suffix}"
            if data.kind == "audio":
                writers.write_wav(path, sample, data.sample_rate)
            else:
                writers.write_gif(path, pictures.to_uint8(sample), data.sample_rate)
    if flags.png:
        digits = len(str(len(samples) - 1))
        for i, sample in enumerate(samples):
            picture = pictures.image(shown(sample))
            pictures.write_png(out / "png" / f"{i:0{digits}d}.png", picture)


def _check(parser: Parser, flags: argparse.Namespace, run: Any) -> None:
    classes = run.model.num_classes
    if flags.label is not None and not classes:
        parser.error(f"--class={flags.label}: this network was trained without classes")
    if flags.label is not None and not 0 <= flags.label < classes:
        parser.error(f"--class={flags.label}: expected 0 to {classes - 1}")
    if flags.guidance != 1 and not classes:
        parser.error(f"--guidance={flags.guidance}: this network was trained without classes")
    for name, value, method in (("eta", flags.eta, "ddim"), ("churn", flags.churn, "sde")):
        if value and flags.method != method:
            parser.error(f"--{name}={value}: only --method={method} uses it")
    if flags.png and len(run.record.data.shape) != 3:
        parser.error("--png: these samples are not images")


def _parser() -> Parser:
    from sagd_jax.samplers import METHODS

    parser = Parser(
        prog="sample.py",
        description="Draw samples from a checkpoint, with its averaged (EMA) weights.",
        epilog="Writes samples.npz ('samples', (n, *spatial, channels), uint8 for images, and "
        "'labels' for a class-conditional network) and, of the first 100, grid.png and a WAV or GIF "
        "each for audio and video.",
    )
    parser.add_argument("--workdir", required=True, help="directory of a training run")
    parser.add_argument("--out", required=True, help="directory to write to")
    parser.add_argument("--num_samples", type=at_least(1), default=64, help="default 64")
    parser.add_argument("--seed", type=at_least(0), default=0, help="sample i is f(seed, i)")
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument("--method", choices=METHODS, default="ddim", help="default ddim")
    parser.add_argument("--num_steps", type=at_least(1), default=50, help="default 50")
    parser.add_argument("--eta", type=number(0, 1), default=0.0, help="noise of ddim, 0 to 1")
    parser.add_argument("--churn", type=number(0), default=0.0, help="noise of sde, from 0")
    parser.add_argument("--class", dest="label", type=int, help="default: all classes in turn")
    parser.add_argument("--guidance", type=number(), default=1.0, help="scale; 1 is none")
    parser.add_argument("--batch_size", type=at_least(1), default=64, help="default 64")
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    parser.add_argument("--png", action="store_true", help="also write one PNG per sample")
    return parser


if __name__ == "__main__":
    sys.exit(main())
