"""Arrays on disk: `.npy` (memory-mapped, so it may be larger than memory), `.npz`, and latents.

Shape `(n, *spatial, channels)` with one to three spatial axes. uint8 is mapped from (0, 255) to
[-1, 1], floats from `data.value_range`. Latents are floats whose range is not declared but
measured: each channel is mapped by its own mean and standard deviation to mean 0 and standard
deviation 1, and samples come back in the latents' own scale. An `.npz` may carry classes (`label`),
and for latents `mean` and `std` per channel. Every float value is checked once, before anything is
compiled; the range must hold enough values of float32, in which the network computes. An `.npz` is
verified by its checksums; an `.npy` has none but its length.
"""

from __future__ import annotations

import logging
import os
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from sagd_jax.data import fields
from sagd_jax.data.files import Unreadable, read_npy, reading
from sagd_jax.data.fingerprint import of_array
from sagd_jax.data.labels import count_classes
from sagd_jax.data.source import ArraySource, DataError, Options, Source, ValueRange
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import field

_LABELS = "label"
_STATISTICS = ("mean", "std")
_PIECE = 2**24  # values looked at in one go
_LEVELS = 256  # of float32 within the range: as many as an 8-bit image has
_LOG = logging.getLogger(__name__)


def load_array(config: Options) -> Source:
    """The source `array`; raises DataError for a file, shape or values that cannot be used."""
    x, extras = read_array(config, tuple(config.array_window), tuple(config.array_step))
    kind = "image" if x.ndim == 4 else "field"
    return array_source(x, value_range(x, config), extras, kind, config)


def load_latents(config: Options) -> Source:
    """The source `latents`; raises DataError for a file, shape or values that cannot be used."""
    x, extras = read_array(config)
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"data.dir={config.dir!r}: latents of dtype {x.dtype}; expected floats")
    _check_values(x, -np.inf, np.inf, config)
    given = [name for name in _STATISTICS if name in extras]
    if len(given) == 1:
        raise DataError(f"data.dir={config.dir!r}: holds {given[0]} alone; expected mean and std")
    if given:
        mean, std = (_numbers(extras[name], name, config) for name in _STATISTICS)
        if not mean.shape == std.shape == x.shape[-1:] or not np.all(np.isfinite([mean, std])):
            raise DataError(
                f"data.dir={config.dir!r}: mean and std: expected {x.shape[-1]} finite numbers each"
            )
        if not np.all(std > 0):
            raise DataError(f"data.dir={config.dir!r}: std {std.min():g}; expected more than 0")
    else:
        mean, std = channel_statistics(x)
        if not np.all(std > 0):
            raise DataError(
                f"data.dir={config.dir!r}: channel {int(np.argmin(std))} is constant; leave it out"
            )
    for channel, (low, high) in enumerate(zip(mean - std, mean + std, strict=True)):
        where = f"data.dir={config.dir!r}: channel {channel}, mean +- std"
        _check_levels(low, high, where, "subtract the mean from the latents and divide by std")
    return array_source(x, (tuple(mean - std), tuple(mean + std)), extras, "latents", config)


