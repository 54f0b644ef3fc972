"""The amplitude of the noise, for programs that are not this one: ten lines of theirs draw the same.

Noise of covariance (4) is a white draw whose Fourier coefficients are multiplied by sqrt(lambda). So an
array of sqrt(lambda) is all that another program needs, with its own FFT over the half grid (`rfftn`,
which keeps the last axis up to n // 2); `docs/other_tools.md` has the function for NumPy and PyTorch.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from sagd_jax.spectral import bases
from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.half_grid import to_half_grid
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.system.files import write_whole


def amplitude(covariance: Covariance | CovarianceStack) -> np.ndarray:
    """sqrt(lambda) of equation (4) on the half grid, channels first as other programs have them.

    Args:
      covariance: diagonal in the Fourier basis, or white.

    Returns:
      `(1 or channels, *spatial[:-1], spatial[-1] // 2 + 1)`, float32, without unit: its mean square over
      the whole grid is 1. For a stack of covariances with an axis of them in front.

    Raises:
      ValueError: the covariance is not diagonal in the Fourier basis, so that no FFT can filter by it.

    >>> import sagd_jax as sagd
    >>> sagd.exported.amplitude(sagd.power_law((8, 6), alpha=-0.5)).shape
    (1, 8, 4)
    """
    if isinstance(covariance, CovarianceStack):
        return np.stack([amplitude(covariance.at(i)) for i in range(len(covariance))])
    if isinstance(covariance, FourierCovariance):
        half = np.moveaxis(np.asarray(covariance.variance, np.float64), -1, 0)
    else:
        whole = covariance.coefficients(bases.Fourier(covariance.spatial_shape))
        half = to_half_grid(np.moveaxis(np.asarray(whole, np.float64), -1, 0))
    return np.sqrt(half).astype(np.float32)


def write_amplitude(path: str | os.PathLike[str], covariance: Covariance | CovarianceStack) -> None:
    """Writes `amplitude` and `spatial_shape` into an .npz file, replacing it in one step.

    Args:
      path: of the file.
      covariance: as for `amplitude`.

    Raises:
      ValueError: as `amplitude`.
      OSError: it cannot be written.

    >>> import tempfile, sagd_jax as sagd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = f"{folder}/noise.npz"
    ...     sagd.exported.write_amplitude(file, sagd.white((8, 6)))
    ...     sorted(np.load(file, allow_pickle=False))
    ['amplitude', 'spatial_shape']
    """
    buffer = io.BytesIO()
    np.savez(
        buffer, amplitude=amplitude(covariance), spatial_shape=np.array(covariance.spatial_shape)
    )
    write_whole(Path(path), buffer.getvalue())
