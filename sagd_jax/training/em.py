"""Rounds of restoring the corrupted examples and training on them, equation (29) of `diffusion/recover.py`.

A round is a run of its own in a folder of the work directory: `round_0` is trained on the data as they are,
with capped levels; its network restores the corrupted examples, by draws along the restoring path, into
`restored_1.npz`; `round_1` starts from its weights and is trained with these in place of the corrupted ones,
and so on. Every part is whole or not there, so the same command goes on where it was stopped. Restored are the
examples that the round comes to, which are not all where its steps are less than a pass over the data.

Where no example is clean, the first round can have no restoring path. It gives posterior means, and the second
starts anew, with the path; from then on there are draws, whose fixed point does not depend on the start.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from sagd_jax import data
from sagd_jax.data.order import indices_of_batches
from sagd_jax.data.restored import write_array, write_restored
from sagd_jax.data.source import Source, denormalise, normalise
from sagd_jax.run.config import EMConfig, RunConfig
from sagd_jax.run.recovery import Restorer
from sagd_jax.run.rounds import round_folder
from sagd_jax.run.saved import Run, load_run
from sagd_jax.show.bars import counted
from sagd_jax.system.schema import ConfigError
from sagd_jax.system.signals import StopRequest
from sagd_jax.training.loop import TrainingError, train

_PIECE = 1024  # examples read, restored and kept at once
_STEPS = 1024  # whose batches are looked at at once


def train_by_em(
    config: RunConfig,
    workdir: os.PathLike[str],
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    stop: StopRequest,
) -> int:
    """Trains, then restores and trains `config.em.rounds` times; arguments and result as of `loop.train`.

    Raises:
      ConfigError: a config without capped levels or a restoring share, or several processes.
    """
    schedule: Any = config.schedule
    if schedule.kind != "capped" or not schedule.restoring_share:
        raise ConfigError(
            f"config.em.rounds={config.em.rounds}: restoring needs config.schedule.kind='capped' and "
            "config.schedule.restoring_share > 0"
        )
    if jax.process_count() > 1 or "://" in os.fspath(workdir):
        raise ConfigError("config.em: it runs in one process, with a local --workdir")
    folder = Path(os.fspath(workdir))
    source = data.open_source(dataclasses.replace(config.data, flip=False, crop_padding=0))
    if source.kinds is None or not source.kinds.any():
        raise ConfigError(
            "config.em: no example is said to be corrupted, so there is none to restore"
        )
    has_clean = bool(np.any(source.kinds == 0))
    status = 0
    for number in range(config.em.rounds + 1):
        own = _of_round(config, folder, number, has_clean)
        place = round_folder(folder, number)
        if number == 0:
            start = init_from
        else:  # without a clean example the first network has no label for the path
            start = str(round_folder(folder, number - 1)) if number > 1 or has_clean else None
        print(f"round {number} of {config.em.rounds}", flush=True)
        status = train(own, place, init_from=start, dry_run=dry_run, stop=stop)
        if status or dry_run or number == config.em.rounds:
            return status
        file = folder / f"restored_{number + 1}.npz"
        if not file.exists():
            index = _coming(_of_round(config, folder, number + 1, has_clean), source)
            if not _restore(own, place, source, index, file, config.em, stop):
                return stop.exit_status or 0
    return status


def _of_round(config: RunConfig, folder: Path, number: int, has_clean: bool) -> RunConfig:
    """The configuration of one round."""
    own = dataclasses.replace(config, em=EMConfig())
    if number:
        file = str(folder / f"restored_{number}.npz")
        return dataclasses.replace(own, data=dataclasses.replace(own.data, restored=file))
    if has_clean:
        return own
    return dataclasses.replace(
        own,
        schedule=dataclasses.replace(own.schedule, restoring_share=0.0),  # type: ignore[call-arg]
    )


def _coming(config: RunConfig, source: Source) -> np.ndarray:
    """The corrupted examples that a round is trained on, in order."""
    corrupted = np.asarray(source.kinds) > 0
    size, last = config.train.batch_size, config.train.num_steps
    if size * last >= len(source):  # a whole pass
        return np.flatnonzero(corrupted)
    comes = np.zeros(len(source), bool)
    for first in range(0, last, _STEPS):
        steps = range(first, min(first + _STEPS, last))
        comes[indices_of_batches(config.seed, len(source), size, steps)] = True
    found = np.flatnonzero(comes & corrupted)
    return found if len(found) else np.flatnonzero(corrupted)


def _restore(
    config: RunConfig,
    workdir: epath.Path,
    source: Source,
    index: np.ndarray,
    file: Path,
    em: EMConfig,
    stop: StopRequest,
) -> bool:
    """Restores examples into a file; False if a signal came first, with what is done kept beside it."""
    start = time.monotonic()
    run = load_run(workdir, allow=(config.model.kind, config.schedule.kind))
    has_path = run.diffusion.schedule.restoring  # type: ignore[attr-defined]
    draws = em.draws if has_path else 1
    num_steps = em.num_steps if has_path else 0
    what = f"{draws} draws each, in {num_steps} steps" if has_path else "posterior means"
    print(f"restoring {len(index)} examples ({what})", flush=True)
    kinds = np.asarray(source.kinds)[index]
    x, done = np.empty((draws, len(index), *source.shape), np.float32), 0
    parts = file.with_name(f"{file.stem}_{run.identity[:8]}")  # of another network are other parts
    parts.mkdir(exist_ok=True)
    with counted(total=draws * len(index), unit="example") as bar:
        for kind in np.unique(kinds):
            restorer = Restorer(
                run,
                kind=int(kind),
                num_steps=num_steps,
                seed=config.seed,
                batch_size=min(config.train.batch_size, len(index)),
            )
            for rows in _pieces(np.flatnonzero(kinds == kind)):
                part = parts / f"{done}.npy"
                if part.exists():
                    x[:, rows] = np.load(part, allow_pickle=False)
                    bar.update(draws * len(rows))
                elif _restore_rows(run, restorer, source, index, rows, done, x, bar, stop):
                    write_array(part, x[:, rows])
                else:
                    return False
                done += len(rows)
    write_restored(file, x, index)
    shutil.rmtree(parts, ignore_errors=True)
    print(
        f"restored {len(index)} examples ({what}) in {time.monotonic() - start:.1f} s: {file}",
        flush=True,
    )
    return True


def _restore_rows(
    run: Run,
    restorer: Restorer,
    source: Source,
    index: np.ndarray,
    rows: np.ndarray,
    first: int,
    x: np.ndarray,
    bar: Any,
    stop: StopRequest,
) -> bool:
    """Fills these rows of x, the examples `index[rows]`; False if a signal came first.

    Args:
      first: number of the first of them among all that are restored.
    """
    batch = source.fetch(index[rows])
    y = np.asarray(normalise(batch["x"], source.value_range))
    labels = batch["label"] if run.model.num_classes else None
    for draw in range(len(x)):
        try:
            done = restorer(
                y,
                labels,
                draw=draw,
                first=first,
                interrupted=lambda: stop.exit_status is not None,
                advance=bar.update,
            )
        except FloatingPointError as error:
            raise TrainingError(f"restoring examples: {error}") from error
        if done is None:
            return False
        x[draw, rows] = np.asarray(denormalise(done, source.value_range, np.float32))
    return True


def _pieces(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE)]
