"""The program `sample.py`: samples from a checkpoint, which is all that it reads.

Sample i is a function of (seed, i) and, for a class-conditional network without `--class`, has the
class i modulo the number of classes. Neither depends on the batch size or the number of devices.

Up to `--shard_size` samples go into `samples.npz`. More go into numbered files of that size; run
again with the same flags, the program makes only what is missing. A folder holds the samples of one
checkpoint and one set of flags; others are refused. With several processes each draws files of its own
on its own devices, and none waits for another.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.diffusion.consistency import NUM_STEPS
from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.programs.chosen_sampler import asked_sampler, sampler_of
from sagd_jax.programs.resume import IDENTITY, claim, settings_of
from sagd_jax.programs.sample_looks import WAYS, check_ways
from sagd_jax.system import cores, kinds
from sagd_jax.system.commandline import Parser, a_class, add_options, at_least, chosen_kind, number
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.late import require
from sagd_jax.system.places import check_outside, check_place, writing
from sagd_jax.system.schema import LARGEST_SEED, as_config_error
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    import numpy as np

    from sagd_jax.run.draw import Drawer
    from sagd_jax.run.saved import Run
    from sagd_jax.system.signals import StopRequest

SETTINGS_FILE = "samples.json"
SETTINGS = (
    IDENTITY,
    "step",
    "no_ema",
    "first",
    "num_samples",
    "shard_size",
    "seed",
    "method",
    "num_steps",
    *kinds.users(SAMPLERS),
    "times",
    *kinds.users(GRIDS),
    "label",
    "kind",
    "guidance",
    "clip",
)
BEFORE = {
    "clip": False,
    "kind": None,
}  # what versions did that had no such flag, where that is not its default
MOST = 2**31 - 1  # the last sample that there is: their keys are numbered in 32 bits
MUCH = 0.03  # of the values cut off: of sound samples it is much less

_log = logging.getLogger(__name__)


class SampleError(ForPeople, RuntimeError):
    """Samples that cannot be drawn; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Draws and writes samples as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax

        from sagd_jax.data.sources import scanned
        from sagd_jax.programs import sample_files as files
        from sagd_jax.run.draw import Drawer, is_bounded
        from sagd_jax.run.layout import local_mesh
        from sagd_jax.run.ready import results_of, words_of
        from sagd_jax.run.saved import load_run

        flags, stop = program.flags, program.stop
        asked = asked_sampler(parser, flags)
        grid = chosen_kind(parser, flags, GRIDS, "times")
        own_place = not flags.out  # of a run that lies among its data it is there too
        flags.out = flags.out or str(results_of(flags.workdir, "samples"))
        out = Path(flags.out).expanduser()
        check_place("--out", out)
        # Never more than asked for.
        batch_size = min(flags.batch_size, flags.num_samples, flags.shard_size)
        cores.as_devices(batch_size)
        mesh = local_mesh(flags.fsdp)
        run = load_run(
            flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh, allow=flags.allow
        )
        if not own_place:
            check_outside("--out", out, scanned(run.record.config.data), "data.dir")
        flags.step, flags.checkpoint = run.step, run.identity
        sampler, num_steps = sampler_of(parser, flags, run, asked)
        flags.num_steps = flags.num_steps or num_steps
        _check(parser, flags, run)
        if flags.kind is not None:
            run = dataclasses.replace(run, diffusion=run.diffusion.at(flags.kind))
        if flags.clip is None:
            flags.clip = is_bounded(run.record, run.diffusion)
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
            batch_size=batch_size,
            label=flags.label,
            guidance_scale=flags.guidance,
            clip=flags.clip,
        )
        with as_config_error(f"--method={flags.method}"):
            drawer.check(run.params)
        with writing(f"--out={flags.out}"):
            out.mkdir(parents=True, exist_ok=True)
            defaults = {name: parser.get_default(name) for name in SETTINGS if name != IDENTITY}
            defaults |= {"method": "ddim", "num_steps": 50}
            mine = claim(
                out / SETTINGS_FILE,
                settings_of(flags, SETTINGS),
                {**defaults, **BEFORE},
                files.FILES,
            )
        if jax.process_index() == 0:
            print(
                f"step {run.step} of {words_of(flags.workdir)}; {'raw' if flags.no_ema else 'EMA'} weights; "
                f"{flags.num_samples} samples by {flags.method}, {flags.num_steps} steps",
                flush=True,
            )
        stop.nothing_to_save = False
        try:
            return _draw_all(run, drawer, flags, out, stop)
        except ForPeople:
            # Of a set that never began nothing shall stand in the way of another.
            if mine and jax.process_count() == 1 and not files.present(out):
                (out / SETTINGS_FILE).unlink(missing_ok=True)
            raise


