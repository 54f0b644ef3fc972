"""The command line of `sample.py`: samples from a checkpoint, which is all that it reads.

Sample i is a function of (seed, i) and, for a class-conditional network without `--class`, has the
class i modulo the number of classes. Neither depends on the batch size or the number of devices.

Up to `--shard_size` samples go into `samples.npz`. More go into numbered files of that size, each
renamed into place when it is whole: run again with the same flags, the program draws only the files
that are missing. With several processes each draws files of its own on its own devices, and none
waits for another.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sagd_jax import compilation_cache, processes
from sagd_jax.commandline import Parser, at_least, number, one_line_errors, set_up_logging
from sagd_jax.schema import ConfigError
from sagd_jax.training.signals import StopRequest

_GRID = 100  # samples shown in grid.png, at most
SETTINGS_FILE = "samples.json"
SETTINGS = (
    "step",
    "no_ema",
    "num_samples",
    "shard_size",
    "seed",
    "method",
    "num_steps",
    "eta",
    "churn",
    "label",
    "guidance",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and writes samples as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with (
        one_line_errors("sample.py"),
        StopRequest("sample.py", nothing_to_save=True) as stop,
        compilation_cache.protected(),
    ):
        flags = parser.parse_args(argv)
        processes.start(flags)
        stop.install()
        # Imported late: a misspelt flag should not wait for jax.
        import jax

        from sagd_jax.loading import load_run
        from sagd_jax.training.sharding import local_mesh

        set_up_logging(processes.log_level())
        mesh = local_mesh(flags.fsdp)
        run = load_run(flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh)
        flags.step = run.step
        _check(parser, flags, run)
        out = Path(flags.out).expanduser()
        if out.exists() and not out.is_dir():
            parser.error(f"--out={flags.out}: this is a file, expected a directory")
        if jax.process_index() == 0:
            print(
                f"step {run.step} of {flags.workdir}, {'raw' if flags.no_ema else 'EMA'} weights; "
                f"{flags.num_samples} samples by {flags.method}, {flags.num_steps} steps",
                flush=True,
            )
        stop.nothing_to_save = False
        return _draw_all(run, flags, mesh, out, stop)


def _draw_all(run: Any, flags: argparse.Namespace, mesh: Any, out: Path, stop: StopRequest) -> int:
    import jax

    start = time.monotonic()
    shards = shards_of(flags.num_samples, flags.shard_size)
    out.mkdir(parents=True, exist_ok=True)
    if len(shards) > 1:
        _check_settings(out / SETTINGS_FILE, {name: getattr(flags, name) for name in SETTINGS})
    me, everyone = jax.process_index(), jax.process_count()
    mine = [shard for i, shard in enumerate(shards) if i % everyone == me]
    if len(shards) > 1:  # a single file is drawn anew
        mine = [shard for shard in mine if not _is_whole(out / shard[0], shard[2] - shard[1])]
    draw = Drawer(run, flags, mesh)
    for name, first, last in mine:
        samples = draw(first, last, stop)
        if samples is None:
            break
        _write_npz(out / name, samples, draw.labels(first, last) if draw.has_classes else None)
        if first == 0:
            _show(out, samples[:_GRID], run)
        if flags.png:
            _write_png(out, samples, first, flags.num_samples, run)
    if stop.exit_status is not None:
        missing = sum(not _is_whole(out / n, last - first) for n, first, last in shards)
        print(
            f"stopped {stop.seconds_since():.1f} s after the signal; {missing} of {len(shards)} "
            "files are missing, run the same command to go on",
            flush=True,
        )
        return stop.exit_status
    if me == 0 and not mine:
        print(f"nothing to do: all files are in {out}")
    elif me == 0:
        files = "samples.npz" if len(shards) == 1 else f"{shards[0][0]} to {shards[-1][0]}"
        if everyone > 1:
            files += f" (its share of them, one of {everyone} processes)"
        print(f"wrote {out}/grid.png and {files} in {time.monotonic() - start:.1f} s")
    return 0


def shards_of(count: int, size: int) -> list[tuple[str, int, int]]:
    """The files: name, first sample, and the one after the last.

    >>> shards_of(64, 5000)
    [('samples.npz', 0, 64)]
    >>> shards_of(12, 5)[1:]
    [('samples-00001-of-00003.npz', 5, 10), ('samples-00002-of-00003.npz', 10, 12)]
    """
    if count <= size:
        return [("samples.npz", 0, count)]
    starts = range(0, count, size)
    return [
        (f"samples-{i:05d}-of-{len(starts):05d}.npz", first, min(first + size, count))
        for i, first in enumerate(starts)
    ]


class Drawer:
    """Draws any range of the samples, in the data's own range and dtype.

    Args:
      run: a `loading.Run`, its weights laid over `mesh`.
      flags: as parsed by `main`.
      mesh: devices of this process.
    """

    def __init__(self, run: Any, flags: argparse.Namespace, mesh: Any) -> None:
        from sagd_jax.drawing import compile_draw

        self._run, self._flags, self._mesh = run, flags, mesh
        # Never more than asked for, and every batch of the same shape: one compilation.
        wanted = min(flags.batch_size, flags.num_samples, flags.shard_size)
        self._batch = -(-wanted // mesh.size) * mesh.size
        self._draw = compile_draw(
            run.record,
            run.model,
            run.diffusion,
            mesh,
            self._batch,
            guidance_scale=flags.guidance,
            method=flags.method,
            num_steps=flags.num_steps,
            eta=flags.eta,
            churn=flags.churn,
        )

    @property
    def has_classes(self) -> bool:
        """Whether the network knows classes."""
        return bool(self._run.model.num_classes)

    def labels(self, first: int, last: int) -> np.ndarray:
        """The classes of samples `first` to `last` - 1, int32 (-1: none)."""
        from sagd_jax.drawing import labels_of

        return labels_of(np.arange(first, last), self._run.model.num_classes, self._flags.label)

    def __call__(self, first: int, last: int, stop: StopRequest) -> np.ndarray | None:
        """Samples `first` to `last` - 1, `(last - first, *shape)`; None after a signal."""
        import jax
        import jax.numpy as jnp
        from tqdm import tqdm

        key = jax.random.key(self._flags.seed)
        parts = []
        quiet = None if jax.process_index() == 0 else True
        with (
            tqdm(total=last - first, unit="sample", disable=quiet) as bar,
            jax.set_mesh(self._mesh),
        ):
            for begin in range(first, last, self._batch):
                if stop.exit_status is not None:
                    return None
                label = self.labels(begin, begin + self._batch)
                part = self._draw(self._run.params, key, jnp.int32(begin), label)
                parts.append(np.asarray(part)[: last - begin])
                bar.update(len(parts[-1]))
        return np.concatenate(parts)


def _check_settings(file: Path, settings: dict[str, Any]) -> None:
    """Refuses to mix files of two kinds of samples in one folder."""
    text = json.dumps(settings) + "\n"
    try:
        before = file.read_text()
    except FileNotFoundError:
        # Another process may write the same at the same time, under a name of its own.
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(text)
        temporary.replace(file)
        return
    if before != text:
        raise ConfigError(
            f"{file} says that this folder is of other samples, {before.strip()}; use another --out"
        )


def _is_whole(file: Path, count: int) -> bool:
    """Whether a file of samples is there and undamaged."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open("samples.npy") as member:
            np.lib.format.read_magic(member)
            shape = np.lib.format.read_array_header_1_0(member)[0]
            return bool(shape[0] == count) and archive.testzip() is None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return False


