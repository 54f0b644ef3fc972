"""The sampler that the flags of a program choose for a run: a consistency model has one of its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sagd_jax.diffusion.consistency import NUM_STEPS, Multistep
from sagd_jax.diffusion.samplers import SAMPLERS, Sampler
from sagd_jax.system import kinds
from sagd_jax.system.commandline import Parser, chosen_kind

if TYPE_CHECKING:
    from sagd_jax.run.saved import Run

DEFAULT_METHOD, DEFAULT_STEPS = "ddim", 50


def asked_sampler(parser: Parser, flags: argparse.Namespace) -> Sampler:
    """The sampler of a diffusion model, so that wrong flags are refused before a run is read.

    `flags.method` may be None, for the default one, and stays as it is.
    """
    own = argparse.Namespace(**{**vars(flags), "method": flags.method or DEFAULT_METHOD})
    return chosen_kind(parser, own, SAMPLERS, "method")


def sampler_of(
    parser: Parser, flags: argparse.Namespace, run: Run, asked: Sampler
) -> tuple[Sampler, int]:
    """The sampler for a run, `asked` unless it is a consistency model, and its steps by default.

    Puts its name into `flags.method`; refuses flags that a consistency model has no use for.
    """
    if run.config.objective.kind != "consistency":
        flags.method = flags.method or DEFAULT_METHOD
        return asked, DEFAULT_STEPS
    options = [f"--{name}={getattr(flags, name)}" for name in kinds.users(SAMPLERS)
               if getattr(flags, name) != parser.get_default(name)]  # fmt: skip
    given = [f"--method={flags.method}"] if flags.method else options
    if given:
        parser.error(
            f"{given[0]}: this checkpoint is a consistency model, which has a way of its own; leave it "
            f"out (--num_steps=1, 2 or 4; default {NUM_STEPS})"
        )
    if flags.guidance != 1:
        parser.error(
            f"--guidance={flags.guidance:g}: this checkpoint is a consistency model, whose jumps are not "
            "to be extrapolated; leave it out"
        )
    flags.method = "consistency"
    return Multistep(), NUM_STEPS
