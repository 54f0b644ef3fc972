"""The programs: flags and words around what the other folders do."""

from sagd_jax.system.late import modules_of

__getattr__ = modules_of(__name__)
