"""Sets on which no threshold was settled: other pictures, textures, sounds and exponents, for judging alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.detector import photographs
from benchmarks.detector.examples import Examples, Rng, crops, field, unit

RATE = 22050
_16_BITS = 65535


def power_law(shape: tuple[int, ...], exponent: float, rng: Rng) -> Examples:
    """Gaussian fields whose power is a power of the frequency, floats."""
    return Examples(unit(field(shape, exponent, rng, 180))[..., None], levels=0)


def marble(rng: Rng) -> Examples:
    """Veins of stone: a wave of a warped coordinate, in three colours."""
    out = []
    for _ in range(5):
        y, x = np.mgrid[:256, :256] / 256
        warp = field((256, 256), -2.7, rng)[0]
        vein = np.abs(np.sin(2 * np.pi * (3 * x + 2 * y) + 2.5 * warp)) ** 0.3
        grain = 0.03 * field((256, 256), -1.0, rng)[0]
        grey = np.clip(0.2 + 0.6 * vein + grain, 0, 1)
        tint = np.array([1.0, 0.95, 0.9 + 0.1 * rng.random()])
        out.append(np.uint8(np.round(255 * np.clip(grey[..., None] * tint, 0, 1))))
    return crops(out, 240, 48, rng)


def bubbles(rng: Rng) -> Examples:
    """Thin circles over each other on a shaded ground, smoothed from twice the size."""
    out = []
    for _ in range(6):
        page = Image.fromarray(np.uint8(128 + 40 * np.clip(field((512, 512), -3.2, rng)[0], -2, 2)))
        draw = ImageDraw.Draw(page)
        for _ in range(150):
            r, cy, cx = 4 * rng.pareto(1.5) + 5, *rng.uniform(0, 512, 2)
            shade = int(rng.integers(0, 255))
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), outline=shade, width=3)
        out.append(np.asarray(page.resize((256, 256), Image.Resampling.BOX)))
    return crops(out, 240, 56, rng)


def slanted_text(rng: Rng) -> Examples:
    """Lines of words at several angles and sizes, white on dark."""
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    out = []
    for angle in rng.uniform(-30, 30, 6):
        page = Image.new("L", (420, 420), 30)
        draw = ImageDraw.Draw(page)
        size = int(rng.integers(12, 22))
        for y in range(0, 420, int(size * rng.uniform(1.3, 1.9))):
            words = " ".join("".join(rng.choice(letters, rng.integers(1, 7))) for _ in range(14))
            draw.text((0, y), words, fill=220, font=ImageFont.load_default(size))
        turned = page.rotate(float(angle), Image.Resampling.BICUBIC, fillcolor=30)
        out.append(np.asarray(turned)[80:340, 80:340])
    return crops(out, 240, 64, rng)


def bells(rng: Rng) -> Examples:
    """Struck bars: partials that are no multiples, each stroke of another pitch, over faint noise."""
    n = 3000
    t = np.arange(n) / RATE
    out = 0.001 * rng.normal(size=(180, n))
    for x in out:
        for _ in range(rng.integers(1, 4)):
            start, f = rng.integers(0, n // 2), rng.uniform(200, 900)
            for ratio in (1.0, 2.76, 5.40, 8.93):
                wave = np.sin(2 * np.pi * f * ratio * t[: n - start] + rng.uniform(0, 6))
                x[start:] += 0.1 / ratio * wave * np.exp(-8 * ratio * t[: n - start])
    return _sound(out)


def rain(rng: Rng) -> Examples:
    """Drops: short noises at random times and strengths."""
    n = 2500
    out = 1e-4 * rng.normal(size=(200, n))
    for x in out:
        for at in rng.integers(0, n - 60, rng.integers(10, 120)):
            x[at : at + 60] += (
                0.03 * rng.pareto(2.5) * rng.normal(size=60) * np.exp(-np.arange(60) / 12)
            )
    return _sound(out)


def two_voices(rng: Rng) -> Examples:
    """Gliding sums of harmonics, as singers', two at a time."""
    n = 3500
    t = np.arange(n) / RATE
    out = 3e-4 * rng.normal(size=(180, n))
    for x in out:
        for _ in range(2):
            pitch = rng.uniform(110, 500) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(3, 7) * t))
            turns = 2 * np.pi * np.cumsum(pitch) / RATE
            loud = 0.05 * np.exp(0.8 * rng.normal())
            for k in range(1, 20):
                x += loud / k**1.2 * np.sin(k * turns + rng.uniform(0, 6))
    return _sound(out)


def falling(rng: Rng) -> Examples:
    """Clips of grains that fall over a dark ground, with noise of a sensor, 16 frames of 20x20."""
    t, y, x = np.mgrid[:16, :20, :20]
    out = 0.15 + 0.01 * rng.normal(size=(120, 16, 20, 20))
    for clip in out:
        for _ in range(8):
            cy, cx, speed = rng.uniform(-20, 20), rng.uniform(0, 20), rng.uniform(0.5, 2)
            clip += 0.5 * np.exp(-((y - cy - speed * t) ** 2 + (x - cx) ** 2) / 2)
    return Examples(np.round(255 * np.clip(out, 0, 1)[..., None]) / 255)


def small_faces(rng: Rng) -> Examples:
    """Faces and other crops of 25x25 of scikit-image."""
    from skimage import data

    x = data.lfw_subset()
    return Examples(np.asarray(x)[rng.permutation(len(x))][..., None])


def halved(name: str, size: int, rng: Rng) -> Examples:
    """Crops of one picture of scikit-image, halved."""
    from skimage import data

    picture = getattr(data, name)()
    picture = picture[0] if isinstance(picture, tuple) else picture
    return crops([photographs.halved(picture[..., :3])], 200, size, rng)


def drawn_sets() -> dict[str, partial[Examples]]:
    """The makers that need nothing of others."""
    return {
        "field 40x56, exponent -1": partial(power_law, (40, 56), -1.0),
        "field 64x64, exponent -3.5": partial(power_law, (64, 64), -3.5),
        "sound of 700, exponent -1.7": partial(power_law, (700,), -1.7),
        "marble": partial(marble),
        "bubbles": partial(bubbles),
        "slanted text": partial(slanted_text),
        "bells": partial(bells),
        "rain": partial(rain),
        "two voices": partial(two_voices),
        "falling grains": partial(falling),
    }


def sets_of_skimage() -> dict[str, partial[Examples]]:
    """Of pictures that the other sets leave out."""
    return {
        "small faces": partial(small_faces),
        "stars": partial(halved, "hubble_deep_field", 64),
        "retina": partial(halved, "retina", 64),
        "tissue": partial(halved, "immunohistochemistry", 48),
        "motorcycle": partial(halved, "stereo_motorcycle", 56),
    }


def test_split(data: Path, name: str, rng: Rng) -> Examples:
    """A thousand examples of the part of a data set that the other sets leave out."""
    return photographs.tfds(data, name, rng, split="test")


def _sound(x: np.ndarray) -> Examples:
    x = np.round((np.clip(x, -1, 1) + 1) / 2 * _16_BITS) / _16_BITS
    return Examples(x[..., None], levels=_16_BITS, rate=RATE)
