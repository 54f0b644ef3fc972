"""Spectra of a run's own data, estimated before it starts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sagd_jax.data.source import Source
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.power_spectrum import variance_in

LIMIT = 4096  # examples
_PIECE = 256  # read at once


def spectrum_of(
    source: Source, basis: Basis, limit: int = LIMIT, indices: np.ndarray | None = None
) -> np.ndarray:
    """The variance of the data per orthonormal coordinate, about the mean of each channel.

    In absolute units: of data in [-1, 1], as the network sees them. It is a function of the data alone,
    the same on every process and device: the first examples in the order of their index, in float64.

    Args:
      source: its first up to `limit` examples are read, corrupted ones as they are.
      basis: of its signals.
      indices: of the examples that are read in place of the first ones.

    Returns:
      Float64 `(*spatial, channels)`, on the basis' whole grid (`covariance.coefficients`); in Fourier
      coordinates the same at f and -f.

    Raises:
      ValueError: for fewer than two examples, or a basis of other sizes or channels.

    >>> from sagd_jax import bases, data
    >>> source = data.open_source(data.DataConfig(name="digits"))
    >>> spectrum_of(source, bases.cosine((8, 8))).shape
    (8, 8, 1)
    """
    own = np.arange(min(len(source), limit)) if indices is None else indices
    return variance_in(_Examples(source, own), basis)


def spectra_of_classes(source: Source, basis: Basis, limit: int = LIMIT) -> np.ndarray:
    """`spectrum_of` of each class: of its first up to `limit` examples, about the class' own means.

    Returns:
      Float64 `(classes, *spatial, channels)`.

    Raises:
      ValueError: for data without labels, or a class with fewer than two examples.
    """
    if not source.num_classes:
        raise ValueError("the data has no labels")
    labels = _labels(source, limit)
    spectra = []
    for label in range(source.num_classes):
        indices = np.flatnonzero(labels == label)[:limit]
        if len(indices) < 2:
            raise ValueError(f"class {label} has {len(indices)} examples; a spectrum needs two")
        spectra.append(variance_in(_Examples(source, indices), basis))
    return np.stack(spectra)


def channel_means_of(
    source: Source, limit: int = LIMIT, indices: np.ndarray | None = None
) -> np.ndarray:
    """The mean of each channel of the data in [-1, 1], float64 `(channels,)`, as `spectrum_of`."""
    own, total = np.arange(min(len(source), limit)) if indices is None else indices, 0.0
    for x in _Examples(source, own):
        total = total + x.mean(axis=tuple(range(1, x.ndim - 1))).sum(axis=0)
    return np.asarray(total) / len(own)


def _labels(source: Source, limit: int) -> np.ndarray:
    """Labels of the first examples, until each class has `limit` of them."""
    labels = np.zeros(0, np.int64)
    for rows in _pieces(len(source)):
        labels = np.append(labels, source.fetch(rows)["label"])
        if np.bincount(labels, minlength=source.num_classes).min() >= limit:
            break
    return labels


class _Examples:
    """Some examples of a source, mapped to [-1, 1] in float64; can be iterated over twice."""

    def __init__(self, source: Source, indices: np.ndarray):
        self._source, self._indices = source, indices

    def __iter__(self) -> Iterator[np.ndarray]:
        low, high = (np.asarray(edge, np.float64) for edge in self._source.value_range)
        for rows in _pieces(len(self._indices)):
            x = np.asarray(self._source.fetch(self._indices[rows])["x"], np.float64)
            yield (x - low) * (2 / (high - low)) - 1


def _pieces(count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, _PIECE):
        yield np.arange(start, min(start + _PIECE, count))
