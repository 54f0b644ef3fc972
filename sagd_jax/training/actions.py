"""Actions: what the training loop does every so many steps besides training.

The loop knows no action by name. It asks each that is due, in turn, with all processes; `prepare.py`
lists them.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
from etils import epath
from jax.sharding import Mesh

from sagd_jax.data.source import Source
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.run.record import Record
from sagd_jax.training.objectives import Objective
from sagd_jax.training.progress import Progress
from sagd_jax.training.step import State


@dataclasses.dataclass(frozen=True)
class Parts:
    """What actions are built from: the parts of a run that can start."""

    record: Record
    source: Source
    model: nn.Module
    diffusion: Diffusion
    objective: Objective
    mesh: Mesh


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment of the run, between two steps.

    Attributes:
      step: steps done.
      state: the training state, whose arrays are donated to the next step.
      workdir: of the run.
      progress: numbers and pictures for people; it writes in the first process alone.
      is_first: whether this is the first process, the one that writes files.
      interrupted: whether a signal to stop has arrived; all processes ask equally often, and an
        action that takes seconds should ask now and then, and end.
    """

    step: int
    state: State
    workdir: epath.Path
    progress: Progress
    is_first: bool
    interrupted: Callable[[], bool]


class Action(abc.ABC):
    """Something to do every `every` steps, and after the last one; never, if that is None."""

    every: int | None
    doing: str  # in words, for who waits: "drawing the samples"
    compiles = True  # the first time, which is said

    def check(self, state: Any) -> None:
        """Raises ValueError for what cannot work, given the state's shapes; nothing is compiled."""
        return None

    def finish(self, workdir: epath.Path, is_first: bool) -> None:
        """Once, when the run ends or is stopped: its last checkpoint is complete."""
        return None

    @abc.abstractmethod
    def __call__(self, moment: Moment) -> None:
        """Does it, in every process."""
