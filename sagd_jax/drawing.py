"""The compiled draw of one batch of samples, for `sample.py` and for the previews of training.

Sample i depends on (key, i) alone. The batch is split over all devices of a mesh; each draws its own
samples with the whole network (or, with `fsdp` above 1, gathers the network layer by layer), and no
noise travels.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from sagd_jax import samplers
from sagd_jax.data.source import denormalise
from sagd_jax.diffusion import Diffusion
from sagd_jax.training import factory
from sagd_jax.training.record import Record
from sagd_jax.training.sharding import batch_sharding


def compile_draw(
    record: Record,
    model: nn.Module,
    diffusion: Diffusion,
    mesh: Mesh,
    batch: int,
    *,
    out: NamedSharding | None = None,
    guidance_scale: float = 1.0,
    **options: Any,
) -> Any:
    """Builds `draw(params, key, offset, label)`, to be called with `mesh` set.

    Args:
      record: of the run.
      model: its network; labels are ignored where it has no classes.
      diffusion: its process.
      mesh: devices to draw on; their number divides `batch`.
      batch: samples per call.
      out: layout of the result; by default split like the batch.
      guidance_scale: of classifier-free guidance; 1 is none.
      options: of `samplers.sample`.

    Returns:
      A compiled (`jax.jit`) function of the parameters, a key, the index of the first sample and labels
      `(batch,)`; it returns samples `(batch, *spatial, channels)` in the data's range and dtype.
    """
    split = batch_sharding(mesh)
    data, config = record.data, record.config.model

    def draw(params: Any, key: jax.Array, offset: jax.Array, label: jax.Array) -> jax.Array:
        def denoiser(label: jax.Array | None) -> Any:
            return factory.denoiser(
                model, params, diffusion, label, project_input=config.project_input
            )

        label = jax.lax.with_sharding_constraint(label, split)
        denoise = denoiser(label if model.num_classes else None)
        if guidance_scale != 1:
            from sagd_jax import guidance

            denoise = guidance.classifier_free(denoise, denoiser(None), guidance_scale)
        x = samplers.sample(
            key,
            denoise,
            diffusion,
            (batch, *data.shape),
            prediction=config.prediction,
            offset=offset,
            **options,
        )
        return denormalise(jax.lax.with_sharding_constraint(x, split), data.value_range, data.dtype)

    return jax.jit(draw, out_shardings=out or split)


def labels_of(indices: np.ndarray, num_classes: int, label: int | None = None) -> np.ndarray:
    """The classes of these samples: `label` for all, or each in turn; -1 where there are none."""
    if not num_classes:
        return np.full(indices.shape, -1, np.int32)
    if label is not None:
        return np.full(indices.shape, label, np.int32)
    return (indices % num_classes).astype(np.int32)


def shapes_of(batch: int) -> tuple[Any, ...]:
    """What `draw` takes besides the parameters, as shapes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    return key, scalar, jax.ShapeDtypeStruct((batch,), jnp.int32)
