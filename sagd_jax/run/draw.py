"""Samples of a run: one compiled draw of a batch, and any range of the samples by it.

Sample i depends on (seed, i) alone. A batch is split over all devices of a mesh; each draws its own
samples with the whole network (or, with `fsdp` above 1, gathers the network layer by layer), and no
noise travels. sample.py, the previews of training and what needs many samples all draw here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from sagd_jax.data.source import denormalise
from sagd_jax.diffusion import guidance
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Sampler
from sagd_jax.diffusion.sampling import sample
from sagd_jax.run.denoiser import as_denoiser, of_kinds
from sagd_jax.run.layout import batch_sharding, rounded_up
from sagd_jax.run.record import Record


class Drawer:
    """Draws any range of the samples of a run, in the data's own range and dtype.

    Args:
      record: of the run.
      model: its network.
      diffusion: its process.
      mesh: devices to draw on: this process's, or, with `out` replicated, those of all.
      sampler: the method.
      num_steps: of sampling.
      times: an explicit grid, of `num_steps` intervals; None: uniform.
      seed: of the samples.
      batch_size: samples drawn at once, rounded up to a multiple of the devices.
      label: the class of all samples; None: each class in turn, where there are any.
      guidance_scale: of classifier-free guidance; 1 is none.
      out: layout of what one batch gives; by default split like the batch.

    Example::

      run = load_run("runs/digits")
      mesh = layout.local_mesh()
      drawer = Drawer(run.record, run.model, run.diffusion, mesh, sampler=Ddim(), num_steps=50)
      samples = drawer(run.params, 0, 100)
    """

    def __init__(
        self,
        record: Record,
        model: nn.Module,
        diffusion: Diffusion,
        mesh: Mesh,
        *,
        sampler: Sampler,
        num_steps: int,
        times: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int = 64,
        label: int | None = None,
        guidance_scale: float = 1.0,
        out: NamedSharding | None = None,
    ) -> None:
        self._mesh, self._seed, self._label = mesh, seed, label
        self._num_classes = model.num_classes
        if record.config.noise.per_class:  # each class has its noise, whatever the network knows
            self._num_classes = record.data.num_classes
        # Every batch has this shape: one compilation.
        self._batch = rounded_up(batch_size, mesh)
        self._draw = compile_draw(
            record,
            model,
            diffusion,
            mesh,
            self._batch,
            sampler=sampler,
            num_steps=num_steps,
            times=times,
            guidance_scale=guidance_scale,
            out=out,
        )

    def check(self, params: Any) -> None:
        """Raises ValueError, before anything is compiled, for a sampler that cannot run."""
        self._draw.eval_shape(params, *shapes_of(self._batch))

    def labels(self, first: int, last: int) -> np.ndarray:
        """The classes of samples `first` to `last` - 1, int32; -1 where there are none."""
        indices = np.arange(first, last)
        if not self._num_classes:
            return np.full(indices.shape, -1, np.int32)
        if self._label is not None:
            return np.full(indices.shape, self._label, np.int32)
        return (indices % self._num_classes).astype(np.int32)

    def __call__(
        self,
        params: Any,
        first: int,
        last: int,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        advance: Callable[[int], Any] = lambda count: None,
    ) -> np.ndarray | None:
        """Samples `first` to `last` - 1, `(last - first, *shape)`.

        Args:
          params: of the network, laid over the mesh.
          interrupted: asked before each batch; if it is True, the result is None.
          advance: told the number of samples after each batch.
        """
        key = jax.random.key(self._seed)
        parts = []
        with jax.set_mesh(self._mesh):
            for begin in range(first, last, self._batch):
                if interrupted():
                    return None
                label = self.labels(begin, begin + self._batch)
                part = self._draw(params, key, jnp.int32(begin), label)
                parts.append(np.asarray(part)[: last - begin])
                advance(len(parts[-1]))
        return np.concatenate(parts)


def compile_draw(
    record: Record,
    model: nn.Module,
    diffusion: Diffusion,
    mesh: Mesh,
    batch: int,
    *,
    sampler: Sampler,
    num_steps: int,
    times: np.ndarray | None = None,
    guidance_scale: float = 1.0,
    out: NamedSharding | None = None,
) -> Any:
    """Builds `draw(params, key, offset, label)`, to be called with `mesh` set.

    Args:
      record, model, diffusion, mesh, sampler, num_steps, times, guidance_scale, out: as of `Drawer`.
      batch: samples per call, which the number of devices divides.

    Returns:
      A compiled (`jax.jit`) function of the parameters, a key, the index of the first sample and labels
      `(batch,)`, which are ignored where the network has no classes; it returns samples
      `(batch, *spatial, channels)` in the data's range and dtype.
    """
    split = batch_sharding(mesh)
    data, config = record.data, record.config.model

    def draw(params: Any, key: jax.Array, offset: jax.Array, label: jax.Array) -> jax.Array:
        def denoiser(label: jax.Array | None) -> Any:
            return as_denoiser(model, params, own, label, project_input=config.project_input)

        label = jax.lax.with_sharding_constraint(label, split)
        own = of_kinds(diffusion, label)
        denoise = denoiser(label if model.num_classes else None)
        if guidance_scale != 1:
            denoise = guidance.classifier_free(denoise, denoiser(None), guidance_scale)
        x = sample(
            key,
            denoise,
            own,
            (batch, *data.shape),
            method=sampler,
            num_steps=num_steps,
            times=times,
            prediction=config.prediction,
            offset=offset,
        )
        return denormalise(jax.lax.with_sharding_constraint(x, split), data.value_range, data.dtype)

    return jax.jit(draw, out_shardings=out or split)


def shapes_of(batch: int) -> tuple[Any, ...]:
    """What `draw` takes besides the parameters, as shapes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    return key, scalar, jax.ShapeDtypeStruct((batch,), jnp.int32)
