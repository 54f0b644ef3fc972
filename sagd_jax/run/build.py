"""From a checked configuration to the objects it names: covariance, schedule, network.

Training, previews and sampling all build their parts here, so that what a checkpoint's
configuration says is what every program does. Faults that only the parts can see (a band without a
frequency on this grid, channels that the groups do not divide) come out as one-line ConfigErrors.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from sagd_jax.data.source import Source
from sagd_jax.diffusion.checks import check_schedule
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import Capped, Schedule, SpectralSchedule
from sagd_jax.models import DiT, UNet
from sagd_jax.run import noise
from sagd_jax.run import schedule as run_schedule
from sagd_jax.run.config import ModelConfig, RunConfig
from sagd_jax.run.noise import CorruptedNoiseConfig, NoiseConfig, Signals
from sagd_jax.run.schedule import Inputs, ScheduleConfig
from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.stacks import CovarianceStack, stack
from sagd_jax.system import import_paths, schema
from sagd_jax.system.schema import ConfigError, as_config_error


def covariance(
    config: NoiseConfig,
    spatial_shape: tuple[int, ...],
    sample_rate: float | None = None,
    source: Source | None = None,
) -> Covariance:
    """The covariance of a section of noise on this grid; Hz are those of its first axis, time.

    Args:
      source: of the data, for a spectrum that is estimated from them.
    """
    corrupted = isinstance(config, CorruptedNoiseConfig)
    where = "config.corrupted_noise" if corrupted else "config.noise"
    if schema.is_import_path(config.kind):
        return _own_covariance(config, spatial_shape, f"{where}.kind")
    with as_config_error(where):
        return noise.make(config, Signals(spatial_shape, sample_rate, source, where))


def covariance_stack(
    config: NoiseConfig,
    spatial_shape: tuple[int, ...],
    num_classes: int,
    source: Source | None = None,
) -> CovarianceStack:
    """The covariances of `config.noise` with `per_class`, one per class of the data.

    Raises:
      ConfigError: data without labels, or an array that is not of as many classes.
    """
    with as_config_error("config.noise"):
        return noise.make_stack(config, Signals(spatial_shape, source=source), num_classes)


def _own_covariance(config: NoiseConfig, spatial_shape: tuple[int, ...], where: str) -> Covariance:
    made = import_paths.make(config.kind, where, Covariance, spatial_shape, **config.options)
    if made.spatial_shape != tuple(spatial_shape):
        raise ConfigError(
            f"{where}={config.kind!r}: it returned a covariance for spatial_shape="
            f"{made.spatial_shape}, expected {tuple(spatial_shape)}"
        )
    return made


def corrupted_covariance(
    config: RunConfig,
    spatial_shape: tuple[int, ...],
    sample_rate: float | None = None,
    source: Source | None = None,
) -> Covariance | None:
    """The covariance of `config.corrupted_noise`, for examples flagged as corrupted; None: no other.

    It can be combined with predictions and norms that do not depend on Sigma.
    """
    if config.corrupted_noise.kind == "same":
        return None
    for name, value, allowed in (
        ("model.prediction", config.model.prediction, ("epsilon", "x0", "v", "velocity")),
        ("train.norm", config.train.norm, ("l2",)),
        ("model.project_input", config.model.project_input, (False,)),
    ):
        if value not in allowed:
            raise ConfigError(
                f"config.{name}={value!r} with config.corrupted_noise: expected "
                f"{' or '.join(map(repr, allowed))}, which do not depend on the covariance"
            )
    return covariance(config.corrupted_noise, spatial_shape, sample_rate, source)


def schedule(config: ScheduleConfig, inputs: Inputs | None = None) -> Schedule:
    """The schedule of `config.schedule`; one per coordinate needs signals, or a checkpoint's arrays."""
    if schema.is_import_path(config.kind):
        where = "config.schedule.kind"
        made = import_paths.make(config.kind, where, Schedule, **config.options)
        with as_config_error(f"{where}={config.kind!r}"):
            check_schedule(made)
        return made
    with as_config_error("config.schedule"):
        return run_schedule.make(config, inputs)


def process(config: RunConfig, source: Source) -> tuple[Diffusion, dict[str, np.ndarray]]:
    """The process of a run on a source, and the arrays that a checkpoint stores of it.

    Its covariance is a stack where examples have their own: per class, or clean and corrupted.

    Raises:
      ConfigError: one line saying what does not fit together.
    """
    spatial, rate = tuple(source.shape[:-1]), source.sample_rate
    if config.schedule.kind == "capped":
        check_alone(config)
    if config.noise.unit_draws:
        check_unit_draws(config)
    corrupted = corrupted_covariance(config, spatial, rate, source)
    own: Covariance | CovarianceStack
    if config.noise.per_class:
        if corrupted is not None:
            raise ConfigError(
                "config.noise.per_class=True: not together with config.corrupted_noise"
            )
        own = covariance_stack(config.noise, spatial, source.num_classes, source)
        arrays = {"variance": np.asarray(own.variance)}
    else:
        clean = own = with_unit_draws(covariance(config.noise, spatial, rate, source), config.noise)
        arrays = {"variance": np.asarray(own.variance)}
        if corrupted is not None:
            arrays["corrupted_variance"] = np.asarray(corrupted.variance)
            with as_config_error("config.corrupted_noise"):
                own = stack([clean, corrupted])
    inputs = Inputs(Signals(spatial, rate, source, "config.schedule"), own)
    made = schedule(config.schedule, inputs)
    check_kinds(config, made)
    with as_config_error("config.noise"):
        return with_noise(made, own), arrays | inputs.used


