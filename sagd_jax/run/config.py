"""The configuration of a run: its sections, with the default, bounds and meaning of each field.

The fields of what is chosen by a word (a spectrum, a schedule, a sampler, a source) stand in the table
beside it; this file has the sections, but for those of the noise (`noise.py`), the schedule
(`schedule.py`) and the objective (`objective.py`). `config_file.py` reads them from a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sagd_jax.data.config import DataConfig
from sagd_jax.diffusion.losses import NORMS, TIME_DRAWS, WEIGHTINGS
from sagd_jax.diffusion.process import PREDICTIONS
from sagd_jax.diffusion.samplers import METHODS, SAMPLERS
from sagd_jax.diffusion.time_grids import GRIDS
from sagd_jax.run.noise import CorruptedNoiseConfig, NoiseConfig
from sagd_jax.run.objective import ObjectiveConfig
from sagd_jax.run.schedule import ScheduleConfig
from sagd_jax.system import kinds, schema
from sagd_jax.system.schema import LARGEST_SEED, Free, OrImportPath, field, section

OPTIMIZERS = ("adam", "adamw", "lion", "sgd")


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """The U-Net; the defaults are the paper's."""

    block_out_channels: tuple[int, ...] = field(
        (32, 64, 128, 256), "channels per level", low=1, high=8192
    )
    layers_per_block: int = field(2, "residual blocks per level", low=1, high=16)
    attention: tuple[bool, ...] | None = field(
        None, "self-attention per level; None: on all but the first"
    )
    mid_attention: bool = field(True, "self-attention in the middle")
    attention_head_dim: int | None = field(8, "channels per head; None: one head", low=1)
    norm_num_groups: int = field(32, "groups of each norm", low=1)
    norm_eps: float = field(1e-5, "epsilon of each norm", above=0)
    downsample_padding: int = field(1, "0 pads asymmetrically", choices=(0, 1))
    freq_shift: float = field(0.0, "shift of the time frequencies")
    flip_sin_to_cos: bool = field(True, "cosines first in the time embedding")
    dropout: float = field(0.0, "dropout rate", low=0, high=0.999)


@dataclasses.dataclass(frozen=True)
class DiTConfig:
    """The transformer."""

    patch_size: tuple[int, ...] = field((2,), "per axis, or one for all", low=1)
    hidden_size: int = field(384, "width", low=1, high=65536)
    depth: int = field(12, "blocks", low=1, high=512)
    num_heads: int = field(6, "attention heads", low=1)
    mlp_ratio: float = field(4.0, "hidden width of the MLPs over the width", above=0)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The score model."""

    kind: str = field("unet", "network", choices=OrImportPath(("unet", "dit")))
    options: Free = kinds.own_options()
    prediction: str = field("v", "what it predicts", choices=PREDICTIONS)
    class_conditional: bool = field(False, "condition on the data's labels")
    class_dropout: float = field(
        0.1,
        "share of labels hidden in training",
        low=0,
        high=1,
        only={"class_conditional": (True,)},
    )
    project_input: bool = field(False, "show the network only the range of a singular covariance")
    dtype: str = field("float32", "compute dtype", choices=("float32", "bfloat16"))
    remat: bool = field(False, "recompute activations in the backward pass")
    unet: UNetConfig = section(UNetConfig, only={"kind": ("unet",)})
    dit: DiTConfig = section(DiTConfig, only={"kind": ("dit",)})


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optax optimiser."""

    name: str = field("adamw", "optimiser", choices=OPTIMIZERS)
    learning_rate: float = field(2e-4, "peak learning rate", above=0)
    decay: str = field(
        "constant", "learning rate after the warm-up", choices=("constant", "cosine", "linear")
    )
    warmup_steps: int = field(500, "steps of linear warm-up", low=0)
    weight_decay: float = field(
        0.0, "decoupled weight decay", low=0, only={"name": ("adamw", "lion")}
    )
    b1: float = field(0.9, "decay of the first moment (momentum of sgd)", low=0, high=0.99999)
    b2: float = field(
        0.999,
        "decay of the second moment",
        low=0,
        high=0.9999999,
        only={"name": ("adam", "adamw", "lion")},
    )
    clip_norm: float | None = field(1.0, "largest global gradient norm; None: no clipping", above=0)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The training loop."""

    num_steps: int = field(100_000, "optimiser steps", low=1, may_change=True)
    batch_size: int = field(128, "examples per step, over all devices", low=1)
    ema_decay: float = field(0.9999, "decay of the weights' average", low=0, high=0.9999999)
    ema_warmup: bool = field(True, "start with shorter averages: min(decay, (1 + n) / (10 + n))")
    norm: str = field("l2", "norm of the loss", choices=NORMS)
    weighting: str = field("uniform", "weight over t", choices=WEIGHTINGS)
    times: str = field("uniform", "distribution of t", choices=TIME_DRAWS)
    steps_per_call: int = field(1, "steps in one compiled call, on accelerators", low=1, high=1000)
    device_limit_mb: int | None = field(
        None,
        "sets in memory up to this size (MiB) also lie on each device, where the step picks and augments "
        "examples; None: 2048 on accelerators, 0, never, on CPUs",
        low=0,
        may_change=True,
    )
    accumulate: int = field(
        1, "parts of a batch whose gradients are added up, to save memory", low=1, high=65536
    )
    max_skipped: int = field(
        10,
        "steps in a row with a loss or gradient that is not finite, until it stops",
        low=1,
        may_change=True,
    )
    rollbacks: int = field(
        0,
        "times to go back to the last checkpoint instead, with a smaller learning rate",
        low=0,
        may_change=True,
    )
    rollback_factor: float = field(
        0.5, "by which a rollback multiplies the learning rate", above=0, high=1, may_change=True
    )


@dataclasses.dataclass(frozen=True)
class EMConfig:
    """Rounds of restoring the corrupted examples and training on them, with capped levels."""

    rounds: int = field(0, "rounds after the first training; 0: none", low=0, high=1000)
    draws: int = field(1, "of each corrupted example, per round", low=1, high=1000)
    num_steps: int = field(50, "sampling steps of a draw", low=1)


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """Numbers for people: terminal, metrics.jsonl, TensorBoard."""

    every: int = field(100, "steps between log lines", low=1)
    tensorboard: bool = field(True, "write TensorBoard files")


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    every: int = field(5_000, "steps between checkpoints", low=1)
    keep: int = field(3, "newest checkpoints kept", low=1)
    keep_every: int | None = field(None, "steps whose multiples are kept for good", low=1)
    on_error: str = field(
        "stop", "when one cannot be saved (disk full)", choices=("stop", "continue")
    )


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(SAMPLERS, selector="method")
@kinds.of_kinds(GRIDS, selector="times")
class PreviewConfig:
    """Grids of samples from the EMA weights during training."""

    every: int | None = field(5_000, "steps between grids; None: no grids", low=1)
    num_samples: int = field(64, "samples in a grid", low=1, high=4096)
    method: str = field("ddim", "sampler; consistency models have their own", choices=METHODS)
    num_steps: int = field(50, "sampling steps; of a consistency model 2 instead of 50", low=1)
    times: str = field("uniform", "grid of times", choices=tuple(GRIDS))


@dataclasses.dataclass(frozen=True)
@kinds.of_kinds(SAMPLERS, selector="method")
@kinds.of_kinds(GRIDS, selector="times")
class EvaluationConfig:
    """Samples judged during training, by the names in `evaluation/judge.py`."""

    every: int = field(0, "steps between evaluations; 0: none", low=0)
    metrics: tuple[str, ...] = field(
        ("spectral",), "by which, NAME or NAME:FEATURES: frechet, kernel, spectral and others"
    )
    num_samples: int = field(256, "samples judged", low=16, high=100_000)
    method: str = field("ddim", "sampler; consistency models have their own", choices=METHODS)
    num_steps: int = field(16, "sampling steps; of a consistency model 2 instead of 16", low=1)
    times: str = field("uniform", "grid of times", choices=tuple(GRIDS))


@dataclasses.dataclass(frozen=True)
class MetricsConfig:
    """Numbers about the network besides the loss, by the names in `training/metrics.py`."""

    every: int = field(1_000, "steps between them", low=1)
    names: tuple[str, ...] = field((), "which of them")


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The page report/index.html in the work directory: curves, samples, spectra, checkpoints."""

    every: int | None = field(5_000, "steps between its writings; None: no report", low=1)


