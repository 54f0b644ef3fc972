"""A work directory whose runs are rounds, each in a folder of its own (`training/em.py`)."""

from __future__ import annotations

import re

from etils import epath

CHECKPOINTS_FOLDER = "checkpoints"
_NAME = "round_{}"


def round_folder(workdir: epath.PathLike, number: int) -> epath.Path:
    """The work directory of one round."""
    return epath.Path(workdir) / _NAME.format(number)


def of_last_round(workdir: epath.PathLike) -> epath.Path:
    """The work directory of the last round that has checkpoints; `workdir` itself if it has no rounds."""
    own = epath.Path(workdir)
    if (own / CHECKPOINTS_FOLDER).exists() or not own.is_dir():
        return own
    found = (re.fullmatch(_NAME.format(r"(\d+)"), path.name) for path in own.iterdir())
    numbers = sorted((int(match[1]) for match in found if match), reverse=True)
    rounds = (round_folder(own, number) for number in numbers)
    return next((place for place in rounds if (place / CHECKPOINTS_FOLDER).exists()), own)
