"""The metric `band_errors`: how well the averaged weights know each quarter of the radii, while they learn.

The errors are those of `evaluation/denoising.py`, of fixed examples with fixed draws at times spread
over (0, 1], so that a curve moves by the weights alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import normalise
from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.evaluation.spectra_of_samples import band_shares, powers
from sagd_jax.run import layout
from sagd_jax.run.denoiser import with_path
from sagd_jax.run.saved import Run
from sagd_jax.system import compiler
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Parts

BANDS = 4
NAMES = tuple(f"error_band{i + 1}of{BANDS}" for i in range(BANDS))
_COUNT = 64


def band_errors(parts: Parts) -> Callable[[Mapping], dict[str, float]]:
    """Squared error of x0_hat per coefficient in each quarter of the radii, lowest first, without a class.

    Raises:
      ConfigError: for noise that depends on the class, or a consistency model.
    """
    config = parts.record.config
    for where, wrong in (
        ("config.noise.per_class=True", config.noise.per_class),
        ("config.objective.kind='consistency'", config.objective.kind == "consistency"),
    ):
        if wrong:
            raise ConfigError(f"config.metrics.names: band_errors is not known with {where}")
    diffusion = parts.diffusion
    if isinstance(diffusion.schedule, Capped) or config.corrupted_noise.kind != "same":
        diffusion = diffusion.at(0)  # as clean examples
    count = layout.rounded_up(min(_COUNT, len(parts.source)), parts.mesh)
    split = layout.batch_sharding(parts.mesh)
    rows = layout.local_rows(split, count)
    shares = band_shares(parts.record.data.shape[:-1], tuple(i / BANDS for i in range(BANDS + 1)))
    key = jax.random.fold_in(jax.random.key(config.seed), 2**32 - 3)  # a stream of its own
    times = (np.random.default_rng(0).permutation(count) + 0.5) / count

    @functools.cache
    def examples() -> jax.Array:
        raw = parts.source.fetch((np.arange(count) % len(parts.source))[rows])["x"]
        x = np.asarray(normalise(raw, parts.record.data.value_range), np.float32)
        return jax.make_array_from_process_local_data(split, x)

    @functools.partial(
        jax.jit,
        out_shardings=layout.replicated(parts.mesh),
        compiler_options=compiler.of_networks(),
    )
    def residual(ema, x):
        own, t = with_path(diffusion, ema), jnp.asarray(times, x.dtype)
        denoiser = Run(parts.model, ema, own, parts.record, 0).denoiser()
        x_t, _ = own.diffuse(key, x, t)
        return own.convert(denoiser(x_t, t), x_t, t, kind_of(denoiser, None), "x0") - x

    def errors(state: Mapping) -> dict[str, float]:
        energy = np.concatenate(list(powers(np.asarray(residual(state["ema"], examples())))))
        means = energy.reshape(count, -1).mean(axis=0) @ shares.T
        return {name: float(v) for name, v in zip(NAMES, means, strict=True) if not np.isnan(v)}

    return errors
