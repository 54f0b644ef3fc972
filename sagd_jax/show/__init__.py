"""For people's eyes and ears: pictures, plots, sounds, clips and words. Knows no run."""

from sagd_jax.system.late import modules_of

__getattr__ = modules_of(__name__)
