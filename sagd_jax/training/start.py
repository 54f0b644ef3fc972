"""Where a run starts: from its newest checkpoint, from another run's weights, or anew."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from etils import epath

from sagd_jax.data.source import Source
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import differences
from sagd_jax.run.denoiser import initial_parameters, parameter_shapes
from sagd_jax.run.record import read_record
from sagd_jax.run.restore import Checkpoint, NoCheckpointError
from sagd_jax.run.saved import load_run
from sagd_jax.system.schema import ConfigError
from sagd_jax.training.prepare import Prepared
from sagd_jax.training.step import State, initial_state

STATE_ITEMS = ("params", "ema", "opt_state")


def resume(checkpoints: Checkpoints, prepared: Prepared) -> tuple[State | None, str]:
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
    return restored(saved, prepared), f"resuming at step {saved.step}"


def restored(saved: Checkpoint, prepared: Prepared) -> State:
    """The whole training state of a checkpoint, laid over the devices of this run."""
    state = saved.restore({name: prepared.state[name] for name in STATE_ITEMS})
    counter = jax.device_put(np.int32(saved.step), prepared.state["step"].sharding)
    return {**state, "step": counter}


def begin(prepared: Prepared, source: Source, init_from: str | None) -> tuple[State, str]:
    """The state before step 0, fresh or from other weights, and how to say so."""
    model, optimizer, layout = prepared.model, prepared.optimizer, prepared.layout
    shape = tuple(source.shape)
    if init_from is None:

        def fresh(key: jax.Array) -> State:
            return initial_state(initial_parameters(model, key, shape), optimizer)

        # A stream of its own: the steps' keys are fold_in(key(seed), step) with step >= 0.
        key = jax.random.fold_in(jax.random.key(prepared.record.config.seed), 2**32 - 1)
        return jax.jit(fresh, out_shardings=layout)(key), "starting a new run"
    config = prepared.record.config  # what it names is what its user named
    allow = (config.model.kind, config.schedule.kind)
    params, words = _other_weights(init_from, parameter_shapes(model, shape), allow)
    start = jax.jit(lambda p: initial_state(p, optimizer), out_shardings=layout)
    return start(params), f"starting from {words}"


def _other_weights(folder: str, shapes: Any, allow: tuple[str, ...]) -> tuple[Any, str]:
    if (epath.Path(folder) / "checkpoints").is_dir():
        run = load_run(folder, allow=allow)
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