@dataclasses.dataclass(frozen=True)
class WatchdogConfig:
    """When a run that hangs says what it waits for."""

    warn_after: float | None = field(
        300.0, "seconds without progress until that is named; None: never", above=0
    )
    exit_after: float | None = field(
        None, "seconds without progress until it ends, with status 75; None: never", above=0
    )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices: the batch is split over data x fsdp, parameters over fsdp."""

    data: int = field(-1, "devices along the data axis; -1: all that are left", low=-1)
    fsdp: int = field(1, "devices along the parameter axis", low=1)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    seed: int = field(0, "of initialisation, data order and noise", low=0, high=LARGEST_SEED)
    data: DataConfig = section(DataConfig)
    noise: NoiseConfig = section(NoiseConfig)
    corrupted_noise: CorruptedNoiseConfig = section(CorruptedNoiseConfig)
    schedule: ScheduleConfig = section(ScheduleConfig)
    model: ModelConfig = section(ModelConfig)
    objective: ObjectiveConfig = section(ObjectiveConfig)
    optimizer: OptimizerConfig = section(OptimizerConfig)
    train: TrainConfig = section(TrainConfig)
    em: EMConfig = section(EMConfig)
    log: LogConfig = section(LogConfig, may_change=True)
    checkpoint: CheckpointConfig = section(CheckpointConfig, may_change=True)
    preview: PreviewConfig = section(PreviewConfig, may_change=True)
    evaluation: EvaluationConfig = section(EvaluationConfig, may_change=True)
    metrics: MetricsConfig = section(MetricsConfig, may_change=True)
    report: ReportConfig = section(ReportConfig, may_change=True)
    watchdog: WatchdogConfig = section(WatchdogConfig, may_change=True)
    mesh: MeshConfig = section(MeshConfig, may_change=True)


def default_config() -> Any:
    """All fields at their defaults, as a `ml_collections.ConfigDict` for config files.

    It is locked: a name that is no field raises AttributeError, or KeyError by item.

    >>> config = default_config()
    >>> config.noise.kind, config.train.batch_size
    ('white', 128)
    """
    # Checkpoints are read, and the library used, where ml_collections is not installed.
    from ml_collections import ConfigDict

    values = dataclasses.asdict(RunConfig())
    config = ConfigDict(values, type_safe=False)
    config.lock()
    for section_ in (
        config.data,
        config.noise,
        config.corrupted_noise,
        config.schedule,
        config.model,
    ):
        section_.options.unlock()  # whose names are those of a function of one's own
    return config


def differences(old: RunConfig, new: RunConfig) -> list[str]:
    """The fields, other than those that may change, in which two configs differ, with both values."""
    changeable = schema.may_change(RunConfig)
    before, after = _flat(schema.as_dict(old)), _flat(schema.as_dict(new))
    return [
        f"config.{name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
        and not any(name == m or name.startswith(f"{m}.") for m in changeable)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
