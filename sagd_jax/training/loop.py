"""The training loop: from a configuration and a work directory to a trained network.

One linear function, `train`. A run is a function of its configuration: batch k and the key of step
k follow from the seed, so stopping anywhere and running the same command again gives the same
weights, bit for bit, on the same machine.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax import data, pictures, samplers, schema
from sagd_jax.data.source import Source, denormalise, normalise
from sagd_jax.diffusion import Diffusion
from sagd_jax.loading import load_run
from sagd_jax.schema import ConfigError
from sagd_jax.training import factory, sharding
from sagd_jax.training.checkpoint import Checkpoints, NoCheckpointError
from sagd_jax.training.config import RunConfig, differences
from sagd_jax.training.feed import FIELDS, Feed
from sagd_jax.training.record import Record, describe, parse
from sagd_jax.training.report import Report
from sagd_jax.training.signals import StopRequest
from sagd_jax.training.step import QUARTERS, State, initial_state, make_steps
from sagd_jax.training.summary import summarise

STATE_ITEMS = ("params", "ema", "opt_state")


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line."""


def train(
    config: RunConfig,
    workdir: Path,
    *,
    init_from: str | None = None,
    dry_run: bool = False,
) -> int:
    """Trains until `config.train.num_steps`, from the newest checkpoint in `workdir` if there is one.

    Args:
      config: the run.
      workdir: where checkpoints, metrics and previews go.
      init_from: another work directory, or a diffusers folder, whose (EMA) weights a new run starts
        from; a resumed run does not read it again.
      dry_run: print what would be trained, and train nothing.

    Returns:
      The exit status: 0 when finished, else that of `signals.py`.

    Raises:
      ConfigError, DataError, CheckpointError, TrainingError: one line each.
    """
    # --- What is trained: everything that can be refused is refused before anything is compiled.
    source = data.load(config.data)
    if config.train.batch_size > len(source):
        raise ConfigError(
            f"config.train.batch_size={config.train.batch_size}: the data has only {len(source)} "
            "examples"
        )
    mesh = sharding.make_mesh(config.mesh, config.train.batch_size)
    model = factory.network(config.model, source.num_classes)
    spatial = tuple(source.shape[:-1])
    covariance = factory.covariance(config.noise, spatial, source.sample_rate)
    corrupted = factory.corrupted_covariance(config, spatial, source.sample_rate)
    diffusion = Diffusion(factory.schedule(config.schedule), covariance)
    optimizer = factory.optimizer(config.optimizer, config.train)
    shapes = factory.parameter_shapes(model, tuple(source.shape))
    record = describe(config, source)
    arrays = {"variance": np.asarray(covariance.variance)}
    if corrupted is not None:
        arrays["corrupted_variance"] = np.asarray(corrupted.variance)
    _check_channels(arrays, source)

    abstract = jax.eval_shape(lambda params: initial_state(params, optimizer), shapes)
    layout = sharding.state_sharding(mesh, abstract)
    batches_layout = sharding.batch_sharding(mesh, leading=1)
    steps = jax.jit(
        make_steps(config, model, diffusion, optimizer, record.data.value_range, corrupted),
        in_shardings=(layout, batches_layout),
        out_shardings=(layout, sharding.replicated(mesh)),
        donate_argnums=0,
    )
    preview = _Preview(config, model, diffusion, source, mesh, workdir)
    with factory.naming("config"), jax.set_mesh(mesh):
        # Tracing finds what does not fit together (a prediction that does not exist at t = 1, a
        # norm of a whitened quantity); the calls below use the same traces.
        steps.eval_shape(abstract, _batch_shapes(config, source))
        preview.check(abstract["ema"])
    main = jax.process_index() == 0
    if main:
        print(summarise(config, source, model, diffusion, abstract, mesh), flush=True)
    if dry_run:
        return 0

    with (
        jax.set_mesh(mesh),
        StopRequest() as stop,
        Checkpoints(
            workdir, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every
        ) as checkpoints,
    ):
        # --- Where it starts.
        target = _with_layout(abstract, layout)
        state, origin = _resume(checkpoints, target, record, arrays)
        if state is None:
            state, origin = _start(config, model, source, optimizer, layout, init_from)
        step = int(state["step"])
        if main:
            print(f"{origin}; {workdir}", flush=True)
        if step >= config.train.num_steps:
            print(f"nothing to do: step {step} of {config.train.num_steps} is reached", flush=True)
            return 0

        # --- The loop.
        schedule = factory.learning_rate(config.optimizer, config.train.num_steps)
        spans = _spans(step, config.train.num_steps, config.train.steps_per_call)
        feed = Feed(source, config, batches_layout, spans)
        report = Report(
            workdir,
            step,
            config.train.num_steps,
            tensorboard=config.log.tensorboard,
            active=main,
        )
        pending: list[Any] = []
        saved = step
        with feed, report:
            while step < config.train.num_steps and stop.exit_status is None:
                previous = step
                first = not pending and previous == saved
                state, metrics = steps(state, feed.next())
                pending.append(metrics)
                step = min(
                    config.train.num_steps,
                    (previous // config.train.steps_per_call + 1) * config.train.steps_per_call,
                )
                if first:  # compilation is over once this returns
                    jax.block_until_ready(metrics)
                    report.restart_clock(step, feed.waited)
                report.advance(step)
                if _due(config.log.every, previous, step, config.train.num_steps):
                    values = _averages(pending)
                    pending = []
                    values["learning_rate"] = float(schedule(step - 1))
                    report.log(step, values, images=config.train.batch_size, waited=feed.waited)
                    _check_finite(values, step)
                if _due(config.checkpoint.every, previous, step, config.train.num_steps):
                    _save(checkpoints, state, record, arrays)
                    saved = step
                if _due(config.preview.every, previous, step, config.train.num_steps):
                    jax.block_until_ready(state["params"])
                    picture = preview.draw(state["ema"], step)
                    report.image("samples", step, picture)
                    report.restart_clock(step, feed.waited)
        if stop.exit_status is not None and saved < step:
            _save(checkpoints, state, record, arrays)
        checkpoints.wait()
        if stop.exit_status is not None:
            if main:
                print(
                    f"stopped at step {step} of {config.train.num_steps}, saved "
                    f"{stop.seconds_since():.1f} s after the signal; run the same command to go on",
                    flush=True,
                )
            return stop.exit_status
        if main:
            print(f"finished {step} steps; checkpoint in {workdir}", flush=True)
    return 0


def _resume(
    checkpoints: Checkpoints, target: State, record: Record, arrays: dict[str, np.ndarray]
) -> tuple[State | None, str]:
    try:
        saved = checkpoints.open()
    except NoCheckpointError:
        return None, ""
    before = parse(saved.record)
    changed = differences(before.config, record.config)
    if before.data != record.data:
        changed += [
            f"the data's {f.name} was {old!r}, is {new!r}"
            for f in dataclasses.fields(record.data)
            if (old := getattr(before.data, f.name)) != (new := getattr(record.data, f.name))
        ]
    for name in sorted(arrays.keys() | saved.arrays.keys()):
        if not np.array_equal(arrays.get(name, np.nan), saved.arrays.get(name, np.nan)):
            changed.append(f"the noise's {name} is another one")
    if changed:
        raise ConfigError(
            f"{saved.path.parent.parent} holds another run: {'; '.join(changed)}; "
            "use another --workdir, or --init_from to start a new run from its weights"
        )
    state = saved.restore({name: target[name] for name in STATE_ITEMS})
    counter = jax.device_put(np.int32(saved.step), target["step"].sharding)
    return {**state, "step": counter}, f"resuming at step {saved.step}"


def _start(
    config: RunConfig,
    model: Any,
    source: Source,
    optimizer: Any,
    layout: Any,
    init_from: str | None,
) -> tuple[State, str]:
    shape = tuple(source.shape)
    if init_from is None:

        def fresh(key: jax.Array) -> State:
            return initial_state(factory.initial_parameters(model, key, shape), optimizer)

        # A stream of its own: the steps' keys are fold_in(key(seed), step) with step >= 0.
        key = jax.random.fold_in(jax.random.key(config.seed), 2**32 - 1)
        return jax.jit(fresh, out_shardings=layout)(key), "starting a new run"
    params, words = _other_weights(init_from, factory.parameter_shapes(model, shape))
    start = jax.jit(lambda p: initial_state(p, optimizer), out_shardings=layout)
    return start(params), f"starting from {words}"


def _other_weights(folder: str, shapes: Any) -> tuple[Any, str]:
    if (Path(folder) / "checkpoints").is_dir():
        run = load_run(folder)
        params, words = run.params, f"the EMA weights of {folder} at step {run.step}"
    else:
        from sagd_jax.models.diffusers_weights import load_diffusers

        try:
            _, params = load_diffusers(folder)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--init_from={folder}: {error}") from error
        words = f"the weights in {folder}"
    flat, expected = (
        {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(tree)}
        for tree in (params, shapes)
    )
    for name in sorted(flat.keys() | expected.keys()):
        if flat.get(name) != expected.get(name):
            raise ConfigError(
                f"--init_from={folder}: {name} has shape {flat.get(name)} there, this config's "
                f"network has {expected.get(name)}"
            )
    return params, words


def _batch_shapes(config: RunConfig, source: Source) -> dict[str, jax.ShapeDtypeStruct]:
    batches = (config.train.steps_per_call, config.train.batch_size)
    one = source.fetch(np.zeros(1, np.int64))
    return {
        name: jax.ShapeDtypeStruct((*batches, *one[name].shape[1:]), one[name].dtype)
        for name in FIELDS
    }


def _with_layout(abstract: Any, layout: Any) -> Any:
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        abstract,
        layout,
    )


