"""Corrupted examples: a degradation of `corruptions.py` on all or some of a source, and flags.

Which examples are corrupted is fixed per data set: by a file of flags, or by a hash of the index
against a share. Their flags come with every batch (`"corrupted"`), so that training can choose the
noise per example: clean examples still teach the band that corrupted ones have to omit.

Corruptions act on values normalised to [-1, 1] and are not clipped, so that a band stays a band.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax import corruptions, spectra
from sagd_jax.data.config import DataConfig
from sagd_jax.data.order import hash_words
from sagd_jax.data.source import DataError, Source, denormalise, normalise

Corruption = Callable[[jax.Array, jax.Array], jax.Array]
_CHOICE = 3  # tells the hash of the choice of examples from others
_FROZEN_SEED = 0


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
          flags: `(len(source),)` booleans.
          corrupt: `(keys, x) -> x` on values in [-1, 1]; without one, the flagged examples are
            taken to be corrupted already.
          frozen: the same draw for an example in every epoch, or a fresh one each time.
        """
        self._source, self._flags, self._frozen = source, flags, frozen
        for name in ("shape", "dtype", "value_range", "kind", "num_classes", "sample_rate"):
            setattr(self, name, getattr(source, name))
        self.in_memory = source.in_memory
        self._corrupt = None
        if corrupt is not None:

            def on_one(example):
                key, x, flagged = example
                unit = normalise(x, source.value_range)[None]
                changed = denormalise(corrupt(key[None], unit), source.value_range, jnp.float32)[0]
                return jnp.where(flagged, changed, x.astype(jnp.float32))

            # One at a time: how a product of matrices is rounded depends on the number of rows, and
            # an example must not depend on its batch.
            @jax.jit
            def on_flagged(keys, x, flagged):
                return jax.lax.map(on_one, (keys, x, flagged))

            self._corrupt = on_flagged

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._source.fetch(indices, seed=seed, step=step)
        flagged = self._flags[np.asarray(indices)]
        if self._corrupt is None:
            return {**batch, "corrupted": flagged}
        if self._frozen:
            keys = corruptions.example_keys(_FROZEN_SEED, jnp.asarray(indices))
        else:
            keys = corruptions.example_keys(seed, jnp.asarray(indices), step)
        x = np.asarray(self._corrupt(keys, batch["x"], flagged))
        return {**batch, "x": x, "corrupted": flagged}


def corrupted(source: Source, config: DataConfig) -> Source:
    """`source` with the corruption and the flags that `config` asks for, if any.

    Raises:
      DataError: for a corruption that does not fit the data, or a file of flags that does not.
    """
    if config.corruption == "none" and not config.corrupted_flags:
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
    return Corrupted(source, _flags(len(source), config), corrupt, frozen=config.corruption_frozen)


def build_corruption(
    config: DataConfig, shape: tuple[int, ...], sample_rate: float | None = None
) -> Corruption:
    """The function `(keys, x) -> x` of `config.corruption` for examples of `shape`."""
    spatial, name, strength = shape[:-1], config.corruption, config.corruption_strength
    if name == "band":
        rate = sample_rate if config.corruption_unit == "hz" else None
        noise = spectra.band_pass(
            spatial, [_band(config)], config.corruption_unit, sample_rate=rate
        )
        return lambda keys, x: corruptions.shaped_noise(keys, x, noise, strength)
    if name == "wedge":
        angle = np.radians(config.corruption_angle)
        direction = (*(0.0,) * (len(spatial) - 2), np.sin(angle), np.cos(angle))
        band = _band(config) if config.corruption_band else None
        noise = spectra.wedge(
            spatial, direction, config.corruption_width, band, config.corruption_unit
        )
        return lambda keys, x: corruptions.shaped_noise(keys, x, noise, strength)
    values = config.corruption_frequency
    if name == "moire":
        if not values or len(values) % len(spatial):
            raise ValueError(
                f"data.corruption_frequency={values}: expected vectors of {len(spatial)} numbers"
            )
        vectors = np.reshape(values, (-1, len(spatial)))
        return lambda keys, x: corruptions.sinusoids(keys, x, vectors, strength)
    if name in ("hum", "stripes") and len(values) != 1:
        raise ValueError(f"data.corruption_frequency={values}: expected one number")
    if name == "hum":
        if sample_rate is None or len(spatial) != 1:
            raise ValueError("hum is for audio, which has a sample rate")
        overtones = config.corruption_harmonics
        return lambda keys, x: corruptions.hum(keys, x, values[0], sample_rate, overtones, strength)
    if name == "stripes":
        return lambda keys, x: corruptions.stripes(keys, x, values[0], strength)
    simple = {"jpeg_grid": corruptions.jpeg_grid, "blur": corruptions.blur}[name]
    return lambda keys, x: simple(keys, x, strength)


def _band(config: DataConfig) -> tuple[float, float]:
    if len(config.corruption_band) != 2:
        raise ValueError(f"data.corruption_band={config.corruption_band}: expected (low, high)")
    return config.corruption_band[0], config.corruption_band[1]


def _flags(length: int, config: DataConfig) -> np.ndarray:
    if not config.corrupted_flags:
        words = hash_words(_FROZEN_SEED, np.arange(length), _CHOICE)
        # The top 53 bits as a number in [0, 1): exactly none at share 0 and all at share 1.
        return (words >> np.uint64(11)) * 2.0**-53 < config.corrupted_fraction
    if config.corrupted_fraction != 1:
        raise DataError("data.corrupted_flags and data.corrupted_fraction: give one of them")
    path = Path(config.corrupted_flags).expanduser()
    try:
        flags = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"data.corrupted_flags={str(path)!r}: {error}") from None
    if not isinstance(flags, np.ndarray) or flags.shape != (length,) or flags.dtype != bool:
        raise DataError(
            f"data.corrupted_flags={str(path)!r}: expected an .npy of {length} booleans, one per "
            "example"
        )
    return flags
