"""What the sets of the detector's benchmark are made of: examples, and how whole pictures are cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Examples:
    """A set of examples.

    Attributes:
      x: `(n, *spatial, channels)`, float64, the range of their values mapped to [0, 1].
      levels: that values are rounded to when stored: 255 of 8 bits, 65535 of 16; 0, none.
      rate: samples per second of a sound; 0 elsewhere.
      pictures: whole ones, uint8, that `x` was cut out of, for what happens to a picture before
        that; empty where there are none.
      cut: cuts such pictures as `x` was cut: the same places of pictures of the same sizes.
    """

    x: np.ndarray
    levels: int = 255
    rate: float = 0.0
    pictures: tuple[np.ndarray, ...] = ()
    cut: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None

    @property
    def spatial(self) -> tuple[int, ...]:
        """Spatial shape of an example."""
        return self.x.shape[1:-1]

    def stored(self, x: np.ndarray) -> np.ndarray:
        """Values as the files of such a set would have them: clipped and rounded."""
        if not self.levels:
            return x
        return np.clip(np.round(x * self.levels), 0, self.levels) / self.levels


def crops(
    pictures: Sequence[np.ndarray], count: int, size: int | tuple[int, int], rng: Rng
) -> Examples:
    """`count` crops of whole pictures (uint8, `(height, width[, channels])`), from each as many."""
    height, width = (size, size) if isinstance(size, int) else size
    each = -(-count // len(pictures))
    places = rng.random((len(pictures), each, 2))

    def cut(whole: Sequence[np.ndarray]) -> np.ndarray:
        out = []
        for picture, own in zip(whole, places, strict=True):
            picture = picture if picture.ndim == 3 else picture[..., None]
            for v, u in own:
                y = int(v * (picture.shape[0] - height + 1))
                x = int(u * (picture.shape[1] - width + 1))
                out.append(picture[y : y + height, x : x + width])
        return np.stack(out) / 255

    return Examples(cut(pictures), pictures=tuple(pictures), cut=cut)


def field(
    shape: Sequence[int], slope: float, rng: Rng, n: int = 1, stretch: Sequence[float] = ()
) -> np.ndarray:
    """`n` periodic Gaussian fields of variance 1 with power r^slope; r is stretched per axis."""
    white = rng.normal(size=(n, *shape))
    stretch = stretch or (1.0,) * len(shape)
    r = radius(shape, stretch)
    gain = np.where(r > 0, np.where(r > 0, r, 1.0) ** (slope / 2), 0.0)
    axes = tuple(range(1, len(shape) + 1))
    x = np.fft.irfftn(np.fft.rfftn(white, axes=axes) * gain, s=tuple(shape), axes=axes)
    return x / x.std()


def radius(shape: Sequence[int], stretch: Sequence[float] = ()) -> np.ndarray:
    """Radial frequency on the half grid, in cycles per sample."""
    stretch = stretch or (1.0,) * len(shape)
    total = np.zeros(())
    for axis, n in enumerate(shape):
        one = (np.fft.rfftfreq if axis == len(shape) - 1 else np.fft.fftfreq)(n) * stretch[axis]
        total = total + np.square(one).reshape(-1, *[1] * (len(shape) - axis - 1))
    return np.sqrt(total)


def unit(x: np.ndarray, low: float = 0.02, high: float = 0.98) -> np.ndarray:
    """Values mapped so that nearly all lie in [low, high], and clipped to [0, 1]."""
    bottom, top = np.quantile(x, (0.002, 0.998))
    scaled = low + (high - low) * (x - bottom) / max(top - bottom, 1e-12)
    return np.clip(scaled, 0, 1)
