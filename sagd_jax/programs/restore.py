"""The program `python -m sagd_jax.restore`: corrupted files in, restored ones out.

Of a run with capped levels. Without `--draws` each file becomes its posterior mean, by one evaluation of the
network; with `--draws=N`, which needs a run with a restoring path, it becomes the mean of N draws from
p(x_0 | y), and the draws and their standard deviation are written beside it. Files keep their names below the
folder, their format and size; what is larger than the run's data is cut into overlapping tiles, which are
drawn independently, so that in overlaps draws are closer to their mean.

Run again with the same flags, the program makes what is missing. What lies in --out and was not made from these
files, by their contents, is refused and stays (`restored_from.py`).
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagd_jax.programs import restored_from, tiles
from sagd_jax.programs.resume import IDENTITY, claim, settings_of
from sagd_jax.system import cores
from sagd_jax.system.commandline import Parser, a_class, at_least, number
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.places import check_place, writing
from sagd_jax.system.schema import LARGEST_SEED, ConfigError
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    from sagd_jax.data.files import Unreadable
    from sagd_jax.programs.restore_files import File
    from sagd_jax.run.recovery import Restorer
    from sagd_jax.run.saved import Run
    from sagd_jax.system.signals import StopRequest

SETTINGS_FILE = "restore.json"
SETTINGS = (
    IDENTITY, "step", "no_ema", "kind", "draws", "num_steps", "seed", "label", "overlap"
)  # fmt: skip


_SKIP = "; --on_error=skip leaves such files out"


class RestoreError(ForPeople, RuntimeError):
    """Files that cannot be restored; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Restores as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv, several=False) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        from sagd_jax.run.recovery import Restorer
        from sagd_jax.run.saved import load_run

        flags, stop = program.flags, program.stop
        source, out = Path(flags.input).expanduser(), Path(flags.out).expanduser()
        check_place("--out", out)
        _check_places(source, out)
        cores.as_devices(flags.batch_size)
        run = load_run(flags.workdir, flags.step, ema=not flags.no_ema, allow=flags.allow)
        flags.step, flags.checkpoint = run.step, run.identity
        _settle(parser, flags, run)
        files = _files(source, run, flags)
        missing = restored_from.missing(out, {name: file.path for name, file in files.items()})
        if flags.on_error == "stop":
            _check_values([files[name] for name in missing], run)
        restorer = Restorer(
            run,
            kind=flags.kind,
            num_steps=flags.num_steps if flags.draws else 0,
            seed=flags.seed,
            batch_size=flags.batch_size,
        )
        with writing(f"--out={flags.out}"):
            out.mkdir(parents=True, exist_ok=True)
            claim(out / SETTINGS_FILE, settings_of(flags, SETTINGS), {})
        print(_words(flags, restorer, run, len(files)), flush=True)
        stop.nothing_to_save = False
        absent = {name: files[name] for name in missing}
        return _restore_all(run, restorer, flags, files, absent, out, stop)


def _restore_all(
    run: Run,
    restorer: Restorer,
    flags: argparse.Namespace,
    files: dict[Path, File],
    missing: dict[Path, File],
    out: Path,
    stop: StopRequest,
) -> int:
    from sagd_jax.data.files import Unreadable
    from sagd_jax.show.bars import counted

    start, done = time.monotonic(), 0
    bad: list[Unreadable] = []
    alone = len(missing) == 1  # then what is in it is counted
    with counted(total=len(missing), unit="file", shown=not alone) as bar:
        for name, file in missing.items():
            with writing(f"--out={flags.out}"):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                whole = _restore_one(run, restorer, flags, file, name, out, stop, alone)
            except Unreadable as error:
                if flags.on_error == "stop":
                    raise RestoreError(f"{error}{_SKIP}") from error
                bad.append(error)
                bar.update(1)
                continue
            if not whole:
                print(
                    f"stopped {stop.seconds_since():.1f} s after the signal; {len(missing) - done} of "
                    f"{len(files)} files are missing, run the same command to go on",
                    flush=True,
                )
                return stop.exit_status or 0
            done += 1
            bar.update(1)
    if bad:
        print("left out: " + _bad(bad, len(files)), flush=True)
    if not missing:
        print(f"nothing to do: all {len(files)} files are in {out}")
    else:
        print(f"wrote {done} of {len(files)} files to {out} in {time.monotonic() - start:.1f} s")
    return 0


