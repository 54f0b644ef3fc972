"""The samples that an evaluation draws: one set for each number of steps, in files as sample.py's.

Sample i is a function of (seed, i), as there. Several processes share the files of a set between them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from sagd_jax.programs import sample_files as files
from sagd_jax.run.draw import Drawer, is_bounded
from sagd_jax.run.saved import Run
from sagd_jax.show.bars import counted
from sagd_jax.system.commandline import Parser
from sagd_jax.system.places import writing
from sagd_jax.system.schema import as_config_error

_SHARD = 1000  # samples in a file: what an interruption can lose


class Samples(Protocol):
    """Sets of samples by name."""

    def __iter__(self) -> Iterator[str]: ...

    def draw(self, name: str) -> bool:
        """Makes what is missing of a set; False if interrupted."""
        ...

    def read(self, name: str) -> np.ndarray:
        """The samples of a whole set."""
        ...


class DrawnSamples:
    """Sets of samples by their numbers of steps.

    Args:
      parser: for what the flags have that this run does not.
      flags: of the program; `clip` is set if it was left open.
      sampler, grid: as the flags choose.
      out: folder of the evaluation.
      interrupted: asked before each batch.
    """

    def __init__(
        self,
        parser: Parser,
        flags: argparse.Namespace,
        run: Run,
        mesh: Mesh,
        sampler: Any,
        grid: Any,
        out: Path,
        interrupted: Callable[[], bool],
    ) -> None:
        classes = run.model.num_classes
        if flags.label is not None and not classes:
            parser.error(f"--class={flags.label}: this network was trained without classes")
        if flags.label is not None and not 0 <= flags.label < classes:
            parser.error(f"--class={flags.label}: expected 0 to {classes - 1}")
        if flags.guidance != 1 and not classes:
            parser.error(f"--guidance={flags.guidance}: this network was trained without classes")
        if flags.clip and run.record.data.kind in ("latents", "field"):
            parser.error(f"--clip: the values of {run.record.data.kind} have no bounds")
        if flags.clip is None:
            flags.clip = is_bounded(run.record, run.diffusion)
        self._run, self._out, self._interrupted = run, out, interrupted
        self._count, self._drawers = flags.num_samples, {}
        for steps in flags.num_steps:
            with as_config_error(f"--times={flags.times}"):
                times = grid.times(run.diffusion.schedule, steps)
            drawer = Drawer(
                run.record,
                run.model,
                run.diffusion,
                mesh,
                sampler=sampler,
                num_steps=steps,
                times=times,
                seed=flags.seed,
                batch_size=min(flags.batch_size, flags.num_samples, _SHARD),
                label=flags.label,
                guidance_scale=flags.guidance,
                clip=flags.clip,
            )
            with as_config_error(f"--method={flags.method}"):
                drawer.check(run.params)
            self._drawers[str(steps)] = drawer

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawers)

    def draw(self, name: str) -> bool:
        """Draws this process's share of a set that is not in files yet; False if interrupted."""
        drawer, data, labelled = (
            self._drawers[name],
            self._run.record.data,
            bool(self._run.model.num_classes),
        )
        me, everyone = jax.process_index(), jax.process_count()
        mine = self._files(name)[me::everyone]
        total = sum(last - first for _, first, last in mine)
        with counted(total=total, unit="sample", shown=me == 0) as bar:
            for path, first, last in mine:
                if files.is_whole(path, last - first, data, labelled):
                    bar.update(last - first)
                    continue
                samples = drawer(
                    self._run.params,
                    first,
                    last,
                    interrupted=self._interrupted,
                    advance=bar.update,
                )
                if samples is None:
                    return False
                with writing(f"--out={self._out}"):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files.write_npz(path, samples, drawer.labels(first, last) if labelled else None)
        return True

    def read(self, name: str) -> np.ndarray:
        """The samples of a whole set."""
        return np.concatenate([files.read_samples(path) for path, _, _ in self._files(name)])

    def _files(self, name: str) -> list[tuple[Path, int, int]]:
        return _files_of(self._out, int(name), self._count)


def write(out: Path, num_steps: int, samples: np.ndarray, run: Run) -> None:
    """Writes a whole set that was drawn elsewhere, as `DrawnSamples` finds it.

    Args:
      out: folder of the evaluation.
      samples: from the first one on, each class in turn where there are any.
    """
    classes = run.model.num_classes
    for path, first, last in _files_of(out, num_steps, len(samples)):
        path.parent.mkdir(parents=True, exist_ok=True)
        labels = (np.arange(first, last) % classes).astype(np.int32) if classes else None
        files.write_npz(path, samples[first:last], labels)


def are_written(out: Path, num_steps: int, count: int, run: Run) -> bool:
    """Whether a whole set is there."""
    return all(
        files.is_whole(path, last - first, run.record.data, bool(run.model.num_classes))
        for path, first, last in _files_of(out, num_steps, count)
    )


def _files_of(out: Path, num_steps: int, count: int) -> list[tuple[Path, int, int]]:
    """The files of a set, each with its first sample and the one after the last."""
    folder = out / "samples" / f"steps_{num_steps:04d}"
    return [(folder / file, first, last) for file, first, last in files.shards_of(0, count, _SHARD)]


class GivenSamples:
    """One set of samples that others drew, with the same face."""

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples

    def __iter__(self) -> Iterator[str]:
        return iter(["samples"])

    def draw(self, name: str) -> bool:
        """Nothing is to be done."""
        return True

    def read(self, name: str) -> np.ndarray:
        """The samples."""
        return self._samples


class FilteredSamples:
    """The sets of another, each as a function makes it."""

    def __init__(self, samples: Samples, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self._samples, self._change = samples, change

    def __iter__(self) -> Iterator[str]:
        return iter(self._samples)

    def draw(self, name: str) -> bool:
        """As of the sets that are changed."""
        return self._samples.draw(name)

    def read(self, name: str) -> np.ndarray:
        """The samples, changed."""
        return self._change(self._samples.read(name))
