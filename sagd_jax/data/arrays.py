"""Arrays on disk: `.npy` (memory-mapped, so it may be larger than memory), `.npz`, and latents.

Shape `(n, *spatial, channels)` with one to three spatial axes. uint8 is mapped from (0, 255) to
[-1, 1], floats from `data.value_range`. Latents are floats whose range is not declared but
measured: each channel is mapped by its own mean and standard deviation to mean 0 and standard
deviation 1, and samples come back in the latents' own scale. An `.npz` may carry classes (`label`),
and for latents `mean` and `std` per channel. Every float value is checked once, before anything is
compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sagd_jax.data import fields
from sagd_jax.data.fingerprint import of_array
from sagd_jax.data.source import ArraySource, DataError, Options, Source
from sagd_jax.system.kinds import kind

_LABELS = "label"
_PIECE = 2**24  # values looked at in one go


def load_array(config: Options) -> Source:
    """The source `array`; raises DataError for a file, shape or values that cannot be used."""
    x, extras = read_array(config)
    return _source(x, value_range(x, config), extras, "image" if x.ndim == 4 else "field", config)


def load_latents(config: Options) -> Source:
    """The source `latents`; raises DataError for a file, shape or values that cannot be used."""
    x, extras = read_array(config)
    if not np.issubdtype(x.dtype, np.floating):
        raise DataError(f"data.dir={config.dir!r}: latents of dtype {x.dtype}; expected floats")
    _check_values(x, -np.inf, np.inf, config)
    if "mean" in extras and "std" in extras:
        mean, std = (np.asarray(extras[k], np.float64).reshape(-1) for k in ("mean", "std"))
        if not mean.shape == std.shape == x.shape[-1:] or not np.all(np.isfinite([mean, std])):
            raise DataError(
                f"data.dir={config.dir!r}: mean and std: expected {x.shape[-1]} finite numbers each"
            )
    else:
        mean, std = channel_statistics(x)
    if not np.all(std > 0):
        raise DataError(
            f"data.dir={config.dir!r}: channel {int(np.argmin(std))} is constant; leave it out"
        )
    return _source(x, (tuple(mean - std), tuple(mean + std)), extras, "latents", config)


def read_array(config: Options) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The array of examples, memory-mapped where it can be, and the other arrays of an `.npz`."""
    path = Path(config.dir).expanduser()
    where = f"data.dir={config.dir!r}"
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        state = "does not exist" if not path.exists() else "is not one"
        raise DataError(f"{where}: {state}; expected the path of an .npy or .npz file")
    extras: dict[str, np.ndarray] = {}
    try:
        if path.suffix == ".npy":
            x = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as file:
                extras = {name: file[name] for name in file.files}
            x = extras.pop(_key(extras, config))
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where}: cannot be read: {str(error).splitlines()[0]}") from None
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
        raise DataError(f"{where}: dtype {x.dtype}; expected uint8 or floats")
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


def _source(x, value_range, extras, kind: str, config: Options) -> ArraySource:
    labels, num_classes = None, 0
    if _LABELS in extras:
        labels = extras[_LABELS]
        if labels.shape != (len(x),) or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"data.dir={config.dir!r}: {_LABELS}: expected {len(x)} whole numbers >= 0"
            )
        num_classes = int(labels.max()) + 1
    if isinstance(x, np.memmap) and x.nbytes <= config.memory_limit_mb * 2**20:
        x = np.array(x)
    source = ArraySource(
        x, value_range=value_range, labels=labels, num_classes=num_classes, kind=kind
    )
    source.identity = lambda: of_array(x, labels)
    return source


def _key(arrays: dict[str, np.ndarray], config: Options) -> str:
    names = [name for name in arrays if name not in (_LABELS, "mean", "std")]
    key = config.array_key or (names[0] if len(names) == 1 else "x")
    if key not in arrays:
        raise DataError(
            f"data.array_key={config.array_key!r}: {config.dir!r} holds {', '.join(arrays)}"
        )
    return key


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] < values[1]:
        raise DataError(f"data.value_range={values}: expected (low, high) with low < high")
    return values[0], values[1]


def _check_values(x: np.ndarray, low: float, high: float, config: Options) -> None:
    for number, piece in enumerate(_pieces(x)):
        finite = np.isfinite(piece)
        if not finite.all():
            example = number * _piece_length(x) + int(np.argwhere(~finite)[0][0])
            raise DataError(
                f"data.dir={config.dir!r}: example {example} has NaN or infinite values"
            )
        smallest, largest = float(piece.min()), float(piece.max())
        if smallest < low or largest > high:
            raise DataError(
                f"data.dir={config.dir!r}: values from {smallest:.4g} to {largest:.4g} leave "
                f"data.value_range=({low:g}, {high:g})"
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
)
LATENTS_SOURCE = kind(load_latents, **fields.STREAMED, array_key=fields.ARRAY_KEY)
