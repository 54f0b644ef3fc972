"""The pictures of docs/choose_a_process.md: each process on one photograph, and its log-SNR.

Draw them all into docs/images/, from an image that comes with scikit-learn:

    python scripts/process_figures.py

or some of them, by name:

    python scripts/process_figures.py blurring bases
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_image

import sagd_jax as sagd
from sagd_jax.data import DataConfig, normalise, open_source
from sagd_jax.spectral.power_spectrum import variance_in

OUT = Path(__file__).parent.parent / "docs" / "images"
SIZE = (64, 64)
CROPS = 400
DPI = 100

schedules, bases = sagd.schedules, sagd.bases


def photograph(side: int, colour: bool = False) -> np.ndarray:
    """`(side, side, 1 or 3)` in [-1, 1]: a building, part of scikit-learn's china.jpg."""
    image = Image.fromarray(load_sample_image("china.jpg")).crop((30, 0, 457, 427))
    image = image.resize((side, side), Image.Resampling.LANCZOS)
    values = np.asarray(image if colour else image.convert("L"), np.float32) / 127.5 - 1
    return values if colour else values[..., None]


def crops(side: int, colour: bool = False) -> np.ndarray:
    """Squares of both of scikit-learn's photographs at half size, `(CROPS, side, side, 1 or 3)`."""
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(load_sample_image(name)).reduce(2) for name in ("china.jpg", "flower.jpg")
    ]
    arrays = [np.asarray(i if colour else i.convert("L"), np.float64) / 127.5 - 1 for i in images]
    found = []
    for i in range(CROPS):
        image = arrays[i % 2]
        top, left = (rng.integers(0, n - side + 1) for n in image.shape[:2])
        found.append(image[top : top + side, left : left + side])
    return np.stack(found).reshape(CROPS, side, side, -1)


def spectrum(basis: sagd.bases.Basis) -> np.ndarray:
    """S of such photographs, per coordinate."""
    return variance_in(crops(SIZE[0]), basis)


def one(schedule: sagd.Schedule, covariance: Any = None) -> Figure:
    return sagd.plots.processes(photograph(SIZE[0]), sagd.Diffusion(schedule, covariance))


def of_classes() -> Figure:
    """Digits 0 and 1, each under noise with the spectrum of its class."""
    source = open_source(DataConfig(name="digits"))
    data = source.fetch(np.arange(len(source)))
    x, label = normalise(data["x"], source.value_range), data["label"]
    basis = bases.cosine(x.shape[1:-1])
    members = [variance_in(np.asarray(x[label == c], np.float64), basis) for c in range(10)]
    covariances = sagd.stack([sagd.from_data(m, x.shape[1:-1], basis="cosine") for m in members])
    diffusion = sagd.Diffusion(schedules.cosine(), covariances)
    return sagd.plots.processes(
        {f"class {c}": x[label == c][0] for c in (0, 1)},
        {f"class {c}": diffusion.at(c) for c in (0, 1)},
    )


def of_bases(side: int = 32) -> Figure:
    """The cosine schedule with a covariance that is diagonal in each basis."""
    shape = (side, side)
    rows, columns = np.indices(shape)
    middle = np.exp(-((rows - side / 2) ** 2 + (columns - side / 2) ** 2) / (0.25 * side) ** 2)
    luma = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
    principal = bases.principal(crops(side))
    chosen: dict[str, tuple[sagd.bases.Basis, np.ndarray]] = {
        name: (basis, 1 / (basis.radius + 1 / side) ** 2)
        for name, basis in (
            ("fourier", bases.fourier(shape)),
            ("cosine", bases.cosine(shape)),
            ("haar", bases.haar(shape)),
        )
    }
    chosen["sites"] = bases.sites(shape), 0.02 + middle
    chosen["channels"] = (
        bases.channels(luma, bases.sites(shape)),
        np.broadcast_to([0.1, 1, 1], (*shape, 3)),
    )
    power = variance_in(crops(side), principal)
    chosen["principal"] = principal, np.sqrt(np.maximum(power, 1e-6 * power.max()))
    return sagd.plots.processes(
        {
            name: photograph(side, colour=isinstance(basis, bases.Channels))
            for name, (basis, _) in chosen.items()
        },
        {
            name: sagd.Diffusion(schedules.cosine(), sagd.from_coefficients(variance, basis))
            for name, (basis, variance) in chosen.items()
        },
        maps=False,
    )


COSINE = bases.cosine(SIZE)
FIGURES: dict[str, Callable[[], Figure]] = {
    "white": lambda: one(schedules.cosine(), sagd.white(SIZE)),
    "tilted": lambda: one(schedules.cosine(), sagd.power_law(SIZE, alpha=-0.5)),
    "equal_snr": lambda: one(schedules.equal_snr(schedules.cosine(), spectrum(COSINE), COSINE)),
    "flipped_snr": lambda: one(schedules.flipped_snr(schedules.cosine(), spectrum(COSINE), COSINE)),
    "blurring": lambda: one(schedules.blurring(schedules.cosine(), COSINE)),
    "heat": lambda: one(schedules.heat(COSINE, blur_max=20.0, noise=0.02)),
    "shortest_path": lambda: one(schedules.shortest_path(spectrum(COSINE), COSINE)),
    "moving": lambda: one(
        schedules.moving(
            schedules.rectified_flow(), start=sagd.white(SIZE), end=sagd.power_law(SIZE, alpha=-1)
        )
    ),
    "hierarchical": lambda: one(
        schedules.hierarchical(
            schedules.rectified_flow(), -bases.haar(SIZE).radius, 1.0, bases.haar(SIZE)
        )
    ),
    "per_class": of_classes,
    "bases": of_bases,
}


def write(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG with a palette, which is small."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format="png")
    image = Image.open(buffer).convert("RGB")
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def draw(description: str | None, figures: dict[str, Callable[[], Figure]], out: Path) -> list[str]:
    """A program that draws the figures that it is told, or all, into a folder; returns their names."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(figures))
    names = parser.parse_args().names or list(figures)
    if unknown := sorted(set(names) - set(figures)):
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(figures)}")
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        write(figures[name](), out / f"{name}.png")
    return names


if __name__ == "__main__":
    draw(__doc__, FIGURES, OUT)
