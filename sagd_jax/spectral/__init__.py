"""Signals and noise by frequency: grids, transforms, covariances, spectra. Knows no time."""

from sagd_jax.spectral.combine import complement, mixture, product
from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.diagonal import DiagonalCovariance, from_coefficients
from sagd_jax.spectral.frequencies import radial_frequency
from sagd_jax.spectral.named import colour, matern, multiresolution, offset, shared_frames
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
from sagd_jax.spectral.stacks import CovarianceStack, stack

__all__ = [
    "Covariance",
    "CovarianceStack",
    "DiagonalCovariance",
    "FourierCovariance",
    "band_pass",
    "colour",
    "complement",
    "exponential",
    "from_coefficients",
    "from_data",
    "from_variance",
    "matern",
    "mixture",
    "multiresolution",
    "notch",
    "offset",
    "power_law",
    "product",
    "radial_frequency",
    "shared_frames",
    "stack",
    "two_band",
    "wedge",
    "white",
]
