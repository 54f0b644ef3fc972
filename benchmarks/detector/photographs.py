"""Sets of real pictures: of installed packages, and of folders that a flag names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.detector.examples import Examples, Rng, crops


def digits(rng: Rng) -> Examples:
    """Scikit-learn's digits, 8x8."""
    from sklearn.datasets import load_digits

    x = load_digits().images[rng.permutation(1797)[:1200], ..., None]
    return Examples(x / 16, levels=16)


def photographs(rng: Rng) -> Examples:
    """Two photographs of scikit-learn, halved, so that the blocks of their JPEG files are gone."""
    from sklearn.datasets import load_sample_images

    pictures = [halved(picture) for picture in load_sample_images().images]
    return crops(pictures, 300, 64, rng)


def four_photographs(rng: Rng) -> Examples:
    """Crops of four photographs that scikit-image has, where it is installed."""
    return crops(_of_skimage("astronaut", "coffee", "chelsea", "rocket"), 300, 64, rng)


def bricks(rng: Rng) -> Examples:
    """Crops of one brick wall of scikit-image."""
    return crops(_of_skimage("brick"), 256, 64, rng)


def grass(rng: Rng) -> Examples:
    """Crops of grass and of gravel, of scikit-image."""
    return crops(_of_skimage("grass", "gravel"), 256, 64, rng)


def scanned_text(rng: Rng) -> Examples:
    """Crops of two scans of text of scikit-image."""
    return crops(_of_skimage("page", "text"), 256, 64, rng)


def grey_photographs(rng: Rng) -> Examples:
    """Crops of grey pictures of scikit-image: a portrait, coins, a clock, cells, 48x40."""
    return crops(_of_skimage("camera", "coins", "clock", "cell"), 256, (48, 40), rng)


def folder(path: Path, rng: Rng) -> Examples:
    """Crops of all pictures in a folder, halved: cameras and files leave marks at the single pixel."""
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", ".bmp", ".tif"))
    pictures = [halved(np.asarray(Image.open(file).convert("RGB"))) for file in files]
    if not pictures:
        raise SystemExit(f"--pictures={path}: no PNG, BMP or TIFF files in it")
    return crops(pictures, 312, 64, rng)


def tfds(data: Path, name: str, rng: Rng, split: str = "train") -> Examples:
    """A thousand examples of a data set of tensorflow-datasets."""
    import tensorflow_datasets

    source = tensorflow_datasets.data_source(name, data_dir=data / "tfds", split=split)
    chosen = rng.permutation(len(source))[:1000]
    x = np.stack([example["image"] for example in source.__getitems__(chosen.tolist())])
    return Examples(x / 255)


def detector_stripes(data: Path, rng: Rng) -> Examples:
    """Windows of a picture with a real detector's stripes."""
    picture = np.asarray(Image.open(data / "corrupted" / "crism_stripes.png").convert("L"))
    return crops([picture], 128, 64, rng)


def moon(data: Path, rng: Rng) -> Examples:
    """Windows of the moon picture with periodic noise."""
    picture = np.asarray(Image.open(data / "corrupted" / "moonlanding.png").convert("L"))
    return crops([picture], 160, 64, rng)


def halved(picture: np.ndarray) -> np.ndarray:
    """A colour picture whose pixels are the means of four."""
    height, width = (n // 2 for n in picture.shape[:2])
    whole = picture[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return np.round(whole.mean(axis=(1, 3))).astype(np.uint8)


def _of_skimage(*names: str) -> list[np.ndarray]:
    from skimage import data

    return [getattr(data, name)() for name in names]