def _draw_all(
    run: Run,
    drawer: Drawer,
    flags: argparse.Namespace,
    out: Path,
    stop: StopRequest,
) -> int:
    import jax

    from sagd_jax.programs import sample_files as files
    from sagd_jax.programs import sample_looks as looks
    from sagd_jax.show.bars import counted

    start = time.monotonic()
    data, labelled = run.record.data, bool(run.model.num_classes)
    shards = files.shards_of(flags.first, flags.num_samples, flags.shard_size)
    me, everyone = jax.process_index(), jax.process_count()
    reference = looks.data_spectrum(flags.workdir) if me == 0 else None
    drawn = pictures = 0
    for name, first, last in shards[me::everyone]:
        samples = None
        if not files.is_whole(out / name, last - first, data, labelled):
            with counted(total=last - first, unit="sample", shown=me == 0) as bar:
                samples = _draw(run, drawer, flags, (first, last), stop, bar.update)
            if samples is None:
                break
            with writing(f"--out={flags.out}"):
                labels = drawer.labels(first, last) if labelled else None
                files.write_npz(out / name, samples, labels)
            drawn += 1
        head = first == flags.first
        shown = files.for_people(
            out, first, last, data, head=head, png=flags.png, reference=reference
        )
        missing = {path: write for path, write in shown.items() if not path.exists()}
        if missing:
            if samples is None:  # a program was ended before it wrote them, or not asked to
                samples = files.read_samples(out / name)
            with writing(f"--out={flags.out}"):
                for write in missing.values():
                    write(samples)
        pictures += len(missing)
    if flags.gif and me == 0 and stop.exit_status is None:
        with writing(f"--out={flags.out}"):
            pictures += looks.write_ways(run, drawer, flags, out)
    if stop.exit_status is not None:
        missing_files = sum(
            not files.is_whole(out / name, last - first, data, labelled)
            for name, first, last in shards
        )
        print(
            f"stopped {stop.seconds_since():.1f} s after the signal; {missing_files} of "
            f"{len(shards)} files are missing, run the same command to go on",
            flush=True,
        )
        return stop.exit_status
    if drawn:
        _say_what_was_cut(run, flags, drawer.far_share, say=me == 0)
    if me == 0 and not drawn:
        words = f"wrote {pictures} pictures or sounds" if pictures else "nothing to do"
        print(f"{words}: all files are in {out}")
    elif me == 0:
        names = "samples.npz" if len(shards) == 1 else f"{shards[0][0]} to {shards[-1][0]}"
        if everyone > 1:
            names += f" (its share of them, one of {everyone} processes)"
        print(f"wrote {out}/grid.png, spectrum.svg and {names} in {time.monotonic() - start:.1f} s")
    return 0


def _draw(
    run: Run,
    drawer: Drawer,
    flags: argparse.Namespace,
    which: tuple[int, int],
    stop: StopRequest,
    advance: Callable[[int], Any],
) -> np.ndarray | None:
    """The samples of one file; None if a signal came first."""
    from sagd_jax.run.draw import NotFiniteError

    def interrupted() -> bool:
        return stop.exit_status is not None

    try:
        return drawer(run.params, *which, interrupted=interrupted, advance=advance)
    except NotFiniteError as error:
        sound = drawer.last_finite_step(run.params, error.index)
        words = str(error)
        if sound is not None:
            words += f", number {error.index} from step {sound + 1} of {flags.num_steps} on"
        cause = "the network overflows; try another --step or --num_steps"
        if flags.guidance != 1:
            cause = f"--guidance={flags.guidance:g} may be too strong, or the network overflows"
        raise SampleError(f"{words}, and were not written: {cause}") from error


def _say_what_was_cut(run: Run, flags: argparse.Namespace, share: float, *, say: bool) -> None:
    from sagd_jax.diffusion.process import NEEDS_ALPHA
    from sagd_jax.run.draw import FAR

    data = run.record.data
    if data.dtype != "uint8" and data.kind != "audio" and not flags.clip:
        return
    words = f"{share:.1%} of the values were cut off by more than {FAR:.0%} of the data's range"
    if say:
        print(words, flush=True)
    if share <= MUCH:
        return
    causes = [f"a run that is young (step {run.step})"]
    prediction = run.config.model.prediction
    if prediction in NEEDS_ALPHA:
        causes.append(f"a prediction of {prediction}, whose errors are divided by a small alpha")
    if flags.guidance != 1:
        causes.append(f"strong guidance ({flags.guidance:g})")
    advice = "" if flags.clip else "; --clip clips at every step"
    _log.warning("%s; likely causes: %s%s", words, ", ".join(causes), advice)


