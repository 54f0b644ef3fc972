"""How well the detector of `sagd_jax.spectrum` tells corruptions from data: found, and false alarms."""
