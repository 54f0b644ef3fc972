"""Trains a diffusion model: python train.py --config=configs/digits.py --workdir=runs/digits."""

from sagd_jax.training.program import main
from sagd_jax.training.signals import leave

if __name__ == "__main__":
    leave(main())
