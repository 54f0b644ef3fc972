"""Clean sets of pictures that are drawn by a formula: textures, text, and what strangers have."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.detector.examples import Examples, Rng, crops, field, radius, unit


def dead_leaves(rng: Rng) -> Examples:
    """Opaque discs of all sizes and colours over each other: edges as those of photographs."""
    return crops([_leaves(256, rng) for _ in range(6)], 240, 64, rng)


def weather(rng: Rng) -> Examples:
    """Fields with a power law, float values, 48x48."""
    return Examples(unit(field((48, 48), -3.0, rng, 200))[..., None], levels=0)


def satellite(rng: Rng) -> Examples:
    """Land seen from above: rough fields cut in parcels of one colour each, with roads."""
    pictures = []
    for _ in range(4):
        ground = unit(field((256, 256), -2.2, rng)[0])
        parcels = np.kron(rng.random((16, 16)), np.ones((16, 16))) * 0.4
        grey = 0.6 * ground + parcels
        for _ in range(12):
            at, wide = rng.integers(0, 250), rng.integers(1, 4)
            grey[at : at + wide] = 0.9
            grey[:, at : at + wide] = 0.85
        colour = np.stack([grey, 0.9 * grey + 0.05, 0.8 * grey], axis=-1)
        pictures.append(_eight_bit(colour))
    return crops(pictures, 240, 64, rng)


def phantoms(rng: Rng) -> Examples:
    """Slices as of a CT: few ellipses, smooth inside, black outside, with noise of the ramp filter."""
    n = 64
    y, x = (np.mgrid[:n, :n] - n / 2) / (n / 2)
    out = np.zeros((160, n, n))
    for image in out:
        for k in range(6):
            image[_ellipse(y, x, rng, 0.75 if k == 0 else 0.3)] += 0.4 if k == 0 else 0.1
    ramp = np.fft.irfft2(np.fft.rfft2(rng.normal(size=out.shape)) * radius((n, n)), s=(n, n))
    return Examples(np.clip(out + 0.01 * ramp / ramp.std(), 0, 1)[..., None], levels=4095)


def text(rng: Rng) -> Examples:
    """Printed words, crops of pages with lines of text."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    pages = []
    for size in (11, 12, 14, 16):
        page = Image.new("L", (320, 320), 245)
        draw = ImageDraw.Draw(page)
        for y in range(4, 310, int(1.5 * size)):
            words = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(12)]
            draw.text((4, y), " ".join(words), fill=20, font=ImageFont.load_default(size))
        pages.append(np.asarray(page))
    return crops(pages, 240, 64, rng)


def screenshots(rng: Rng) -> Examples:
    """Windows, buttons and text in flat colours."""
    pictures = []
    for _ in range(6):
        page = Image.new("RGB", (256, 256), tuple(rng.integers(200, 255, 3)))
        draw = ImageDraw.Draw(page)
        for _ in range(14):
            x, y, w, h = rng.integers(0, 220), rng.integers(0, 230), *rng.integers(16, 90, 2)
            fill = tuple(rng.integers(60, 255, 3))
            draw.rectangle((x, y, x + w, y + h), fill=fill, outline=(40, 40, 40))
            draw.text(
                (x + 3, y + 3), "Open file", fill=(10, 10, 10), font=ImageFont.load_default(10)
            )
        pictures.append(np.asarray(page))
    return crops(pictures, 240, 64, rng)


def fabric(rng: Rng) -> Examples:
    """Woven cloth, threads of about 5 pixels: periodic by itself."""
    y, x = np.mgrid[:320, :320]
    pictures = []
    for _ in range(4):
        bent = 0.7 * field((320, 320), -3.0, rng)[0]
        weave = np.sin(2 * np.pi * (x + bent) / 5.3) * np.sin(2 * np.pi * (y - bent) / 4.7)
        pictures.append(_eight_bit(0.5 + 0.2 * weave + 0.1 * field((320, 320), -2.0, rng)[0]))
    return crops(pictures, 240, 64, rng)


def halftone(rng: Rng) -> Examples:
    """Comics: flat areas, outlines, and dots of a halftone screen in some of the areas."""
    pictures = []
    for _ in range(6):
        leaves = _leaves(256, rng)[..., 0] / 255
        y, x = np.mgrid[:256, :256]
        dots = np.cos(2 * np.pi * (x + y) / 6) + np.cos(2 * np.pi * (x - y) / 6)
        pictures.append(_eight_bit(np.where(leaves < 0.4, 0.5 + 0.5 * (dots > 0.4), leaves)))
    return crops(pictures, 240, 64, rng)


def faces(rng: Rng) -> Examples:
    """Smooth blobs at about the same places, as aligned faces are."""
    n, count = 48, 300
    y, x = (np.mgrid[:n, :n] - n / 2) / n
    out = np.zeros((count, n, n, 3))
    for image in out:
        tone = rng.random(3) * 0.3
        image += tone
        for cy, cx, s, level in (
            (0, 0, 0.3, 0.6),
            (-0.1, -0.12, 0.06, -0.4),
            (-0.1, 0.12, 0.06, -0.4),
        ):
            cy, cx = cy + 0.02 * rng.normal(), cx + 0.02 * rng.normal()
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * (s * rng.uniform(0.9, 1.1)) ** 2))
            image += level * blob[..., None] * (0.8 + 0.2 * rng.random(3))
        image += 0.02 * field((n, n), -2.0, rng)[0][..., None]
    return Examples(np.clip(np.round(255 * out), 0, 255) / 255)


