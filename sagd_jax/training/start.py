"""Where a run starts: from its newest checkpoint, from another run's weights, or anew."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath

from sagd_jax.data.fingerprint import difference
from sagd_jax.data.source import Source
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import RunConfig, differences
from sagd_jax.run.denoiser import (
    PATH,
    initial_parameters,
    parameter_shapes,
    with_own_path,
    with_path,
)
from sagd_jax.run.ready import place_of
from sagd_jax.run.record import Record, read_record
from sagd_jax.run.restore import Checkpoint, NoCheckpointError
from sagd_jax.run.saved import load_run
from sagd_jax.system import processes
from sagd_jax.system.compilation_cache import announced
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.fitting import (
    needs_network,
    require_fitting,
    require_the_same_network,
)
from sagd_jax.training.fresh import evaluate
from sagd_jax.training.prepare import Assembled
from sagd_jax.training.step import State, initial_state

STATE_ITEMS = ("params", "ema", "opt_state")


def require_the_same_data(record: Record) -> None:
    """Raises ConfigError on all processes unless the data that each has opened is process 0's."""
    data = record.data
    digest = hashlib.blake2b(repr((data.shape, data.num_examples, data.fingerprint)).encode())
    own = int.from_bytes(digest.digest()[:3])
    same = processes.broadcast(own) == own
    if processes.everywhere(same):
        return
    who = "another process" if same else f"process {jax.process_index()}"
    raise ConfigError(f"config.data: {who} found other data there than process 0 did")


def resume(checkpoints: Checkpoints, prepared: Assembled) -> tuple[State | None, str]:
    """The state of the newest checkpoint and how to say so; None where there is no checkpoint.

    Raises:
      ConfigError: the checkpoints are of another run.
      CheckpointError: none of them is sound.
    """
    try:
        saved = checkpoints.open()
    except NoCheckpointError:
        return None, ""
    record, arrays = prepared.record, prepared.arrays
    before = read_record(saved.record)
    changed = differences(before.config, record.config)
    for f in dataclasses.fields(record.data):
        old, new = getattr(before.data, f.name), getattr(record.data, f.name)
        if f.name == "fingerprint":
            changed += filter(None, [difference(old, new)])
        elif old != new:
            changed.append(f"the data's {f.name} was {old!r}, is {new!r}")
    for name in sorted(arrays.keys() | saved.arrays.keys()):
        if not _equal(arrays.get(name), saved.arrays.get(name)):
            changed.append(f"the noise's {name} is another one")
    if changed:
        raise ConfigError(
            f"{saved.path.parent.parent} holds another run: {'; '.join(changed)}; "
            "use another --workdir, or --init_from to start a new run from its weights"
        )
    return restored(saved, prepared), f"resuming at step {saved.step}"


def _require_no_trained_network(config: RunConfig) -> None:
    if not needs_network(config):
        return
    words = f"kind={config.objective.kind!r}" if config.objective.network else "network=False"
    raise ConfigError(
        f"config.objective.{words}: it begins with the network of a diffusion model; give its "
        "workdir, --init_from=WORKDIR"
    )


def _equal(new: np.ndarray | None, old: np.ndarray | None) -> bool:
    """To rounding: spectra that are estimated from data may differ by it between machines."""
    if new is None or old is None or new.shape != old.shape:
        return False
    return bool(np.allclose(new, old, rtol=1e-5, atol=0))


def restored(saved: Checkpoint, prepared: Assembled) -> State:
    """The whole training state of a checkpoint, laid over the devices of this run."""
    state = saved.restore({name: prepared.state[name] for name in STATE_ITEMS})
    counter = jax.device_put(np.int32(saved.step), prepared.state["step"].sharding)
    return {**state, "step": counter}


def fresh_parameters(prepared: Assembled) -> Any:
    """The network's parameters before step 0: a function of `config.seed`."""
    # A stream of its own: the steps' keys are fold_in(key(seed), step) with step >= 0.
    key = jax.random.fold_in(jax.random.key(prepared.record.config.seed), 2**32 - 1)
    return initial_parameters(prepared.model, key, tuple(prepared.source.shape))


def begin(
    prepared: Assembled, source: Source, init_from: str | None, say: Callable[[str], None]
) -> tuple[State, str]:
    """The state before step 0, fresh or from other weights, and how to say so."""
    model, optimizer, layout = prepared.model, prepared.optimizer, prepared.layout
    shape = tuple(source.shape)
    config = prepared.record.config  # what it names is what its user named
    if init_from is None:
        _require_no_trained_network(config)

        def fresh() -> State:
            params = with_own_path(fresh_parameters(prepared), prepared.diffusion)
            return initial_state(params, optimizer)

        with announced("compiling the initial weights", say):
            state = evaluate(fresh, layout)
        return state, "starting a new run"
    allow = (config.model.kind, config.schedule.kind)
    params, words = _other_weights(init_from, parameter_shapes(model, shape), allow, prepared)
    start = jax.jit(lambda p: initial_state(p, optimizer), out_shardings=layout)
    return start(params), f"starting from {words}"


def _other_weights(
    folder: str, shapes: Any, allow: tuple[str, ...], prepared: Assembled
) -> tuple[Any, str]:
    run, network = None, None
    if (epath.Path(place_of(folder)) / "checkpoints").is_dir():
        run = load_run(folder, allow=allow, mesh=prepared.mesh)
        network = run.model
        params = {name: part for name, part in run.params.items() if name != PATH}
        words = f"the EMA weights of {folder} at step {run.step}"
    elif needs_network(prepared.record.config):
        raise ConfigError(
            f"--init_from={folder}: expected the workdir of a training run, whose process is known"
        )
    else:
        from sagd_jax.models.diffusers_weights import load_diffusers

        try:
            network, params = load_diffusers(folder)
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
    require_the_same_network(network, prepared.model, folder)
    own = with_own_path(params, prepared.diffusion)
    if run is not None and PATH in own:
        before = run.params.get(PATH)
        if before is not None and before.shape == own[PATH].shape:
            own, words = {**own, PATH: before}, f"{words}, with its path"
    if run is not None and needs_network(prepared.record.config):
        require_fitting(run, with_path(prepared.diffusion, own), prepared.record.config, folder)
    return own, words
