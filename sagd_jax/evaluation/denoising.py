"""How well a denoiser knows each band of frequencies, at each time.

    error(t, b) = E |F(x0_hat(x_t, t) - x_0)(f)|^2, the mean over the frequencies f of band b, with x_t of (5).

For Gaussian data of power S the exact denoiser (11) has S sigma^2 lambda / (alpha^2 S + sigma^2 lambda).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from numpy.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.evaluation.spectra_of_samples import band_shares, powers

TIMES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_BATCH = 64


@dataclasses.dataclass(frozen=True)
class DenoisingErrors:
    """Mean squared errors of x0_hat per coefficient.

    Attributes:
      times: `(T,)`.
      edges: of the bands, in the unit `max`.
      error: `(T, bands)`; NaN for a band without frequencies.
      standard_error: of it, over examples.
    """

    times: tuple[float, ...]
    edges: tuple[float, ...]
    error: np.ndarray
    standard_error: np.ndarray


def denoising_errors(
    key: jax.Array,
    denoiser: Callable[[jax.Array, jax.Array], jax.Array],
    diffusion: Diffusion,
    x0: ArrayLike,
    edges: Sequence[float],
    *,
    times: Sequence[float] = TIMES,
    prediction: str | None = None,
) -> DenoisingErrors:
    """The errors of a denoiser on clean signals, with one noise per example for all times.

    Args:
      key: of the noise.
      denoiser: `(x_t, t) -> prediction`.
      diffusion: its process.
      x0: `(n, *spatial, channels)` in the network's range, n >= 2.
      edges: increasing, in [0, 1] of the unit `max`.
      times: in (0, 1], where x_0 can be told from the prediction.
      prediction: kind of the denoiser's output, by default the one that it says.

    Raises:
      ValueError: for fewer than two examples, times outside, or edges that do not increase.

    >>> import sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8,)))
    >>> x0 = jax.random.normal(jax.random.key(1), (200, 8, 1))
    >>> nothing = lambda x, t: 0 * x  # says 0 of x_0
    >>> errors = denoising_errors(jax.random.key(0), nothing, diffusion, x0, (0, 1), prediction="x0")
    >>> bool(np.all(np.abs(errors.error - 1) < 5 * errors.standard_error))
    True
    """
    x0 = np.asarray(x0, np.float32)
    if len(x0) < 2:
        raise ValueError(f"x0: {len(x0)} examples; expected two or more")
    if not all(0 < t <= 1 for t in times):
        raise ValueError(f"times={tuple(times)}: expected numbers in (0, 1]")
    kind = kind_of(denoiser, prediction)
    shares = band_shares(x0.shape[1:-1], edges)

    @jax.jit
    def residual(key: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
        t = jax.numpy.broadcast_to(t, (len(x),))
        x_t, _ = diffusion.diffuse(key, x, t)
        return diffusion.convert(denoiser(x_t, t), x_t, t, kind, "x0") - x

    energies = []
    for t in times:
        parts = []
        for number, first in enumerate(range(0, len(x0), _BATCH)):
            # Always a whole batch, so that one shape is compiled.
            rows = np.minimum(np.arange(first, first + _BATCH), len(x0) - 1)
            found = residual(jax.random.fold_in(key, number), x0[rows], np.float32(t))
            (energy,) = powers(np.asarray(found)[: len(x0) - first])
            parts.append(energy.reshape(len(energy), -1) @ shares.T)
        energies.append(np.concatenate(parts))
    of_all = np.stack(energies)
    spread = of_all.std(axis=1, ddof=1) / np.sqrt(len(x0))
    return DenoisingErrors(
        tuple(map(float, times)), tuple(map(float, edges)), of_all.mean(axis=1), spread
    )
