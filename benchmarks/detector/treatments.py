"""What happens to data, and the truth of it: corruptions that are added, and files that are treated.

What is added is independent of the data, and known; its variance is stated for values in [-1, 1], twice
what the examples here have. `sigma` and `amplitude` are shares of the range of values.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.detector.examples import Examples, Rng, radius
from sagd_jax.spectral.half_grid import (
    dilate,
    half_grid_shape,
    hermitian_multiplicity,
    to_full_grid,
    to_half_grid,
)


@dataclasses.dataclass(frozen=True)
class Truth:
    """What was done to a set.

    Attributes:
      kind: `"nothing"`, `"line"`, `"band"`, `"rows"`, `"pattern"`, `"two"`, `"jpeg"`, `"enlarged"` or
        `"mosaic"`.
      mask: the bins that it has, bool on the half grid; those that a finding may name.
      lines: frequencies of lines, one number per axis each, in cycles per sample.
      low, high: of a band, in cycles per sample.
      has: which examples, bool `(n,)`.
      variance: per value, of what was added to the examples that have it, mean over channels; values
        are in [-1, 1].
      spectrum: what each of its bins has of it, on the half grid, both of a pair {f, -f} together.
      facts: what a right name states, such as the period of JPEG blocks or a factor.
    """

    kind: str
    mask: np.ndarray
    has: np.ndarray
    lines: tuple[tuple[float, ...], ...] = ()
    low: float = 0.0
    high: float = 0.0
    variance: float = 0.0
    spectrum: np.ndarray | None = None
    facts: dict[str, float] = dataclasses.field(default_factory=dict)


_TAILS = 3.0  # bins

Treated = tuple[np.ndarray, Truth]
Treatment = Callable[[Examples, Rng], Treated]


def none(examples: Examples, rng: Rng) -> Treated:
    """The set as it is."""
    del rng
    return examples.x, Truth("nothing", _empty(examples), np.zeros(len(examples.x), bool))


def band(
    sigma: float,
    share: float = 1.0,
    low: float = 0.4,
    high: float = 0.5,
    colour: Sequence[float] = (),
) -> Treatment:
    """Noise of a radial band; edges in parts of the largest frequency. `colour`: a factor per channel."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        r = radius(examples.spatial)
        inside = (r >= low * r.max()) & (r < high * r.max())
        noise = _filtered(rng.normal(size=examples.x.shape), inside)
        noise *= sigma / noise.std()
        if colour and noise.shape[-1] == len(colour):
            noise = noise[..., :1] * np.asarray(colour)
        edges = {"low": low * r.max(), "high": high * r.max()}
        return _added(examples, noise, share, rng, kind="band", mask=inside, **edges)

    return apply


def white_noise(sigma: float) -> Treatment:
    """White noise, as of a sensor: stationary, and no finding to be omitted."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        noise = sigma * rng.normal(size=examples.x.shape)
        return _added(examples, noise, 1.0, rng, kind="nothing", mask=_empty(examples))

    return apply


def line(
    amplitude: float,
    share: float = 1.0,
    at: Sequence[float] = (0.137, 0.313),
    drift: float = 0.0,
) -> Treatment:
    """One wave with a random phase in each example, the last axes of `at` for fewer axes.

    `drift`: its frequency differs so much between examples, relatively.
    """

    def apply(examples: Examples, rng: Rng) -> Treated:
        f = tuple((0.0, *at)[-len(examples.spatial) :])
        return _waves(examples, rng, share, [(f, amplitude)], drift)

    return apply


def line_above(decibels: float, share: float = 1.0) -> Treatment:
    """A wave at a random frequency, so many dB over its neighbours in the examples that have it."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        shape = examples.spatial
        bins = [int(rng.integers(round(0.15 * n), round(0.42 * n) + 1)) for n in shape]
        axes = tuple(range(1, len(shape) + 1))
        power = np.abs(np.fft.fftn(examples.x, axes=axes, norm="ortho")) ** 2
        mean = power.mean(axis=(0, -1))
        reach = 8 if len(shape) == 1 else 3
        near = np.ix_(
            *(np.arange(b - reach, b + reach + 1) % n for b, n in zip(bins, shape, strict=True))
        )
        level = np.median(mean[near])
        sites = int(np.prod(shape))
        amplitude = 2 * np.sqrt((10 ** (decibels / 10) - 1) * level / sites)
        f = tuple(b / n for b, n in zip(bins, shape, strict=True))
        # Of values that are rounded already, rounding again would undo what is weaker than a level.
        exact = dataclasses.replace(examples, levels=0)
        return _waves(exact, rng, share, [(f, amplitude)])

    return apply


def hum(amplitude: float, share: float = 1.0, hertz: float = 50.0, drift: float = 0.0) -> Treatment:
    """A hum with harmonics along the last axis, 16 kHz where no rate is known; `drift`: its frequency differs so much,
    relatively."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        waves = []
        fundamental = hertz / (examples.rate or 16_000)
        ahead = (0.0,) * (len(examples.spatial) - 1)
        for k, weight in ((1, 1.0), (2, 0.5), (3, 0.7), (4, 0.2), (5, 0.3)):
            if k * fundamental < 0.5:
                waves.append(((*ahead, k * fundamental), amplitude * weight))
        return _waves(examples, rng, share, waves, drift)

    return apply


def rows(sigma: float, share: float = 1.0, axis: int = 0) -> Treatment:
    """A random level of each row (axis 0), column (1) or frame, the same in all channels."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        shape = [1] * examples.x.ndim
        shape[0], shape[axis + 1] = examples.x.shape[0], examples.x.shape[axis + 1]
        noise = np.broadcast_to(sigma * rng.normal(size=shape), examples.x.shape)
        mask = np.ones(half_grid_shape(examples.spatial), bool)
        for other in range(len(examples.spatial)):
            if other != axis:
                index = np.arange(mask.shape[other]).reshape(-1, *[1] * (mask.ndim - other - 1))
                mask &= index == 0
        return _added(examples, noise, share, rng, kind="rows", mask=mask)

    return apply


def dead_rows(share: float = 1.0) -> Treatment:
    """Two rows at the same places in each example are black."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        has = rng.random(len(examples.x)) < share
        x = examples.x.copy()
        for row in rng.choice(examples.spatial[0], 2, replace=False):
            x[has, row] = 0.0
        everywhere = np.ones(half_grid_shape(examples.spatial), bool)
        return x, Truth("pattern", everywhere, has)

    return apply


def hot_pixels(count: int) -> Treatment:
    """So many sites, the same in each example, are white."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        x = examples.x.copy()
        flat = x.reshape(len(x), -1, x.shape[-1])
        flat[:, rng.choice(flat.shape[1], count, replace=False)] = 1.0
        everywhere = np.ones(half_grid_shape(examples.spatial), bool)
        return x, Truth("pattern", everywhere, np.ones(len(x), bool))

    return apply