def read_array(
    config: Options, window: tuple[int, ...] = (), step: tuple[int, ...] = ()
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The array of examples, memory-mapped where it can be, and the other arrays of an `.npz`.

    Args:
      window: sizes of the examples that it is cut into; none: it holds examples.
      step: between the beginnings of two neighbours along each axis; none: the window's sizes.
    """
    path = Path(config.dir).expanduser()
    where = f"data.dir={config.dir!r}"
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        state = "does not exist" if not path.exists() else "is not one"
        raise DataError(f"{where}: {state}; expected the path of an .npy or .npz file")
    try:
        x, extras = (read_npy(path), {}) if path.suffix == ".npy" else _read_npz(path, config)
    except Unreadable as error:
        raise DataError(f"{where}: cannot be read: {error.why}") from None
    if window:
        if extras:
            raise DataError(
                f"{where}: data.array_window cuts one array; it holds {', '.join(extras)} too"
            )
        x = _windows(x, window, step or window, where, config.memory_limit_mb)
    elif step:
        raise DataError(
            f"data.array_step={step}: only with data.array_window, whose windows it sets apart"
        )
    if not (3 <= x.ndim <= 5 and x.size):
        raise DataError(
            f"{where}: shape {x.shape}; expected (n, *spatial, channels) with one to three spatial "
            "axes"
        )
    if x.ndim == 3 and x.shape[2] >= x.shape[1]:
        raise DataError(
            f"{where}: shape {x.shape} reads as (n, time, channels), with more channels than time; "
            "images without a channel axis need one: x[..., None]"
        )
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        become = (
            "; whole numbers become them by x.astype('float32')" if x.dtype.kind in "iu" else ""
        )
        raise DataError(f"{where}: dtype {x.dtype}; expected uint8 or floats{become}")
    return x, extras


def value_range(x: np.ndarray, config: Options) -> tuple[float, float]:
    """Low and high of `x`, whose values are checked against them."""
    if x.dtype == np.uint8:
        if config.value_range:
            raise DataError(
                f"data.value_range={config.value_range}: only for floats; {config.dir!r} is uint8"
            )
        return (0, 255)
    low, high = (-1.0, 1.0) if not config.value_range else _pair(config.value_range)
    _check_levels(low, high, "data.value_range", "shift and scale the array")
    _check_values(x, low, high, config)
    return low, high


def channel_statistics(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel (last axis), in float64, in one bounded pass."""
    # Shifted by a first guess of the mean, so that the difference of squares loses no digits.
    axes = tuple(range(x.ndim - 1))
    shift = np.mean(x[: max(1, min(len(x), 64))], axis=axes, dtype=np.float64)
    count, first, second = 0, np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
    for piece in _pieces(x):
        centred = np.asarray(piece, np.float64) - shift
        count += centred[..., 0].size
        first += centred.sum(axis=axes)
        second += np.square(centred).sum(axis=axes)
    mean = first / count
    return shift + mean, np.sqrt(np.maximum(second / count - mean**2, 0))


def array_source(
    x: np.ndarray,
    value_range: ValueRange,
    extras: dict[str, np.ndarray],
    kind: str,
    config: Options,
    sample_rate: float | None = None,
) -> ArraySource:
    """The source of an array that was checked, with the classes among `extras`, if any."""
    labels, num_classes = extras.get(_LABELS), 0
    if labels is not None:
        num_classes = count_classes(labels, len(x), f"data.dir={config.dir!r}: {_LABELS}")
    if isinstance(x, np.memmap) and x.nbytes <= config.memory_limit_mb * 2**20:
        x = np.array(x)
    source = ArraySource(
        x,
        value_range=value_range,
        labels=labels,
        num_classes=num_classes,
        kind=kind,
        sample_rate=sample_rate,
    )
    source.identity = lambda: of_array(x, labels)
    return source


def _windows(
    x: np.ndarray, window: tuple[int, ...], step: tuple[int, ...], where: str, limit: int
) -> np.ndarray:
    """Windows `(n, *window, channels)` at every `step`; what is left at the ends is not used."""
    axes = len(window)
    if len(step) != axes:
        raise DataError(
            f"data.array_step={step}: {len(step)} numbers; expected {axes}, one per axis of "
            f"data.array_window={window}"
        )
    if x.ndim not in (axes, axes + 1, axes + 2) or not x.size:
        raise DataError(
            f"{where}: shape {x.shape}; expected {axes} spatial axes, as data.array_window={window} has, then "
            "channels and before them examples, if there are any"
        )
    whole = x[..., None] if x.ndim == axes else x
    whole = whole[None] if whole.ndim == axes + 1 else whole
    spatial = whole.shape[1:-1]
    if any(n < size for n, size in zip(spatial, window, strict=True)):
        raise DataError(f"{where}: size {spatial}; expected at least data.array_window={window}")
    every = sliding_window_view(whole, window, axis=tuple(range(1, axes + 1)))  # type: ignore[call-overload]
    chosen = every[(slice(None), *(slice(None, None, apart) for apart in step))]
    # Channels, which the view leaves before the window, go behind it.
    chosen = np.moveaxis(chosen, axes + 1, -1)
    if chosen.nbytes > max(x.nbytes, limit << 20):  # windows that overlap are copied
        raise DataError(
            f"data.array_step={step}: windows that overlap so much are {chosen.nbytes >> 20} MiB; expected at "
            f"most data.memory_limit_mb={limit}; give a larger step, or a higher limit"
        )
    return np.ascontiguousarray(chosen).reshape(-1, *window, whole.shape[-1])


def _read_npz(path: Path, config: Options) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The array of examples, and `label`, `mean` and `std` if they are there."""
    with reading(path), zipfile.ZipFile(path) as archive:
        _check_directory(path, archive)
        members = {name[:-4]: name for name in archive.namelist() if name.endswith(".npy")}
        key = _key(list(members), config)
        extras = [name for name in (_LABELS, *_STATISTICS) if name in members and name != key]
        arrays = {name: _read_member(archive, members[name]) for name in (key, *extras)}
    others = [name for name in members if name not in arrays]
    if others:
        _LOG.warning("%s: passed over its arrays %s", path, ", ".join(others))
    return arrays.pop(key), arrays


def _check_directory(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises for a directory that lost or renamed a member, such as the labels.

    It has no checksum, but says how many members it has, and their names stand before each too.
    """
    with open(path, "rb") as file:
        file.seek(-22, os.SEEK_END)
        end = file.read()
    said, found = struct.unpack("<H", end[10:12])[0], archive.namelist()
    if end[:4] == b"PK\x05\x06" and said != len(found) % 2**16:
        raise ValueError(f"damaged: its directory lists {len(found)} of {said} arrays")
    for name in found:
        archive.open(name).close()


def _read_member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        # The checksum is verified at the end of the member, where the array must end too.
        if member.read(1):
            raise ValueError(f"{name} has more bytes than its header says")
        return array


def _key(names: list[str], config: Options) -> str:
    own = [name for name in names if name not in (_LABELS, *_STATISTICS)]
    key = config.array_key or (own[0] if len(own) == 1 else "x")
    if key not in names:
        raise DataError(
            f"data.array_key={config.array_key!r}: {config.dir!r} holds "
            f"{', '.join(names) or 'no arrays'}"
        )
    return key


def _numbers(values: np.ndarray, name: str, config: Options) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise DataError(f"data.dir={config.dir!r}: {name} of dtype {values.dtype}; expected floats")
    return values.astype(np.float64).reshape(-1)


def _check_levels(low: float, high: float, where: str, advice: str) -> None:
    """Raises DataError unless float32 has enough values between `low` and `high`."""
    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.array([low, high], np.float32)
        width = edges[1] - edges[0]
        step = np.spacing(np.abs(edges).max())
        fits = np.isfinite(width) and width >= _LEVELS * max(step, np.finfo(np.float32).tiny)
    if not fits:
        raise DataError(
            f"{where}: from {low:.10g} to {high:.10g}, which float32 does not resolve into "
            f"{_LEVELS} steps; {advice}"
        )


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] < values[1]:
        raise DataError(f"data.value_range={values}: expected (low, high) with low < high")
    return values[0], values[1]


