"""Random flips and crops, keyed by (seed, step, index), so no order of events can change them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sagd_jax.data.order import hash_words
from sagd_jax.data.resident import CORNER, MIRRORED
from sagd_jax.data.source import DataError, Resident, Source

_FLIP, _CROP = 1, 2  # tell the random words of one example apart


class Augmented(Source):
    """A source whose examples are mirrored left to right, or padded and cropped, at random."""

    def __init__(self, source: Source, *, flip: bool = False, crop_padding: int = 0):
        """Wraps `source`.

        Args:
          flip: mirror the last spatial axis with probability 1/2.
          crop_padding: reflect-pad the spatial axes by this much on each side, and crop at a random
            place. The time axis of clips is left alone.

        Raises:
          DataError: for flipping what has no left and right, or padding as wide as the example.
        """
        if flip and source.kind in ("audio", "latents"):
            raise DataError(f"data.flip=True: {source.kind} cannot be mirrored")
        self._axes = range(1 if source.kind == "video" else 0, len(source.shape) - 1)
        smallest = min(source.shape[axis] for axis in self._axes)
        if crop_padding >= smallest:
            raise DataError(f"data.crop_padding={crop_padding}: expected less than {smallest}")
        self._source, self._flip, self._padding = source, flip, crop_padding
        for name in (
            "shape",
            "dtype",
            "value_range",
            "kind",
            "num_classes",
            "sample_rate",
            "scaled",
            "kinds",
            "planted",
        ):
            setattr(self, name, getattr(source, name))
        self.in_memory = source.in_memory
        self.identity = source.fingerprint

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._source.fetch(indices, seed=seed, step=step)
        x = batch["x"]
        choices = self.choices(indices, seed=seed, step=step)
        if CORNER in choices:
            x = self._crop(x, choices[CORNER])
        if MIRRORED in choices:
            mirrored = choices[MIRRORED]
            x = x.copy()  # may be the source's own
            x[mirrored] = np.take(x[mirrored], np.arange(x.shape[-2])[::-1], axis=-2)
        return {**batch, "x": x}

    def choices(self, indices: np.ndarray, *, seed: int, step: int) -> dict[str, np.ndarray]:
        """Which examples are mirrored, `(b,)`, and where they are cropped, `(b, axes)`; what is done alone."""
        indices = np.asarray(indices)
        choices: dict[str, np.ndarray] = {}
        if self._padding:
            places = np.uint64(2 * self._padding + 1)
            words = [hash_words(seed, step, indices, _CROP, axis) for axis in self._axes]
            choices[CORNER] = np.stack([word % places for word in words], -1).astype(np.int32)
        if self._flip:
            choices[MIRRORED] = hash_words(seed, step, indices, _FLIP) >> np.uint64(63) == 1
        return choices

    def report(self) -> None:
        self._source.report()

    def resident(self, most: float = math.inf) -> Resident | None:
        inner = self._source.resident(most) if self._fetches_as(Augmented) else None
        if inner is None or inner.augmented:
            return None
        rows = _Rows(inner.rows, self)
        return Resident(inner.examples, rows, tuple(self._axes), self._padding, augmented=True)

    def _crop(self, x: np.ndarray, corners: np.ndarray) -> np.ndarray:
        p = self._padding
        around = [(p, p) if axis in self._axes else (0, 0) for axis in range(x.ndim - 1)]
        padded = np.pad(x, [(0, 0), *around], mode="reflect")
        sides = [x.shape[1 + axis] for axis in self._axes]
        axes = tuple(1 + axis for axis in self._axes)
        windows = np.lib.stride_tricks.sliding_window_view(padded, sides, axes)
        # The channels last again, behind the window, as in memory: what is copied is in one piece.
        windows = np.moveaxis(windows, x.ndim - 1, -1)
        before = [slice(None)] * self._axes.start
        place: tuple[Any, ...] = (np.arange(len(x)), *before, *corners.T)
        return windows[place]


class _Rows(Source):
    """Rows of a resident set, and what an augmentation does to each."""

    def __init__(self, rows: Source, augmented: Augmented):
        self._rows, self._augmented = rows, augmented

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._rows.fetch(indices, seed=seed, step=step)
        return {**batch, **self._augmented.choices(indices, seed=seed, step=step)}
