"""From a checked configuration to the objects it names.

Training, previews and sampling all build their parts here, so that what a checkpoint's
configuration says is what every program does. Faults that only the parts can see (a band without a
frequency on this grid, channels that the groups do not divide) come out as one-line ConfigErrors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from sagd_jax import schedules, spectra
from sagd_jax.covariance import FourierCovariance
from sagd_jax.diffusion import Diffusion
from sagd_jax.models import DiT, UNet
from sagd_jax.schema import ConfigError, as_dict
from sagd_jax.system.errors import one_line
from sagd_jax.training.config import (
    ModelConfig,
    NoiseConfig,
    OptimizerConfig,
    RunConfig,
    ScheduleConfig,
    TrainConfig,
)
from sagd_jax.training.sharding import gathered


def covariance(
    config: NoiseConfig, spatial_shape: tuple[int, ...], sample_rate: float | None = None
) -> FourierCovariance:
    """The covariance of `config.noise` on this grid; Hz are those of its first axis, time."""
    unit: dict[str, Any] = {"unit": config.unit}
    if config.unit == "hz":
        unit |= {"sample_rate": sample_rate, "axes": (0,)}
    builders: dict[str, Callable[[], FourierCovariance]] = {
        "white": lambda: spectra.white(spatial_shape),
        "power_law": lambda: spectra.power_law(spatial_shape, config.alpha, config.dc),
        "exponential": lambda: spectra.exponential(spatial_shape, config.beta),
        "band_pass": lambda: spectra.band_pass(spatial_shape, config.bands, **unit),
        "two_band": lambda: spectra.two_band(spatial_shape, config.gamma_low, config.split, **unit),
        "file": lambda: spectra.from_variance(_load_spectrum(config.file), spatial_shape),
    }
    with naming("config.noise"):
        return builders[config.kind]()


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
    with naming("config.corrupted_noise"):
        return covariance(config.corrupted_noise, spatial_shape, sample_rate)


def schedule(config: ScheduleConfig) -> schedules.Schedule:
    """The schedule of `config.schedule`."""
    with naming("config.schedule"):
        if config.kind == "linear_beta":
            return schedules.linear_beta(config.beta_min, config.beta_max, config.num_steps)
        if config.kind == "cosine":
            return schedules.cosine()
        if config.kind == "rectified_flow":
            return schedules.rectified_flow()
        return schedules.edm(config.sigma_max, config.rho)


def network(config: ModelConfig, num_classes: int) -> nn.Module:
    """The score network of `config.model`, for data with this many classes (0: no labels)."""
    if config.class_conditional and not num_classes:
        raise ConfigError("config.model.class_conditional=True: this data has no labels")
    common: dict[str, Any] = {
        "num_classes": num_classes if config.class_conditional else 0,
        "dtype": jnp.dtype(config.dtype),
        "remat": config.remat,
    }
    options = as_dict(getattr(config, config.kind))
    with naming(f"config.model.{config.kind}"):
        if config.kind == "unet":
            return UNet(**options, **common)
        patch_size = options.pop("patch_size")
        return DiT(
            patch_size=patch_size[0] if len(patch_size) == 1 else tuple(patch_size),
            **options,
            **common,
        )


def initial_parameters(model: nn.Module, key: jax.Array, shape: tuple[int, ...]) -> Any:
    """Fresh parameters for signals of shape `(*spatial, channels)`; works under `jax.eval_shape`."""
    return model.init(key, jnp.zeros((1, *shape)), jnp.zeros((1,)))["params"]


def parameter_shapes(model: nn.Module, shape: tuple[int, ...]) -> Any:
    """The parameters as shapes; refuses, in one line, a network that does not fit the signal."""
    with naming("config.model"):
        return jax.eval_shape(lambda key: initial_parameters(model, key, shape), jax.random.key(0))


def apply_network(
    model: nn.Module,
    params: Any,
    diffusion: Diffusion,
    x_t: jax.Array,
    t: jax.Array,
    label: jax.Array | None,
    *,
    project_input: bool = False,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """The network's prediction for x_t of shape `(batch, *spatial, channels)` at t of `(batch,)`.

    The network sees x_t / sqrt(alpha^2 + sigma^2), of unit scale under any schedule (and x_t itself
    under a variance-preserving one), and time as a discrete timestep.
    """
    if project_input:
        x_t = diffusion.covariance.project(x_t)
    scale = jax.lax.rsqrt(diffusion.alpha(t, x_t) ** 2 + diffusion.sigma(t, x_t) ** 2)
    variables = {"params": gathered(params)}
    timestep = diffusion.schedule.timestep(t)
    options: dict[str, Any] = {}
    if dropout_key is not None:
        options = {"train": True, "rngs": {"dropout": dropout_key}}
    prediction: Any = model.apply(variables, scale * x_t, timestep, label, **options)
    return prediction


def learning_rate(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
    """Linear warm-up, then constant, or cosine or linear decay to 0 at `num_steps`."""
    peak, warmup = config.learning_rate, config.warmup_steps
    remaining = max(num_steps - warmup, 1)
    after = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, remaining),
        "linear": lambda: optax.linear_schedule(peak, 0.0, remaining),
    }[config.decay]()
    # The warm-up starts one step in: a first step at rate 0 would be a wasted one.
    rise = optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1))
    return optax.join_schedules([rise, after], [warmup])


def optimizer(config: OptimizerConfig, train: TrainConfig) -> optax.GradientTransformation:
    """Gradient clipping by global norm, the optimiser of `config.optimizer`, and a scale.

    The scale of the update is 1 and part of the state, where a rollback makes it smaller.
    """
    rate = learning_rate(config, train.num_steps)
    core = {
        "adam": lambda: optax.adam(rate, config.b1, config.b2),
        "adamw": lambda: optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay),
        "lion": lambda: optax.lion(rate, config.b1, config.b2, weight_decay=config.weight_decay),
        "sgd": lambda: optax.sgd(rate, momentum=config.b1),
    }[config.name]()
    clip = (
        optax.identity()
        if config.clip_norm is None
        else optax.clip_by_global_norm(config.clip_norm)
    )
    return optax.chain(clip, core, optax.inject_hyperparams(optax.scale)(step_size=1.0))


def rescale(opt_state: Any, factor: float) -> Any:
    """The state of `optimizer` with the scale of its updates multiplied by `factor`."""
    *others, last = opt_state
    scale = last.hyperparams["step_size"]
    return (*others, last._replace(hyperparams={"step_size": scale * jnp.float32(factor)}))


def denoiser(
    model: nn.Module,
    params: Any,
    diffusion: Diffusion,
    label: jax.Array | None = None,
    *,
    project_input: bool = False,
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function `(x_t, t) -> prediction`, as samplers take it, for one batch of labels."""

    def denoise(x_t: jax.Array, t: jax.Array) -> jax.Array:
        return apply_network(model, params, diffusion, x_t, t, label, project_input=project_input)

    return denoise


def _load_spectrum(file: str | None) -> np.ndarray:
    try:
        return np.load(str(file), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"config.noise.file={file!r}: not a readable .npy array ({error})"
        ) from error


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Turns a ValueError of the parts into a ConfigError that says `where`."""
    try:
        yield
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {one_line(error)}") from error
