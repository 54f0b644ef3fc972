"""The program `python -m sagd_jax.evaluate`: what a checkpoint's samples are worth.

Draws samples as sample.py does, at each of the numbers of steps that are asked for, or takes those in a
folder or file, and judges them by the metrics of `evaluation/judge.py`. The results go into one file,
`evaluation.json`, after each metric; run again with the same flags, the program goes on where it was,
and metrics that are added are computed of the samples that there are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.programs.resume import IDENTITY, settings_of
from sagd_jax.system import kinds
from sagd_jax.system.commandline import Parser, add_options, at_least, chosen_kind, number
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import write_whole
from sagd_jax.system.places import check_place, writing
from sagd_jax.system.schema import LARGEST_SEED
from sagd_jax.system.startup import started

if TYPE_CHECKING:
    import numpy as np

    from sagd_jax.evaluation.bench import Bench
    from sagd_jax.evaluation.judge import Asked
    from sagd_jax.run.saved import Run
    from sagd_jax.system.signals import StopRequest

FILE = "evaluation.json"
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
_SHARD = 1000  # samples in a file: what is lost by an interruption


class EvaluateError(ForPeople, RuntimeError):
    """An evaluation that cannot go on; the message is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluates as the flags say; returns the exit status (0, 2, 75, 130)."""
    parser = _parser()
    with started(parser, argv) as program:
        # Imported late: a misspelt flag should not wait for the libraries.
        from sagd_jax.evaluation.judge import default_names, parse
        from sagd_jax.run.layout import local_mesh
        from sagd_jax.run.provenance import provenance
        from sagd_jax.run.saved import load_run

        flags, stop = program.flags, program.stop
        sampler = chosen_kind(parser, flags, SAMPLERS, "method")
        grid = chosen_kind(parser, flags, GRIDS, "times")
        mesh = local_mesh()
        run = load_run(
            flags.workdir, flags.step, ema=not flags.no_ema, mesh=mesh, allow=flags.allow
        )
        flags.step, flags.checkpoint = run.step, run.identity
        out = Path(flags.out or Path(flags.workdir) / "evaluation" / f"step_{run.step:08d}")
        out = out.expanduser()
        check_place("--out", out)
        record = run.record.data
        given = None if flags.samples is None else _read_samples(flags, run)
        count = flags.num_samples if given is None else len(given)
        labelled = bool(record.num_classes)
        words = flags.metrics or default_names(labelled, count, math.prod(record.shape))
        asked = parse(words, labelled)
        bench = _bench(run, flags, mesh)
        bench.check(asked, count)
        if given is None:
            blocks = _Drawn(parser, flags, run, mesh, sampler, grid, out, stop)
        else:
            blocks = {"samples": given}
        settings = _settings(flags, bench, given is None)
        results = _Results(out, settings, provenance(_command(argv)))
        stop.nothing_to_save = False
        print(
            f"step {run.step} of {flags.workdir}: {count} samples"
            + (f" of {flags.samples}" if flags.samples else f" by {flags.method}")
            + f", {len(asked)} metrics; {results.path}",
            flush=True,
        )
        for name in blocks:
            if not _judge_all(name, blocks, asked, bench, results, stop):
                print(f"stopped by a signal; run the same command to go on: {out}", flush=True)
                return stop.exit_status or 0
        return 0


def _judge_all(
    name: str, blocks: Any, asked: Sequence[Asked], bench: Bench, results: _Results, stop: Any
) -> bool:
    """Computes what is missing of one set of samples; False if a signal came first."""
    from sagd_jax.evaluation.judge import line

    raw: np.ndarray | None = None
    features: dict[str, Any] = {}
    for one in asked:
        found = results.get(name, str(one))
        if found is None:
            if raw is None:
                raw = blocks[name]
            if raw is None or stop.exit_status is not None:
                return False
            start = time.monotonic()
            found = bench.judge(one, raw, features)
            found["seconds"] = round(time.monotonic() - start, 3)
            found |= {"features": bench.features(one.features).notes} if one.metric.chosen else {}
            results.add(name, str(one), found)
        notes = found.get("features", {})
        words = line(one, found)
        if "held_out_accuracy" in notes:
            words += f" (classifier: {notes['held_out_accuracy']:.1%} of held-out examples right)"
        print(f"{name}: {words}", flush=True)
    return True


class _Results:
    """The file of results: settings, provenance, and each metric of each set of samples."""

    def __init__(self, out: Path, settings: dict[str, Any], provenance: dict[str, Any]) -> None:
        from sagd_jax.programs.resume import different
        from sagd_jax.system.schema import ConfigError

        self.path = out / FILE
        with writing(f"--out={out}"):
            out.mkdir(parents=True, exist_ok=True)
        self._content = {"settings": settings, "provenance": provenance, "results": {}}
        settings = json.loads(_json(settings))
        if self.path.is_file():
            try:
                before = json.loads(self.path.read_text())
                differing = different(before["settings"], settings)
                self._content["results"] = dict(before["results"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{self.path} is not one that this program wrote; use another --out"
                ) from error
            if differing:
                raise ConfigError(
                    f"{self.path} is of other settings ({', '.join(differing)}); use another --out"
                )

    def get(self, name: str, metric: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._content["results"].get(name, {}).get(metric)
        return found

    def add(self, name: str, metric: str, values: dict[str, Any]) -> None:
        self._content["results"].setdefault(name, {})[metric] = values
        with writing(str(self.path)):
            write_whole(self.path, _json(self._content) + "\n")


def _json(values: Any) -> str:
    """As JSON that every reader takes: what is no number is null."""

    def sound(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): sound(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [sound(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(sound(values), indent=1, allow_nan=False)


class _Drawn:
    """Sets of samples by their number of steps, drawn when they are asked for, kept in files."""

    def __init__(
        self,
        parser: Parser,
        flags: argparse.Namespace,
        run: Run,
        mesh: Any,
        sampler: Any,
        grid: Any,
        out: Path,
        stop: StopRequest,
    ) -> None:
        from sagd_jax.run.draw import Drawer, is_bounded
        from sagd_jax.system.schema import as_config_error

        if flags.label is not None and not 0 <= flags.label < run.model.num_classes:
            parser.error(f"--class={flags.label}: this network has {run.model.num_classes} classes")
        if flags.guidance != 1 and not run.model.num_classes:
            parser.error(f"--guidance={flags.guidance}: this network was trained without classes")
        if flags.clip is None:
            flags.clip = is_bounded(run.record, run.diffusion)
        self._run, self._flags, self._out, self._stop = run, flags, out, stop
        self._drawers = {}
        for steps in flags.num_steps:
            with as_config_error(f"--times={flags.times}"):
                times = grid.times(run.diffusion.schedule, steps)
            drawer = Drawer(
                run.record,
                run.model,
                run.diffusion,
                mesh,
                sampler=sampler,
                num_steps=steps,
                times=times,
                seed=flags.seed,
                batch_size=min(flags.batch_size, flags.num_samples),
                label=flags.label,
                guidance_scale=flags.guidance,
                clip=flags.clip,
            )
            with as_config_error(f"--method={flags.method}"):
                drawer.check(run.params)
            self._drawers[str(steps)] = drawer

    def __iter__(self) -> Any:
        return iter(self._drawers)

    def __getitem__(self, name: str) -> np.ndarray | None:
        """The samples of a number of steps; None if a signal came first."""
        import numpy as np
        from tqdm import tqdm

        from sagd_jax.programs import sample_files as files

        drawer, data = self._drawers[name], self._run.record.data
        folder = self._out / "samples" / f"steps_{int(name):04d}"
        with writing(f"--out={self._out}"):
            folder.mkdir(parents=True, exist_ok=True)
        parts = []
        with tqdm(total=self._flags.num_samples, unit="sample", disable=None) as bar:
            for file, first, last in files.shards_of(0, self._flags.num_samples, _SHARD):
                if not files.is_whole(folder / file, last - first, data, False):
                    samples = drawer(
                        self._run.params,
                        first,
                        last,
                        interrupted=lambda: self._stop.exit_status is not None,
                        advance=bar.update,
                    )
                    if samples is None:
                        return None
                    labels = drawer.labels(first, last) if self._run.model.num_classes else None
                    with writing(f"--out={self._out}"):
                        files.write_npz(folder / file, samples, labels)
                parts.append(files.read_samples(folder / file))
        return np.concatenate(parts)


def _read_samples(flags: argparse.Namespace, run: Run) -> np.ndarray:
    from sagd_jax.evaluation.given import read_samples

    return read_samples(Path(flags.samples).expanduser(), run.record.data, flags.max_samples)


def _bench(run: Run, flags: argparse.Namespace, mesh: Any) -> Bench:
    import dataclasses

    from sagd_jax.evaluation import bench
    from sagd_jax.evaluation.features import EvaluationError
    from sagd_jax.system.import_paths import check_allowed

    config = run.record.config.data
    check_allowed({"data.name": config.name}, flags.allow)
    # What a record names is not opened: a checkpoint may come from anywhere.
    if config.dir and not flags.dir:
        raise EvaluationError(
            f"this checkpoint says that its data is in {config.dir}: pass --dir={config.dir}, if that "
            "is where to read it, or --dir with another place"
        )
    if config.corrupted_flags and not flags.dir:
        raise EvaluationError(
            f"this run's data are marked as corrupted by a file, {config.corrupted_flags}, which is "
            "not opened: give clean data to compare with by --dir"
        )
    config = bench.clean(config)
    if flags.dir:
        config = dataclasses.replace(config, dir=os.path.abspath(os.path.expanduser(flags.dir)))
    compared = bench.open_data(
        config, run.record.data, flags.split, flags.held_out, flags.num_reference
    )
    return bench.Bench(
        run.record.data,
        compared,
        mesh,
        cache=_cache(flags),
        seed=flags.classifier_seed,
        say=lambda words: print(words, flush=True),
    )


def _cache(flags: argparse.Namespace) -> Path | None:
    if flags.cache == "off":
        return None
    base = flags.cache or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sagd_jax", "evaluation"
    )
    return Path(base).expanduser()


def _settings(flags: argparse.Namespace, bench: Bench, drawn: bool) -> dict[str, Any]:
    settings = settings_of(flags, (IDENTITY, "step", "classifier_seed"))
    if drawn:
        settings |= settings_of(flags, DRAWING)
    else:
        settings |= {"samples": os.path.abspath(os.path.expanduser(flags.samples))}
    return settings | bench.identity


def _command(argv: Sequence[str] | None) -> list[str]:
    return ["-m", "sagd_jax.evaluate", *(sys.argv[1:] if argv is None else argv)]


def _whole_numbers(text: str) -> list[int]:
    values = [at_least(1)(part) for part in text.split(",")]
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError(f"{text}: one number twice")
    return values


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
    parser.add_argument("--workdir", required=True, help="directory of a training run")
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
        help="of sampling, with commas between several: --num_steps=4,8,16,50; default 50",
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
        help="split for the floors; default test, or halves (of the reference) where there is none",
    )
    parser.add_argument("--num_reference", type=at_least(2), help="examples of it; default: all")
    parser.add_argument(
        "--dir",
        help="where the data is, if the run read a folder or file: the place that it was trained on "
        "is not opened unasked",
    )
    parser.add_argument(
        "--classifier_seed", type=at_least(0, LARGEST_SEED), default=0, help="default 0"
    )
    parser.add_argument(
        "--cache",
        help="folder for the classifier and its features of the reference, or off (default: "
        "sagd_jax/evaluation in the user's cache)",
    )
    return parser
