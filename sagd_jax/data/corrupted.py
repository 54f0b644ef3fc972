"""Corrupted examples: a degradation of `corruptions.py` on all or some of a source, and flags.

Which examples are corrupted, and in which way, is fixed per data set: by a file of flags, by their folder, by
a hash of the index against a share, or by rule: all. Their flags, or kinds, come with every batch
(`"corrupted"`, 0 clean), so that training can choose the noise or its levels per example: clean examples
still teach the band that corrupted ones have to omit.

Corruptions act on values normalised to [-1, 1] and are not clipped, so that a band stays a band.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data import corruptions
from sagd_jax.data.files import Unreadable, read_npy
from sagd_jax.data.fingerprint import of_values
from sagd_jax.data.order import hash_words
from sagd_jax.data.source import DataError, Resident, Source, denormalise, normalise
from sagd_jax.spectral import spectra
from sagd_jax.spectral.frequencies import UNITS
from sagd_jax.system import kinds, schema
from sagd_jax.system.host import on_host
from sagd_jax.system.kinds import kind
from sagd_jax.system.schema import field

Corruption = Callable[[jax.Array, jax.Array], jax.Array]
_CHOICE = 3  # tells the hash of the choice of examples from others
_FROZEN_SEED = 0
_DRAWN_SEED = 1
_ADDED = ("band", "hum", "moire", "wedge", "stripes")  # whatever the example is
_MOST_KINDS = 255


class Corrupted(Source):
    """A source with flags, and with a corruption on the flagged examples."""

    def __init__(
        self,
        source: Source,
        flags: np.ndarray,
        corrupt: Corruption | None = None,
        *,
        frozen: bool = True,
    ):
        """Wraps `source`.

        Args:
          flags: `(len(source),)` booleans, or kinds, whole numbers from 0, clean, on.
          corrupt: `(keys, x) -> x` on values in [-1, 1]; without one, the flagged examples are
            taken to be corrupted already.
          frozen: the same draw for an example in every epoch, or a fresh one each time.
        """
        self._source, self._flags, self._frozen = source, flags, frozen
        for name in (
            "shape", "dtype", "value_range", "kind", "num_classes", "sample_rate", "scaled"
        ):  # fmt: skip
            setattr(self, name, getattr(source, name))
        self.in_memory = source.in_memory
        self.identity = source.fingerprint
        self.kinds = flags.astype(np.uint8)
        self._corrupt = None
        if corrupt is not None:

            def on_one(example):
                key, x, flagged = example
                unit = normalise(x, source.value_range)[None]
                changed = denormalise(corrupt(key[None], unit), source.value_range, jnp.float32)[0]
                return jnp.where(flagged > 0, changed, x.astype(jnp.float32))

            # One at a time: how a product of matrices is rounded depends on the number of rows, and
            # an example must not depend on its batch.
            @jax.jit
            def on_flagged(seed, step, numbers, x, flagged):
                keys = corruptions.example_keys(seed, numbers, None if frozen else step)
                return jax.lax.map(on_one, (keys, x, flagged))

            self._corrupt = on_flagged

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._source.fetch(indices, seed=seed, step=step)
        # Flags and frozen corruptions belong to the example that is there, maybe for another.
        own = batch.get("index", np.asarray(indices))
        flagged = self._flags[own]
        if self._corrupt is None:
            return {**batch, "corrupted": flagged}
        schema.check_seed(seed)
        draw = (_FROZEN_SEED, 0, own) if self._frozen else (seed, step, indices)
        words = [np.asarray(number, np.uint32) for number in draw]
        with on_host():
            x = np.asarray(self._corrupt(*words, batch["x"], flagged))
        return {**batch, "x": x, "corrupted": flagged}

    def report(self) -> None:
        self._source.report()

    def resident(self, most: float = math.inf) -> Resident | None:
        flagged_alone = self._corrupt is None and self._fetches_as(Corrupted)
        inner = self._source.resident(most) if flagged_alone else None
        return inner and dataclasses.replace(inner, rows=self._over(inner.rows))


def corrupted(source: Source, config: Any) -> Source:
    """`source` with the corruption and the flags that `config` asks for, if any.

    Raises:
      DataError: for a corruption that does not fit the data, or a file of flags that does not.
    """
    ways = _ways(source, config)
    if config.corruption == "none" and not ways:
        return source
    corrupt = None
    if config.corruption != "none":
        try:
            corrupt = build_corruption(config, source.shape, source.sample_rate)
            # Shapes and frequencies are checked by tracing it once, without running anything.
            keys = jax.eval_shape(lambda: corruptions.example_keys(0, jnp.arange(1)))
            jax.eval_shape(corrupt, keys, jax.ShapeDtypeStruct((1, *source.shape), jnp.float32))
        except ValueError as error:
            raise DataError(f"data.corruption={config.corruption!r}: {error}") from None
    flags = source.kinds if source.kinds is not None else _flags(len(source), config)
    if corrupt is not None and flags.max(initial=0) > 1:
        raise DataError(
            f"data.corruption={config.corruption!r}: it makes one kind of corrupted examples; expected flags "
            f"of True and False, there is kind {flags.max()}"
        )
    result = Corrupted(source, flags, corrupt, frozen=config.corruption_frozen)
    if config.corrupted_flags:
        result.identity = lambda: (*source.fingerprint(), *of_values("flags", flags))
    if corrupt is not None and config.corruption in _ADDED:
        result.planted = _added(corrupt, source.shape)
    return result


def _ways(source: Source, config: Any) -> list[str]:
    """By what the data say which examples are corrupted already; DataError for more than one way."""
    ways = [name for name in ("corrupted_flags", "corrupted_all") if getattr(config, name)]
    ways += [] if source.kinds is None else ["corrupted_folders"]
    if len(ways) > 1:
        raise DataError(f"data.{' and data.'.join(ways)}: give one of them")
    if config.corruption != "none" and ways and ways != ["corrupted_flags"]:
        raise DataError(
            f"data.{ways[0]}: not together with data.corruption={config.corruption!r}, which is planted; "
            "expected data.corrupted_fraction or corrupted_flags"
        )
    return ways


def _added(corrupt: Corruption, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Draws of what a corruption adds, other than those of the examples."""

    def draw(numbers: np.ndarray) -> np.ndarray:
        with on_host():
            keys = corruptions.example_keys(_DRAWN_SEED, jnp.asarray(numbers))
            return np.asarray(corrupt(keys, jnp.zeros((len(numbers), *shape))))

    return draw