def _check(parser: Parser, flags: argparse.Namespace, run: Run) -> None:
    classes = run.model.num_classes
    if flags.label is not None and not classes:
        parser.error(f"--class={flags.label}: this network was trained without classes")
    if flags.label is not None and not 0 <= flags.label < classes:
        parser.error(f"--class={flags.label}: expected 0 to {classes - 1}")
    if flags.guidance != 1 and not classes:
        parser.error(f"--guidance={flags.guidance}: this network was trained without classes")
    schedule: Any = run.diffusion.schedule
    kinds = getattr(schedule, "kinds", 0)
    if flags.kind is not None and not kinds:
        parser.error(f"--kind={flags.kind}: this run knows no kinds of corrupted examples")
    if flags.kind is not None and not 0 <= flags.kind < kinds:
        parser.error(f"--kind={flags.kind}: expected 0, clean, to {kinds - 1}")
    if kinds and flags.kind is None:
        flags.kind = int(schedule.kind)
    if flags.first + flags.num_samples - 1 > MOST:
        parser.error(f"--first={flags.first}: expected its last sample to be at most {MOST}")
    if flags.clip and run.record.data.kind in ("latents", "field"):
        parser.error(f"--clip: the values of {run.record.data.kind} have no bounds")
    needs = {"audio": "soundfile", "video": "PIL"}.get(run.record.data.kind)
    if needs and run.record.data.sample_rate:
        require(needs, f"writing {run.record.data.kind}")
    if flags.gif:
        require("PIL", "--gif")
        check_ways(parser, flags, run)
    if flags.png and len(run.record.data.shape) != 3:
        parser.error("--png: these samples are not images")


def _parser() -> Parser:
    parser = Parser(
        prog="sample.py",
        description="Draw samples from a checkpoint, with its averaged (EMA) weights.",
        epilog="Writes samples.npz ('samples', (n, *spatial, channels), uint8 for images, and "
        "'labels' for a class-conditional network) or, for many, samples-00000-of-00010.npz and so on; "
        "run again with the same flags, it makes what is missing. Of the first 100 it writes grid.png "
        "and a WAV or GIF each for audio and video, and spectrum.svg beside the data's, where known. A folder holds one set, named by samples.json. "
        "Exit status: 0 finished, 2 bad input or samples that are not finite, 75 stopped by SIGTERM "
        "(requeue it), 130 by Ctrl-C.",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        help="directory of a training run, or the name of a ready one: digits",
    )
    parser.add_allow()
    parser.add_argument(
        "--out",
        help="directory to write to (default: samples in the workdir; of a ready run NAME_samples)",
    )
    parser.add_argument("--num_samples", type=at_least(1), default=64, help="default 64")
    parser.add_argument(
        "--first",
        type=at_least(0, MOST),
        default=0,
        help="number of the first sample; default 0. --first=7 --num_samples=1 is sample 7 alone",
    )
    parser.add_argument(
        "--seed",
        type=at_least(0, LARGEST_SEED),
        default=0,
        help=f"sample i is f(seed, i); at most {LARGEST_SEED}; default 0",
    )
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="default ddim; a consistency model has a way of its own, and takes none",
    )
    parser.add_argument(
        "--num_steps",
        type=at_least(1),
        help=f"default 50; of a consistency model {NUM_STEPS}, and 1 to 4 are what it is for",
    )
    add_options(parser, SAMPLERS, "method")
    parser.add_argument("--times", choices=tuple(GRIDS), default="uniform", help="default uniform")
    add_options(parser, GRIDS, "times")
    parser.add_argument("--class", dest="label", type=a_class, help="default: all classes in turn")
    parser.add_argument(
        "--kind",
        type=int,
        help="of runs with capped levels: draw as examples of this kind and finish them (default: 0, "
        "clean, where clean examples were trained, else the least corrupted)",
    )
    parser.add_argument("--guidance", type=number(), default=1.0, help="scale; 1 is none")
    parser.add_argument(
        "--clip",
        action=argparse.BooleanOptionalAction,
        help="clip what the network says of the data to their range, at every step (default: where "
        "they are 8-bit images or clips without a corruption, and no frequency is without noise)",
    )
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
    parser.add_argument(
        "--gif",
        action="store_true",
        help=f"also show how the first {WAYS} come about: trajectory.gif",
    )
    return parser
