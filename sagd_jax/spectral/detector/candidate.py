"""Something that may stand out: where it is, and the bins by which it is measured."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from sagd_jax.spectral.detector.families import Family
from sagd_jax.spectral.detector.lines import Line
from sagd_jax.spectral.detector.runs import Run

DECIBEL = 10 / math.log(10)  # per nat


@dataclasses.dataclass
class Candidate:
    """Attributes:
    kind, view, excess, score, seen_in: as in `finding.py`; excess in nats.
    core: bins in which it is measured; around: those that tell what would be there without it; control:
      as many as in the core, where nothing stands out. All on the half grid.
    sharp, sharp_control: of lines, the bins of core and control weighted as a tone's energy lies in them.
    ratio: of the background in the core over that around.
    line, frequency, run, family, axis: of which kind it is.
    """

    kind: str
    view: str
    excess: float
    score: float
    seen_in: str
    core: np.ndarray
    around: np.ndarray
    control: np.ndarray
    ratio: float = 1.0
    line: Line | None = None
    frequency: tuple[float, ...] = ()
    run: Run | None = None
    family: Family | None = None
    family_number: int = 0
    axis: int = -1
    quiet_score: float = 0.0
    background: np.ndarray | None = None  # of lines: that of the mean power
    edges: tuple[float, float] | None = None  # of a band, once they are fitted
    touched: bool = False  # of runs: whether bins of lines were taken out of them
    sharp: np.ndarray | None = None
    sharp_control: np.ndarray | None = None
    breadth: float = 0.0  # of lines: power three bins away over that of the line
    foremost: float = math.inf  # of lines: power above the background over that of the bins beside
    energies: list[tuple[float, float]] | None = (
        None  # of lines of quiet places, of each channel, with the standard error
    )
