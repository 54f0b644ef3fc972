"""What sample.py shows besides the samples: their way from noise as a GIF, and what their spectrum is held to."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from sagd_jax.system.commandline import Parser

if TYPE_CHECKING:
    from sagd_jax.run.draw import Drawer
    from sagd_jax.run.profiles import Profile
    from sagd_jax.run.saved import Run

WAYS, FRAMES = 16, 60  # samples and states that --gif shows, at most
MOST_STATES = 2**26  # numbers that it holds at once
GIF = "trajectory.gif"


def data_spectrum(workdir: str) -> Profile | None:
    """The spectrum of the run's data, which training has left beside its previews; None without one."""
    from etils import epath

    from sagd_jax.run import profiles

    file = epath.Path(workdir).expanduser() / profiles.FOLDER / profiles.DATA_FILE
    try:
        return profiles.read(file)
    except (OSError, ValueError):
        return None


def check_ways(parser: Parser, flags: argparse.Namespace, run: Run) -> None:
    """Refuses a GIF of which one sample alone is too much."""
    size = _states_of_one(flags, run)
    if size > MOST_STATES:
        parser.error(
            f"--gif: the states of one sample at {flags.num_steps} steps are {size:,} numbers, more than "
            f"the {MOST_STATES:,} that are held; use fewer --num_steps"
        )


def write_ways(run: Run, drawer: Drawer, flags: argparse.Namespace, out: Path) -> int:
    """The way of the first samples as a GIF, unless it is there; returns the number of pictures."""
    from sagd_jax.programs import sample_files as files

    if (out / GIF).exists():
        return 0
    count = min(WAYS, flags.num_samples, MOST_STATES // _states_of_one(flags, run))
    states = drawer.trajectory(run.params, flags.first, flags.first + count, FRAMES)
    files.write_trajectory(out / GIF, states)
    return 1


def _states_of_one(flags: argparse.Namespace, run: Run) -> int:
    return int((flags.num_steps + 1) * math.prod(run.record.data.shape))
