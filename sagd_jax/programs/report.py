"""The program `python -m sagd_jax.report`: one page of what a work directory holds of a run.

The same page that training writes as `report/index.html` (`config.report`), made from what is stored:
numbers, previews and their spectra, evaluations, checkpoints. No weights are read, and nothing is drawn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sagd_jax.system.commandline import Parser, one_line_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report of a run; returns the exit status (0, 2)."""
    parser = _parser()
    with one_line_errors(parser.prog):
        flags = parser.parse_args(argv)
        # Imported late: a misspelt flag should not wait for the libraries.
        from pathlib import Path

        from sagd_jax.data.sources import scanned
        from sagd_jax.system.places import check_outside, check_place, writing
        from sagd_jax.training.report.document import FILE, FOLDER, write
        from sagd_jax.training.report.stored import read_stored

        start = time.monotonic()
        stored = read_stored(flags.workdir)
        out = Path(flags.out or stored.workdir / FOLDER).expanduser()
        check_place("--out", out)
        if flags.out and stored.record is not None:
            check_outside("--out", out, scanned(stored.record.config.data), "data.dir")
        with writing(f"--out={out}"):
            write(stored, out / FILE)
        for line in stored.troubles:
            print(f"note: {line}")
        size = (out / FILE).stat().st_size
        print(f"wrote {out / FILE} ({size / 1e6:.1f} MB) in {time.monotonic() - start:.1f} s")
        return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sagd_jax.report",
        description="Write one page of what a run has done: curves, grids of samples over time, spectra "
        "of samples and data, evaluations, checkpoints, configuration.",
        epilog="Training writes the same page by itself, see config.report. It is one file, which loads "
        "nothing and follows the reader's theme. What is damaged or missing is named in it. Exit status: 0, "
        "2 bad input.",
    )
    parser.add_argument("--workdir", required=True, help="directory of a training run")
    parser.add_argument(
        "--out", help="folder to write index.html to (default: report in the workdir)"
    )
    return parser
