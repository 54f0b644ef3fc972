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
from sagd_jax.models import DiT, UNet
from sagd_jax.run.config import NOISE_KINDS, ModelConfig, NoiseConfig, RunConfig, ScheduleConfig
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.system import kinds, schema
from sagd_jax.system.errors import one_line
from sagd_jax.system.schema import ConfigError


def covariance(
    config: NoiseConfig,
    spatial_shape: tuple[int, ...],
    sample_rate: float | None = None,
    where: str = "config.noise",
) -> FourierCovariance:
    """The covariance of a section of noise on this grid; Hz are those of its first axis, time."""
    options = kinds.options(NOISE_KINDS, config)
    in_hertz = options.get("unit") == "hz"
    axis: dict[str, Any] = {"sample_rate": sample_rate, "axes": (0,)} if in_hertz else {}
    if "file" in options:
        where = f"{where}.file={options['file']!r}"
    with as_config_error(where):
        return kinds.make(NOISE_KINDS, config, spatial_shape, **axis)


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
    return covariance(config.corrupted_noise, spatial_shape, sample_rate, "config.corrupted_noise")


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


@contextlib.contextmanager
def as_config_error(where: str) -> Iterator[None]:
    """Turns a ValueError of the parts into a ConfigError that says `where`."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error
