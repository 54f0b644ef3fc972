"""The pictures of docs/figures.md: each function of `sagd.plots` on something small.

Draw them all into docs/images/gallery/, or some of them, by name:

    python scripts/gallery_figures.py
    python scripts/gallery_figures.py noise_fields trajectories
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from process_figures import crops, draw, photograph

import sagd_jax as sagd
from sagd_jax.data import DataConfig, normalise, open_source

OUT = Path(__file__).parent.parent / "docs" / "images" / "gallery"
SIZE = (64, 64)
BAND = (0.2, 0.3)  # cycles per sample
COSINE = sagd.schedules.cosine()


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits of scikit-learn, in [-1, 1], and their labels."""
    source = open_source(DataConfig(name="digits"))
    found = source.fetch(np.arange(len(source)))
    return np.asarray(normalise(found["x"], source.value_range)), found["label"]


@functools.cache
def pictures() -> np.ndarray:
    return crops(SIZE[0]).astype(np.float32)


def without_band() -> sagd.Covariance:
    return sagd.band_pass(SIZE, [(0, BAND[0]), (BAND[1], 1)], unit="cycles")


def noise_fields() -> Figure:
    return sagd.plots.noise_fields(
        {
            "alpha = -0.5": sagd.power_law(SIZE, -0.5),
            "white": sagd.white(SIZE),
            "a hole": without_band(),
        }
    )


def processes() -> Figure:
    spectrum = sagd.power_spectrum.variance_in(pictures(), basis := sagd.bases.cosine(SIZE))
    return sagd.plots.processes(
        photograph(SIZE[0]),
        {
            "white": sagd.Diffusion(COSINE, sagd.white(SIZE)),
            "tilted": sagd.Diffusion(COSINE, sagd.power_law(SIZE, -0.5)),
            "equal-SNR": sagd.Diffusion(sagd.schedules.equal_snr(COSINE, spectrum, basis)),
        },
    )


def process_map() -> Figure:
    return sagd.plots.process_map(sagd.Diffusion(COSINE, sagd.white(SIZE)), data=pictures())


def radial_spectra() -> Figure:
    a, b = pictures()[:200], pictures()[200:]
    smooth = (a + np.roll(a, 1, 1) + np.roll(a, 1, 2) + np.roll(a, (1, 1), (1, 2))) / 4
    return sagd.plots.radial_spectra({"data": b, "others": a, "blurred": smooth})


def band_errors() -> Figure:
    """Of shrinkage that learns: its error on digits, by band."""
    from sagd_jax.evaluation.denoising import denoising_errors

    x, _ = digits()
    process = sagd.Diffusion(COSINE, sagd.white((8, 8)))
    basis, edges = sagd.bases.fourier((8, 8)), (0, 0.25, 0.5, 0.75, 1)
    times = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
    data = sagd.oracle.DiagonalGaussian(
        basis, jnp.asarray(x.mean(axis=0)), sagd.power_spectrum.variance_in(x, basis)
    )
    found = denoising_errors(
        jax.random.key(0), data.denoiser(process, "x0"), process, x[:400], edges,
        times=times, prediction="x0",
    )  # fmt: skip
    return sagd.plots.band_errors(times, found.error, edges, found.standard_error, xlabel="time t")


def toy() -> tuple[sagd.oracle.GaussianMixture, dict[str, sagd.Diffusion]]:
    """Four clusters, and noise along either diagonal and along neither."""
    means = 1.5 * jnp.array([[1.0, 0.2], [-1, -0.2], [-0.3, 1], [0.3, -1]])[..., None]
    data = sagd.oracle.GaussianMixture(jnp.full(4, 0.25), means, jnp.stack([0.03 * jnp.eye(2)] * 4))
    variances = {"along (1, 1)": (1.8, 0.2), "white": (1, 1), "along (1, -1)": (0.2, 1.8)}
    return data, {
        name: sagd.Diffusion(COSINE, sagd.from_variance(np.array(v)[:, None], (2,)))
        for name, v in variances.items()
    }


def trajectories() -> Figure:
    return sagd.plots.trajectories(*toy())


def score_fields() -> Figure:
    data, chosen = toy()
    return sagd.plots.score_fields(data, {name: chosen[name] for name in list(chosen)[:2]})


def class_grid() -> Figure:
    x, labels = digits()
    return sagd.plots.class_grid(x[:20], labels[:20], columns=10)


def side_by_side() -> Figure:
    """Noise in a band, and what is left where the band is omitted."""
    x = pictures()[::2]
    band = sagd.band_pass(SIZE, [BAND], unit="cycles")
    corrupted = x + np.asarray(band.sample(jax.random.key(0), x.shape))
    return sagd.plots.side_by_side(
        {
            "clean": x,
            "corrupted": corrupted,
            "omitted": np.asarray(without_band().project(corrupted)),
        },
        band=BAND,
    )


def spectrograms() -> Figure:
    """Sweeps, one of them under noise in a band."""
    t = np.arange(24_000) / 8000
    sweep = np.sin(2 * np.pi * (200 * t + 500 * t**2))[:, None] / 2
    band = sagd.band_pass((24_000,), [(0.3, 0.4)], unit="cycles")
    noise = np.asarray(band.sample(jax.random.key(0), (1, 24_000, 1)))[0]
    return sagd.plots.spectrograms(
        {"clean": sweep, "with noise in a band": sweep + noise / 10}, 8000
    )


def clip() -> np.ndarray:
    """A window that wanders over a photograph, `(time, height, width, 1)`."""
    large = photograph(160)
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    tops, lefts = (np.round(48 + 40 * f(turn)).astype(int) for f in (np.sin, np.cos))
    return np.stack([large[a : a + 64, b : b + 64] for a, b in zip(tops, lefts, strict=True)])


def contact_sheet() -> Figure:
    return sagd.plots.contact_sheet({"clean": clip()}, 12)


def data_spectrum() -> Figure:
    """Photographs with a grid, a second one, and noise in a band."""
    x = pictures().copy()
    rows, columns = np.indices(SIZE)
    for cycles in (8, 9, 11, 24):
        x += 0.1 * np.cos(2 * np.pi * cycles * columns / 64)[None, :, :, None]
        x += 0.1 * np.cos(2 * np.pi * cycles * rows / 64)[None, :, :, None]
    band = sagd.band_pass(SIZE, [(0.36, 0.42)], unit="cycles")
    x += 0.2 * np.asarray(band.sample(jax.random.key(0), x.shape))
    return sagd.plots.data_spectrum(sagd.analysis.analyse(x))


FIGURES: dict[str, Callable[[], Figure]] = {
    f.__name__: f
    for f in (
        noise_fields, processes, process_map, radial_spectra, band_errors, trajectories, score_fields,
        class_grid, side_by_side, spectrograms, contact_sheet, data_spectrum,
    )
}  # fmt: skip


def main() -> None:
    if "contact_sheet" in draw(__doc__, FIGURES, OUT):
        sagd.plots.write_gif(OUT / "clip.gif", clip(), 12)


if __name__ == "__main__":
    main()
