"""sagd_jax: diffusion models whose Gaussian noise has any spectrum.

The forward noise keeps being Gaussian, but its covariance is diagonal in the Fourier basis (SAGD,
arXiv 2510.09660): tilted by a power law, cut by bands, or filled by any spectrum. Ordinary
diffusion is the flat case of the same code. Importing this package needs jax, flax and numpy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagd_jax import schedules
from sagd_jax.covariance import FourierCovariance
from sagd_jax.diffusion import Diffusion
from sagd_jax.frequencies import radial_frequency
from sagd_jax.samplers import sample
from sagd_jax.spectra import (
    band_pass,
    complement,
    exponential,
    from_data,
    from_variance,
    mixture,
    notch,
    power_law,
    product,
    two_band,
    wedge,
    white,
)
from sagd_jax.version import __version__

if TYPE_CHECKING:
    from sagd_jax.likelihood import log_likelihood
    from sagd_jax.loading import load

# Imported at first use: `load` needs Orbax, and a module that is also a program
# (python -m sagd_jax.likelihood) must not be imported by its own package.
_LATE = {"load": "sagd_jax.loading", "log_likelihood": "sagd_jax.likelihood"}

__all__ = [
    "Diffusion",
    "FourierCovariance",
    "__version__",
    "band_pass",
    "complement",
    "exponential",
    "from_data",
    "from_variance",
    "load",
    "log_likelihood",
    "mixture",
    "notch",
    "power_law",
    "product",
    "radial_frequency",
    "sample",
    "schedules",
    "two_band",
    "wedge",
    "white",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
