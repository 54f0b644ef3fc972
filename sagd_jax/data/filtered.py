"""Examples without some bands: the obvious rival of selective omission.

A band is taken out of every example before the network sees it, after a corruption, if there is one; a
model of these knows nothing of the band, like one that was trained under noise with a hole there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import DataError, Source, denormalise, normalise
from sagd_jax.spectral import combine, spectra
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.system.host import on_host


class Filtered(Source):
    """A source whose examples keep what lies on the range of a covariance.

    Values become float32, in the same range of values, which they may leave: nothing is clipped.
    """

    def __init__(self, source: Source, kept: Covariance):
        """Wraps `source`; `kept` has its spatial shape."""
        self._source = source
        for name in (
            "shape",
            "dtype",
            "value_range",
            "kind",
            "num_classes",
            "sample_rate",
            "scaled",
            "kinds",
        ):
            setattr(self, name, getattr(source, name))
        self.in_memory = source.in_memory
        self.identity = source.fingerprint
        self._filter = projection(kept, source.value_range)

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, indices: np.ndarray, *, seed: int = 0, step: int = 0) -> dict[str, np.ndarray]:
        batch = self._source.fetch(indices, seed=seed, step=step)
        return {**batch, "x": self._filter(batch["x"])}

    def report(self) -> None:
        self._source.report()


def rest(
    spatial_shape: Sequence[int],
    bands: Sequence[tuple[float, float]],
    unit: str,
    sample_rate: float | None = None,
) -> Covariance:
    """A covariance whose range is all but some radial bands; ValueError if there is no such band or rest."""
    removed = spectra.band_pass(spatial_shape, bands, unit, sample_rate=sample_rate)
    return combine.complement(removed)


def projection(
    kept: Covariance, value_range: tuple[np.ndarray, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray]:
    """What projects raw values `(n, *spatial, channels)` on the range of a covariance, as float32."""

    def one(x):
        return denormalise(kept.project(normalise(x, value_range)), value_range, jnp.float32)

    # One at a time, so that an example does not depend on its batch even in rounding.
    compiled = jax.jit(lambda x: jax.lax.map(one, x))

    def project(x: np.ndarray) -> np.ndarray:
        with on_host():
            return np.asarray(compiled(x))

    return project


def filtered(source: Source, config: Any) -> Source:
    """`source` without the bands that `config.filtered_bands` names, if any.

    Raises:
      DataError: for bands that the grid does not have, or that leave nothing.
    """
    if not config.filtered_bands:
        return source
    rate = source.sample_rate if config.filtered_unit == "hz" else None
    try:
        kept = rest(source.shape[:-1], config.filtered_bands, config.filtered_unit, rate)
    except ValueError as error:
        raise DataError(f"data.filtered_bands={config.filtered_bands}: {error}") from None
    return Filtered(source, kept)
