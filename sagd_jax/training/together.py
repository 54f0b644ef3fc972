"""Several runs as one program: their states stacked along a leading axis, their steps mapped over it.

A small network leaves most of an accelerator idle: its steps take as long as it takes to launch them, and
several programs on one device wait for each other. Runs that differ in numbers alone (seeds, data, the
values of spectra) are one computation over stacked arrays, which takes hardly longer than one of them. Each
is what `train.py` makes of its configuration, to rounding, and either goes on where the other was stopped;
but nothing is shown or evaluated on the way, one device is used, and a checkpoint is written at the end
alone, or when a signal comes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from sagd_jax import data
from sagd_jax.data.source import Source
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.models.layers import by_patches
from sagd_jax.run import stacks
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import RunConfig
from sagd_jax.run.denoiser import PATH, with_own_path
from sagd_jax.run.record import identified
from sagd_jax.system import schema
from sagd_jax.system.signals import StopRequest
from sagd_jax.training.divergence import Diverged, Guard
from sagd_jax.training.feed import FIELDS
from sagd_jax.training.few_steps import WithPath
from sagd_jax.training.fitting import needs_network
from sagd_jax.training.fresh import evaluate
from sagd_jax.training.optimizer import learning_rate
from sagd_jax.training.prepare import Assembled, assemble
from sagd_jax.training.progress import Progress, averages
from sagd_jax.training.start import STATE_ITEMS, begin, fresh_parameters, resume
from sagd_jax.training.step import State, initial_state, make_steps

_STEPS = 50  # per compiled call, on an accelerator
_WATCHED = 2  # calls between a step and the look at its metrics


@dataclasses.dataclass(frozen=True)
class Asked:
    """A run that is asked for; the arguments of `training.loop.train`."""

    config: RunConfig
    workdir: Path
    init_from: str | None = None


@dataclasses.dataclass(frozen=True)
class Member:
    """One of several runs, assembled."""

    asked: Asked
    run: Assembled

    @property
    def config(self) -> RunConfig:
        """Its configuration."""
        return self.asked.config


def assembled(asked: Sequence[Asked]) -> list[Member]:
    """Assembles runs; data that several are trained on are opened once.

    Raises:
      ConfigError, DataError: one line.
    """
    sources: list[tuple[Any, Source]] = []
    members = []
    for one in asked:
        source = next((s for config, s in sources if config == one.config.data), None)
        if source is None:
            source = data.open_source(one.config.data)
            sources.append((one.config.data, source))
        run = assemble(one.config, source)
        run = dataclasses.replace(run, record=identified(run.record, source))
        members.append(Member(one, run))
    return members


def groups(members: Sequence[Member]) -> list[list[Member]]:
    """The members in groups that differ in numbers alone, so that a group is one program."""
    return stacks.groups(members, _kind)


def train(group: Sequence[Member], stop: StopRequest, say: Callable[[str], None]) -> list[Member]:
    """Trains the members of one group to the end, or until a signal.

    Args:
      group: one of `groups`.
      stop: looked at between calls; what is reached by then is saved.
      say: takes a line for people.

    Returns:
      Those that were trained to the end. Missing are, after a signal, all; else those whose steps were not
      finite as often in a row as `config.train.max_skipped`: they are for `train.py`, which can go back.
    """
    first = group[0].config
    last = first.train.num_steps
    with contextlib.ExitStack() as resources:
        resources.enter_context(jax.set_mesh(group[0].run.mesh))
        checkpoints = [resources.enter_context(Checkpoints(m.asked.workdir)) for m in group]
        fresh: dict[int, Any] = {}
        states = [_begun(m, c, fresh) for m, c in zip(group, checkpoints, strict=True)]
        begun = {int(state["step"]) for state in states}
        if len(begun) > 1:
            # Cut at different steps: in parts that were cut at the same.
            resources.close()
            parts = [
                [m for m, s in zip(group, states, strict=True) if s["step"] == at] for at in begun
            ]
            return [member for part in parts for member in train(part, stop, say)]
        (step,) = begun
        if step >= last:
            return list(group)
        progress = [
            resources.enter_context(
                Progress(
                    epath.Path(m.asked.workdir),
                    step,
                    last,
                    tensorboard=False,
                    active=True,
                    quiet=True,
                )
            )
            for m in group
        ]
        pool = resources.enter_context(ThreadPoolExecutor(os.cpu_count()))
        stacked, step, failed = _steps(group, states, step, progress, pool, stop, say)
        for i, (member, place) in enumerate(zip(group, checkpoints, strict=True)):
            if i in failed:
                say(f"{member.asked.workdir}: {failed[i]}; train it alone")
                continue
            place.save(
                step,
                {name: _one(stacked[name], i, member.run.layout[name]) for name in STATE_ITEMS},
                arrays=member.run.arrays,
                record=schema.as_dict(member.run.record),
            )
        for place in checkpoints:
            place.wait()
    return [m for i, m in enumerate(group) if i not in failed] if step == last else []


def _steps(
    group: Sequence[Member],
    states: Sequence[State],
    step: int,
    progress: Sequence[Progress],
    pool: Executor,
    stop: StopRequest,
    say: Callable[[str], None],
) -> tuple[Any, int, dict[int, str]]:
    """The stacked states on the host after the steps, how many these are, and which went wrong how."""
    config = group[0].config
    last = config.train.num_steps
    size = 1 if jax.default_backend() == "cpu" else min(_STEPS, config.log.every)
    streams, which = _streams(group, step)
    # Leaves alone: stacked, they are no process.
    processes = stacks.stacked([jax.tree.leaves(_process(m.run.objective)) for m in group])
    seeds = jnp.asarray([m.config.seed for m in group], jnp.uint32)
    advance = jax.jit(functools.partial(_advance, group[0]), donate_argnums=0)
    rate = learning_rate(config.optimizer, last)
    guards = [Guard(config.train.max_skipped, step) for _ in group]
    failed: dict[int, str] = {}
    pending: list[Any] = []
    state = stacks.stacked(states)
    while step < last and stop.exit_status is None:
        previous, step = step, min(last, (step // size + 1) * size)
        batches = _next(streams, step - previous, pool)
        state, metrics = advance(state, processes, seeds, batches, which)
        pending.append(metrics)
        if step // config.log.every == previous // config.log.every and step < last:
            continue
        seen = jax.device_get(pending)
        pending = []
        for i, guard in enumerate(guards):
            own = [jax.tree.map(lambda values, i=i: values[i], metrics) for metrics in seen]
            try:
                for metrics in own:
                    guard.watch(metrics)
                guard.check(0)
            except Diverged as diverged:
                failed.setdefault(i, f"steps from {diverged.steps[0]} on were not finite")
            values = averages(own) | {"learning_rate": float(rate(step - 1))}
            progress[i].log(step, values, images=config.train.batch_size, waited=0.0)
        losses = [float(np.mean(metrics["loss"])) for metrics in seen[-1:]]
        say(f"step {step} of {last}: {len(group)} runs, mean loss {losses[-1]:.4f}")
    return jax.device_get(state), step, failed


def _advance(
    member: Member, states: Any, processes: Any, seeds: jax.Array, batches: Any, which: jax.Array
) -> Any:
    """The steps of all members, as those of one with another process, seed and batches."""

    structure = jax.tree.structure(_process(member.run.objective))

    def one(state: State, leaves: Any, seed: jax.Array, own: jax.Array) -> Any:
        process = jax.tree.unflatten(structure, leaves)
        objective = _with_process(member.run.objective, process)
        steps = make_steps(member.config, objective, member.run.optimizer, seed)
        return steps(state, jax.tree.map(lambda stack: stack[own], batches))

    with by_patches():
        return jax.vmap(one)(states, processes, seeds, which)


def _kind(member: Member) -> Any:
    """What all members of a group have in common; to be compared, not hashed."""
    config, run = member.config, member.run
    leaves, structure = jax.tree.flatten(_process(run.objective))
    return (
        structure,
        [np.shape(leaf) for leaf in leaves],
        type(run.objective),
        run.model,
        config.train,
        config.optimizer,
        config.objective,
        config.model,
        config.log.every,
        config.corrupted_noise.kind,
        run.record.data.value_range,
        run.source.shape,
        run.source.dtype,
    )


def _process(objective: Any) -> Diffusion:
    return objective.network.diffusion if isinstance(objective, WithPath) else objective.diffusion


def _with_process(objective: Any, process: Diffusion) -> Any:
    if isinstance(objective, WithPath):
        return dataclasses.replace(objective, network=_with_process(objective.network, process))
    return dataclasses.replace(objective, diffusion=process)


def _begun(member: Member, checkpoints: Checkpoints, fresh: dict[int, Any]) -> State:
    """The state that a member goes on from; `fresh` keeps the first weights of each seed."""
    run, config = member.run, member.config
    state, _ = resume(checkpoints, run)
    if state is not None:
        return state
    if member.asked.init_from is not None or needs_network(config):
        return begin(run, run.source, member.asked.init_from, lambda words: None)[0]
    if config.seed not in fresh:
        layout = {name: part for name, part in run.layout["params"].items() if name != PATH}
        fresh[config.seed] = evaluate(lambda: fresh_parameters(run), layout)
    return initial_state(with_own_path(fresh[config.seed], run.diffusion), run.optimizer)


def _streams(group: Sequence[Member], step: int) -> tuple[list[Iterator[Any]], jax.Array]:
    """The batches that members draw, each stream of them once, and whose are which."""
    streams: list[tuple[Any, Iterator[Any]]] = []
    which = []
    for member in group:
        config, source = member.config, member.run.source
        kind = (config.data, config.seed, type(source), config.schedule if source.kinds is not None else None)  # fmt: skip
        own = next((i for i, (other, _) in enumerate(streams) if other == kind), None)
        if own is None:
            own = len(streams)
            batches = data.batches(
                source,
                seed=config.seed,
                batch_size=config.train.batch_size,
                start_step=step,
                stop_step=config.train.num_steps,
                num_threads=1,
                prefetch=2,
            )
            streams.append((kind, iter(batches)))
        which.append(own)
    return [batches for _, batches in streams], jnp.asarray(which)


def _next(streams: Sequence[Iterator[Any]], count: int, pool: Executor) -> dict[str, np.ndarray]:
    """The next batches of all streams: `(stream, step, batch, ...)`."""

    def stack(stream: Iterator[Any]) -> dict[str, np.ndarray]:
        batches = [next(stream) for _ in range(count)]
        return {name: np.stack([batch[name] for batch in batches]) for name in FIELDS}

    stacks = list(pool.map(stack, streams))
    return {name: np.stack([own[name] for own in stacks]) for name in FIELDS}


def _one(stacked: Any, index: int, layout: Any) -> Any:
    """A member's part of a stacked tree."""
    return jax.device_put(jax.tree.map(lambda values: np.asarray(values)[index], stacked), layout)
