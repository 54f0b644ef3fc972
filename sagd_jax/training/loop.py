"""The training loop: from a configuration and a work directory to a trained network.

A run is a function of its configuration: batch k and the key of step k follow from the seed, so
stopping anywhere and running the same command again gives the same weights, bit for bit, on the same
machine and mesh.

With several processes every one runs this same loop. What the loop decides by, it decides from
numbers that are the same on all (the metrics, an agreement on the signals), so that none ever waits
for a step that another does not take. It looks at them two calls late: by then they are there, and
the devices are never idle.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from typing import Any

import jax
from etils import epath

from sagd_jax import data
from sagd_jax.data.order import batch_indices
from sagd_jax.data.source import Source
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import RunConfig
from sagd_jax.run.restore import CheckpointError, NoCheckpointError
from sagd_jax.run.rounds import CHECKPOINTS_FOLDER
from sagd_jax.system import exits, schema
from sagd_jax.system.compilation_cache import announced
from sagd_jax.system.errors import ForPeople
from sagd_jax.system.files import writable, write_whole
from sagd_jax.system.processes import Agreement
from sagd_jax.system.signals import StopRequest
from sagd_jax.system.watchdog import Watchdog
from sagd_jax.training.actions import Action, Moment
from sagd_jax.training.divergence import Diverged, Guard
from sagd_jax.training.feed import Feed
from sagd_jax.training.optimizer import learning_rate, rescale
from sagd_jax.training.prepare import Prepared, prepare
from sagd_jax.training.progress import BOARD_FOLDER, METRICS_FILE, Progress, averages
from sagd_jax.training.start import STATE_ITEMS, begin, require_the_same_data, restored, resume
from sagd_jax.training.step import State, steps_per_call
from sagd_jax.training.summary import summarise

LAG = 2  # calls between a step and the look at its metrics
DIVERGED_FILE = "diverged.json"


class TrainingError(ForPeople, RuntimeError):
    """Training cannot go on; the message is one line."""


def train(
    config: RunConfig,
    workdir: os.PathLike[str],
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    stop: StopRequest | None = None,
) -> int:
    """Trains until `config.train.num_steps`, from the newest checkpoint in `workdir` if there is one.

    Args:
      config: the run.
      workdir: where checkpoints, metrics, previews and the report go.
      init_from: another work directory, or a diffusers folder, whose (EMA) weights a new run starts
        from; a resumed run does not read it again.
      dry_run: print what would be trained, and train nothing.
      stop: entered already, for a caller that catches signals from its own start on.

    Returns:
      The exit status: 0 when finished, else one of `system/exits.py`.

    Raises:
      PlaceError, ConfigError, DataError, CheckpointError, TrainingError: one line each.
    """
    if stop is None:
        with StopRequest("train") as own:
            return train(config, workdir, init_from=init_from, dry_run=dry_run, stop=own)
    workdir = epath.Path(workdir)
    _require_places(config, workdir)
    source = data.open_source(config.data)
    prepared = prepare(config, source)
    main = jax.process_index() == 0
    if main:
        words = summarise(
            config,
            source,
            prepared.model,
            prepared.diffusion,
            prepared.state,
            prepared.mesh,
            prepared.steps.held,
        )
        print(words, flush=True)
    require_the_same_data(prepared.record)
    if dry_run:
        return 0
    with (
        jax.set_mesh(prepared.mesh),
        Checkpoints(
            workdir, keep=config.checkpoint.keep, keep_every=config.checkpoint.keep_every
        ) as checkpoints,
    ):
        state, origin = resume(checkpoints, prepared)
        if state is None:
            state, origin = begin(
                prepared,
                source,
                init_from,
                functools.partial(print, flush=True) if main else _silent,
            )
        if main:
            print(f"{origin}; {workdir}", flush=True)
        try:
            return _Loop(config, prepared.source, prepared, checkpoints, workdir, stop).run(state)
        except jax.errors.JaxRuntimeError as error:
            exits.leave_if_peers_are_lost(error)
            raise


def _require_places(config: RunConfig, workdir: epath.Path) -> None:
    """Raises PlaceError where something that the run would write cannot be written."""
    writable(workdir, "--workdir")
    folders = [CHECKPOINTS_FOLDER]
    folders += ["previews"] if config.preview.every else []
    folders += ["report"] if config.report.every else []
    folders += [BOARD_FOLDER] if config.log.tensorboard else []
    for name in folders:
        writable(workdir / name)
    for name in (METRICS_FILE, DIVERGED_FILE):
        writable(workdir / name, folder=False)


def _silent(words: str) -> None:
    """What the processes say that are not the first."""


class _Loop:
    """The steps of one run in this process, from a state on."""

    def __init__(
        self,
        config: RunConfig,
        source: Source,
        prepared: Prepared,
        checkpoints: Checkpoints,
        workdir: epath.Path,
        stop: StopRequest,
    ) -> None:
        self.config, self.source, self.prepared = config, source, prepared
        self.checkpoints, self.workdir, self.stop = checkpoints, workdir, stop
        self.main = jax.process_index() == 0
        self.alone = jax.process_count() == 1
        self.last = config.train.num_steps
        self.rollbacks = config.train.rollbacks
        self.went_back: list[int] = []
        self.compiled: set[Any] = set()  # lengths of calls, and actions

    def run(self, state: State) -> int:
        """Trains to the end, or until a signal; returns the exit status."""
        step = int(state["step"])
        if step >= self.last:
            if self.main:
                print(f"nothing to do: step {step} of {self.last} is reached", flush=True)
            return 0
        options = self.config.watchdog
        progress = Progress(
            self.workdir,
            step,
            self.last,
            tensorboard=self.config.log.tensorboard,
            active=self.main,
        )
        with progress, Watchdog(options.warn_after, options.exit_after) as self.watchdog:
            while True:
                try:
                    return self._steps(state, progress)
                except Diverged as diverged:
                    del state
                    state = self._roll_back(diverged, progress)

    def _steps(self, state: State, progress: Progress) -> int:
        config = self.config
        step = saved = int(state["step"])
        schedule = learning_rate(config.optimizer, self.last)
        size = steps_per_call(config.train)
        feed = Feed(
            self.source,
            config,
            self.prepared.batches["x"].sharding,
            _spans(step, self.last, size),
            self.prepared.rows,
        )
        agree = Agreement(LAG)
        guard = Guard(config.train.max_skipped, step)
        pending = progress.held(step)
        status = 0
        with feed:
            while step < self.last and not status:
                if feed.empty:
                    # Until the step before is done nobody waits for data. On a CPU they wait for it, since the
                    # same cores make both.
                    jax.block_until_ready(pending[-1:])
                self.watchdog.begin(f"waiting for the data of step {step}")
                batches = feed.next(lambda: self.alone and self.stop.exit_status is not None)
                if batches is None:
                    status = self.stop.exit_status or 0
                    break
                previous = step
                step = min(self.last, (previous // size + 1) * size)
                first = step - previous not in self.compiled
                self.watchdog.begin(
                    f"{'compiling and ' if first else ''}running step {previous} (waiting for this "
                    "process's devices, or for another process)"
                )
                if first:
                    state, metrics = self._first_call(state, batches, step - previous, progress)
                    progress.restart_clock(step, feed.waited)
                else:
                    state, metrics = self.prepared.steps(state, batches)
                pending.append(metrics)
                guard.watch(metrics)
                progress.advance(step)
                status = agree(self.stop.exit_status or 0)
                guard.check(LAG)
                if _due(config.log.every, previous, step, self.last):
                    guard.check(0)
                    values = averages(pending)
                    pending = []
                    values["learning_rate"] = float(schedule(step - 1))
                    if self.alone:  # several ask together, before they save
                        self.checkpoints.require_workdir()
                    progress.log(step, values, images=config.train.batch_size, waited=feed.waited)
                if _due(config.checkpoint.every, previous, step, self.last):
                    guard.check(0)
                    # In a row of skipped steps the weights are those that a rollback must not find.
                    if guard.healthy or step == self.last:
                        progress.hold(step, pending)
                        saved = self._save(state, step, saved)
                for action in self.prepared.actions:
                    if _due(action.every, previous, step, self.last) and not status:
                        status = self._act(action, state, step, agree, progress)
                        progress.restart_clock(step, feed.waited)
            guard.check(0)
        self.watchdog.begin("saving")
        if status and saved < step and guard.healthy:
            progress.hold(step, pending)
            saved = self._save(state, step, saved)
        try:
            self.checkpoints.wait()
        except CheckpointError as error:
            raise CheckpointError(f"stopped at step {step}: {error}") from error
        if saved < step and guard.healthy:
            raise CheckpointError(f"step {step} is reached but could not be saved; see above")
        for action in self.prepared.actions:
            action.finish(self.workdir, self.main)
        self._say_goodbye(step, saved, status)
        return status

    def _first_call(
        self, state: State, batches: Any, length: int, progress: Progress
    ) -> tuple[State, Any]:
        """The first call of so many steps, which compiles."""
        what = "the training step" if length == 1 else f"{length} training steps"
        with announced(f"compiling {what}", progress.say):
            state, metrics = self.prepared.steps(state, batches)
            jax.block_until_ready(metrics)
        self.compiled.add(length)
        self.stop.nothing_to_save = False
        return state, metrics

    def _say_goodbye(self, step: int, saved: int, status: int) -> None:
        seconds = self.stop.seconds_since()  # 0: another process got the signal
        after = f"{seconds:.1f} s after the signal" if seconds else "after another process's signal"
        if saved < step:
            after = f"up to step {saved} (the steps since then were not finite), {after}"
        if not status:
            words = f"finished {step} steps; checkpoint in {self.workdir}"
        elif self.main:
            words = f"stopped at step {step} of {self.last}, saved {after}; run the same command to go on"
        else:
            words = f"process {jax.process_index()}: stopped at step {step}, saved {after}"
        if self.main or (status and seconds):
            print(words, flush=True)

    def _act(
        self, action: Action, state: State, step: int, agree: Agreement, progress: Progress
    ) -> int:
        """Lets an action do its work; returns the exit status if a signal ended that."""
        self.watchdog.begin(f"{action.doing} of step {step}")
        status = 0

        def interrupted() -> bool:
            nonlocal status
            status = agree(self.stop.exit_status or 0)
            return bool(status)

        jax.block_until_ready(state["params"])
        self.checkpoints.require_workdir()
        moment = Moment(step, state, self.workdir, progress, self.main, interrupted)
        if action in self.compiled or not action.compiles:
            action(moment)
        else:
            with announced(f"compiling, then {action.doing}", progress.say, "done"):
                action(moment)
            self.compiled.add(action)
        return status

    def _save(self, state: State, step: int, saved: int) -> int:
        """Starts saving; returns the newest step that is saved or on its way."""
        self.watchdog.begin(f"saving step {step}")
        # The first error may be that of the save before, which only shows now: so it is tried twice.
        for _ in range(2):
            try:
                self.checkpoints.save(
                    step,
                    {name: state[name] for name in STATE_ITEMS},
                    arrays=self.prepared.arrays,
                    record=schema.as_dict(self.prepared.record),
                )
                return step
            except CheckpointError as error:
                if self.config.checkpoint.on_error == "stop":
                    raise
                if self.main:
                    print(f"going on in spite of an error: {error}", flush=True)
        return saved

    def _roll_back(self, diverged: Diverged, progress: Progress) -> State:
        """The newest checkpoint with a smaller learning rate; TrainingError if there is none left."""
        steps = diverged.steps
        with_indices = {
            str(step): batch_indices(
                self.config.seed, len(self.source), self.config.train.batch_size, step
            ).tolist()
            for step in steps
        }
        first = with_indices[str(steps[0])]
        shown = ", ".join(map(str, first[:8])) + (", ..." if len(first) > 8 else "")
        try:
            # The one from which the first of these steps was made may be beyond saving already.
            saved = self.checkpoints.go_back(before=steps[0])
            good = f"the last good checkpoint is {saved.path}"
        except (NoCheckpointError, CheckpointError) as error:
            saved, good = None, f"there is no checkpoint to go back to ({error})"
        if self.main:
            entry = {"steps": steps, "indices": with_indices, "checkpoint": saved and saved.step}
            write_whole(self.workdir / DIVERGED_FILE, json.dumps(entry) + "\n")
        words = (
            f"steps {steps[0]} to {steps[-1]} in a row had a loss or gradient that is not finite; "
            f"step {steps[0]} was on examples {shown} (all in {self.workdir / DIVERGED_FILE}); {good}"
        )
        if saved is None or not self.rollbacks:
            raise TrainingError(
                f"{words}; lower config.optimizer.learning_rate or clip_norm, or let it go back by "
                "itself: config.train.rollbacks"
            )
        self.rollbacks -= 1
        self.went_back.append(saved.step)
        state = restored(saved, self.prepared)
        # A second time to the same checkpoint, which knows nothing of the first.
        factor = self.config.train.rollback_factor ** self.went_back.count(saved.step)
        state["opt_state"] = jax.jit(
            lambda opt_state: rescale(opt_state, factor),
            out_shardings=self.prepared.layout["opt_state"],
        )(state["opt_state"])
        progress.rewind(saved.step)
        if self.main:
            print(f"{words}; going on from there, learning rate times {factor:g}", flush=True)
        return state


def _spans(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    # Boundaries are multiples of `size` wherever a run was cut, so that it is cut into the same
    # compiled calls.
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield start, end
        start = end


def _due(every: int | None, previous: int, step: int, last: int) -> bool:
    return every is not None and (step // every > previous // every or step == last)
