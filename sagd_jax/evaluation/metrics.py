"""What judges samples, as functions of arrays: `sagd.metrics`.

Distances of features, neighbours among them, and spectra of signals. The program
`python -m sagd_jax.evaluate` computes them for a checkpoint; what training logs of itself is
`training/metrics.py`.
"""

from sagd_jax.evaluation.distances import KernelDistance, frechet_distance, kernel_distance
from sagd_jax.evaluation.moments import Moments
from sagd_jax.evaluation.neighbours import (
    DensityCoverage,
    Nearest,
    PrecisionRecall,
    density_coverage,
    nearest,
    precision_recall,
)
from sagd_jax.evaluation.spectra_of_samples import (
    BandEnergies,
    SpectralDistance,
    band_energies,
    left_over,
    spectral_distance,
)

__all__ = [
    "BandEnergies",
    "DensityCoverage",
    "KernelDistance",
    "Moments",
    "Nearest",
    "PrecisionRecall",
    "SpectralDistance",
    "band_energies",
    "density_coverage",
    "frechet_distance",
    "kernel_distance",
    "left_over",
    "nearest",
    "precision_recall",
    "spectral_distance",
]
