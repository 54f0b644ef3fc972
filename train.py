"""Trains a diffusion model: python train.py --config=configs/digits.py --workdir=runs/digits."""

import sys

from sagd_jax.training.program import main

if __name__ == "__main__":
    sys.exit(main())
