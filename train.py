"""Trains a diffusion model: python train.py --config=configs/digits.py --workdir=runs/digits."""

from sagd_jax.system.exits import leave
from sagd_jax.training.program import main

if __name__ == "__main__":
    leave(main())
