"""Draws samples from a checkpoint: python sample.py --workdir=runs/digits --out=samples."""

from sagd_jax.programs.sample import main
from sagd_jax.system.exits import leave

if __name__ == "__main__":
    leave(main())