def build_corruption(
    config: Any, shape: tuple[int, ...], sample_rate: float | None = None
) -> Corruption:
    """The function `(keys, x) -> x` of `config.corruption` for examples of `shape`."""
    chosen = CORRUPTIONS[config.corruption]
    options = kinds.options(CORRUPTIONS, config, "corruption", "corruption_")
    return chosen.make(shape[:-1], sample_rate, **options)


def _band(spatial, sample_rate, *, strength, band, unit) -> Corruption:
    rate = sample_rate if unit == "hz" else None
    noise = spectra.band_pass(spatial, [_pair(band)], unit, sample_rate=rate)
    return lambda keys, x: corruptions.shaped_noise(keys, x, noise, strength)


def _wedge(spatial, sample_rate, *, strength, band, unit, angle, width) -> Corruption:
    radians = np.radians(angle)
    direction = (*(0.0,) * (len(spatial) - 2), np.sin(radians), np.cos(radians))
    noise = spectra.wedge(spatial, direction, width, _pair(band) if band else None, unit)
    return lambda keys, x: corruptions.shaped_noise(keys, x, noise, strength)


def _moire(spatial, sample_rate, *, strength, frequency) -> Corruption:
    if not frequency or len(frequency) % len(spatial):
        raise ValueError(
            f"data.corruption_frequency={frequency}: expected vectors of {len(spatial)} numbers"
        )
    vectors = np.reshape(frequency, (-1, len(spatial)))
    return lambda keys, x: corruptions.sinusoids(keys, x, vectors, strength)


def _hum(spatial, sample_rate, *, strength, frequency, harmonics) -> Corruption:
    value = _one(frequency)
    if sample_rate is None or len(spatial) != 1:
        raise ValueError("hum is for audio, which has a sample rate")
    return lambda keys, x: corruptions.hum(keys, x, value, sample_rate, harmonics, strength)


def _stripes(spatial, sample_rate, *, strength, frequency) -> Corruption:
    value = _one(frequency)
    return lambda keys, x: corruptions.stripes(keys, x, value, strength)


