"""Samples of a run: one compiled draw of a batch, and any range of the samples by it.

Sample i depends on (seed, i) alone. A batch is split over all devices of a mesh; each draws its own
samples with the whole network (or, with `fsdp` above 1, gathers the network layer by layer), and no
noise travels. sample.py, the previews of training and what needs many samples all draw here, and none
of them gets a sample that is not finite: as bytes it would be black.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from sagd_jax.data.source import denormalise
from sagd_jax.diffusion import guidance, recover
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Sampler, check_prediction
from sagd_jax.diffusion.sampling import sample
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.run.denoiser import as_denoiser, of_kinds, with_path
from sagd_jax.run.layout import batch_sharding, replicated, rounded_up
from sagd_jax.run.record import Record
from sagd_jax.system import compiler, schema
from sagd_jax.system.errors import ForPeople

FAR = 0.05  # of the range: what is cut off by more is no rounding, and visible
_MARK = 1e-5  # beyond the bounds, in the network's range: a hundredth of an 8-bit step


class NotFiniteError(ForPeople, FloatingPointError):
    """Samples that are not finite; the message is one line.

    Attributes:
      index: of the first of them.
    """

    def __init__(self, bad: np.ndarray, first: int) -> None:
        self.index = first + int(np.flatnonzero(bad)[0])
        super().__init__(
            f"{bad.sum()} of {len(bad)} samples ({first} to {first + len(bad) - 1}) are not finite"
        )


def is_bounded(record: Record, diffusion: Diffusion) -> bool:
    """Whether the data, as the process sees them, have bounds that clipping x0_hat may use.

    8-bit images and clips have. A corruption may lead beyond, and so does leaving out the band where
    a covariance is singular, or noise that samples of a corrupted kind hold until they are finished.
    """
    return (
        record.data.dtype == "uint8"
        and record.config.data.corruption == "none"
        and diffusion.covariance.is_full_rank
        and not sampled_kind(diffusion)
    )


def sampled_kind(diffusion: Diffusion) -> int:
    """The kind of examples that a process samples, 0 clean; `Diffusion.at` chooses it."""
    schedule = diffusion.schedule
    return int(schedule.kind) if isinstance(schedule, Capped) else 0


class Drawer:
    """Draws any range of the samples of a run, in the data's own range and dtype.

    Args:
      record: of the run.
      model: its network.
      diffusion: its process.
      mesh: devices to draw on: this process's, or, with `out` replicated, those of all.
      sampler: the method.
      num_steps: of sampling.
      times: an explicit grid, of `num_steps` intervals; None: uniform.
      seed: of the samples.
      batch_size: samples drawn at once, rounded up to a multiple of the devices.
      label: the class of all samples; None: each class in turn, where there are any.
      guidance_scale: of classifier-free guidance; 1 is none.
      clip: whether x0_hat is clipped to the network's range at every step.
      out: layout of what one batch gives; by default split like the batch.

    Example::

      run = load_run("runs/digits")
      mesh = layout.local_mesh()
      drawer = Drawer(run.record, run.model, run.diffusion, mesh, sampler=Ddim(), num_steps=50)
      samples = drawer(run.params, 0, 100)

    Raises:
      ConfigError: a seed that JAX would take for another.

    Attributes:
      far_share: of all values drawn so far, the share that was cut off by more than `FAR` of the
        range (or would be, by writers of bounded data).
    """

    def __init__(
        self,
        record: Record,
        model: nn.Module,
        diffusion: Diffusion,
        mesh: Mesh,
        *,
        sampler: Sampler,
        num_steps: int,
        times: np.ndarray | None = None,
        seed: int = 0,
        batch_size: int = 64,
        label: int | None = None,
        guidance_scale: float = 1.0,
        clip: bool = False,
        out: NamedSharding | None = None,
    ) -> None:
        schema.check_seed(seed)
        self._mesh, self._seed, self._label = mesh, seed, label
        self._num_classes = model.num_classes
        if record.config.noise.per_class:  # each class has its noise, whatever the network knows
            self._num_classes = record.data.num_classes
        self._far = self._drawn = 0
        # Every batch has this shape: one compilation.
        self._batch = rounded_up(batch_size, mesh)
        self._compile = functools.partial(
            compile_draw,
            record,
            model,
            diffusion,
            mesh,
            sampler=sampler,
            num_steps=num_steps,
            times=times,
            guidance_scale=guidance_scale,
            clip=clip,
        )
        self._draw = self._compile(self._batch, returns="watched", out=out)

    @property
    def far_share(self) -> float:
        return self._far / max(self._drawn, 1)

    def check(self, params: Any) -> None:
        """Raises ValueError, before anything is compiled, for a sampler that cannot run."""
        with jax.set_mesh(self._mesh):  # as when it draws, which then need not be traced again
            self._draw.eval_shape(params, *shapes_of(self._batch))

    def labels(self, first: int, last: int) -> np.ndarray:
        """The classes of samples `first` to `last` - 1, int32; -1 where there are none."""
        indices = np.arange(first, last)
        if not self._num_classes:
            return np.full(indices.shape, -1, np.int32)
        if self._label is not None:
            return np.full(indices.shape, self._label, np.int32)
        return (indices % self._num_classes).astype(np.int32)

    def __call__(
        self,
        params: Any,
        first: int,
        last: int,
        *,
        interrupted: Callable[[], bool] = lambda: False,
        advance: Callable[[int], Any] = lambda count: None,
    ) -> np.ndarray | None:
        """Samples `first` to `last` - 1, `(last - first, *shape)`.

        Args:
          params: of the network, laid over the mesh.
          interrupted: asked before each batch; if it is True, the result is None.
          advance: told the number of samples after each batch.

        Raises:
          NotFiniteError: for the first batch in which a sample is not finite.
        """
        key = jax.random.key(self._seed)
        parts = []
        with jax.set_mesh(self._mesh):
            for begin in range(first, last, self._batch):
                if interrupted():
                    return None
                label = self.labels(begin, begin + self._batch)
                drawn = self._draw(params, key, jnp.int32(begin), label)
                part, finite, far = (np.asarray(x)[: last - begin] for x in drawn)
                if not finite.all():
                    raise NotFiniteError(~finite, begin)
                self._far += int(far.sum(dtype=np.int64))
                self._drawn += part.size
                parts.append(part)
                advance(len(part))
        return np.concatenate(parts)

    def trajectory(self, params: Any, first: int, last: int, frames: int) -> np.ndarray:
        """The states of samples `first` to `last` - 1 on their way, in the network's range.

        Of all states, from the start to the samples, so many at most, evenly spread; all samples are drawn
        at once.

        Returns:
          Float32 `(frames or fewer, last - first, *spatial, channels)`.
        """
        batch = rounded_up(last - first, self._mesh)
        draw = self._compile(batch, returns="trajectory", frames=frames, out=replicated(self._mesh))
        with jax.set_mesh(self._mesh):
            key = jax.random.key(self._seed)
            states = draw(params, key, jnp.int32(first), self.labels(first, first + batch))
        return np.asarray(states)[:, : last - first]

    def last_finite_step(self, params: Any, index: int) -> int | None:
        """The steps after which sample `index` is still finite; None if it always is.

        For a sample that is not: it is drawn again, alone.
        """
        batch = rounded_up(1, self._mesh)
        draw = self._compile(batch, returns="finite", out=replicated(self._mesh))
        with jax.set_mesh(self._mesh):
            key = jax.random.key(self._seed)
            finite = draw(params, key, jnp.int32(index), self.labels(index, index + batch))
        bad = np.flatnonzero(~np.asarray(finite)[:, 0])
        return int(bad[0]) - 1 if len(bad) else None


def compile_draw(
    record: Record,
    model: nn.Module,
    diffusion: Diffusion,
    mesh: Mesh,
    batch: int,
    *,
    out: NamedSharding | None = None,
    **options: Any,
) -> Any:
    """Compiles (`jax.jit`) `draw_function` for one process.

    Args:
      diffusion: the process.
      out: layout of what it returns; by default split like the batch.
      options: of `draw_function`, as are the other arguments.

    Returns:
      `draw(params, key, offset, label)`, to be called with `mesh` set.
    """
    function = draw_function(record, model, mesh, batch, kind=sampled_kind(diffusion), **options)

    def draw(params: Any, key: jax.Array, offset: jax.Array, label: jax.Array) -> Any:
        return function(params, diffusion, key, offset, label)

    return jax.jit(
        draw, out_shardings=out or batch_sharding(mesh), compiler_options=compiler.of_networks()
    )


def draw_function(
    record: Record,
    model: nn.Module,
    mesh: Mesh,
    batch: int,
    *,
    sampler: Sampler,
    num_steps: int,
    times: np.ndarray | None = None,
    guidance_scale: float = 1.0,
    clip: bool = False,
    returns: Literal["samples", "watched", "finite", "trajectory"] = "samples",
    frames: int = 1,
    kind: int = 0,
) -> Callable[..., Any]:
    """Builds `draw(params, diffusion, key, offset, label)`, a pure function, for `mesh` set.

    Args:
      record, model, mesh, sampler, num_steps, times, guidance_scale, clip: as of `Drawer`.
      batch: samples per call, which the number of devices divides.
      returns: the samples; or these, whether each is finite, and how many of its values were cut off
        far (`FAR`), both `(batch,)`; or only whether each is finite at the start and after each
        step, `(num_steps + 1, batch)`; or the states on the way, in the network's range.
      frames: of those, at most.
      kind: of the examples that are drawn, as `sampled_kind` says of the process.

    Returns:
      A function of the parameters, a process, a key, the index of the first sample and labels `(batch,)`,
      which are ignored where the network has no classes; it returns samples `(batch, *spatial, channels)`
      in the data's range and dtype.
    """
    split = batch_sharding(mesh)
    data, config = record.data, record.config.model
    axes = tuple(range(1, len(data.shape) + 1))

    def draw(
        params: Any, diffusion: Diffusion, key: jax.Array, offset: jax.Array, label: jax.Array
    ) -> Any:
        def denoiser(label: jax.Array | None) -> Any:
            return as_denoiser(
                model,
                params,
                own,
                label,
                project_input=config.project_input,
                prediction=config.prediction,
            )

        label = jax.lax.with_sharding_constraint(label, split)
        own = of_kinds(with_path(diffusion, params), label)
        denoise = denoiser(label if model.num_classes else None)
        if guidance_scale != 1:
            denoise = guidance.classifier_free(denoise, denoiser(None), guidance_scale)
        prediction = config.prediction
        if clip:
            # `sample` sees v, which tells both at every time; what the network says may not.
            check_prediction(own, prediction, 1.0 if times is None else times)
            denoise = guidance.map_x0(denoise, own, _clip_and_mark, prediction, "v")
            prediction = "v"
        x = sample(
            key,
            denoise,
            own,
            (batch, *data.shape),
            method=sampler,
            num_steps=num_steps,
            times=times,
            prediction=prediction,
            offset=offset,
            trajectory=returns in ("finite", "trajectory"),
        )
        if returns == "trajectory":
            chosen = np.linspace(0, num_steps, min(frames, num_steps + 1)).round().astype(int)
            return jnp.asarray(x[chosen], jnp.float32)
        if kind and returns != "finite":
            x = recover.finish(denoise, own, x, kind, prediction=prediction)
        if returns == "finite":
            return jnp.isfinite(x).all([axis + 1 for axis in axes])
        x = jax.lax.with_sharding_constraint(x, split)
        raw = denormalise(jnp.clip(x, -1, 1) if clip else x, data.value_range, data.dtype)
        if returns == "samples":
            return raw
        far = jnp.abs(x) > 1 + (_MARK / 2 if clip else 2 * FAR)
        finite = jnp.isfinite(x) & jnp.isfinite(raw.astype(jnp.float32))
        return raw, finite.all(axes), far.sum(axes)

    return draw


def _clip_and_mark(x0: jax.Array) -> jax.Array:
    """x0_hat clipped to [-1, 1], and a trifle beyond where it is cut off far.

    By that the last step's, which is the sample, says how much was cut off. What is not finite stays so.
    """
    inside = jnp.clip(x0, -1, 1)
    mark = jnp.where(jnp.abs(x0) > 1 + 2 * FAR, _MARK * inside, 0)
    return jnp.where(jnp.isfinite(x0), inside + mark, x0)


def shapes_of(batch: int) -> tuple[Any, ...]:
    """What `draw` takes besides the parameters, as shapes."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    scalar = jax.ShapeDtypeStruct((), jnp.int32)
    return key, scalar, jax.ShapeDtypeStruct((batch,), jnp.int32)
