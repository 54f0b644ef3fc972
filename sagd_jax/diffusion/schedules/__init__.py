"""Schedules: how fast data turn into noise, for all frequencies alike or for each its own way.

`base.py` says what a schedule is, `scalar.py` has those of isotropic diffusion, `spectral.py` what those
with a coefficient per coordinate have in common; `shifts.py`, `blurs.py` and `paths.py` are these; `caps.py`
has the levels of corrupted examples, `learned_paths.py` paths with parameters.
"""

from sagd_jax.diffusion.schedules.base import Schedule
from sagd_jax.diffusion.schedules.blurs import Blurring, Heat, blurring, heat
from sagd_jax.diffusion.schedules.caps import Capped, capped
from sagd_jax.diffusion.schedules.learned_paths import (
    Learned,
    LearnedSchedule,
    LearnedSlope,
    learned,
    learned_slope,
)
from sagd_jax.diffusion.schedules.paths import (
    Hierarchical,
    Moving,
    ShortestPath,
    hierarchical,
    moving,
    shortest_path,
)
from sagd_jax.diffusion.schedules.scalar import (
    KINDS,
    Cosine,
    Edm,
    LinearBeta,
    RectifiedFlow,
    Shifted,
    cosine,
    edm,
    linear_beta,
    rectified_flow,
)
from sagd_jax.diffusion.schedules.shifts import (
    SpectrallyShifted,
    equal_snr,
    flipped_snr,
    shifted,
)
from sagd_jax.diffusion.schedules.spectral import SpectralSchedule

__all__ = [
    "KINDS",
    "Blurring",
    "Capped",
    "Cosine",
    "Edm",
    "Heat",
    "Hierarchical",
    "Learned",
    "LearnedSchedule",
    "LearnedSlope",
    "LinearBeta",
    "Moving",
    "RectifiedFlow",
    "Schedule",
    "Shifted",
    "ShortestPath",
    "SpectralSchedule",
    "SpectrallyShifted",
    "blurring",
    "capped",
    "cosine",
    "edm",
    "equal_snr",
    "flipped_snr",
    "heat",
    "hierarchical",
    "learned",
    "learned_slope",
    "linear_beta",
    "moving",
    "rectified_flow",
    "shifted",
    "shortest_path",
]
