"""The report as one file: its sections in order, and where it is written."""

from __future__ import annotations

import datetime
from typing import Any

from sagd_jax.show import page
from sagd_jax.system.files import write_whole
from sagd_jax.training.report import sections
from sagd_jax.training.report.sections import Cache
from sagd_jax.training.report.stored import Stored

FOLDER = "report"
FILE = "index.html"


def document(stored: Stored, cache: Cache | None = None) -> str:
    """The whole page, a few megabytes at most, however long the run was.

    Args:
      stored: what there is of the run.
      cache: of pictures that were made small before, from one report of a run to the next.
    """
    name = stored.workdir.resolve().name or str(stored.workdir)
    found = [
        ("Curves", sections.curves(stored)),
        ("Samples over time", sections.grids(stored, {} if cache is None else cache)),
        ("Spectra", sections.spectra(stored)),
        ("Evaluation", sections.evaluations(stored)),
        ("Checkpoints", sections.checkpoints(stored)),
        ("How to go on", sections.how_to_go_on(stored)),
        ("Configuration", sections.configuration(stored)),
    ]
    written = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    top = page.table([*sections.summary(stored), ("this page", f"written {written}")])
    return page.page(f"Run {name}", found, top + page.trouble(stored.troubles))


def write(stored: Stored, out: Any, cache: Cache | None = None) -> None:
    """Writes it to `out`, whose folder is made; raises OSError."""
    text = document(stored, cache)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