def _restore_one(
    run: Run,
    restorer: Restorer,
    flags: argparse.Namespace,
    file: File,
    name: Path,
    out: Path,
    stop: StopRequest,
    alone: bool,
) -> bool:
    """Whether it was restored, before a signal came; what counts as done is written last."""
    from sagd_jax.programs import restore_files

    data = run.record.data
    signals = restore_files.read(file, data)
    first = (
        zlib.crc32(name.as_posix().encode()) >> 1
    )  # a file's draws are its own, in any folder of files
    draws = []
    for draw in range(max(flags.draws, 1)):
        x = _restored(signals, restorer, flags, run, first, draw, stop, alone)
        if x is None:
            return False
        draws.append(x)
    mean = np.mean(draws, axis=0)
    target = out / name
    with writing(f"--out={flags.out}"):
        restored_from.note(out, name, file.path)
        if flags.draws > 1:
            for number, x in enumerate(draws, start=1):
                one = target.with_name(f"{name.stem}.draw{number}{name.suffix}")
                restore_files.write(one, x, file, data)
            spread = np.std(draws, axis=0, ddof=1)
            restore_files.write_spread(
                target.with_name(f"{name.stem}.spread.npy"), spread, file, data
            )
        restore_files.write(target, mean, file, data)
    return True


def _restored(
    signals: np.ndarray,
    restorer: Restorer,
    flags: argparse.Namespace,
    run: Run,
    first: int,
    draw: int,
    stop: StopRequest,
    shown: bool,
) -> np.ndarray | None:
    """Signals `(n, *spatial, channels)` restored tile by tile; None if a signal came first."""
    from sagd_jax.show.bars import counted

    tile = run.record.data.shape[:-1]
    spatial = signals.shape[1:-1]
    common = tuple(int(flags.overlap * size) for size in tile)
    at = tiles.places(spatial, tile, common)
    cut = np.concatenate([tiles.cut(x, tile, at) for x in signals])
    labels = None if flags.label is None else np.full(len(cut), flags.label, np.int32)
    try:
        with counted(total=len(cut), unit="tile", shown=shown) as bar:
            done = restorer(
                cut,
                labels,
                draw=draw,
                first=first,
                interrupted=lambda: stop.exit_status is not None,
                advance=bar.update,
            )
    except FloatingPointError as error:
        raise RestoreError(f"{error}; try another --step or --num_steps") from error
    if done is None:
        return None
    parts = done.reshape(len(signals), len(at), *done.shape[1:])
    return np.stack([tiles.join(part, spatial, at, common) for part in parts])


def _files(source: Path, run: Run, flags: argparse.Namespace) -> dict[Path, File]:
    """The files to restore by their names below the folder; all are looked at before anything is done."""
    from sagd_jax.data.files import Unreadable
    from sagd_jax.programs.restore_files import look, suffixes

    allowed = suffixes(run.record.data)
    if source.is_file():
        found, root = [source], source.parent
    elif source.is_dir():
        found, root = sorted(p for p in source.rglob("*") if p.is_file()), source
        found = [p for p in found if not any(part[0] == "." for part in p.relative_to(root).parts)]
    else:
        raise RestoreError(
            f"--input={source}: does not exist; expected a file, or a folder of them"
        )
    chosen = [p for p in found if p.suffix.lower() in allowed]
    if not chosen:
        raise RestoreError(
            f"--input={source}: none of its {len(found)} files is one of {', '.join(allowed)}, which signals "
            f"like the run's data (shape {run.record.data.shape}) are kept in"
        )
    if len(chosen) < len(found):
        print(f"passed over {len(found) - len(chosen)} other files", flush=True)
    files, errors = {}, []
    for path in chosen:
        try:
            files[path.relative_to(root)] = look(path, run.record.data, flags.own_scale)
        except Unreadable as error:
            errors.append(error)
    if errors and (not files or flags.on_error == "stop"):
        raise RestoreError(_bad(errors, len(chosen)) + (_SKIP if files else ""))
    if errors:
        print("left out: " + _bad(errors, len(chosen)), flush=True)
    return files


def _check_values(files: Sequence[File], run: Run) -> None:
    """Reads what is to be restored once before anything is compiled: a fault is said before anything is written."""
    from sagd_jax.data.files import Unreadable
    from sagd_jax.programs import restore_files
    from sagd_jax.show.bars import counted

    with counted(total=len(files), unit="file", shown=True) as bar:
        for file in files:
            try:
                restore_files.read(file, run.record.data)
            except Unreadable as error:
                raise RestoreError(f"{error}{_SKIP}") from error
            bar.update(1)


