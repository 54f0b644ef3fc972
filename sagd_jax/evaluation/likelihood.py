"""The log-likelihood of a source's examples under a run, or its bound, batch by batch, over all devices.

Example i's dequantisation, probes, times and noise are keyed by (seed, i), so neither the batch size nor an
interruption nor the number of devices changes any number (beyond rounding).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sagd_jax.data.source import Source, normalise
from sagd_jax.diffusion.likelihood import bound_terms, dequantize, log_likelihood
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.run import layout
from sagd_jax.run.denoiser import of_kinds
from sagd_jax.run.record import DataRecord
from sagd_jax.run.saved import Run
from sagd_jax.system import compiler, schema


def evaluate(
    run: Run,
    source: Source,
    mesh: Mesh,
    *,
    begin: int = 0,
    count: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    by_class: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Iterator[np.ndarray]:
    """Yields the nats of examples `begin`, `begin + 1`, ... of a source, a batch at a time.

    With several processes each calls it with the same arguments and gets the same numbers.

    Args:
      run: its weights laid over `mesh`.
      source: examples of the shape that the run was trained on.
      mesh: all devices of all processes.
      begin: index of the first example.
      count: index after the last one; None, or more than there are: all.
      batch_size: examples at once, rounded up to a multiple of the devices.
      seed: of dequantisation (of 8-bit data) and probes.
      by_class: whether each example is conditioned on its own class, if the network has any.
      interrupted: asked before each batch; if it is True, nothing more is yielded.
      options: of `log_likelihood`: num_steps, divergence, num_probes, on_range.

    Raises:
      ConfigError: a seed that JAX would take for another.
    """
    schema.check_seed(seed)
    noise_key, probe_key = jax.random.split(jax.random.key(seed))
    data = run.record.data

    def nats_of(params: Any, x: jax.Array, label: jax.Array, offset: jax.Array) -> jax.Array:
        if data.dtype == "uint8":
            x = dequantize(noise_key, x, bin_width(data), offset)
        denoiser, diffusion = _of_labels(run, params, label, by_class)
        return log_likelihood(probe_key, denoiser, diffusion, x, offset=offset, **options)

    return _by_batches(nats_of, run, source, mesh, begin, count, batch_size, interrupted)


def evaluate_bound(
    run: Run,
    source: Source,
    mesh: Mesh,
    *,
    begin: int = 0,
    count: int | None = None,
    batch_size: int = 16,
    seed: int = 0,
    by_class: bool = False,
    interrupted: Callable[[], bool] = lambda: False,
    **options: Any,
) -> Iterator[np.ndarray]:
    """Yields the terms of the variational bound of examples `begin`, `begin + 1`, ..., `(batch, 3)`.

    They are those of `bound.Bound`, diffusion, prior and decoder, in nats; their sum bounds -log p: of the
    values themselves for 8-bit data, else of a density. Arguments and errors are those of `evaluate`, the
    options those of `bound_terms`: num_times, num_steps.
    """
    schema.check_seed(seed)
    key, data = jax.random.key(seed), run.record.data
    width = bin_width(data) if data.dtype == "uint8" else None

    def nats_of(params: Any, x: jax.Array, label: jax.Array, offset: jax.Array) -> jax.Array:
        denoiser, diffusion = _of_labels(run, params, label, by_class)
        terms = bound_terms(key, denoiser, diffusion, x, bin_width=width, offset=offset, **options)
        return jnp.stack(terms, axis=-1)

    return _by_batches(nats_of, run, source, mesh, begin, count, batch_size, interrupted)


def _of_labels(run: Run, params: Any, label: jax.Array, by_class: bool) -> tuple[Any, Diffusion]:
    known = label if run.model.num_classes and by_class else None
    denoiser = dataclasses.replace(run, params=params).denoiser(known)
    return denoiser, of_kinds(run.diffusion, label)


def _by_batches(
    nats_of: Callable[..., jax.Array],
    run: Run,
    source: Source,
    mesh: Mesh,
    begin: int,
    count: int | None,
    batch_size: int,
    interrupted: Callable[[], bool],
) -> Iterator[np.ndarray]:
    """What `nats_of(params, x, label, offset)` gives for each batch, x in the network's range."""
    count = len(source) if count is None else min(count, len(source))
    batch = layout.rounded_up(min(batch_size, count), mesh)
    split = layout.batch_sharding(mesh)
    rows = layout.local_rows(split, batch)

    @functools.partial(
        jax.jit,
        out_shardings=layout.replicated(mesh),
        compiler_options=compiler.of_networks(),
    )
    def compiled(params: Any, raw: jax.Array, label: jax.Array, offset: jax.Array) -> jax.Array:
        return nats_of(params, normalise(raw, run.record.data.value_range), label, offset)

    for first in range(begin, count, batch):
        if interrupted():
            return
        # Always a whole batch, so that one shape is compiled; what is beyond is dropped.
        indices = np.minimum(np.arange(first, first + batch), len(source) - 1)[rows]
        examples = source.fetch(indices)
        x, label = (
            jax.make_array_from_process_local_data(split, examples[name]) for name in ("x", "label")
        )
        with jax.set_mesh(mesh):
            nats = compiled(run.params, x, label, jnp.int32(first))
        yield np.asarray(nats, np.float64)[: count - first]


def bin_width(data: DataRecord) -> float:
    """Distance between neighbouring raw integers in the network's range [-1, 1]."""
    low, high = (np.asarray(edge, np.float64) for edge in data.value_range)
    return float(np.max(2 / (high - low)))
