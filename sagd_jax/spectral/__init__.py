"""Signals and noise by frequency: grids, transforms, covariances, spectra. Knows no time."""

from sagd_jax.spectral.combine import complement, mixture, product
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.spectra import (
    band_pass,
    exponential,
    from_data,
    from_variance,
    notch,
    power_law,
    two_band,
    wedge,
    white,
)

__all__ = [
    "FourierCovariance",
    "band_pass",
    "complement",
    "exponential",
    "from_data",
    "from_variance",
    "mixture",
    "notch",
    "power_law",
    "product",
    "radial_frequency",
    "two_band",
    "wedge",
    "white",
]
