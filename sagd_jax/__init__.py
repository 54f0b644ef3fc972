"""sagd_jax: diffusion models whose Gaussian noise has any spectrum.

The forward noise keeps being Gaussian, but its covariance is diagonal in the Fourier basis (SAGD,
arXiv 2510.09660): tilted by a power law, cut by bands, or filled by any spectrum. Ordinary
diffusion is the flat case of the same code.

Everything public is reachable from here. Importing the package imports the mathematics alone, which
needs jax and numpy; the rest is imported when it is first named.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sagd_jax.diffusion import (
    calibration,
    consistency,
    denoisers,
    editing,
    guidance,
    losses,
    oracle,
    process,
    recover,
    samplers,
    sampling,
    schedules,
    time_grids,
)
from sagd_jax.diffusion.likelihood import log_likelihood
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.sampling import sample
from sagd_jax.diffusion.schedules import Schedule
from sagd_jax.spectral import (
    analysis,
    bases,
    combine,
    covariance,
    diagonal,
    exported,
    frequencies,
    half_grid,
    host,
    named,
    periods,
    power_spectrum,
    spectra,
    stacks,
    transform,
)
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
from sagd_jax.system.late import modules_of
from sagd_jax.version import __version__

if TYPE_CHECKING:
    from sagd_jax import data, evaluation, likelihood, models, programs, run, show, system, training
    from sagd_jax.data.source import to_uint8
    from sagd_jax.evaluation import metrics
    from sagd_jax.run.config import default_config
    from sagd_jax.run.experiment import Arm, Experiment
    from sagd_jax.run.saved import load, load_run
    from sagd_jax.show import plots

# Imported at first use: they need more than jax and numpy, or are programs too (python -m
# sagd_jax.likelihood), which their own package must not import.
_LATE = {
    "Arm": "sagd_jax.run.experiment",
    "Experiment": "sagd_jax.run.experiment",
    "default_config": "sagd_jax.run.config",
    "load": "sagd_jax.run.saved",
    "load_run": "sagd_jax.run.saved",
    "metrics": "sagd_jax.evaluation",
    "plots": "sagd_jax.show",
    "to_uint8": "sagd_jax.data.source",
}
_module = modules_of(__name__)

__all__ = [
    "Arm",
    "Covariance",
    "CovarianceStack",
    "DiagonalCovariance",
    "Diffusion",
    "Experiment",
    "FourierCovariance",
    "Schedule",
    "__version__",
    "analysis",
    "band_pass",
    "bases",
    "calibration",
    "colour",
    "combine",
    "complement",
    "consistency",
    "covariance",
    "data",
    "default_config",
    "denoisers",
    "diagonal",
    "editing",
    "evaluation",
    "exponential",
    "exported",
    "frequencies",
    "from_coefficients",
    "from_data",
    "from_variance",
    "guidance",
    "half_grid",
    "host",
    "likelihood",
    "load",
    "load_run",
    "log_likelihood",
    "losses",
    "matern",
    "metrics",
    "mixture",
    "models",
    "multiresolution",
    "named",
    "notch",
    "offset",
    "oracle",
    "periods",
    "plots",
    "power_law",
    "power_spectrum",
    "process",
    "product",
    "programs",
    "radial_frequency",
    "recover",
    "run",
    "sample",
    "samplers",
    "sampling",
    "schedules",
    "shared_frames",
    "show",
    "spectra",
    "stack",
    "stacks",
    "system",
    "time_grids",
    "to_uint8",
    "training",
    "transform",
    "two_band",
    "wedge",
    "white",
]


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module(_LATE[name]), name) if name in _LATE else _module(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
