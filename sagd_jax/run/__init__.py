"""A run: its configuration, what is built from it, how it is kept on disk and opened again."""

from sagd_jax.system.late import modules_of

__getattr__ = modules_of(__name__)
