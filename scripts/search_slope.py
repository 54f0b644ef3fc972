"""Chooses the slope of a power law of noise by a figure on held-out data: one run for each candidate.

    python scripts/search_slope.py --config=configs/digits_learned.py --workdir=runs/slopes

Every run is `schedule.kind=learned_slope` with a frozen path, all else as the config and its flags
(--config.train.num_steps=500) say. The figure is the mean variational bound of `--steps` sampling steps on
the split `test`. Run again it goes on: runs that are done are not trained anew. `search.json` in the workdir
holds the figures, and the last line says which slope to take.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CHOSEN = ("schedule.kind=learned_slope", "objective.path=frozen")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--config", required=True)
    parser.add_argument("--workdir", required=True, help="a folder per slope is made in it")
    parser.add_argument("--slopes", default="-0.4,-0.2,-0.1,0,0.1,0.2", help="default %(default)s")
    parser.add_argument("--steps", type=int, default=8, help="T of the bound; default 8")
    parser.add_argument("--num_examples", type=int, help="of the split; default all")
    flags, overrides = parser.parse_known_args(argv)
    wrong = [flag for flag in overrides if not flag.startswith("--config.")]
    if wrong:
        parser.error(f"{wrong[0]}: no such flag")
    try:
        slopes = [float(text) for text in flags.slopes.split(",")]
    except ValueError:
        parser.error(f"--slopes={flags.slopes}: expected numbers with commas between them")
    from sagd_jax.system.errors import ForPeople

    try:
        return search(flags, slopes, overrides)
    except ForPeople as error:
        parser.error(str(error))


def search(flags: argparse.Namespace, slopes: list[float], overrides: list[str]) -> int:
    from sagd_jax.run.config_file import read_config
    from sagd_jax.training.loop import train

    workdir, figures = Path(flags.workdir), []
    for slope in slopes:
        own = [f"--config.{field}" for field in (*CHOSEN, f"schedule.slope={slope}")]
        config = read_config(flags.config, [*overrides, *own])
        folder = workdir / f"slope_{slope:+g}"
        status = train(config, folder)
        if status:
            return status
        mean, error = figure(folder, flags.steps, flags.num_examples)
        figures.append({"slope": slope, "nats": mean, "error": error})
        print(
            f"slope {slope:+g}: {mean:.3f} +- {error:.3f} nats per example in {flags.steps} steps"
        )
    best = min(figures, key=lambda entry: entry["nats"])
    result = {"steps": flags.steps, "figures": figures, "best": best["slope"]}
    (workdir / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"the least: --config.schedule.slope={best['slope']:g}")
    return 0


def figure(folder: Path, steps: int, count: int | None) -> tuple[float, float]:
    """The mean bound of so many steps on the held-out split, and its standard error, in nats."""
    import dataclasses

    import numpy as np

    from sagd_jax import data
    from sagd_jax.evaluation.likelihood import evaluate_bound
    from sagd_jax.run.layout import whole_mesh
    from sagd_jax.run.saved import load_run

    mesh = whole_mesh()
    run = load_run(folder, mesh=mesh)
    source = data.open_source(dataclasses.replace(run.config.data, split="test"))
    terms = evaluate_bound(
        run, source, mesh, count=count, batch_size=64, num_times=steps, num_steps=steps
    )
    nats = np.concatenate(list(terms)).sum(axis=1)
    return float(nats.mean()), float(nats.std(ddof=1) / np.sqrt(len(nats)))


if __name__ == "__main__":
    sys.exit(main())