def _save(
    checkpoints: Checkpoints, state: State, record: Record, arrays: dict[str, np.ndarray]
) -> None:
    checkpoints.save(
        int(state["step"]),
        {name: state[name] for name in STATE_ITEMS},
        arrays=arrays,
        record=schema.as_dict(record),
    )


def _spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    # Boundaries are multiples of `size` wherever a run was cut, so that it is cut into the same
    # compiled calls.
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield start, end
        start = end


def _due(every: int | None, previous: int, step: int, last: int) -> bool:
    return every is not None and (step // every > previous // every or step == last)


def _averages(pending: list[Any]) -> dict[str, float]:
    host = jax.device_get(pending)
    joined = {name: np.concatenate([m[name] for m in host]) for name in host[0]}
    finite = ~joined["skipped"]
    used = {name: values[finite] for name, values in joined.items()}
    counts = used["quarter_count"].sum(axis=0)
    sums = used["quarter_loss"].sum(axis=0)
    with np.errstate(invalid="ignore"):
        quarters = sums / counts
    result = {
        "loss": float(np.mean(used["loss"])) if finite.any() else math.nan,
        **{f"loss_t{i + 1}of{QUARTERS}": float(q) for i, q in enumerate(quarters)},
        "gradient_norm": float(np.mean(used["gradient_norm"])) if finite.any() else math.nan,
        "skipped": float(np.sum(~finite)),
    }
    return result


def _check_finite(values: dict[str, float], step: int) -> None:
    if math.isnan(values["loss"]):
        raise TrainingError(
            f"every step up to step {step} since the last log line had a loss or gradient that is "
            "not finite, and was skipped; lower config.optimizer.learning_rate or "
            "config.optimizer.clip_norm"
        )


def _check_channels(arrays: dict[str, np.ndarray], source: Source) -> None:
    for name, array in arrays.items():
        if array.shape[-1] not in (1, source.shape[-1]):
            raise ConfigError(
                f"config.{'noise' if name == 'variance' else 'corrupted_noise'}.file: its spectrum "
                f"has {array.shape[-1]} channels, the data has {source.shape[-1]}"
            )


class _Preview:
    """Draws the same grid of samples from the EMA weights, for `config.preview`."""

    def __init__(
        self,
        config: RunConfig,
        model: Any,
        diffusion: Diffusion,
        source: Source,
        mesh: Any,
        workdir: Path,
    ) -> None:
        self._folder = workdir / "previews"
        self._range, self._dtype = source.value_range, source.dtype
        options, count = config.preview, config.preview.num_samples
        label = None
        if config.model.class_conditional:
            label = jnp.arange(count, dtype=jnp.int32) % source.num_classes

        def draw(params: Any) -> jax.Array:
            denoise = factory.denoiser(
                model, params, diffusion, label, project_input=config.model.project_input
            )
            return samplers.sample(
                jax.random.key(config.seed),
                denoise,
                diffusion,
                (count, *source.shape),
                method=options.method,
                num_steps=options.num_steps,
                prediction=config.model.prediction,
            )

        self._draw = jax.jit(draw, out_shardings=sharding.replicated(mesh))

    def check(self, ema: Any) -> None:
        """Raises ValueError, before anything is compiled, for a sampler that cannot run."""
        self._draw.eval_shape(ema)

    def draw(self, ema: Any, step: int) -> np.ndarray:
        raw = denormalise(self._draw(ema), self._range, self._dtype)
        # Floats are shown in the network's range, integers as they are.
        shown = raw if self._dtype == np.uint8 else normalise(raw, self._range)
        picture = pictures.grid(np.asarray(shown))
        if jax.process_index() == 0:
            pictures.write_png(self._folder / f"step_{step:08d}.png", picture)
        return picture
