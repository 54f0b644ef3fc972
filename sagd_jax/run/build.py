"""From a checked configuration to the objects it names: covariance, schedule, network.

Training, previews and sampling all build their parts here, so that what a checkpoint's
configuration says is what every program does. Faults that only the parts can see (a band without a
frequency on this grid, channels that the groups do not divide) come out as one-line ConfigErrors.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sagd_jax.data.source import Source
from sagd_jax.diffusion import schedules
from sagd_jax.models import DiT, UNet
from sagd_jax.run import noise
from sagd_jax.run.config import ModelConfig, RunConfig, ScheduleConfig
from sagd_jax.run.noise import NoiseConfig, Signals
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.system import kinds, schema
from sagd_jax.system.schema import ConfigError, as_config_error


def covariance(
    config: NoiseConfig,
    spatial_shape: tuple[int, ...],
    sample_rate: float | None = None,
    source: Source | None = None,
    where: str = "config.noise",
) -> Covariance:
    """The covariance of `config.noise` on this grid; Hz are those of its first axis, time.

    Args:
      source: of the data, for a spectrum that is estimated from them.
      where: the section, for errors.
    """
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
    where = "config.corrupted_noise"
    return covariance(config.corrupted_noise, spatial_shape, sample_rate, source, where)


def schedule(config: ScheduleConfig) -> schedules.Schedule:
    """The schedule of `config.schedule`."""
    with as_config_error("config.schedule"):
        return kinds.make(schedules.KINDS, config)


def network(config: ModelConfig, num_classes: int) -> nn.Module:
    """The score network of `config.model`, for data with this many classes (0: no labels)."""
    if config.class_conditional and not num_classes:
        raise ConfigError("config.model.class_conditional=True: this data has no labels")
    common: dict[str, Any] = {
        "num_classes": num_classes if config.class_conditional else 0,
        "dtype": jnp.dtype(config.dtype),
        "remat": config.remat,
    }
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
