"""The program `python -m sagd_jax.evaluate`: what a checkpoint's samples are worth.

Draws samples as sample.py does, at each of the numbers of steps that are asked for, or takes those in a
folder or file, and judges them by the metrics of `evaluation/judge.py`. The results go into one file,
`evaluation.json`, after each metric; run again with the same flags, the program goes on where it was,
and metrics that are added are computed of the samples that there are.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.programs.resume import IDENTITY, settings_of
from sagd_jax.system import kinds
from sagd_jax.system.commandline import Parser, add_options, at_least, chosen_kind, number
from sagd_jax.system.home_cache import home_cache
from sagd_jax.system.places import check_place
from sagd_jax.system.schema import LARGEST_SEED
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh

    from sagd_jax.evaluation.bench import Bench
    from sagd_jax.evaluation.judge import Asked
    from sagd_jax.programs.evaluated_samples import DrawnSamples, GivenSamples
    from sagd_jax.programs.evaluation_file import Results
    from sagd_jax.run.saved import Run
    from sagd_jax.system.signals import StopRequest

DRAWING = (
    "no_ema",
    "num_samples",
    "seed",
    "method",
    *kinds.users(SAMPLERS),
    "times",
    *kinds.users(GRIDS),
    "label",
    "guidance",
    "clip",
)
CHECKPOINT = "checkpoint"  # the block of what is of the network, not of samples


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        import jax

        from sagd_jax.evaluation.given import read_samples
        from sagd_jax.evaluation.judge import default_names, parse
        from sagd_jax.programs.evaluated_samples import DrawnSamples, GivenSamples
        from sagd_jax.programs.evaluation_file import Results
        from sagd_jax.run.layout import local_mesh
        from sagd_jax.run.provenance import provenance
        from sagd_jax.run.ready import results_of, words_of
        from sagd_jax.run.saved import load_run
        from sagd_jax.system.exits import leave_if_peers_are_lost

        flags, stop = program.flags, program.stop
        sampler = chosen_kind(parser, flags, SAMPLERS, "method")
        grid = chosen_kind(parser, flags, GRIDS, "times")
        mesh = local_mesh()
        run = load_run(
            flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh, allow=flags.allow
        )
        flags.step, flags.checkpoint = run.step, run.identity
        out = Path(flags.out or results_of(flags.workdir, "evaluation") / f"step_{run.step:08d}")
        out = out.expanduser()
        check_place("--out", out)
        record = run.record.data
        given = None
        if flags.samples is not None:
            given = read_samples(Path(flags.samples).expanduser(), record, flags.max_samples)
        count = flags.num_samples if given is None else len(given)
        bench = _bench(run, flags, mesh)
        has = {*bench.has, *([] if run.config.noise.per_class else ["run"])}
        labelled = bool(record.num_classes)
        words = flags.metrics or default_names(labelled, count, math.prod(record.shape), has)
        asked = parse(words, labelled, has)
        bench.check(asked, count)
        blocks: DrawnSamples | GivenSamples
        if given is None:
            interrupted = lambda: stop.exit_status is not None  # noqa: E731
            blocks = DrawnSamples(parser, flags, run, mesh, sampler, grid, out, interrupted)
        else:
            blocks = GivenSamples(given)
        main_process = jax.process_index() == 0
        command = ["-m", "sagd_jax.evaluate", *(sys.argv[1:] if argv is None else argv)]
        settings = _settings(flags, bench, given is None)
        results = Results(out, settings, provenance(command), writes=main_process)
        stop.nothing_to_save = False
        if main_process:
            what = f"of {flags.samples}" if flags.samples else f"by {flags.method}"
            print(
                f"step {run.step} of {words_of(flags.workdir)}: {count} samples {what}, {len(asked)} metrics; "
                f"{results.path}",
                flush=True,
            )
        try:
            status = _judge_all(run, blocks, asked, bench, results, stop)
        except jax.errors.JaxRuntimeError as error:
            leave_if_peers_are_lost(error)
            raise
        if main_process and flags.save_reference and status is None:
            _save_reference(bench, flags, asked)
        if status is not None and main_process:
            print(
                f"stopped {stop.seconds_since():.1f} s after the signal; run the same command to go on",
                flush=True,
            )
        return status or 0


def _judge_all(
    run: Run,
    blocks: DrawnSamples | GivenSamples,
    asked: Sequence[Asked],
    bench: Bench,
    results: Results,
    stop: StopRequest,
) -> int | None:
    """Draws and judges what is missing; the exit status if a signal came first.

    All processes draw; while the first one judges a set, the others draw the next.
    """
    import jax

    from sagd_jax.system.processes import Agreement

    agree = Agreement(lag=0)
    main_process = jax.process_index() == 0
    of_samples = [one for one in asked if one.metric.needs != "run"]
    for one in asked:
        if one.metric.needs == "run" and main_process:
            _say(CHECKPOINT, one, _once(results, CHECKPOINT, one, lambda: bench.denoising(run)), {})
    for name in blocks:
        missing = [one for one in of_samples if results.get(name, str(one)) is None]
        whole = not missing or blocks.draw(name)
        if agree(stop.exit_status or 0) or not whole:
            return agree(0) or stop.exit_status
        if not main_process:
            continue
        raw = blocks.read(name) if missing else None
        features: dict[str, Any] = {}
        for one in of_samples:
            if stop.exit_status is not None:
                break
            compute = functools.partial(_judged, bench, one, raw, features)
            found = _once(results, name, one, compute)
            _say(name, one, found, found.get("features", {}))
    return agree(stop.exit_status or 0) or None


def _judged(
    bench: Bench, one: Asked, raw: np.ndarray | None, features: dict[str, Any]
) -> dict[str, Any]:
    assert raw is not None  # of a set of which something is missing
    found = bench.judge(one, raw, features)
    return found | ({"features": bench.features(one.features).notes} if one.metric.chosen else {})


def _once(
    results: Results, block: str, one: Asked, compute: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """A result that is there, or else computed and added."""
    found = results.get(block, str(one))
    if found is None:
        start = time.monotonic()
        found = {**compute(), "seconds": round(time.monotonic() - start, 3)}
        results.add(block, str(one), found)
    return found


def _say(block: str, one: Asked, found: dict[str, Any], notes: dict[str, Any]) -> None:
    from sagd_jax.evaluation.judge import line

    where = block if block in (CHECKPOINT, "samples") else f"{block} steps"
    words = f"{where}: {line(one, found)}"
    if "held_out_accuracy" in notes:
        words += f" (classifier: {notes['held_out_accuracy']:.1%} of held-out examples right)"
    print(words, flush=True)


def _bench(run: Run, flags: argparse.Namespace, mesh: Mesh) -> Bench:
    from sagd_jax.evaluation import bench, sets
    from sagd_jax.evaluation.features import EvaluationError
    from sagd_jax.evaluation.spectra_of_samples import band_shares
    from sagd_jax.evaluation.torch_metrics import TorchFidelity
    from sagd_jax.system.import_paths import check_allowed

    own = run.record.config.data
    check_allowed({"data.name": own.name}, flags.allow)
    # What a record names is not opened: a checkpoint may come from anywhere.
    if own.dir and not flags.dir:
        raise EvaluationError(
            f"this checkpoint says that its data is in {own.dir}: pass --dir={own.dir}, if that "
            "is where to read it, or --dir with another place"
        )
    if own.corrupted_flags and not flags.dir:
        raise EvaluationError(
            f"this run's data are marked as corrupted by a file, {own.corrupted_flags}, which is "
            "not opened: give clean data to compare with by --dir"
        )
    if flags.dir:
        place: dict[str, Any] = {"dir": os.path.abspath(os.path.expanduser(flags.dir))}
        own = dataclasses.replace(own, **place)
    compared = bench.open_data(
        bench.clean(own), run.record.data, flags.split, flags.held_out, flags.num_reference
    )
    band = bench.hole(run.diffusion)
    if flags.band is not None:
        shape = run.record.data.shape[:-1]
        shares = band_shares(shape, flags.band)[0]
        if not shares.max() > 0:
            raise EvaluationError(f"--band={flags.band}: no frequency of {shape} lies in it")
        band = (shares > 0).reshape(*shape[:-1], -1)
    given = sets.read_all(Path(flags.reference).expanduser()) if flags.reference else None
    return bench.Bench(
        run.record.data,
        bench.with_corruption(compared, own, band),
        mesh,
        cache=_cache(flags),
        given=given,
        seed=flags.classifier_seed,
        torch=TorchFidelity(flags.fid_weights, flags.prc_weights),
        say=lambda words: print(words, flush=True),
    )


def _save_reference(bench: Bench, flags: argparse.Namespace, asked: Sequence[Asked]) -> None:
    from sagd_jax.evaluation import sets
    from sagd_jax.system.places import writing

    folder = Path(flags.save_reference).expanduser()
    for name in sorted({one.features for one in asked}):
        with writing(f"--save_reference={folder}"):
            sets.write(sets.file_of(folder, name), bench.reference(name))


def _cache(flags: argparse.Namespace) -> Path | None:
    if flags.cache == "off":
        return None
    if flags.cache:
        return Path(flags.cache).expanduser()
    home = home_cache()
    return None if home is None else home / "evaluation"


def _settings(flags: argparse.Namespace, bench: Bench, drawn: bool) -> dict[str, Any]:
    settings = settings_of(flags, (IDENTITY, "step", "classifier_seed", "band"))
    if drawn:
        settings |= settings_of(flags, DRAWING)
    else:
        place = os.path.abspath(os.path.expanduser(flags.samples))
        settings |= {"samples": place, "max_samples": flags.max_samples}
    return settings | bench.identity


def _band(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    band = number(0, 1)(low), number(0, 1)(high if colon else "")
    if band[0] >= band[1]:
        raise argparse.ArgumentTypeError(f"{text}: expected LOW:HIGH")
    return band


def _whole_numbers(text: str) -> list[int]:
    values = [at_least(1)(part) for part in text.split(",")]
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text}: one number twice")
    return values


def _file(text: str) -> Path:
    return Path(text).expanduser()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.evaluate",
        description="Judge a checkpoint's samples, drawn here or by sample.py, against its data.",
        epilog="Writes evaluation.json with what it was computed by, after each metric, and the samples "
        "that it draws; run again with the same flags, it computes what is missing. Exit status: 0 "
        "finished, 2 bad input, 75 stopped by SIGTERM (requeue it), 130 by Ctrl-C.",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        help="directory of a training run, or the name of a ready one: digits",
    )
    parser.add_allow()
    parser.add_argument(
        "--metrics",
        type=_words,
        help="NAME or NAME:FEATURES, with commas between them; features are pixels, classifier or "
        "module:function (default: all that need no download)",
    )
    parser.add_argument(
        "--samples", help="judge these: a folder of images or of sample.py, or an .npz"
    )
    parser.add_argument("--max_samples", type=at_least(1), help="of --samples; default: all")
    parser.add_argument(
        "--out", help="directory to write to (default: evaluation/step_N in the workdir)"
    )
    parser.add_argument(
        "--num_samples", type=at_least(1), default=1000, help="to draw; default 1000"
    )
    parser.add_argument(
        "--num_steps",
        type=_whole_numbers,
        default=[50],
        help="of sampling, with commas between several, 4,8,16,50; default 50",
    )
    parser.add_argument(
        "--seed", type=at_least(0, LARGEST_SEED), default=0, help="of the samples; default 0"
    )
    parser.add_argument("--step", type=at_least(0), help="checkpoint (default: the newest)")
    parser.add_argument("--method", choices=METHODS, default="ddim", help="default ddim")
    add_options(parser, SAMPLERS, "method")
    parser.add_argument("--times", choices=tuple(GRIDS), default="uniform", help="default uniform")
    add_options(parser, GRIDS, "times")
    parser.add_argument("--class", dest="label", type=int, help="default: all classes in turn")
    parser.add_argument("--guidance", type=number(), default=1.0, help="scale; 1 is none")
    parser.add_argument(
        "--clip", action=argparse.BooleanOptionalAction, help="as of sample.py, with its default"
    )
    parser.add_argument("--batch_size", type=at_least(1), default=250, help="default 250")
    parser.add_argument("--no_ema", action="store_true", help="take the raw weights")
    parser.add_argument("--split", help="of the run's data to compare with; default the run's own")
    parser.add_argument(
        "--held_out",
        help="split for the floors; default test, or else half of the reference",
    )
    parser.add_argument("--num_reference", type=at_least(2), help="examples of it; default: all")
    parser.add_argument(
        "--dir",
        help="where the data is, if the run read a folder or file",
    )
    parser.add_argument(
        "--classifier_seed", type=at_least(0, LARGEST_SEED), default=0, help="default 0"
    )
    parser.add_argument(
        "--band",
        type=_band,
        metavar="LOW:HIGH",
        help="of the corruption, in max (default: what the run omits)",
    )
    parser.add_argument(
        "--save_reference", metavar="DIR", help="keep the reference's statistics there"
    )
    parser.add_argument(
        "--reference",
        metavar="PLACE",
        help="statistics of --save_reference, a folder or file",
    )
    parser.add_argument(
        "--fid_weights", type=_file, metavar="FILE", help="of torch-fidelity's Inception network"
    )
    parser.add_argument(
        "--prc_weights", type=_file, metavar="FILE", help="of torch-fidelity's VGG network"
    )
    parser.add_argument(
        "--cache",
        help="for the classifier and features, or off (default: the user's cache)",
    )
    return parser
