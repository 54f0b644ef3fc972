"""Samples of a checkpoint step by step, as `sample.py` draws them: number i of a seed is the same there."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import denormalise
from sagd_jax.diffusion import guidance
from sagd_jax.diffusion.samplers import METHODS, named
from sagd_jax.diffusion.sampling import sample
from sagd_jax.run.denoiser import as_denoiser, of_kinds
from sagd_jax.run.draw import is_bounded, sampled_kind
from sagd_jax.run.saved import Run
from sagd_jax.show import pictures
from sagd_jax.system.errors import check_choice
from sagd_jax.system.schema import ConfigError, as_config_error, check_seed

MOST_SAMPLES, MOST_STEPS = 64, 250
_MOST_VALUES = 1 << 26  # of a trajectory, which a page's session keeps


class Trajectories:
    """Trajectories of a run's samples.

    Args:
      run: of a diffusion model.

    Raises:
      ConfigError: for a consistency model, which has no steps, or a run of kinds of examples.
    """

    def __init__(self, run: Run) -> None:
        if run.config.objective.kind == "consistency":
            raise ConfigError(
                "--workdir: this checkpoint is a consistency model, which has no steps to look at; use sagd sample"
            )
        if sampled_kind(run.diffusion):
            raise ConfigError(
                "--workdir: this run finishes its samples from those of a corrupted kind; use sagd sample"
            )
        self._run, self._lock = run, threading.Lock()
        # The last few compiled draws.
        self._compiled = functools.lru_cache(4)(self._compile)

    def draw(self, seed: int, count: int, num_steps: int, method: str = "ddim") -> np.ndarray:
        """The first samples of a seed after each step, `(num_steps + 1, count, *shape)`, as they are written.

        Raises:
          ConfigError: for a number out of its range, a method that does not go with the run, or states that
            are not finite.
        """
        check_seed(seed)
        check_choice("method", method, METHODS, ConfigError)
        for name, value, most in (
            ("samples", count, MOST_SAMPLES),
            ("steps", num_steps, MOST_STEPS),
        ):
            if not 1 <= value <= most:
                raise ConfigError(f"{name}={value}: expected 1 to {most}")
        data = self._run.record.data
        values = (num_steps + 1) * count * math.prod(data.shape)
        if values > _MOST_VALUES:
            raise ConfigError(
                f"samples={count}, steps={num_steps}: {values:,} values to keep; expected at most "
                f"{_MOST_VALUES:,}, of fewer samples or steps"
            )
        with self._lock, as_config_error(f"method={method!r}"):
            states = np.asarray(self._compiled(count, num_steps, method)(jax.random.key(seed)))
        if not np.isfinite(states).all():
            step = int(
                np.flatnonzero(~np.isfinite(states).all(axis=tuple(range(1, states.ndim))))[0]
            )
            raise ConfigError(
                f"the samples are not finite from step {step} of {num_steps} on; try other steps"
            )
        return np.asarray(denormalise(states, data.value_range, data.dtype))

    def _compile(self, count: int, num_steps: int, method: str) -> Any:
        run = self._run
        record, diffusion = run.record, run.diffusion
        classes = record.data.num_classes if run.config.noise.per_class else run.model.num_classes
        label = (
            jnp.arange(count, dtype=jnp.int32) % classes if classes else jnp.zeros(count, jnp.int32)
        )
        own, kind = of_kinds(diffusion, label), run.config.model.prediction
        clip = is_bounded(record, diffusion)

        @jax.jit
        def draw(params: Any, key: jax.Array) -> jax.Array:
            denoise = as_denoiser(
                run.model,
                params,
                own,
                label if run.model.num_classes else None,
                project_input=run.config.model.project_input,
                prediction=kind,
            )
            source = kind
            if clip:
                denoise = guidance.clip_x0(denoise, own, kind, -1, 1, target="v")
                source = "v"
            states = sample(
                key,
                denoise,
                own,
                (count, *record.data.shape),
                method=named(method),
                num_steps=num_steps,
                prediction=source,
                trajectory=True,
            )
            return states.at[-1].set(jnp.clip(states[-1], -1, 1)) if clip else states

        return functools.partial(draw, run.params)


def picture(run: Run, states: np.ndarray, step: int) -> np.ndarray:
    """The grid of all samples after one of the steps, `(height, width, 1 or 3)` uint8."""
    return pictures.grid(run.record.data.for_people(states[step]))
