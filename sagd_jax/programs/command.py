"""The command `sagd`: all programs by one name."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence

from sagd_jax.system import exits
from sagd_jax.system.commandline import called_as, nearest
from sagd_jax.version import __version__

# A program is `main` of the module of this folder that has its name; beside it what it does, for the list.
PROGRAMS = {
    "train": "train a model; the same command again continues the run",
    "sample": "draw samples from a checkpoint",
    "spectrum": "the power spectrum of a data set, and noise to suit it",
    "explore": "choose a spectrum and a process by looking, in the browser",
    "evaluate": "judge a checkpoint's samples against its data",
    "restore": "clean files by a model that learned from corrupted ones",
    "experiment": "train and evaluate the arms of an experiment",
    "likelihood": "log-likelihood of data under a checkpoint",
    "inspect": "say what a checkpoint holds",
    "report": "one page of what a run has done, with curves and samples",
    "export": "noise, weights or samples for other people's tools",
}

_HELP = """usage: sagd PROGRAM [flags]

Diffusion models whose Gaussian noise has any spectrum.

{programs}

sagd PROGRAM --help explains one of them, sagd train --help=config every field of a config.

  sagd train --config=digits --workdir=runs/digits
  sagd sample --workdir=runs/digits
  sagd sample --workdir=digits            (a ready run: pictures at once)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program that the first word names on the others; returns its exit status."""
    name, *flags = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help", "help"):
        widest = max(map(len, PROGRAMS))
        lines = (f"  {program:<{widest}}  {words}" for program, words in PROGRAMS.items())
        print(_HELP.format(programs="\n".join(lines)), end="")
        return 0
    if name == "--version":
        print(f"sagd_jax {__version__}")
        return 0
    if name not in PROGRAMS:
        close = nearest(name, tuple(PROGRAMS), most=1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(PROGRAMS)}"
        print(f"sagd: unknown program {name!r}; {hint} (sagd --help)", file=sys.stderr)
        return exits.BAD_INPUT
    before = called_as.set(f"sagd {name}")
    try:
        return importlib.import_module(f"sagd_jax.programs.{name}").main(flags)
    finally:
        called_as.reset(before)


def command() -> None:
    """What the installed `sagd` calls."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # While the libraries are imported Ctrl-C ends it at once, and not by a traceback from one of them.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    exits.leave(main())