def _check_values(x: np.ndarray, low: float, high: float, config: Options) -> None:
    for number, piece in enumerate(_pieces(x)):
        with np.errstate(over="ignore"):
            finite = np.isfinite(piece.astype(np.float32, copy=False))
        if not finite.all():
            example, *place = np.argwhere(~finite)[0].tolist()
            what = "NaN or infinite values"
            if np.isfinite(piece[(example, *place)]):
                what = f"a value beyond float32, {piece[(example, *place)]:.4g}"
            raise DataError(
                f"data.dir={config.dir!r}: example {number * _piece_length(x) + example} has {what}"
            )
        smallest, largest = float(piece.min()), float(piece.max())
        if smallest < low or largest > high:
            raise DataError(
                f"data.dir={config.dir!r}: values from {smallest:.4g} to {largest:.4g} leave "
                f"data.value_range=({low:g}, {high:g}); give data.value_range their low and high, or "
                "scale the array"
            )


def _pieces(x: np.ndarray) -> Iterator[np.ndarray]:
    length = _piece_length(x)
    for start in range(0, len(x), length):
        yield np.asarray(x[start : start + length])


def _piece_length(x: np.ndarray) -> int:
    return max(1, _PIECE // max(1, x[0].size))


ARRAY_SOURCE = kind(
    load_array,
    **fields.STREAMED,
    array_key=fields.ARRAY_KEY,
    value_range=fields.VALUE_RANGE,
    array_window=field(
        (),
        "sizes, one per axis, of windows that a long recording or a large picture is cut into; the array is "
        "then (*spatial), (*spatial, channels) or (n, *spatial, channels)",
        low=2,
        hint=tuple[int, ...],
    ),
    array_step=field(
        (),
        "distance between neighbouring windows along each axis (empty: they lie side by side); less than the "
        "window's size makes more examples of one picture or recording, which overlap",
        low=1,
        hint=tuple[int, ...],
    ),
)
LATENTS_SOURCE = kind(load_latents, **fields.STREAMED, array_key=fields.ARRAY_KEY)