def _jpeg_grid(spatial, sample_rate, *, strength) -> Corruption:
    return lambda keys, x: corruptions.jpeg_grid(keys, x, strength)


def _blur(spatial, sample_rate, *, strength) -> Corruption:
    return lambda keys, x: corruptions.blur(keys, x, strength)


def _pair(band: tuple[float, ...]) -> tuple[float, float]:
    if len(band) != 2:
        raise ValueError(f"data.corruption_band={band}: expected (low, high)")
    return band[0], band[1]


def _one(values: tuple[float, ...]) -> float:
    if len(values) != 1:
        raise ValueError(f"data.corruption_frequency={values}: expected one number")
    return values[0]


def _flags(length: int, config: Any) -> np.ndarray:
    if config.corrupted_all:
        return np.ones(length, bool)
    if not config.corrupted_flags:
        words = hash_words(_FROZEN_SEED, np.arange(length), _CHOICE)
        # The top 53 bits as a number in [0, 1): exactly none at share 0 and all at share 1.
        return (words >> np.uint64(11)) * 2.0**-53 < config.corrupted_fraction
    if config.corrupted_fraction != 1:
        raise DataError("data.corrupted_flags and data.corrupted_fraction: give one of them")
    path = Path(config.corrupted_flags).expanduser()
    try:
        flags = np.array(read_npy(path))
    except Unreadable as error:
        raise DataError(f"data.corrupted_flags={str(path)!r}: {error.why}") from None
    if flags.shape != (length,) or flags.dtype.kind not in "biu":
        raise DataError(
            f"data.corrupted_flags={str(path)!r}: {flags.dtype} of shape {flags.shape}; expected an "
            f".npy of {length} booleans, or kinds 0, 1, 2, ..., one per example"
        )
    if flags.dtype != bool:
        if flags.min(initial=0) < 0 or flags.max(initial=0) > _MOST_KINDS:
            raise DataError(
                f"data.corrupted_flags={str(path)!r}: kinds {flags.min()} to {flags.max()}; expected 0, clean, "
                f"to {_MOST_KINDS} at most"
            )
        return flags.astype(np.uint8)
    # A damaged byte may be neither of the two that stand for False and True.
    if flags.view(np.uint8).max(initial=0) > 1:
        raise DataError(f"data.corrupted_flags={str(path)!r}: values other than True and False")
    return flags


_STRENGTH = field(
    1.0,
    "standard deviation of what is added, in units of the network's [-1, 1] range (blur: width in "
    "samples; jpeg_grid: factor on JPEG's table of quality 50)",
    low=0,
)
_BAND = field(
    (),
    "radial band (low, high) in corruption_unit, for band and wedge",
    low=0,
    hint=tuple[float, ...],
)
_UNIT = field("max", "unit of corruption_band (hz: audio, band only)", choices=UNITS)
_FREQUENCY = field(
    (),
    "hum: fundamental in Hz; stripes: frequency along the first axis; moire: frequency vectors one "
    "after the other (flicker of clips: f, 0, 0), both in cycles per sample",
    hint=tuple[float, ...],
)

# What `config.data.corruption` can name: functions of the spatial shape and the sample rate; their
# fields are `config.data.corruption_strength` and so on.
CORRUPTIONS = {
    "band": kind(_band, strength=_STRENGTH, band=_BAND, unit=_UNIT),
    "hum": kind(
        _hum,
        strength=_STRENGTH,
        frequency=_FREQUENCY,
        harmonics=field(2, "overtones of the hum", low=0),
    ),
    "moire": kind(_moire, strength=_STRENGTH, frequency=_FREQUENCY),
    "wedge": kind(
        _wedge,
        strength=_STRENGTH,
        band=_BAND,
        unit=_UNIT,
        angle=field(
            0.0,
            "wedge: direction of its frequencies in degrees, from the last axis towards the first "
            "(streaks run across it)",
        ),
        width=field(30.0, "wedge: full angle in degrees", above=0, high=180),
    ),
    "stripes": kind(_stripes, strength=_STRENGTH, frequency=_FREQUENCY),
    "jpeg_grid": kind(_jpeg_grid, strength=_STRENGTH),
    "blur": kind(_blur, strength=_STRENGTH),
}
