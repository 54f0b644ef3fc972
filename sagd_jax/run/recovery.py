"""Restorations by a run's network: any number of signals, in batches of one shape.

Signal i of a set depends on (seed, draw, i) alone, not on the batch size. What is asked of the network, an
evaluation at the cap or a draw along the restoring path, says equation (29) in `diffusion/recover.py`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.diffusion import recover
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.run import layout
from sagd_jax.run.saved import Run
from sagd_jax.system import compiler, schema
from sagd_jax.system.schema import ConfigError


class Restorer:
    """Restores signals of one corrupted kind, in the network's range [-1, 1].

    Args:
      run: of `load_run`, with a capped schedule.
      kind: 1 to K.
      num_steps: of a draw from p(x_0 | y) along the restoring path; 0: the posterior mean, on that path if
        the run has one, else at the cap.
      seed: of the draws.
      batch_size: signals at once, rounded up to a multiple of this process's devices.

    Raises:
      ConfigError: a run that knows no corrupted kinds, not this one, or no restoring path to draw along.

    Example::

      restorer = Restorer(sagd.load_run("runs/scanner"), kind=1, num_steps=50)
      x0 = restorer(y)  # (n, *spatial, channels), in [-1, 1]
    """

    def __init__(
        self,
        run: Run,
        *,
        kind: int,
        num_steps: int = 0,
        seed: int = 0,
        batch_size: int = 64,
    ) -> None:
        schema.check_seed(seed)
        schedule = run.diffusion.schedule
        if not isinstance(schedule, Capped):
            raise ConfigError(
                f"config.schedule.kind={run.config.schedule.kind!r}: this run knows no corrupted kinds; only "
                "one with config.schedule.kind='capped' restores examples"
            )
        if not 1 <= kind < schedule.kinds:
            raise ConfigError(f"kind={kind}: expected 1 to {schedule.kinds - 1}")
        if num_steps and not schedule.restoring:
            raise ConfigError(
                "this run was trained without a restoring path (config.schedule.restoring_share > 0), so it "
                "gives posterior means alone, no draws"
            )
        self.on_path = schedule.restoring
        self._mesh = layout.local_mesh()
        self._params = jax.device_put(run.params, layout.replicated(self._mesh))
        self._seed, self._batch = seed, layout.rounded_up(batch_size, self._mesh)
        self._shape = tuple(run.record.data.shape)
        chosen = int(schedule.restoring_path(kind)) if schedule.restoring else kind
        process = recover.process_of(run.diffusion, chosen, num_steps)

        @functools.partial(jax.jit, compiler_options=compiler.of_networks())
        def restore(
            params: Any, key: jax.Array, y: jax.Array, label: jax.Array | None, offset: jax.Array
        ) -> jax.Array:
            own = dataclasses.replace(run, params=params, diffusion=process).denoiser(label)
            return recover.restore(key, own, process, y, chosen, num_steps=num_steps, offset=offset)

        self._restore = restore

    def __call__(
        self,
        y: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        draw: int = 0,
        first: int = 0,
        interrupted: Callable[[], bool] = lambda: False,
        advance: Callable[[int], Any] = lambda count: None,
    ) -> np.ndarray | None:
        """Restored signals, like y `(n, *shape)`, float32; None if `interrupted` between two batches.

        Args:
          labels: their classes, `(n,)`; None: none.
          draw: number of the draw; each has its own noise.
          first: index of the first signal.

        Raises:
          ValueError: for signals of another shape.
          FloatingPointError: what the network gives is not finite.
        """
        if y.shape[1:] != self._shape:
            raise ValueError(f"y.shape={y.shape}: expected (n, *{self._shape})")
        key = jax.random.fold_in(jax.random.key(self._seed), draw)
        parts = [np.zeros((0, *self._shape), np.float32)]
        for begin in range(0, len(y), self._batch):
            if interrupted():
                return None
            part = np.asarray(y[begin : begin + self._batch], np.float32)
            label = None if labels is None else self._whole(labels[begin : begin + self._batch])
            offset = jnp.int32(first + begin)
            with jax.set_mesh(self._mesh):
                x = self._restore(self._params, key, self._whole(part), label, offset)
            parts.append(np.asarray(x)[: len(part)])
            if not np.isfinite(parts[-1]).all():
                raise FloatingPointError("what the network gives is not finite")
            advance(len(part))
        return np.concatenate(parts)

    def _whole(self, part: np.ndarray) -> jax.Array:
        """A whole batch, always, so that one shape is compiled, split over the devices."""
        missing = self._batch - len(part)
        whole = np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])
        return jax.device_put(whole, layout.batch_sharding(self._mesh))
