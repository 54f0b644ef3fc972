"""The corruption of a run's data: its variance N per kind of example and coordinate, and who has which.

`config.schedule.corruption` names N, one text for each kind or one file for all: a file, a spectrum with its
fields (`band_pass:bands=((0.4,0.6),)`, of mean 1 over all coordinates, times the kind's level), or `planted`,
what `config.data.corruption` adds. Which kind an example is of says the data (`data/corrupted.py`).

A file is a `.npy` of the array, or a `.npz` with `variance`, the array, and `basis`, the name of its
coordinates. The array has shape `(*spatial, 1 or channels)`, on the whole grid of the basis (of Fourier's,
also on its half), for one kind, or `(K, ...)` for kinds 1 to K. It is absolute: the variance per orthonormal
coordinate of data in [-1, 1], what a corruption of standard deviation 1 has on average; inf where a kind
is of no use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sagd_jax.data.files import Unreadable, read_npy, reading
from sagd_jax.data.source import Source
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.run.estimates import LIMIT, channel_means_of, spectrum_of
from sagd_jax.run.noise import MAKE_ANEW, Signals, from_text
from sagd_jax.spectral import bases
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.half_grid import half_grid_shape, whole_from_half
from sagd_jax.spectral.power_spectrum import variance_in
from sagd_jax.system.schema import ConfigError, as_config_error

PLANTED = "planted"
_FILES = (".npy", ".npz")
_DRAWS = 4096  # of a planted corruption
_PIECE = 256
_NOTHING = 1e-6  # of the largest variance of a planted one
_MOSTLY = 0.5  # of the data's energy, and N leaves no estimate of theirs
_NEAR = 16  # coordinates of like radius that stand in
_ENOUGH = 256  # clean examples
_LEAST = 1e-6  # of the largest, of coordinates in which the data never change


def variances(
    signals: Signals,
    basis: Basis,
    name: str,
    corruption: tuple[str, ...],
    levels: tuple[float, ...],
) -> np.ndarray:
    """N of kinds 1 to K, `(K, *spatial, 1 or channels)`.

    Args:
      signals: their sizes and source; `where` names the section.
      basis: of the corruption, whose name is `name`.
      corruption: as `config.schedule.corruption`.
      levels: a factor for each kind; none: 1.

    Raises:
      ConfigError: one line saying what is wrong.
    """
    where = f"{signals.where}.corruption"
    if not corruption:
        raise ConfigError(
            f"{where}=(): expected the variance of the corruption: a file, a spectrum such as "
            "band_pass:bands=((0.4,0.6),), or planted"
        )
    kinds = [one for text in corruption for one in _of_text(signals, basis, name, text)]
    factors = levels or (1.0,) * len(kinds)
    if len(factors) != len(kinds):
        raise ConfigError(
            f"{signals.where}.levels={levels!r}: {len(levels)} numbers for {len(kinds)} kinds; expected one "
            "for each"
        )
    channels = max(one.shape[-1] for one in kinds)
    shape = (*basis.spatial_shape, channels)
    # 0 times inf, of a level of 0, is no corruption.
    scaled = [
        np.where(one > 0, f * one if f else 0.0, 0.0) for f, one in zip(factors, kinds, strict=True)
    ]
    return np.stack([np.broadcast_to(one, shape) for one in scaled])


def clean_spectrum(signals: Signals, basis: Basis, corruption: np.ndarray) -> np.ndarray:
    """The mean square of the clean data per coordinate, `(*spatial, channels)`, > 0.

    It is that of the clean examples, where there are enough; else that of all of them, less the mean N, and where
    that is most of it, or no kind is of use, what coordinates of like radius have.

    Args:
      signals: their source.
      basis: of the corruption.
      corruption: N of kinds 1 to K, as `variances` gives it.

    Raises:
      ConfigError: nothing is left of the data.
    """
    source = signals.source
    assert source is not None
    kinds = np.zeros(len(source), np.int64) if source.kinds is None else source.kinds
    clean = np.flatnonzero(kinds == 0)
    used = (clean if len(clean) >= _ENOUGH else np.arange(len(source)))[:LIMIT]
    own = kinds[used]
    found = spectrum_of(source, basis, indices=used)
    # What is about the mean of each channel, and that: a constant signal, in this basis.
    mean = np.broadcast_to(channel_means_of(source, indices=used), found.shape)
    found = (
        found + np.square(np.asarray(basis.forward(mean[None].astype(np.float32)), np.float64))[0]
    )
    share = np.bincount(own, minlength=len(corruption) + 1)[1 : len(corruption) + 1] / len(own)
    with np.errstate(invalid="ignore"):
        added = np.where(share.reshape(-1, *(1,) * found.ndim) > 0, corruption, 0)
        added = np.tensordot(share, added, axes=1) + np.zeros_like(found)
    unsure = ~(added < _MOSTLY * found)
    values = np.where(unsure, 0, found - np.where(unsure, 0, added))
    radius = np.broadcast_to(basis.radius, (*basis.spatial_shape, 1)).reshape(-1)
    flat, masked = values.reshape(-1, values.shape[-1]), unsure.reshape(-1, values.shape[-1])
    for channel in range(flat.shape[1]):
        known = np.flatnonzero(~masked[:, channel])
        places = np.flatnonzero(masked[:, channel])
        if not (len(known) and len(places)):
            continue
        known = known[np.argsort(radius[known], kind="stable")]
        # The nearest ones are among as many on both sides.
        first = np.searchsorted(radius[known], radius[places]) - _NEAR
        first = np.clip(first, 0, max(0, len(known) - 2 * _NEAR))
        window = first[:, None] + np.arange(min(len(known), 2 * _NEAR))
        apart = np.abs(radius[known[window]] - radius[places][:, None])
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :_NEAR]
        near = known[np.take_along_axis(window, nearest, axis=1)]
        flat[places, channel] = np.exp(np.log(flat[near, channel] + 1e-30).mean(axis=1))
    if not values.max() > 0:
        raise ConfigError(
            f"{signals.where}.data_spectrum: in every coordinate the corruption is more than half of the data, so "
            "they do not tell the spectrum of clean ones; expected a file of it, or ''"
        )
    return np.maximum(values, _LEAST * values.max())


def counts(source: Source, kinds: int, where: str) -> np.ndarray:
    """How many examples of each kind there are, `(kinds + 1, 1)`, the clean ones first.

    Raises:
      ConfigError: none is corrupted, or one is of a kind without an N.
    """
    own = source.kinds
    if own is None or not (own.any() or source.restored):
        raise ConfigError(
            f"{where}.kind='capped': no example is said to be corrupted; expected one of "
            "config.data.corrupted_flags, corrupted_folders, corrupted_all=True, or a corruption"
        )
    found = np.bincount(own.astype(np.int64), minlength=kinds + 1)
    if len(found) > kinds + 1:
        raise ConfigError(
            f"{where}.corruption: it is of {kinds} kinds, an example is of kind {len(found) - 1}; expected "
            "an N for each kind of config.data.corrupted_flags or corrupted_folders"
        )
    return found[:, None]


def sampled_kind(schedule: Capped, number: np.ndarray) -> int:
    """The kind that samples are drawn as: clean where such examples were trained, else the least corrupted.

    Args:
      number: of examples per kind, as `counts`.
    """
    present = [kind for kind in range(schedule.kinds) if number[kind, 0] > 0]
    if 0 in present:
        return 0
    corruption = np.asarray(schedule.corruption, np.float64)

    def loss(kind: int) -> tuple[float, float]:
        own = corruption[kind - 1]
        return float(np.isinf(own).sum()), float(np.log1p(own[np.isfinite(own)]).sum())

    return min(present, key=loss)


def _of_text(signals: Signals, basis: Basis, name: str, text: str) -> list[np.ndarray]:
    where = f"{signals.where}.corruption={text!r}"
    if text == PLANTED:
        return [_planted(signals, basis, where)]
    if text.lower().endswith(_FILES):
        return _of_file(signals, basis, name, text, where)
    covariance = from_text(text, signals)
    with as_config_error(where):
        return [np.asarray(covariance.coefficients(basis), np.float64)]


def _of_file(signals: Signals, basis: Basis, name: str, text: str, where: str) -> list[np.ndarray]:
    path = Path(text).expanduser()
    try:
        values, own = _read(path)
    except Unreadable as error:
        raise ConfigError(f"{where}: {error.why}") from None
    if own not in (None, name):
        raise ConfigError(
            f"{where}: its variance is in the basis {own!r}; set {signals.where}.basis={own!r}"
        )
    if values.dtype.kind not in "fiu":
        raise ConfigError(f"{where}: dtype {values.dtype}; expected real numbers")
    shape = signals.spatial_shape
    axes, half = len(shape), half_grid_shape(shape)
    on_half = isinstance(basis, bases.Fourier) and half != shape
    for grid in (shape, half) if on_half else (shape,):
        for several in (False, True):
            part = values.shape[several:]
            if part[:axes] == grid and len(part) in (axes, axes + 1):
                members = values if several else values[None]
                members = members if len(part) > axes else members[..., None]
                whole = members if grid == shape else whole_from_half(members, shape)
                return [np.asarray(one, np.float64) for one in whole]
    raise ConfigError(
        f"{where}: shape {values.shape} is of other data than these, of size "
        f"{'x'.join(map(str, shape))}; {MAKE_ANEW}"
    )


def _read(path: Path) -> tuple[np.ndarray, str | None]:
    """The variance in a file, and the name of its basis if it says one."""
    if path.suffix.lower() == ".npy":
        return np.array(read_npy(path)), None
    with reading(path), np.load(path, allow_pickle=False) as file:
        if "variance" not in file:
            raise ValueError(f"has no array 'variance'; it has {', '.join(file) or 'none'}")
        basis = str(file["basis"]) if "basis" in file else None
        return np.array(file["variance"]), basis


def _planted(signals: Signals, basis: Basis, where: str) -> np.ndarray:
    source = signals.source
    if source is None or source.planted is None:
        raise ConfigError(
            f"{where}: config.data adds no corruption that could be measured; expected "
            "config.data.corruption to be band, hum, moire, wedge or stripes"
        )
    measured = variance_in(_Draws(source), basis)
    return np.where(measured > _NOTHING * measured.max(), measured, 0)


class _Draws:
    """What a planted corruption adds, many times; can be iterated over twice."""

    def __init__(self, source: Source):
        self._source = source

    def __iter__(self) -> Iterator[np.ndarray]:
        assert self._source.planted is not None
        for first in range(0, _DRAWS, _PIECE):
            yield np.asarray(self._source.planted(np.arange(first, first + _PIECE)), np.float64)
