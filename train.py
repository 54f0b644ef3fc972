"""Trains a diffusion model: python train.py --config=configs/digits.py --workdir=runs/digits."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # While the libraries are imported Ctrl-C ends it at once, and not by a traceback from one of them.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from sagd_jax.programs.train import main
from sagd_jax.system.exits import leave

if __name__ == "__main__":
    leave(main())
