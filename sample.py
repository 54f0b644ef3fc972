"""Draws samples from a checkpoint: python sample.py --workdir=runs/digits --out=samples."""

import sys

from sagd_jax.generate import main

if __name__ == "__main__":
    sys.exit(main())
