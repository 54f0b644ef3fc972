"""From a checked configuration to the objects it names: covariance, schedule, network.

Training, previews and sampling all build their parts here, so that what a checkpoint's
configuration says is what every program does. Faults that only the parts can see (a band without a
frequency on this grid, channels that the groups do not divide) come out as one-line ConfigErrors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from sagd_jax.diffusion import schedules
from sagd_jax.diffusion.checks import check_schedule
from sagd_jax.models import DiT, UNet
from sagd_jax.run.config import (
    NOISE_KINDS,
    CorruptedNoiseConfig,
    ModelConfig,
    NoiseConfig,
    RunConfig,
    ScheduleConfig,
)
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.system import import_paths, kinds, schema
from sagd_jax.system.errors import one_line
from sagd_jax.system.schema import ConfigError


def covariance(
    config: NoiseConfig, spatial_shape: tuple[int, ...], sample_rate: float | None = None
) -> FourierCovariance:
    """The covariance of `config.noise` on this grid; Hz are those of its first axis, time."""
    if schema.is_import_path(config.kind):
        return _own_covariance(config, spatial_shape)
    in_hertz = kinds.options(NOISE_KINDS, config).get("unit") == "hz"
    axis: dict[str, Any] = {"sample_rate": sample_rate, "axes": (0,)} if in_hertz else {}
    with as_config_error("config.noise"):
        return kinds.make(NOISE_KINDS, config, spatial_shape, **axis)


def _own_covariance(config: NoiseConfig, spatial_shape: tuple[int, ...]) -> FourierCovariance:
    where = "config.noise.kind"
    if isinstance(config, CorruptedNoiseConfig):
        where = "config.corrupted_noise.kind"
    made = import_paths.make(config.kind, where, FourierCovariance, spatial_shape, **config.options)
    if made.spatial_shape != tuple(spatial_shape):
        raise ConfigError(
            f"{where}={config.kind!r}: it returned a covariance for spatial_shape="
            f"{made.spatial_shape}, expected {tuple(spatial_shape)}"
        )
    return made


def corrupted_covariance(
    config: RunConfig, spatial_shape: tuple[int, ...], sample_rate: float | None = None
) -> FourierCovariance | None:
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
    with as_config_error("config.corrupted_noise"):
        return covariance(config.corrupted_noise, spatial_shape, sample_rate)


def schedule(config: ScheduleConfig) -> schedules.Schedule:
    """The schedule of `config.schedule`."""
    if schema.is_import_path(config.kind):
        where = "config.schedule.kind"
        made = import_paths.make(config.kind, where, schedules.Schedule, **config.options)
        with as_config_error(f"{where}={config.kind!r}"):
            check_schedule(made)
        return made
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


@contextlib.contextmanager
def as_config_error(where: str) -> Iterator[None]:
    """Turns a ValueError of the parts into a ConfigError that says `where`."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error
