"""Trains a diffusion model: python train.py --config=configs/digits.py --workdir=runs/digits."""

from sagd_jax.programs.train import main
from sagd_jax.system.exits import leave

if __name__ == "__main__":
    leave(main())