def pattern(sigma: float, share: float = 1.0) -> Treatment:
    """The same white pattern in each example, as of a dark frame that was not taken off."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        one = sigma * rng.normal(size=(1, *examples.x.shape[1:]))
        noise = np.broadcast_to(one, examples.x.shape)
        everywhere = np.ones(half_grid_shape(examples.spatial), bool)
        return _added(examples, noise, share, rng, kind="pattern", mask=everywhere)

    return apply


def watermark(amplitude: float) -> Treatment:
    """The same thin letters over each picture."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        from PIL import ImageDraw, ImageFont

        height, width = examples.spatial
        page = Image.new("L", (width, height))
        draw = ImageDraw.Draw(page)
        draw.text(
            (2, height // 3), "SAMPLE", fill=255, font=ImageFont.load_default(max(8, width // 5))
        )
        noise = amplitude * np.asarray(page)[None, ..., None] / 255 * np.ones(examples.x.shape)
        everywhere = np.ones(half_grid_shape(examples.spatial), bool)
        return _added(examples, noise, 1.0, rng, kind="pattern", mask=everywhere)

    return apply


def checkerboard(step: float) -> Treatment:
    """Every other site is brighter by `step`."""
    return _mosaic(lambda y, x, c: step * ((y + x) & 1), (0.5, 0.5))


def bayer(step: float) -> Treatment:
    """Sites of a colour filter array, 2x2, that are not balanced."""
    return _mosaic(lambda y, x, c: step * ((y & 1) == 0) * ((x & 1) == c % 2), (0.5, 0.5))


def jpeg(quality: int, whole: bool) -> Treatment:
    """Through a JPEG file: each example by itself, or the pictures before they were cut."""

    def one(picture: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(picture.squeeze()).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).reshape(picture.shape)

    facts = {"period": 8.0, "quality": float(quality)}
    return _of_files(one, whole, "jpeg" if quality < 95 else "nothing", facts)


def enlarged(factor: float, method: Image.Resampling) -> Treatment:
    """Pictures that were made smaller and larger again, before they were cut."""

    def one(picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        small = (max(1, round(width / factor)), max(1, round(height / factor)))
        image = Image.fromarray(picture.squeeze()).resize(small, Image.Resampling.LANCZOS)
        return np.asarray(image.resize((width, height), method)).reshape(picture.shape)

    return _of_files(one, True, "enlarged", {"factor": factor})


def both(*treatments: Treatment) -> Treatment:
    """One corruption after another; the truth of all."""

    def apply(examples: Examples, rng: Rng) -> Treated:
        x, truths = examples.x, []
        for treatment in treatments:
            x, truth = treatment(dataclasses.replace(examples, x=x), rng)
            truths.append(truth)
        return x, Truth(
            "two",
            np.any([t.mask for t in truths], axis=0),
            np.any([t.has for t in truths], axis=0),
            lines=tuple(f for t in truths for f in t.lines),
            low=max(t.low for t in truths),
            high=max(t.high for t in truths),
        )

    return apply


def stated_lines(examples: Examples, lines: Sequence[tuple[float, ...]]) -> Truth:
    """The truth of a set that has these lines by itself; all of them are to be found."""
    mask = _empty(examples)
    for f in lines:
        mask[_bin(f, examples.spatial)] = True
    mask = to_half_grid(dilate(to_full_grid(mask, examples.spatial), 1))
    return Truth("two", mask, np.ones(len(examples.x), bool), lines=tuple(lines))


def stated(examples: Examples, kind: str) -> Truth:
    """The truth of a set that is, as a whole, `"jpeg"` or `"enlarged"` by itself."""
    return Truth(kind, _empty(examples), np.ones(len(examples.x), bool))


def stated_columns(examples: Examples) -> Truth:
    """The truth of pictures that have vertical stripes by themselves."""
    mask = _empty(examples)
    mask[0] = True
    return Truth("rows", mask, np.ones(len(examples.x), bool))


def _empty(examples: Examples) -> np.ndarray:
    return np.zeros(half_grid_shape(examples.spatial), bool)


def _filtered(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, x.ndim - 1))
    return np.fft.irfftn(np.fft.rfftn(x, axes=axes) * gain[..., None], s=x.shape[1:-1], axes=axes)


def _added(examples: Examples, noise: np.ndarray, share: float, rng: Rng, **truth: Any) -> Treated:
    has = rng.random(len(noise)) < share
    x = examples.stored(examples.x + noise * has.reshape(-1, *[1] * (noise.ndim - 1)))
    mask = truth["mask"]
    if truth["kind"] == "line":  # a tone between two bins has a part of its energy in those around
        mask = to_half_grid(dilate(to_full_grid(mask, examples.spatial), _TAILS))
    spectrum = _in_bins((x - examples.x)[has], mask)
    return x, Truth(has=has, variance=float(spectrum.sum()), spectrum=spectrum, **truth)


def _in_bins(added: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Variance per value, in [-1, 1], of what was stored in each of these bins: of noise that was clipped, the rest."""
    if not mask.any():
        return np.zeros(mask.shape)
    added = added - added.mean(axis=tuple(range(added.ndim - 1)))
    axes = tuple(range(1, added.ndim - 1))
    power = np.square(np.abs(np.fft.rfftn(added, axes=axes, norm="ortho"))).mean(axis=(0, -1))
    inside = power * hermitian_multiplicity(added.shape[1:-1]) * mask
    return 4 * inside / np.prod(added.shape[1:-1])


def _waves(
    examples: Examples,
    rng: Rng,
    share: float,
    waves: Sequence[tuple[tuple[float, ...], float]],
    drift: float = 0.0,
) -> Treated:
    shape = examples.spatial
    grid = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    n = len(examples.x)
    noise = np.zeros((n, *shape))
    pitch = (1 + drift * rng.normal(size=n)).reshape(-1, *[1] * len(shape))
    mask = _empty(examples)
    for f, amplitude in waves:
        phase = rng.uniform(0, 2 * np.pi, n).reshape(-1, *[1] * len(shape))
        turns = sum(one * sites for one, sites in zip(f, grid, strict=True))
        noise += amplitude * np.cos(2 * np.pi * turns * pitch + phase)
        mask[_bin(f, shape)] = True
    spread = 1 + round(2 * drift * max(abs(max(f)) * max(shape) for f, _ in waves))
    mask = to_half_grid(dilate(to_full_grid(mask, shape), spread))
    every = np.broadcast_to(noise[..., None], examples.x.shape)
    lines = tuple(f for f, _ in waves)
    return _added(examples, every, share, rng, kind="line", mask=mask, lines=lines)


def _bin(f: tuple[float, ...], shape: Sequence[int]) -> tuple[int, ...]:
    """The bin of the half grid that a frequency is in."""
    place = [round(one * n) for one, n in zip(f, shape, strict=True)]
    if place[-1] < 0:
        place = [-p for p in place]
    return tuple(p % n for p, n in zip(place, shape, strict=True))


def _mosaic(value: Callable[..., np.ndarray], f: tuple[float, float]) -> Treatment:
    def apply(examples: Examples, rng: Rng) -> Treated:
        height, width = examples.spatial
        y, x = np.mgrid[:height, :width]
        channels = examples.x.shape[-1]
        noise = np.stack([value(y, x, c) for c in range(channels)], axis=-1)
        mask = _empty(examples)
        for place in ((0.0, f[1]), (f[0], 0.0), f):
            mask[_bin(place, examples.spatial)] = True
        every = np.broadcast_to(noise, examples.x.shape)
        return _added(examples, every, 1.0, rng, kind="mosaic", mask=mask, lines=(f,))

    return apply


def _of_files(
    one: Callable[[np.ndarray], np.ndarray], whole: bool, kind: str, facts: dict[str, float]
) -> Treatment:
    def apply(examples: Examples, rng: Rng) -> Treated:
        del rng
        if whole:
            assert examples.cut is not None
            x = examples.cut([one(picture) for picture in examples.pictures])
        else:
            x = np.stack([one(np.uint8(np.round(255 * e))) for e in examples.x]) / 255
        return x, Truth(kind, _empty(examples), np.ones(len(x), bool), facts=facts)

    return apply
