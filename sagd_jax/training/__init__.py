"""Training: the loop and its steps, from a configuration to a trained network."""

from sagd_jax.system.late import modules_of

__getattr__ = modules_of(__name__)