def check_unit_draws(config: RunConfig) -> None:
    """Raises ConfigError for noise whose draws cannot each be given unit variance."""
    where = "config.noise.unit_draws=True"
    if (
        config.noise.per_class
        or config.corrupted_noise.kind != "same"
        or config.corrupted_noise.unit_draws
    ):
        raise ConfigError(
            f"{where}: not together with a covariance per class or config.corrupted_noise"
        )
    if config.schedule.kind == "capped":
        raise ConfigError(f"{where}: not together with config.schedule.kind='capped'")


def with_unit_draws(covariance: Covariance, config: NoiseConfig) -> Covariance:
    """The covariance, with the draws that `config.unit_draws` asks for; ConfigError outside of Fourier's basis."""
    if not config.unit_draws:
        return covariance
    if not isinstance(covariance, FourierCovariance):
        raise ConfigError("config.noise.unit_draws=True: it is of noise in the Fourier basis alone")
    return covariance.with_unit_draws()


def check_alone(config: RunConfig) -> None:
    """Raises ConfigError where another part of the config tells examples apart by their noise."""
    if config.corrupted_noise.kind != "same":
        raise ConfigError(
            "config.corrupted_noise: not together with config.schedule.kind='capped', which needs no hole; "
            "leave it out"
        )
    if config.noise.per_class:
        raise ConfigError(
            "config.noise.per_class=True: not together with config.schedule.kind='capped'"
        )


def with_noise(schedule: Schedule, covariance: Covariance | CovarianceStack) -> Diffusion:
    """The process of a schedule and the noise of `config.noise`, which a capped schedule contains."""
    return Diffusion(schedule, None if isinstance(schedule, Capped) else covariance)


def num_kinds(diffusion: Diffusion) -> int:
    """Kinds of examples that a network is told of; 0 where all are alike."""
    return diffusion.schedule.labels if isinstance(diffusion.schedule, Capped) else 0


def check_kinds(config: RunConfig, schedule: Schedule) -> None:
    """Raises ConfigError for what does not go with examples of different kinds; one line."""
    if not isinstance(schedule, Capped):
        if isinstance(schedule, SpectralSchedule) and config.model.prediction == "velocity":
            with as_config_error("config.model.prediction='velocity'"):
                Diffusion(schedule).check_readable("velocity", np.ones(1, np.float32))
        return
    for name, value, expected in (
        ("train.norm", config.train.norm, "l2"),
        ("model.project_input", config.model.project_input, False),
    ):
        if value != expected:
            raise ConfigError(
                f"config.{name}={value!r} with config.schedule.kind='capped': expected {expected!r}, "
                "since the schedule contains the noise"
            )
    if schedule.spectrum is not None and config.model.prediction != "v":
        raise ConfigError(
            f"config.model.prediction={config.model.prediction!r} with config.schedule.data_spectrum: expected 'v'"
        )
    times = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    with as_config_error(f"config.model.prediction={config.model.prediction!r}"):
        for kind in range(schedule.labels):
            Diffusion(schedule).at(kind).check_readable(config.model.prediction, times)


def network(config: ModelConfig, num_classes: int, num_kinds: int = 0) -> nn.Module:
    """The score network of `config.model`.

    Args:
      num_classes: of the data; 0: no labels.
      num_kinds: of examples, by their corruption (`Capped.labels`); 0: all are alike.
    """
    if config.class_conditional and not num_classes:
        raise ConfigError("config.model.class_conditional=True: this data has no labels")
    common: dict[str, Any] = {
        "num_classes": num_classes if config.class_conditional else 0,
        "dtype": jnp.dtype(config.dtype),
        "remat": config.remat,
    }
    if num_kinds:  # networks of one's own need not know it otherwise
        common["num_kinds"] = num_kinds
    if schema.is_import_path(config.kind):
        return _own_network(config, common)
    options = schema.as_dict(getattr(config, config.kind))
    with as_config_error(f"config.model.{config.kind}"):
        if config.kind == "unet":
            return UNet(**options, **common)
        patch_size = options.pop("patch_size")
        return DiT(
            patch_size=patch_size[0] if len(patch_size) == 1 else tuple(patch_size),
            **options,
            **common,
        )


def _own_network(config: ModelConfig, common: dict[str, Any]) -> nn.Module:
    where = "config.model.kind"
    twice = sorted(config.options.keys() & common.keys())
    if twice:
        raise ConfigError(f"config.model.options: {', '.join(twice)} is given by the run itself")
    made = import_paths.make(config.kind, where, nn.Module, **common, **config.options)
    if getattr(made, "num_classes", None) != common["num_classes"]:
        raise ConfigError(
            f"{where}={config.kind!r}: the module has num_classes="
            f"{getattr(made, 'num_classes', None)!r}, expected the one that it was made with, "
            f"{common['num_classes']}"
        )
    return made