def spectrograms(rng: Rng) -> Examples:
    """Pictures of sounds: bent harmonics over time, log power, 64x48."""
    rows, columns = np.mgrid[:64, :48]
    out = np.zeros((200, 64, 48))
    for image in out:
        base, bend = rng.uniform(4, 9), rng.uniform(-2, 2)
        pitch = base + bend * np.sin(2 * np.pi * columns / rng.uniform(30, 90))
        for k in range(1, 12):
            image += np.exp(-((rows - k * pitch) ** 2) / 1.5) / k**0.5
        image += 0.2 * np.log(rng.exponential(size=image.shape) + 1e-3)
    return Examples(unit(out)[..., None])


def logos(rng: Rng) -> Examples:
    """Logos with transparency: RGBA, a disc and a bar on nothing."""
    n = 40
    y, x = np.mgrid[:n, :n] - n / 2
    out = np.zeros((200, n, n, 4))
    for image in out:
        r, at, wide = rng.uniform(6, 18), rng.uniform(-8, 8), rng.uniform(2, 6)
        shape = (np.hypot(y - rng.normal(), x - rng.normal()) < r) | (np.abs(y - at) < wide)
        image[shape] = [*rng.random(3), 1.0]
    return Examples(np.round(255 * out) / 255)


def sprites(rng: Rng) -> Examples:
    """Game sprites enlarged three times without smoothing: enlarged by their nature."""
    small = (rng.random((200, 16, 8)) < 0.45).astype(float)
    small = np.concatenate([small, small[..., ::-1]], axis=-1)
    colour = small[..., None] * rng.random((200, 1, 1, 3))
    return Examples(np.round(255 * colour.repeat(3, axis=1).repeat(3, axis=2)) / 255)


def night(rng: Rng) -> Examples:
    """Dark photographs with white noise of the sensor, stronger where there is light."""
    light = np.stack([_leaves(64, rng) for _ in range(200)]) / 255
    light = 0.02 + 0.25 * light**3
    noisy = light + np.sqrt(2e-4 + 2e-3 * light) * rng.normal(size=light.shape)
    return Examples(np.round(255 * np.clip(noisy, 0, 1)) / 255)


def masks(rng: Rng) -> Examples:
    """Binary masks, 27x31."""
    x = field((27, 31), -3.5, rng, 400) > 0.3
    return Examples(x[..., None].astype(float))


def bordered(rng: Rng) -> Examples:
    """Pictures with a black frame of four pixels."""
    x = np.stack([_leaves(40, rng) for _ in range(200)]) / 255
    return Examples(np.pad(x, [(0, 0), (4, 4), (4, 4), (0, 0)]))


def few(rng: Rng) -> Examples:
    """Only 64 examples, 32x32."""
    return Examples(dead_leaves(rng).x[:64, :32, :32])


def badly_scaled(rng: Rng) -> Examples:
    """Floats of which nearly all lie in a hundredth of the range."""
    return Examples(0.5 + 0.002 * field((32, 32), -2.0, rng, 200)[..., None], levels=0)


def shrunk(rng: Rng) -> Examples:
    """Pictures resized from 64 to 28 with smoothing, as MNIST's were."""
    whole = dead_leaves(rng).x[..., 0]
    small = [
        np.asarray(Image.fromarray(np.uint8(255 * x)).resize((28, 28), Image.Resampling.BICUBIC))
        for x in whole
    ]
    return Examples(np.stack(small)[..., None] / 255)


def faxes(rng: Rng) -> Examples:
    """Text in two levels, 64x64: scans of a fax."""
    grey = text(rng).x
    return Examples((grey > 0.6).astype(float))


def white(rng: Rng) -> Examples:
    """White noise: as smooth a spectrum as there is."""
    return Examples(unit(rng.normal(size=(200, 32, 32)))[..., None], levels=0)


def _leaves(n: int, rng: Rng) -> np.ndarray:
    """One picture `(n, n, 3)`, uint8, of discs over each other, averaged from twice the size."""
    y, x = np.mgrid[: 2 * n, : 2 * n]
    picture = np.full((2 * n, 2 * n, 3), 0.5)
    for _ in range(120 if n < 128 else 500):
        r = 2 * 3 / max(rng.random(), 3 / (n / 3))
        cy, cx = rng.uniform(-r / 2, 2 * n + r / 2, 2)
        low, high = np.clip([cy - r, cy + r], 0, 2 * n).astype(int)
        left, right = np.clip([cx - r, cx + r], 0, 2 * n).astype(int)
        inside = np.hypot(y[low:high, left:right] - cy, x[low:high, left:right] - cx) < r
        shade = rng.random(3) + 0.03 * rng.normal(size=(inside.sum(), 1))
        picture[low:high, left:right][inside] = shade
    quarters = picture.reshape(n, 2, n, 2, 3).mean(axis=(1, 3))
    return _eight_bit(quarters)


def _ellipse(y: np.ndarray, x: np.ndarray, rng: Rng, size: float) -> np.ndarray:
    cy, cx = rng.uniform(-0.4, 0.4, 2) * (1 - size)
    a, b = size * rng.uniform(0.5, 1, 2)
    angle = rng.uniform(0, np.pi)
    u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
    v = (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
    return (u / a) ** 2 + (v / b) ** 2 < 1


def _eight_bit(x: np.ndarray) -> np.ndarray:
    return np.uint8(np.clip(np.round(255 * x), 0, 255))
