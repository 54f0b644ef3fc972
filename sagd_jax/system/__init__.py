"""What every program stands on: errors, exits, flags, processes, signals. Knows no diffusion."""

from sagd_jax.system.late import modules_of

__getattr__ = modules_of(__name__)
