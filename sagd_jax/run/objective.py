"""The section `config.objective`: what the network is trained on, and what a learned path is trained on."""

from __future__ import annotations

import dataclasses

from sagd_jax.diffusion import consistency
from sagd_jax.system.schema import field

OBJECTIVES = ("denoising", "consistency", "bound")
PATH_OBJECTIVES = ("steps", "variance", "frozen")
_CONSISTENCY = {"kind": ("consistency",)}


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The loss of the network and, under a learned schedule, of its path."""

    kind: str = field(
        "denoising",
        "denoising; consistency, from a diffusion model by --init_from; or the variational bound",
        choices=OBJECTIVES,
    )
    pairs: str = field(
        "angle",
        "how r is made of t: on arctan(sigma / alpha), or on their ratio as in the source",
        choices=consistency.POSITIONS,
        only=_CONSISTENCY,
    )
    q: float = field(
        4.0, "r is 1 - q^-(stage + 1) of the way to t, stage 0 first", above=1, only=_CONSISTENCY
    )
    stages: int = field(4, "stages of ever closer pairs", low=1, high=64, only=_CONSISTENCY)
    stage_steps: int = field(500, "steps of a stage", low=1, only=_CONSISTENCY)
    norm: str = field(
        "pseudo_huber",
        "of the difference of two times",
        choices=consistency.NORMS,
        only=_CONSISTENCY,
    )
    huber_c: float = field(
        0.0,
        "where the pseudo-Huber norm turns from a square into a distance; 0: a distance",
        low=0,
        only={"norm": ("pseudo_huber",)},
    )
    weighting: str = field(
        "angle",
        "what the loss is divided by: the difference of the angle, of the ratio, or 1",
        choices=consistency.WEIGHTINGS,
        only=_CONSISTENCY,
    )
    bound_steps: int | None = field(
        None,
        "T of the bound that the network is trained on; None: the continuous one",
        low=1,
        only={"kind": ("bound",)},
    )
    path: str = field(
        "steps",
        "of a learned schedule: trained on the bound of path_steps steps, on the variance of the "
        "continuous one, or frozen",
        choices=PATH_OBJECTIVES,
    )
    path_steps: int = field(8, "steps that the path is made for", low=1, only={"path": ("steps",)})
    path_learning_rate: float = field(
        1e-2,
        "of the path, by Adam, constant",
        above=0,
        only={"path": ("steps", "variance")},
    )
    network: bool = field(
        True, "whether the network is trained; False: the path of a learned schedule alone"
    )
