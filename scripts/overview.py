"""The picture of the README: noise, its spectrum, and samples, for three slopes of the spectrum.

Redraw docs/overview.png from results/overview.json:

    python scripts/overview.py

Make that file anew, from three runs of configs/digits.py that were sampled into WORKDIR/samples:

    python scripts/overview.py --collect runs/low runs/white runs/high
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np

import sagd_jax as sagd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "overview.json"
SHOWN = 30  # samples of each run
SIZE = (64, 64)  # of the noise that is shown
DRAWS = 200


def collect(workdirs: list[str]) -> dict:
    """Samples and slopes of some runs, as plain numbers."""
    from sagd_jax.run.provenance import provenance

    runs = []
    for workdir in workdirs:
        _, _, metadata = sagd.load(workdir)
        with np.load(Path(workdir) / "samples" / "samples.npz", allow_pickle=False) as file:
            samples = file["samples"][:SHOWN, ..., 0]
        config = metadata["config"]
        runs.append(
            {
                "alpha": config["noise"]["alpha"],
                "steps": metadata["step"],
                "seed": config["seed"],
                "samples": samples.tolist(),
            }
        )
    return {**provenance(sys.argv), "runs": runs}


def draw(result: dict, path: Path) -> None:
    """Three rows: a draw of the noise, its spectrum, samples; a column for each run."""
    runs = result["runs"]
    figure, axes = plt.subplots(
        3, len(runs), figsize=(9, 7.8), height_ratios=(1, 0.7, 0.85), layout="constrained"
    )
    radius = sagd.radial_frequency(SIZE)
    for column, run in zip(axes.T, runs, strict=True):
        alpha = run["alpha"]
        covariance = sagd.power_law(SIZE, alpha)
        noise = np.asarray(covariance.sample(jax.random.key(0), (DRAWS, *SIZE, 1)))[..., 0]
        column[0].imshow(noise[0], cmap="gray", vmin=-3, vmax=3)
        column[0].set_title(f"alpha = {alpha:+g}" if alpha else "alpha = 0 (ordinary diffusion)")

        power = np.mean(np.abs(np.fft.rfft2(noise, norm="ortho")) ** 2, axis=0)
        edges = np.geomspace(1 / SIZE[0] * 0.99, radius.max() * 1.01, 13)
        bins = np.digitize(radius, edges)
        inside = range(1, len(edges))
        centres = [radius[bins == i].mean() for i in inside if (bins == i).any()]
        means = [power[bins == i].mean() for i in inside if (bins == i).any()]
        order = np.argsort(radius.ravel())[1:]
        exact = np.asarray(covariance.variance)[..., 0].ravel()
        column[1].loglog(radius.ravel()[order], exact[order], "-", color="tab:blue")
        column[1].loglog(centres, means, "o", color="tab:orange", markersize=4)
        column[1].set_ylim(0.03, 30)
        column[1].set_xticks(ticks := [0.02, 0.05, 0.1, 0.2, 0.5], map(str, ticks))
        column[1].minorticks_off()
        column[1].set_xlabel("radial frequency (cycles per pixel)")

        images = np.asarray(run["samples"], np.uint8)
        rows = len(images) // 6
        tiles = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=90)
        sheet = tiles.reshape(rows, 6, *tiles.shape[1:]).transpose(0, 2, 1, 3)
        column[2].imshow(sheet.reshape(rows * tiles.shape[1], -1), cmap="gray")
        for axis in (column[0], column[2]):
            axis.set_axis_off()
    axes[1][0].set_ylabel("variance per frequency")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", nargs="+", metavar="WORKDIR")
    flags = parser.parse_args()
    if flags.collect:
        RESULT.write_text(json.dumps(collect(flags.collect)) + "\n")
    draw(json.loads(RESULT.read_text()), ROOT / "docs" / "overview.png")


if __name__ == "__main__":
    main()