def _write_npz(file: Path, samples: np.ndarray, labels: np.ndarray | None) -> None:
    arrays: dict[str, Any] = {"samples": samples}
    if labels is not None:
        arrays["labels"] = labels
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    temporary = file.with_suffix(".npz.tmp")
    temporary.write_bytes(buffer.getbuffer())
    temporary.replace(file)


def _shown(part: np.ndarray, run: Any) -> np.ndarray:
    from sagd_jax.data.source import normalise

    if part.dtype == np.uint8:
        return part
    return np.asarray(normalise(part, run.record.data.value_range))


def _show(out: Path, samples: np.ndarray, run: Any) -> None:
    """Writes these samples for people: a grid, and sounds or clips."""
    from sagd_jax import pictures
    from sagd_jax.data import writers

    data = run.record.data
    pictures.write_png(out / "grid.png", pictures.grid(_shown(samples, run)))
    if data.kind in ("audio", "video") and data.sample_rate:
        suffix = {"audio": "wav", "video": "gif"}[data.kind]
        (out / suffix).mkdir(exist_ok=True)
        for i, sample in enumerate(_shown(samples, run)):
            path = out / suffix / f"{i:04d}.{suffix}"
            if data.kind == "audio":
                writers.write_wav(path, sample, data.sample_rate)
            else:
                writers.write_gif(path, pictures.to_uint8(sample), data.sample_rate)


def _write_png(out: Path, samples: np.ndarray, first: int, count: int, run: Any) -> None:
    from sagd_jax import pictures

    digits = len(str(count - 1))
    for i, sample in enumerate(samples, start=first):
        picture = pictures.image(_shown(sample, run))
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
        "'labels' for a class-conditional network) or, for many, samples-00000-of-00010.npz and so on; "
        "run again with the same flags, it draws the files that are missing. Of the first 100 it "
        "writes grid.png and a WAV or GIF each for audio and video. Exit status: 0 finished, 2 bad "
        "input, 75 stopped by SIGTERM (requeue it), 130 by Ctrl-C.",
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
    parser.add_argument(
        "--batch_size", type=at_least(1), default=64, help="over this process's devices; default 64"
    )
    parser.add_argument(
        "--shard_size",
        type=at_least(1),
        default=5000,
        help="samples in a file; more of them go into numbered files; default 5000",
    )
    parser.add_argument(
        "--fsdp",
        type=at_least(1),
        default=1,
        help="devices over which a network is split; default 1",
    )
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    parser.add_argument("--png", action="store_true", help="also write one PNG per sample")
    processes.add_flags(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
