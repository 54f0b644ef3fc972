"""Samples of experiments/digits_family.py side by side: docs/images/digits_grids.png.

Redraw it from results/digits_grids.json: python scripts/digits_grids.py. Make that file anew from the folder
of the experiment, runs/digits_family unless it was run with another --out:

    python scripts/digits_grids.py --collect runs/digits_family

The same samples of every arm: 0 to 19 of seed 0, two of each class, in 4 steps and in 50.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "results" / "digits_grids.json"
PICTURE = ROOT / "docs" / "images" / "digits_grids.png"
ARMS = ("white", "equal-SNR", "blurring", "shortest path")
STEPS = ("4", "50")
COUNT = 20


def collect(folder: Path) -> dict:
    """The samples of each arm and number of steps, 0 to 255."""
    from sagd_jax.run.experiment import slug
    from sagd_jax.run.provenance import provenance

    samples: dict[str, dict[str, list]] = {}
    for arm in ARMS:
        for steps in STEPS:
            place = f"{slug(arm)}/0/evaluation_*/samples/steps_{int(steps):04d}/*.npz"
            with np.load(min(folder.glob(place))) as file:
                samples.setdefault(arm, {})[steps] = file["samples"][:COUNT, ..., 0].tolist()
    return {**provenance([sys.argv[0], "--collect"]), "seed": 0, "samples": samples}


def draw(result: dict) -> None:
    """One row of digits per arm and number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(arm, steps) for arm in ARMS for steps in STEPS]
    figure, axes = plt.subplots(len(rows), 1, figsize=(8, 4.6), layout="constrained")
    for axis, (arm, steps) in zip(axes, rows, strict=True):
        digits = np.pad(result["samples"][arm][steps], ((0, 0), (0, 0), (0, 1)))
        axis.imshow(np.concatenate(list(digits), axis=1), cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(f"{arm}, {steps} steps", rotation=0, ha="right", va="center")
    figure.savefig(PICTURE, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", metavar="FOLDER")
    flags = parser.parse_args()
    if flags.collect:
        RESULT.write_text(json.dumps(collect(Path(flags.collect))) + "\n")
    draw(json.loads(RESULT.read_text()))


if __name__ == "__main__":
    main()
