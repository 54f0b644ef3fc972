"""Schedules, spectra and variants of samplers that tests go through."""

import numpy as np

import sagd_jax as sagd
from sagd_jax.spectral.frequencies import frequency_vectors

SCHEDULES = {
    "linear_beta": sagd.schedules.linear_beta(),
    "cosine": sagd.schedules.cosine(),
    "rectified_flow": sagd.schedules.rectified_flow(),
    "edm": sagd.schedules.edm(),
}


def wedge(shape, floor=0.0):
    """Noise of frequencies near the last axis, and a floor elsewhere."""
    *leading, last = (np.abs(f) for f in frequency_vectors(shape))
    across = sum(leading, np.zeros_like(last))
    return sagd.from_variance(np.where(last >= across, 1.0, floor), shape)


SPECTRA = {
    "white": sagd.white,
    "low": lambda shape: sagd.power_law(shape, alpha=-0.5),
    "high": lambda shape: sagd.power_law(shape, alpha=0.5),
    "two_band": lambda shape: sagd.two_band(shape, gamma_low=0.2),
    "hole": lambda shape: sagd.band_pass(shape, [(0, 0.4), (0.7, 1)]),
    # On one axis the wedge is everything; a hole at the top takes its place there.
    "wedge": lambda shape: wedge(shape) if len(shape) > 1 else sagd.band_pass(shape, [(0, 0.8)]),
}
VARIANTS = {
    "ddim": {},
    "ddim with eta": {"method": "ddim", "eta": 0.6},
    "ddpm": {},
    "heun": {},
    "dpmpp_2m": {},
    "sde": {"churn": 3.0},
    "pc": {"snr": 0.3},
}


def options(variant):
    return {"method": variant, **VARIANTS[variant]}
