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

from sagd_jax.diffusion.samplers import SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.programs.chosen_sampler import asked_sampler, sampler_of
from sagd_jax.programs.evaluation_flags import evaluation_parser
from sagd_jax.programs.resume import IDENTITY, settings_of
from sagd_jax.system import cores, kinds
from sagd_jax.system.commandline import chosen_kind
from sagd_jax.system.home_cache import home_cache
from sagd_jax.system.places import check_outside, check_place
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    import numpy as np
    from jax.sharding import Mesh

    from sagd_jax.evaluation.bench import Bench
    from sagd_jax.evaluation.judge import Asked
    from sagd_jax.programs.evaluated_samples import Samples
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
    parser = evaluation_parser()
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
        asked_for = asked_sampler(parser, flags)
        grid = chosen_kind(parser, flags, GRIDS, "times")
        cores.as_devices(flags.batch_size)
        mesh = local_mesh()
        run = load_run(
            flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh, allow=flags.allow
        )
        flags.step, flags.checkpoint = run.step, run.identity
        sampler, num_steps = sampler_of(parser, flags, run, asked_for)
        flags.num_steps = flags.num_steps or [num_steps]
        out = Path(flags.out or results_of(flags.workdir, "evaluation") / f"step_{run.step:08d}")
        out = out.expanduser()
        check_place("--out", out)
        # A set of sample.py's has its judgement beside it; a folder of pictures is somebody's data.
        for place, what in ((run.record.config.data.dir, "data.dir"), (flags.dir or "", "--dir")):
            if flags.out:  # a run among its data has its own folder
                check_outside("--out", out, place, what)
        record = run.record.data
        given = None
        if flags.samples is not None:
            given = read_samples(Path(flags.samples).expanduser(), record, flags.max_samples)
        count = flags.num_samples if given is None else len(given)
        bench = _bench(run, flags, mesh)
        has = _has(run, bench, flags)
        labelled = bool(record.num_classes)
        words = flags.metrics or default_names(labelled, count, math.prod(record.shape), has)
        asked = parse(words, labelled, has)
        bench.check(asked, count)
        blocks: Samples
        if given is None:
            interrupted = lambda: stop.exit_status is not None  # noqa: E731
            blocks = DrawnSamples(parser, flags, run, mesh, sampler, grid, out, interrupted)
        else:
            blocks = GivenSamples(given)
        if flags.remove_band is not None:
            blocks = _without(blocks, flags.remove_band, run)
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
    blocks: Samples,
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
    of_run = {
        "denoising": lambda: bench.denoising(run),
        "bound": lambda: bench.bound(run, [int(n) for n in blocks if n.isdigit()]),
    }
    of_samples = [one for one in asked if one.name not in of_run]
    for one in asked:
        if one.name in of_run and main_process:
            _say(CHECKPOINT, one, _once(results, CHECKPOINT, one, of_run[one.name]), {})
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


def _has(run: Run, bench: Bench, flags: argparse.Namespace) -> set[str]:
    """What there is of `judge.NEEDS`."""
    has = bench.has
    if flags.remove_band is not None:
        has -= {"torch"}  # which takes bytes
    if not run.config.noise.per_class:
        has.add("run")
    if _has_bound(run):
        has.add("bound")
    return has


def _has_bound(run: Run) -> bool:
    from sagd_jax.diffusion import bound
    from sagd_jax.run.draw import sampled_kind

    config = run.config
    if (
        config.objective.kind == "consistency"
        or config.noise.per_class
        or sampled_kind(run.diffusion)
    ):
        return False
    try:
        bound.check(run.diffusion, config.model.prediction)
    except ValueError:
        return False
    return True


def _without(blocks: Samples, band: tuple[float, float], run: Run) -> Samples:
    """The samples without a band of radii, in `max`."""
    from sagd_jax.data.filtered import projection, rest
    from sagd_jax.programs.evaluated_samples import FilteredSamples
    from sagd_jax.system.schema import as_config_error

    data = run.record.data
    with as_config_error(f"--remove_band={band[0]:g}:{band[1]:g}"):
        kept = rest(data.shape[:-1], (band,), "max")
    return FilteredSamples(blocks, projection(kept, data.value_range))


def _bench(run: Run, flags: argparse.Namespace, mesh: Mesh) -> Bench:
    from sagd_jax.evaluation import bench, sets
    from sagd_jax.evaluation import compared as compared_data
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
    compared = compared_data.open_data(
        compared_data.clean(own), run.record.data, flags.split, flags.held_out, flags.num_reference
    )
    band = compared_data.hole(run.diffusion)
    if flags.band is not None:
        shape = run.record.data.shape[:-1]
        shares = band_shares(shape, flags.band)[0]
        if not shares.max() > 0:
            raise EvaluationError(f"--band={flags.band}: no frequency of {shape} lies in it")
        band = (shares > 0).reshape(*shape[:-1], -1)
    given = sets.read_all(Path(flags.reference).expanduser()) if flags.reference else None
    return bench.Bench(
        run.record.data,
        compared_data.with_corruption(compared, own, band),
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
    named = (IDENTITY, "step", "classifier_seed", "band")
    settings = settings_of(flags, named if flags.remove_band is None else (*named, "remove_band"))
    if drawn:
        settings |= settings_of(flags, DRAWING)
    else:
        place = os.path.abspath(os.path.expanduser(flags.samples))
        settings |= {"samples": place, "max_samples": flags.max_samples}
    return settings | bench.identity
