"""Training shows itself: the report of the run, written anew every so many steps."""

from __future__ import annotations

import logging
import time
from typing import Any

from etils import epath

from sagd_jax.run import profiles
from sagd_jax.system.errors import ForPeople, one_line
from sagd_jax.training.actions import Action, Moment, Parts
from sagd_jax.training.report.document import FILE, FOLDER, write
from sagd_jax.training.report.sections import Cache
from sagd_jax.training.report.stored import read_stored

SHARE = 0.01  # of the time, at most, goes into reports

_log = logging.getLogger(__name__)


class Report(Action):
    """Writes `report/index.html` every `config.report.every` steps, and when the run ends.

    Where writing it has taken more than a hundredth of the time since, it waits for the next turn: a run
    of short steps is not slowed by its own picture. The data's spectrum, with which those of previews are
    compared, is estimated the first time.
    """

    doing = "writing the report"
    compiles = False

    def __init__(self, parts: Parts) -> None:
        self.every = parts.record.config.report.every
        self._record, self._source = parts.record, parts.source
        self._compares = parts.record.config.preview.every is not None
        self._cache: Cache = {}
        self._cost = 0.0  # seconds, of the last one
        self._ended = -float("inf")

    def __call__(self, moment: Moment) -> None:
        if moment.is_first and self._cost <= SHARE * (time.monotonic() - self._ended):
            self._write(moment.workdir, compare=self._compares)

    def finish(self, workdir: epath.Path, is_first: bool) -> None:
        if self.every is not None and is_first:
            self._write(workdir, compare=False)  # it may be in a hurry

    def _write(self, workdir: epath.Path, *, compare: bool) -> None:
        start = time.monotonic()
        try:
            if compare:
                self._estimate(workdir / profiles.FOLDER)
            write(read_stored(workdir, self._record), workdir / FOLDER / FILE, self._cache)
        except (OSError, ValueError, ForPeople) as error:
            # What people look at must not end a run.
            _log.warning("the report could not be written: %s", one_line(error))
        self._ended = time.monotonic()
        self._cost = self._ended - start

    def _estimate(self, folder: epath.Path) -> None:
        if not folder.exists():  # there is no preview yet to compare with
            return
        self._compares = False  # once
        profile: Any = profiles.profile_of_source(self._source)
        if profile is not None:
            profiles.write(folder / profiles.DATA_FILE, profile)
