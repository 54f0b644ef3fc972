"""Degradations of signals, as pure functions, to study selective omission and to augment.

Each function maps `(keys, x)` to an array like `x`:

* `x` has shape `(n, *spatial, channels)` and is floating point;
* `keys` has shape `(n,)`, one key per example, so that what happens to an example does not depend
  on its batch. `example_keys` makes them: frozen ones, where the degradation belongs to the example
  and is the same in every epoch, or fresh ones for every step.

`amplitude` is the standard deviation of what is added, in the units of `x`; the channels of an
example share the phases of hum, moire and stripes. All go through `jit`.

Source of the band noise x + gamma e_[a, b]: SAGD (arXiv 2510.09660), section 3.3.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.spectral import transform
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.frequencies import frequency_vectors
from sagd_jax.system import schema

# The luminance table of JPEG (ITU-T T.81, annex K), in steps of 8-bit values.
_JPEG_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


def example_keys(
    seed: int | jax.Array, indices: jax.Array, step: int | jax.Array | None = None
) -> jax.Array:
    """One key per example: of (seed, index), or of (seed, step, index) for fresh draws.

    >>> frozen = example_keys(0, jnp.array([7, 9]))
    >>> fresh = example_keys(0, jnp.array([7, 9]), step=3)
    >>> frozen.shape, bool((frozen == fresh).any())
    ((2,), False)
    """
    if isinstance(seed, int):
        schema.check_seed(seed)
    key = jax.random.key(seed)
    # The two kinds fold in a different number of words, so they share no key.
    key = jax.random.fold_in(key, 0) if step is None else jax.random.fold_in(key, 1)
    if step is not None:
        key = jax.random.fold_in(key, step)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.asarray(indices))


def shaped_noise(
    keys: jax.Array, x: jax.Array, covariance: Covariance, amplitude: float = 1.0
) -> jax.Array:
    """Adds Gaussian noise of any spectrum.

    With `band_pass` it is the paper's band corruption, with `wedge` rain-like streaks.

    >>> from sagd_jax import spectra
    >>> band = spectra.band_pass((16, 16), [(0.4, 0.5)])
    >>> x = jnp.zeros((2, 16, 16, 1))
    >>> y = shaped_noise(example_keys(0, jnp.arange(2)), x, band)
    >>> bool(jnp.allclose(band.project(y), y, atol=1e-5))
    True
    """
    noise = covariance.sample(keys, x.shape[1:], x.dtype)
    return x + amplitude * noise


def sinusoids(
    keys: jax.Array,
    x: jax.Array,
    frequencies: ArrayLike,
    amplitude: float = 1.0,
    weights: ArrayLike | None = None,
) -> jax.Array:
    """Adds plane waves of random phase: moire, or in clips flicker, with vectors (f, 0, 0).

    Args:
      frequencies: vectors (f_1, ..., f_d) in cycles per sample.
      amplitude: standard deviation of the sum.
      weights: of their energies, equal by default.

    Raises:
      ValueError: for frequencies that are not vectors of one number per spatial axis.

    >>> y = sinusoids(example_keys(0, jnp.arange(2)), jnp.zeros((2, 16, 16, 1)), [(0.25, 0.125)], 0.5)
    >>> [round(float(z), 3) for z in y.std(axis=(1, 2, 3))]
    [0.5, 0.5]
    """
    spatial = x.shape[1:-1]
    vectors = np.asarray(frequencies, np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != len(spatial) or not len(vectors):
        raise ValueError(
            f"frequencies={frequencies!r}: expected vectors of {len(spatial)} numbers each"
        )
    energies = np.ones(len(vectors)) if weights is None else np.asarray(weights, np.float64)
    scales = amplitude * np.sqrt(2 * energies / energies.sum())
    phases = jax.vmap(lambda key: jax.random.uniform(key, (len(vectors),)))(keys)
    for i, (vector, scale) in enumerate(zip(vectors, scales, strict=True)):
        turns = _turns(spatial, vector) + jnp.expand_dims(phases[:, i], range(1, len(spatial) + 1))
        x = x + (scale * jnp.cos(2 * jnp.pi * turns)).astype(x.dtype)[..., None]
    return x


def hum(
    keys: jax.Array,
    x: jax.Array,
    frequency: float,
    sample_rate: float,
    harmonics: int = 2,
    amplitude: float = 1.0,
) -> jax.Array:
    """Adds mains hum to audio: a fundamental and overtones of falling level, in random phase.

    Args:
      x: `(n, time, channels)`.
      frequency: of the fundamental, in Hz.
      sample_rate: samples per second.
      harmonics: number of overtones, at 2, 3, ... times the fundamental; overtone k has 1 / k of
        its amplitude.
      amplitude: standard deviation of it all.

    Raises:
      ValueError: for a frequency or overtone outside (0, sample_rate / 2].

    >>> y = hum(example_keys(0, jnp.arange(3)), jnp.zeros((3, 480, 1)), 50, sample_rate=4800, amplitude=0.1)
    >>> [round(float(z), 3) for z in y.std(axis=(1, 2))]
    [0.1, 0.1, 0.1]
    """
    multiples = np.arange(1, harmonics + 2)
    if not 0 < frequency * multiples[-1] <= sample_rate / 2:
        raise ValueError(
            f"frequency={frequency}: with {harmonics} harmonics expected more than 0 and at most "
            f"{sample_rate / 2 / multiples[-1]:g} Hz at sample_rate={sample_rate}"
        )
    vectors = [(frequency * k / sample_rate,) for k in multiples]
    return sinusoids(keys, x, vectors, amplitude, weights=1 / multiples**2)


def stripes(
    keys: jax.Array, x: jax.Array, frequency: float, amplitude: float = 1.0, axis: int = 0
) -> jax.Array:
    """Adds a square wave along one spatial axis, in random phase: banding of a sensor or screen.

    Args:
      frequency: in cycles per sample, in (0, 0.5].
      axis: spatial axis that it varies along.

    Raises:
      ValueError: for a frequency outside (0, 0.5].

    >>> x = jnp.zeros((2, 8, 8, 1))
    >>> y = stripes(example_keys(0, jnp.arange(2)), x, frequency=0.25, amplitude=0.5)
    >>> bool(jnp.all(jnp.abs(y) == 0.5)), bool(jnp.all(y == y[:, :, :1]))
    (True, True)
    """
    if not 0 < frequency <= 0.5:
        raise ValueError(f"frequency={frequency}: expected cycles per sample in (0, 0.5]")
    spatial = x.shape[1:-1]
    vector = np.zeros(len(spatial))
    vector[axis] = frequency
    phases = jax.vmap(jax.random.uniform)(keys)
    turns = _turns(spatial, vector) + jnp.expand_dims(phases, range(1, len(spatial) + 1))
    wave = jnp.where(jnp.mod(turns, 1.0) < 0.5, amplitude, -amplitude)
    return x + wave.astype(x.dtype)[..., None]


def jpeg_grid(keys: jax.Array, x: jax.Array, strength: float = 1.0) -> jax.Array:
    """Quantises 8 x 8 blocks in the cosine domain, as JPEG does: a grid and ringing.

    Args:
      keys: not used; nothing here is random.
      x: `(n, height, width, channels)` in [-1, 1]; channels are treated alike.
      strength: factor on JPEG's luminance table; 1 is quality 50.

    Raises:
      ValueError: for x of another number of axes.

    >>> x = jnp.full((1, 8, 8, 1), 0.3)
    >>> y = jpeg_grid(example_keys(0, jnp.arange(1)), x)  # of a constant block the mean alone is rounded
    >>> bool(jnp.allclose(y, y[0, 0, 0, 0], atol=1e-5))
    True
    """
    del keys
    if x.ndim != 4:
        raise ValueError(f"x.shape={x.shape}: expected (n, height, width, channels)")
    n, height, width, channels = x.shape
    steps = jnp.asarray(_JPEG_STEPS * (strength / 127.5), x.dtype)[:, :, None]
    padded = jnp.pad(x, ((0, 0), (0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    blocks = padded.reshape(n, padded.shape[1] // 8, 8, padded.shape[2] // 8, 8, channels)
    matrix = jnp.asarray(_cosine_matrix(8), x.dtype)
    spectrum = jnp.einsum("nhawbc,ua,vb->nhwuvc", blocks, matrix, matrix)
    rounded = jnp.where(
        steps > 0, jnp.round(spectrum / jnp.where(steps > 0, steps, 1)) * steps, spectrum
    )
    result = jnp.einsum("nhwuvc,ua,vb->nhawbc", rounded, matrix, matrix)
    return result.reshape(padded.shape)[:, :height, :width]


def blur(keys: jax.Array, x: jax.Array, width: float = 1.0) -> jax.Array:
    """Gaussian blur of standard deviation `width` samples, periodic at the borders.

    Its gain at frequency f is exp(-2 pi^2 width^2 |f|^2).

    Args:
      keys: not used; nothing here is random.

    >>> wave = jnp.cos(2 * jnp.pi * jnp.arange(16) / 4)[None, :, None]
    >>> y = blur(example_keys(0, jnp.arange(1)), wave)
    >>> round(float(y[0, 0, 0]), 3), round(float(jnp.exp(-2 * jnp.pi**2 / 16)), 3)
    (0.291, 0.291)
    """
    del keys
    square = sum(f**2 for f in frequency_vectors(x.shape[1:-1]))
    gain = np.exp(-2 * np.pi**2 * width**2 * square)[..., None]
    return transform.multiply(x, jnp.asarray(gain, x.dtype))


def _turns(spatial: tuple[int, ...], vector: np.ndarray) -> np.ndarray:
    # Whole turns are taken off in float64, which float32 could not resolve in long audio.
    grids = np.meshgrid(*(np.arange(n) for n in spatial), indexing="ij", sparse=True)
    turns = sum(f * grid for f, grid in zip(vector, grids, strict=True))
    return np.broadcast_to(np.mod(turns, 1.0), spatial).astype(np.float32)


def _cosine_matrix(n: int) -> np.ndarray:
    """The orthonormal DCT-II, rows are frequencies."""
    k, i = np.mgrid[:n, :n]
    matrix = np.cos(np.pi * k * (2 * i + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix
