"""Grids of samples during training: the same ones each time, from the averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagd_jax import pictures
from sagd_jax.data.source import normalise
from sagd_jax.diffusion import Diffusion
from sagd_jax.drawing import compile_draw, labels_of, shapes_of
from sagd_jax.training import sharding
from sagd_jax.training.record import Record

_SAMPLES_AT_ONCE = 16  # few, so that a signal to stop does not wait for a whole grid


class Preview:
    """Draws the grid of `config.preview`, some samples at a time, over all devices."""

    def __init__(self, record: Record, model: nn.Module, diffusion: Diffusion, mesh: Mesh) -> None:
        options = record.config.preview
        self._seed, self._data = record.config.seed, record.data
        self._count = options.num_samples
        self._num_classes = model.num_classes
        self._batch = -(-min(_SAMPLES_AT_ONCE, self._count) // mesh.size) * mesh.size
        self._draw = compile_draw(
            record,
            model,
            diffusion,
            mesh,
            self._batch,
            out=sharding.replicated(mesh),
            method=options.method,
            num_steps=options.num_steps,
        )

    def check(self, ema: Any) -> None:
        """Raises ValueError, before anything is compiled, for a sampler that cannot run."""
        self._draw.eval_shape(ema, *shapes_of(self._batch))

    def draw(self, ema: Any, interrupted: Callable[[], bool]) -> np.ndarray | None:
        """The picture `(height, width, 3)`, uint8; None if `interrupted` between two parts of it."""
        parts, key = [], jax.random.key(self._seed)
        for first in range(0, self._count, self._batch):
            if interrupted():
                return None
            label = labels_of(np.arange(first, first + self._batch), self._num_classes)
            parts.append(np.asarray(self._draw(ema, key, jnp.int32(first), label)))
        raw = np.concatenate(parts)[: self._count]
        # Floats are shown in the network's range, integers as they are.
        shown = raw if raw.dtype == np.uint8 else normalise(raw, self._data.value_range)
        return pictures.grid(np.asarray(shown))
