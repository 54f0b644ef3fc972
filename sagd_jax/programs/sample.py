"""The program `sample.py`: samples from a checkpoint, which is all that it reads.

Sample i is a function of (seed, i) and, for a class-conditional network without `--class`, has the
class i modulo the number of classes. Neither depends on the batch size or the number of devices.

Up to `--shard_size` samples go into `samples.npz`. More go into numbered files of that size; run
again with the same flags, the program draws only the files that are missing. With several processes
each draws files of its own on its own devices, and none waits for another.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.programs.resume import claim, settings_of
from sagd_jax.system import kinds
from sagd_jax.system.commandline import Parser, add_options, at_least, chosen_kind, number
from sagd_jax.system.schema import as_config_error
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.run.draw import Drawer
    from sagd_jax.run.saved import Run
    from sagd_jax.system.signals import StopRequest

SETTINGS_FILE = "samples.json"
SETTINGS = (
    "step",
    "no_ema",
    "num_samples",
    "shard_size",
    "seed",
    "method",
    "num_steps",
    *kinds.users(SAMPLERS),
    "times",
    *kinds.users(GRIDS),
    "label",
    "guidance",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and writes samples as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax

        from sagd_jax.run.draw import Drawer
        from sagd_jax.run.layout import local_mesh
        from sagd_jax.run.saved import load_run

        flags, stop = program.flags, program.stop
        sampler = chosen_kind(parser, flags, SAMPLERS, "method")
        grid = chosen_kind(parser, flags, GRIDS, "times")
        mesh = local_mesh(flags.fsdp)
        run = load_run(
            flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh, allow=flags.allow
        )
        flags.step = run.step
        _check(parser, flags, run)
        with as_config_error(f"--times={flags.times}"):
            times = grid.times(run.diffusion.schedule, flags.num_steps)
        drawer = Drawer(
            run.record,
            run.model,
            run.diffusion,
            mesh,
            sampler=sampler,
            num_steps=flags.num_steps,
            times=times,
            seed=flags.seed,
            # Never more than asked for.
            batch_size=min(flags.batch_size, flags.num_samples, flags.shard_size),
            label=flags.label,
            guidance_scale=flags.guidance,
        )
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
        return _draw_all(parser, run, drawer, flags, out, stop)


def _draw_all(
    parser: Parser,
    run: Run,
    drawer: Drawer,
    flags: argparse.Namespace,
    out: Path,
    stop: StopRequest,
) -> int:
    import jax
    from tqdm import tqdm

    from sagd_jax.programs import sample_files as files

    start = time.monotonic()
    data = run.record.data
    shards = files.shards_of(flags.num_samples, flags.shard_size)
    out.mkdir(parents=True, exist_ok=True)
    me, everyone = jax.process_index(), jax.process_count()
    mine = [shard for i, shard in enumerate(shards) if i % everyone == me]
    if len(shards) > 1:  # a single file is drawn anew
        defaults = {name: parser.get_default(name) for name in SETTINGS}
        claim(out / SETTINGS_FILE, settings_of(flags, SETTINGS), defaults)
        mine = [shard for shard in mine if not files.is_whole(out / shard[0], shard[2] - shard[1])]
    for name, first, last in mine:
        with tqdm(total=last - first, unit="sample", disable=me != 0 or None) as bar:
            samples = drawer(
                run.params,
                first,
                last,
                interrupted=lambda: stop.exit_status is not None,
                advance=bar.update,
            )
        if samples is None:
            break
        labels = drawer.labels(first, last) if run.model.num_classes else None
        files.write_npz(out / name, samples, labels)
        if first == 0:
            files.write_for_people(out, samples[: files.GRID], data)
        if flags.png:
            files.write_pngs(out, samples, first, flags.num_samples, data)
    if stop.exit_status is not None:
        missing = sum(not files.is_whole(out / n, last - first) for n, first, last in shards)
        print(
            f"stopped {stop.seconds_since():.1f} s after the signal; {missing} of {len(shards)} "
            "files are missing, run the same command to go on",
            flush=True,
        )
        return stop.exit_status
    if me == 0 and not mine:
        print(f"nothing to do: all files are in {out}")
    elif me == 0:
        names = "samples.npz" if len(shards) == 1 else f"{shards[0][0]} to {shards[-1][0]}"
        if everyone > 1:
            names += f" (its share of them, one of {everyone} processes)"
        print(f"wrote {out}/grid.png and {names} in {time.monotonic() - start:.1f} s")
    return 0


def _check(parser: Parser, flags: argparse.Namespace, run: Run) -> None:
    classes = run.model.num_classes
    if flags.label is not None and not classes:
        parser.error(f"--class={flags.label}: this network was trained without classes")
    if flags.label is not None and not 0 <= flags.label < classes:
        parser.error(f"--class={flags.label}: expected 0 to {classes - 1}")
    if flags.guidance != 1 and not classes:
        parser.error(f"--guidance={flags.guidance}: this network was trained without classes")
    if flags.png and len(run.record.data.shape) != 3:
        parser.error("--png: these samples are not images")


def _parser() -> Parser:
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
    parser.add_allow()
    parser.add_argument("--out", required=True, help="directory to write to")
    parser.add_argument("--num_samples", type=at_least(1), default=64, help="default 64")
    parser.add_argument("--seed", type=at_least(0), default=0, help="sample i is f(seed, i)")
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument("--method", choices=METHODS, default="ddim", help="default ddim")
    parser.add_argument("--num_steps", type=at_least(1), default=50, help="default 50")
    add_options(parser, SAMPLERS, "method")
    parser.add_argument("--times", choices=tuple(GRIDS), default="uniform", help="default uniform")
    add_options(parser, GRIDS, "times")
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
    return parser
