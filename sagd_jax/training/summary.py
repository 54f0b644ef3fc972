"""What a run is about to do, in a few lines: shown before training, and by `--dry_run`."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from sagd_jax.data.source import Source, normalise
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.run.config import RunConfig
from sagd_jax.show.words import describe_covariance
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.training.optimizer import learning_rate

_EXAMPLES = 1024
_MEBI = 2**20
_FAINT = 1e-6  # of the mean variance: noise that does not hide data
# A corruption as a tone's: in so many of the coordinates at most, up to this share of its largest variance.
_TONE_SHARE, _TONE_LEVEL, _TONE_MARGIN = 0.05, 0.01, 10


def summarise(
    config: RunConfig,
    source: Source,
    model: nn.Module,
    diffusion: Diffusion,
    state: Any,
    mesh: jax.sharding.Mesh,
    held: jax.ShapeDtypeStruct | None = None,
) -> str:
    """The lines that open a run: data, network, memory, noise; `held` are examples that lie on each device."""
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state["params"]))
    devices = ", ".join(f"{name} {size}" for name, size in mesh.shape.items())
    platform = jax.devices()[0].platform
    lines = [
        f"data      {config.data.name}: {len(source)} examples of shape {tuple(source.shape)}",
        f"network   {type(model).__name__}, {count:,} parameters, predicts "
        f"{config.model.prediction}",
        f"devices   {mesh.size} x {platform} (mesh: {devices})",
        f"memory    {_memory(config, source, state, mesh)}",
        f"schedule  {config.schedule.kind}: {diffusion.schedule}",
        f"noise     {describe_covariance(diffusion.covariance, source.shape[-1], config.noise.kind)}",
    ]
    if held is not None:
        size = math.prod(held.shape) * held.dtype.itemsize
        lines[0] += f", held by each device ({size / _MEBI:.1f} MiB)"
    variance = np.asarray(getattr(diffusion.covariance, "variance", 1.0))
    faint = float(np.mean((variance > 0) & (variance < _FAINT)))
    if faint > 0:
        lines.append(
            f"noise     WARNING: {faint:.1%} of the coordinates have a variance below {_FAINT:g}: they hardly get any noise, "
            "and samples hold next to nothing there (config.noise)"
        )
    lines += corruption_lines(config, source, diffusion)
    warmup, steps = config.optimizer.warmup_steps, config.train.num_steps
    if warmup > steps:
        reached = float(learning_rate(config.optimizer, steps)(steps - 1))
        lines.append(
            f"warm-up   {warmup} steps, more than the run's {steps}: the learning rate only rises, to "
            f"{reached:.3g} of {config.optimizer.learning_rate:.3g} (config.optimizer.warmup_steps)"
        )
    covariance = diffusion.covariance
    if not covariance.is_full_rank and not isinstance(covariance, CovarianceStack):
        share = hidden_energy(covariance, source)
        lines.append(f"hole      holds {share:.2%} of the data's energy (mean image left out)")
    return "\n".join(lines)


def corruption_lines(config: RunConfig, source: Source, diffusion: Diffusion) -> list[str]:
    """What is made of corrupted examples, if there are any."""
    if config.corrupted_noise.kind != "same":
        return [
            "corrupted examples teach nothing in the hole of config.corrupted_noise; where the variance of "
            "their corruption is known, config.schedule.kind='capped' learns from it too "
            "(docs/corrupted_data.md)"
        ]
    schedule = diffusion.schedule
    if not isinstance(schedule, Capped) or source.kinds is None:
        return []
    number = np.bincount(source.kinds.astype(np.int64), minlength=schedule.kinds)
    lines = [
        f"kinds     {number[0]} clean examples; samples are drawn as kind {int(schedule.kind)}"
    ]
    for kind, own in enumerate(np.asarray(schedule.corruption), start=1):
        finite = own[np.isfinite(own)]
        useless = int(own.size - finite.size)
        lines.append(
            f"kind {kind}    {number[kind] or 'no example has it: 0'} examples; N in {np.mean(own > 0):.1%} of the coordinates, mean "
            f"{finite.mean() if finite.size else 0:.3g}, at most {finite.max(initial=0):.3g}"
            + (f"; {useless} coordinates are of no use" if useless else "")
        )
        few = 0 < np.mean(own > _TONE_LEVEL * finite.max(initial=0)) <= _TONE_SHARE
        if few and not useless and schedule.margin < _TONE_MARGIN:
            lines.append(
                f"kind {kind}    its N is in few coordinates, as that of a tone: where the amplitude hardly varies, "
                f"samples need config.schedule.margin={_TONE_MARGIN} (docs/corrupted_data.md), here it is "
                f"{schedule.margin:g}"
            )
    return lines


def hidden_energy(covariance: Covariance, source: Source) -> float:
    """Share of the data's energy off the range of Sigma, about the mean, from up to 1024 examples."""
    count = min(len(source), _EXAMPLES)
    indices = np.linspace(0, len(source) - 1, count).astype(np.int64)
    x = np.asarray(normalise(source.fetch(indices)["x"], source.value_range))
    x = x - x.mean(axis=0)
    hidden = x - np.asarray(covariance.project(x))
    return float(np.sum(np.square(hidden, dtype=np.float64)) / max(np.sum(np.square(x)), 1e-30))


def _memory(config: RunConfig, source: Source, state: Any, mesh: jax.sharding.Mesh) -> str:
    def per_device(tree: Any) -> float:
        leaves = jax.tree.leaves(tree)
        shards = (math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves)
        return sum(n * leaf.dtype.itemsize for n, leaf in zip(shards, leaves, strict=True)) / _MEBI

    batch = config.train.batch_size * math.prod(source.shape) * 4 / mesh.size / _MEBI
    words = (
        f"about {per_device(state) + per_device(state['params']):.0f} MiB per device for weights, "
        f"average, optimiser and gradients; {batch:.1f} MiB for each copy of its share of a batch; "
        "activations come on top"
    )
    if mesh.shape["fsdp"] == 1:
        return words
    whole = sum(
        leaf.dtype.itemsize * math.prod(leaf.shape) for leaf in jax.tree.leaves(state["params"])
    )
    return f"{words}, and up to {whole / _MEBI:.0f} MiB of gathered weights"
