"""From a work directory back to a network, a process and a denoiser.

The source of all is a checkpoint: the sampler, the likelihood program and research code come in here. Only what the checkpoint
holds is used, every file of it is verified first, and only the weights that are asked for are read.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Collection
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import of_kind
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.run import build, integrity, noise, ready
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import (
    PATH,
    as_denoiser,
    of_kinds,
    parameter_shapes,
    with_own_path,
    with_path,
)
from sagd_jax.run.layout import with_layout
from sagd_jax.run.noise import Signals
from sagd_jax.run.record import Record, read_record
from sagd_jax.run.restore import CheckpointError, NoCheckpointError
from sagd_jax.run.schedule import Inputs
from sagd_jax.spectral import spectra
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.stacks import CovarianceStack, stack
from sagd_jax.system import schema
from sagd_jax.system.import_paths import check_allowed

_TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Run:
    """What a checkpoint of a run holds, ready for use.

    Attributes:
      model: the network.
      params: its weights.
      diffusion: the process, with the covariance as stored.
      record: configuration and data's shape and range.
      step: training step of the checkpoint.
      identity: tells the checkpoint from any other, of this run or another; see
        `integrity.digest`.

    Example::

      run = sagd.load_run("runs/digits")
      run.model.apply({"params": run.params}, x, timestep, None)
      run.config.noise.kind
    """

    model: nn.Module
    params: Any
    diffusion: Diffusion
    record: Record
    step: int
    identity: str = ""

    @property
    def config(self) -> RunConfig:
        """The configuration that it was trained with."""
        return self.record.config

    def denoiser(
        self, label: jax.Array | None = None, kind: ArrayLike | None = None
    ) -> Callable[[jax.Array, jax.Array], jax.Array]:
        """`(x_t, t) -> prediction` for a `label` of shape `(batch,)`; None: no class.

        Where examples have kinds (`diffusion/schedules/caps.py`), it is of those of `kind`, one or `(batch,)`; None:
        of the kind of `diffusion`, as which samples are drawn. It says its kind of prediction itself, so that `sample` and `log_likelihood` need not be told.
        """
        model = self.config.model
        own = self.config.noise.per_class and label is not None
        denoiser = as_denoiser(
            self.model,
            self.params,
            of_kinds(self.diffusion, label) if own else self.diffusion,
            label,
            project_input=model.project_input,
            prediction=model.prediction,
            kind=kind,
        )
        return of_kind(denoiser, model.prediction)


def load_run(
    workdir: str | os.PathLike[str],
    step: int | None = None,
    ema: bool = True,
    mesh: Mesh | None = None,
    allow: Collection[str] = (),
) -> Run:
    """Reads a checkpoint of `workdir` as its parts; arguments and errors are those of `load`.

    With a `mesh` the weights are laid over it by the rule of `layout.py`; otherwise they
    go to the first device.
    """
    try:
        saved = Checkpoints(ready.place_of(workdir), read_only=True).open(step)
    except NoCheckpointError as error:
        raise ready.no_checkpoint(workdir, error) from error
    try:
        record = read_record(saved.record)
        config = record.config
        named = {"model.kind": config.model.kind, "schedule.kind": config.schedule.kind}
        check_allowed(named, allow)
        diffusion = stored_process(record, saved.arrays)
        model = build.network(
            record.config.model, record.data.num_classes, build.num_kinds(diffusion)
        )
        shapes = parameter_shapes(model, record.data.shape)
        shapes = jax.eval_shape(lambda params: with_own_path(params, diffusion), shapes)
    except schema.ConfigError as error:
        raise CheckpointError(f"{saved.path}: {error}") from error
    if mesh is not None:
        shapes = with_layout(shapes, mesh)
    name = "ema" if ema else "params"
    params = saved.restore({name: shapes})[name]
    if PATH in params:  # read with the weights, averaged or not, as they are
        diffusion = with_path(diffusion, {PATH: np.asarray(params[PATH])})
    identity = integrity.digest(saved.path)
    return Run(model, params, diffusion, record, saved.step, identity)


def load(
    workdir: str | os.PathLike[str],
    step: int | None = None,
    ema: bool = True,
    *,
    allow: Collection[str] = (),
) -> tuple[Callable[..., jax.Array], Diffusion, dict[str, Any]]:
    """Loads a trained denoiser and its process from a work directory.

    Args:
      workdir: as given to `train.py`; or the name of a run that comes with the package, "digits", where there
        is no folder of that name.
      step: of the checkpoint; None for the newest sound one.
      ema: whether to take the averaged weights.
      allow: import paths, `module:function`, of networks and schedules of one's own that this
        checkpoint may have imported; others are refused, since a checkpoint is data.

    Returns:
      `(denoiser, diffusion, metadata)`: `denoiser(x_t, t, label=None, kind=None)` for x_t of shape
      `(batch, *spatial, channels)` in the network's range [-1, 1] and t of `(batch,)`, which says
      its kind of prediction itself (labels: `functools.partial(denoiser, label=labels)`); `metadata`
      holds `step`, `prediction`, `shape` of one signal and the whole record of the run as nested
      dictionaries. Of a run with capped levels, `diffusion` is of the kind that samples are drawn as
      (`sagd.recover.finish`, if that is not 0). `load_run` gives the network, its weights and the configuration as objects.

    Raises:
      NoCheckpointError: if there is none.
      CheckpointError: if none is sound, or this step is missing or damaged.

    Example::

      denoiser, diffusion, metadata = sagd.load("digits")  # which comes with the package
      # Sample 7 of `sample.py --seed=0`, which clips where the data are 8-bit images. Its class, in a
      # run with classes, is 7 modulo their number: functools.partial(denoiser, label=...).
      x = sagd.sample(
          jax.random.key(0), denoiser, diffusion, (1, *metadata["shape"]), offset=7, clip=(-1, 1)
      )
      image = sagd.to_uint8(x)[0]
    """
    run = load_run(workdir, step, ema, allow=allow)

    def denoiser(
        x_t: jax.Array,
        t: jax.Array,
        label: jax.Array | None = None,
        kind: ArrayLike | None = None,
    ) -> jax.Array:
        return run.denoiser(label, kind)(x_t, t)

    metadata = {
        "step": run.step,
        "prediction": run.record.config.model.prediction,
        "shape": run.record.data.shape,
        "parameters": sum(math.prod(p.shape) for p in jax.tree.leaves(run.params)),
        **schema.as_dict(run.record),
    }
    return of_kind(denoiser, run.config.model.prediction), run.diffusion, metadata


def stored_process(record: Record, arrays: dict[str, np.ndarray]) -> Diffusion:
    """The process of a checkpoint, from its record and arrays alone; all are checked anew."""
    config, shape = record.config, record.data.shape
    basis = noise.basis_of(config.noise)
    if config.noise.per_class:
        classes = arrays.get("variance", np.zeros(0))
        if len(classes) != record.data.num_classes:
            raise CheckpointError(
                f"the checkpoint's variance is for {len(classes)} classes, its data has "
                f"{record.data.num_classes}"
            )
        members = [stored_covariance({"variance": one}, shape, basis) for one in classes]
        covariance: Covariance | CovarianceStack = stack(members)
    else:
        covariance = build.with_unit_draws(stored_covariance(arrays, shape, basis), config.noise)
    signals = Signals(tuple(shape[:-1]), where="config.schedule")
    schedule = build.schedule(config.schedule, Inputs(signals, covariance, stored=arrays))
    try:
        return build.with_noise(schedule, covariance)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's {error}") from error


def stored_covariance(
    arrays: dict[str, np.ndarray], shape: tuple[int, ...], basis: str = "fourier"
) -> Covariance:
    """The covariance among a checkpoint's arrays, for signals of `shape`; checked, not rescaled."""
    spatial = shape[:-1]
    variance = arrays.get("variance")
    if variance is None:
        raise CheckpointError("the checkpoint has no array 'variance'")
    try:
        checked = spectra.on_grid(variance, spatial, basis)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's {error}") from error
    if not np.allclose(checked.variance, variance, rtol=_TOLERANCE):
        raise CheckpointError("the checkpoint's variance does not have mean 1")
    if variance.shape[-1] not in (1, shape[-1]):
        raise CheckpointError(
            f"the checkpoint's variance is for {variance.shape[-1]} channels, its data has "
            f"{shape[-1]}"
        )
    return jax.tree.map(lambda _: jnp.asarray(variance, jnp.float32), checked)