def _bad(errors: Sequence[Unreadable], total: int) -> str:
    return f"{len(errors)} of {total} files cannot be restored; first {errors[0]}"


def _check_places(source: Path, out: Path) -> None:
    inside, folder = out.absolute(), source.absolute()
    if (
        inside == folder
        or folder in inside.parents
        or (source.is_file() and inside == folder.parent)
    ):
        raise ConfigError(
            f"--out={out}: --input={source} is there too; expected another folder, since files keep their names"
        )


def _settle(parser: Parser, flags: argparse.Namespace, run: Run) -> None:
    """Checks the flags against the run, and puts into them what they leave to it."""
    schedule: Any = run.diffusion.schedule
    kinds = getattr(schedule, "kinds", 0)
    if not kinds:
        parser.error(
            f"--workdir={flags.workdir}: this run knows no corrupted kinds; only one with "
            "config.schedule.kind='capped' restores examples (docs/corrupted_data.md)"
        )
    if flags.kind is None and kinds > 2:
        parser.error(f"--kind: this run knows kinds 1 to {kinds - 1}; expected which the files are")
    flags.kind = 1 if flags.kind is None else flags.kind
    if not 1 <= flags.kind < kinds:
        parser.error(f"--kind={flags.kind}: expected 1 to {kinds - 1}")
    if flags.draws and not schedule.restoring:
        parser.error(
            f"--draws={flags.draws}: this run was trained without a restoring path "
            "(config.schedule.restoring_share > 0); without --draws it gives posterior means"
        )
    classes = run.model.num_classes
    if flags.label is not None and not 0 <= flags.label < classes:
        allowed = f"expected 0 to {classes - 1}" if classes else "this network knows no classes"
        parser.error(f"--class={flags.label}: {allowed}")


def _words(flags: argparse.Namespace, restorer: Restorer, run: Run, count: int) -> str:
    margin = run.config.schedule.margin  # type: ignore[attr-defined]
    if flags.draws:
        how = f"the mean of {flags.draws} draws of {flags.num_steps} steps"
    elif restorer.on_path:
        how = "the posterior mean, by one evaluation"
    else:
        how = f"the posterior mean at {1 + margin:g} times the variance of the corruption, by one evaluation"
    return f"step {run.step} of {flags.workdir}; {count} files, each as {how}"


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.restore",
        description="Restore corrupted files by a run with capped levels.",
        epilog="Files keep their names, formats and sizes. With --draws=N above 1, NAME.draw1.* and so on and "
        "NAME.spread.npy, the standard deviation of the draws, stand beside the mean. Exit status: 0 "
        "finished, 2 bad input, 75 stopped by SIGTERM (requeue it), 130 by Ctrl-C.",
    )
    parser.add_argument("--workdir", required=True, help="directory of a training run")
    parser.add_allow()
    parser.add_argument("--input", required=True, help="file, or folder of files")
    parser.add_argument("--out", required=True, help="directory to write to")
    parser.add_argument(
        "--kind", type=int, help="of corruption of the files, 1, 2, ...; default the only one"
    )
    parser.add_argument(
        "--draws",
        type=at_least(0),
        default=0,
        help="from the posterior; their mean is the result. 0, the default: its mean by one evaluation",
    )
    parser.add_argument("--num_steps", type=at_least(1), default=50, help="of a draw; default 50")
    parser.add_argument(
        "--overlap",
        type=number(0, 0.9),
        default=0.25,
        help="of tiles, as a share of their size, for larger signals; default 0.25",
    )
    parser.add_argument(
        "--on_error",
        choices=("stop", "skip"),
        default="stop",
        help="what to do about files that cannot be restored; default stop, before anything is written",
    )
    parser.add_argument(
        "--own_scale",
        action="store_true",
        help="take pictures as they are though the run's were scaled: they have its scale already",
    )
    parser.add_argument(
        "--seed", type=at_least(0, LARGEST_SEED), default=0, help="of the draws; default 0"
    )
    parser.add_argument(
        "--class", dest="label", type=a_class, help="class of all files; default none"
    )
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument(
        "--batch_size", type=at_least(1), default=64, help="tiles at once; default 64"
    )
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    return parser
