"""Everything that a configuration determines before anything is compiled.

What can be refused is refused here, in one line: the parts are built, and the whole step and what
the actions check of themselves (the preview: its sampler) are traced with shapes alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
from jax.sharding import Mesh

from sagd_jax.data.resident import gather
from sagd_jax.data.source import Resident, Source
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.schedules import LearnedSchedule
from sagd_jax.run import build, layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import parameter_shapes, with_own_path
from sagd_jax.run.items import MAX_ARRAYS_BYTES
from sagd_jax.run.noise import MAKE_ANEW
from sagd_jax.run.record import Record, describe_run, identified, require_readable
from sagd_jax.system import compiler
from sagd_jax.system.late import require
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.actions import Action, Parts
from sagd_jax.training.evaluation import Evaluation
from sagd_jax.training.feed import sent
from sagd_jax.training.few_steps import make_objective
from sagd_jax.training.metrics import MetricsAction
from sagd_jax.training.objectives import Objective
from sagd_jax.training.optimizer import make_optimizer
from sagd_jax.training.path_picture import PathPicture
from sagd_jax.training.preview import Preview
from sagd_jax.training.report.action import Report
from sagd_jax.training.restoring import with_restoring
from sagd_jax.training.step import Metrics, State, initial_state, make_steps, steps_per_call

_DEVICE_LIMIT_MB = 2048  # of `config.train.device_limit_mb`, on accelerators

# What the loop does every so many steps, in this order.
ACTIONS: tuple[Callable[[Parts], Action], ...] = (
    Preview,
    PathPicture,
    MetricsAction,
    Evaluation,
    Report,  # of what the others have left
)


@dataclasses.dataclass(frozen=True)
class Assembled:
    """The parts of a run, of which nothing has been traced or compiled but shapes.

    Attributes:
      mesh: all devices of all processes.
      diffusion: the process that is sampled.
      objective: what is minimised; it has the process of the examples.
      state: shapes, dtypes and layout of the training state.
      record: what a checkpoint says of the run.
      arrays: the spectra, which a checkpoint stores.
      source: the data, as training draws from them.
    """

    mesh: Mesh
    model: nn.Module
    diffusion: Diffusion
    objective: Objective
    optimizer: optax.GradientTransformation
    state: Any
    record: Record
    arrays: dict[str, np.ndarray]
    source: Source

    @property
    def layout(self) -> Any:
        """The sharding of every array of the state."""
        return jax.tree.map(lambda leaf: leaf.sharding, self.state)


@dataclasses.dataclass(frozen=True)
class Prepared(Assembled):
    """A run that can start.

    Attributes:
      steps: `(state, batches) -> (state, metrics)`, compiled at its first call, once for all seeds.
      rows: what the loop draws batches from where the data lie on the devices; else None.
      batches: shapes, dtypes and layout of a stack of batches.
      actions: what is done every so many steps besides.
    """

    steps: _Steps
    rows: Source | None
    batches: dict[str, jax.ShapeDtypeStruct]
    actions: list[Action]


@dataclasses.dataclass(frozen=True)
class _Steps:
    """`jax.jit` of steps as a function of two arguments; what is lowered takes `others` after them.

    Attributes:
      held: shape of the examples that each device holds, if any.
      on_host: these examples, until they are put there.
    """

    compiled: Any
    seed: np.uint32
    mesh: Mesh
    held: jax.ShapeDtypeStruct | None
    on_host: list[np.ndarray]

    def __call__(self, state: State, batches: dict[str, jax.Array]) -> tuple[State, Metrics]:
        result: tuple[State, Metrics] = self.compiled(state, batches, *self.others)
        return result

    def lower(self, state: Any, batches: Any) -> Any:
        return self.compiled.lower(state, batches, *self._shapes_of_others())

    def eval_shape(self, state: Any, batches: Any) -> Any:
        return self.compiled.eval_shape(state, batches, *self._shapes_of_others())

    @functools.cached_property
    def others(self) -> tuple[Any, ...]:
        """The seed and, where they hold them, the examples on the devices; these are put there now."""
        if self.held is None:
            return (self.seed,)
        return (self.seed, layout.everywhere(self.on_host.pop(), self.mesh))

    def _shapes_of_others(self) -> tuple[Any, ...]:
        return (self.seed,) if self.held is None else (self.seed, self.held)


def assemble(config: RunConfig, source: Source) -> Assembled:
    """Builds the parts of a run of `config` on `source`; errors are those of `prepare`."""
    if config.log.tensorboard:
        require("tensorboardX", "config.log.tensorboard=True")
    if config.train.batch_size > len(source):
        raise ConfigError(
            f"config.train.batch_size={config.train.batch_size}: the data has only {len(source)} "
            "examples; give at most that many"
        )
    record = describe_run(config, source)
    require_readable(record)
    mesh = layout.make_mesh(config.mesh, config.train.batch_size, config.train.accumulate)
    of_examples, arrays = build.process(config, source)
    model = build.network(config.model, source.num_classes, build.num_kinds(of_examples))
    fed = with_restoring(source, config, of_examples)
    # What corrupted examples hold in their hole is nothing to sample: that is the process of clean ones.
    two_kinds = config.corrupted_noise.kind != "same"
    diffusion = of_examples.at(0) if two_kinds else of_examples
    learns = isinstance(diffusion.schedule, LearnedSchedule)
    optimizer = make_optimizer(
        config.optimizer, config.train, path=config.objective if learns else None
    )
    shapes = parameter_shapes(model, tuple(source.shape))
    shapes = jax.eval_shape(lambda params: with_own_path(params, diffusion), shapes)
    _check_arrays(arrays, source)
    objective = make_objective(config, model, of_examples, record.data.value_range)

    abstract = jax.eval_shape(lambda params: initial_state(params, optimizer), shapes)
    state = layout.with_layout(abstract, mesh)
    return Assembled(
        mesh,
        model,
        diffusion,
        objective,
        optimizer,
        state,
        record,
        arrays,
        fed,
    )


def prepare(config: RunConfig, source: Source) -> Prepared:
    """Builds a run of `config` on `source`.

    Raises:
      ConfigError: one line saying what does not fit together.
      MissingExtraError: TensorBoard is asked for, and its package is not installed.
    """
    run = assemble(config, source)
    batches_layout = layout.batch_sharding(run.mesh, leading=1)
    resident = _resident(config, run.source)
    rows = None if resident is None else resident.rows
    batches = _batch_shapes(config, run.source, rows, batches_layout)
    steps = _steps(config, run, batches_layout, resident)
    parts = Parts(run.record, run.source, run.model, run.diffusion, run.objective, run.mesh)
    actions = [action(parts) for action in ACTIONS]
    with build.as_config_error("config"), jax.set_mesh(run.mesh):
        # Tracing finds what does not fit together (a prediction that does not exist at t = 1, a
        # norm of a whitened quantity); the calls of the loop use the same traces.
        steps.eval_shape(run.state, batches)
        for action in actions:
            action.check(run.state)
    # All of the data may have to be looked at: not for a run that is refused.
    run = dataclasses.replace(run, record=identified(run.record, source))
    return Prepared(**vars(run), steps=steps, rows=rows, batches=batches, actions=actions)


def _resident(config: RunConfig, source: Source) -> Resident | None:
    """What the devices shall hold of the data, if they can."""
    limit = config.train.device_limit_mb
    if limit is None:
        limit = 0 if jax.default_backend() == "cpu" else _DEVICE_LIMIT_MB
    return source.resident(limit * 2**20) if limit else None


def _steps(
    config: RunConfig,
    run: Assembled,
    batches_layout: jax.sharding.NamedSharding,
    resident: Resident | None,
) -> _Steps:
    everywhere = layout.replicated(run.mesh)
    on_host = [] if resident is None else [resident.examples]
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere) for x in on_host]
    axes, padding = ((), 0) if resident is None else (resident.axes, resident.padding)

    def steps(state: State, batches: Any, seed: jax.Array, *held: jax.Array) -> Any:
        if held:
            batches = gather(held[0], batches, axes, padding)
            batches = jax.lax.with_sharding_constraint(batches, batches_layout)
            # The step is compiled as one whose batches come from the host.
            batches = jax.lax.optimization_barrier(batches)
        return make_steps(config, run.objective, run.optimizer, seed)(state, batches)

    compiled = jax.jit(
        steps,
        in_shardings=(run.layout, batches_layout, everywhere, *(everywhere for _ in on_host)),
        out_shardings=(run.layout, everywhere),
        donate_argnums=0,
        compiler_options=compiler.of_networks(),
    )
    return _Steps(
        compiled, np.uint32(config.seed), run.mesh, shapes[0] if shapes else None, on_host
    )


def _batch_shapes(
    config: RunConfig, source: Source, rows: Source | None, sharding: jax.sharding.Sharding
) -> dict[str, jax.ShapeDtypeStruct]:
    leading = (steps_per_call(config.train), config.train.batch_size)
    one = (source if rows is None else rows).fetch(np.zeros(1, np.int64))
    return {
        name: jax.ShapeDtypeStruct((*leading, *one.shape[1:]), one.dtype, sharding=sharding)
        for name, one in sent(one, rows is not None).items()
    }


def _check_arrays(arrays: dict[str, np.ndarray], source: Source) -> None:
    size = sum(array.nbytes for array in arrays.values())
    if size > MAX_ARRAYS_BYTES:
        raise ConfigError(
            f"config.noise: {size >> 20} MiB of spectra for examples of shape {source.shape}; a "
            f"checkpoint is read with at most {MAX_ARRAYS_BYTES >> 20} MiB of them"
        )
    for name, array in arrays.items():
        section = {"variance": "noise", "corrupted_variance": "corrupted_noise"}.get(
            name, "schedule"
        )
        if array.shape[-1] not in (1, source.shape[-1]):
            raise ConfigError(
                f"config.{section}.file: its spectrum has {array.shape[-1]} channels, the data has "
                f"{source.shape[-1]}; {MAKE_ANEW}"
            )
