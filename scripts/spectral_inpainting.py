"""A corrupted band of real digits, filled given the clean ones: docs/spectral_inpainting.png.

Redraw the picture from results/spectral_inpainting.json:

    python scripts/spectral_inpainting.py

Make that file anew, from a run whose noise lives in the band [0.5, 0.7) of `max` alone, so that the
other frequencies stay clean in x_t and condition it (equation 16 of `sagd_jax/diffusion/editing.py`):

    python train.py --config=configs/digits.py --workdir=runs/fill --config.noise.kind=band_pass
        --config.noise.bands="((0.5,0.7),)" --config.model.class_conditional=False
        --config.train.num_steps=1500
    python scripts/spectral_inpainting.py --collect runs/fill
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import sagd_jax as sagd
from sagd_jax.data import DataConfig, normalise, open_source
from sagd_jax.diffusion.editing import spectral_inpaint

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "spectral_inpainting.json"
COUNT = 360  # all held-out digits
SHOWN = 12
ROWS = ("clean", "corrupted", "filled", "filled again", "band removed")


def collect(workdir: str) -> dict:
    """Held-out digits, corrupted, filled twice and filtered, and their errors in the band."""
    from sagd_jax.run.provenance import provenance

    denoiser, diffusion, metadata = sagd.load(workdir)
    covariance = diffusion.covariance
    source = open_source(DataConfig(split="test"))
    x = normalise(source.fetch(np.arange(COUNT))["x"], source.value_range)
    corrupted = x + 0.7 * covariance.sample(jax.random.key(1), x.shape)
    fill = jax.jit(
        lambda key: spectral_inpaint(
            key, denoiser, diffusion, corrupted, prediction=metadata["prediction"], num_steps=100
        )
    )
    filled, again = fill(jax.random.key(2)), fill(jax.random.key(3))
    removed = corrupted - covariance.project(corrupted)

    def error(y):
        return float(jnp.mean(jnp.square(y - x)) / jnp.mean(jnp.square(covariance.project(x))))

    signals = dict(zip(ROWS, (x, corrupted, filled, again, removed), strict=True))
    return {
        **provenance(sys.argv),
        "steps": metadata["step"],
        "seeds": [1, 2, 3],
        "digits": COUNT,
        "squared error over the band's energy": {n: error(y) for n, y in signals.items()},
        "of the mean of the two fills": error((filled + again) / 2),
        "largest change outside of the band": float(
            jnp.abs(filled - removed - covariance.project(filled)).max()
        ),
        "shown": {
            n: np.round(np.asarray(y[:SHOWN, ..., 0]), 3).tolist() for n, y in signals.items()
        },
    }


def draw(result: dict, path: Path) -> None:
    """One row per kind, one column per digit."""
    figure, axes = plt.subplots(len(ROWS), SHOWN, figsize=(9, 4), layout="constrained")
    for row, name in zip(axes, ROWS, strict=True):
        for axis, image in zip(row, result["shown"][name], strict=True):
            axis.imshow(np.asarray(image), cmap="gray", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect", metavar="WORKDIR")
    flags = parser.parse_args()
    if flags.collect:
        RESULT.write_text(json.dumps(collect(flags.collect)) + "\n")
    draw(json.loads(RESULT.read_text()), ROOT / "docs" / "spectral_inpainting.png")


if __name__ == "__main__":
    main()
