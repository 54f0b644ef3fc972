"""What spectrum do data have, and noise that suits them: scikit-learn's digits.

python examples/spectrum_of_data.py
"""

import jax
import numpy as np

import sagd_jax as sagd
from sagd_jax.data import DataConfig, open_source
from sagd_jax.spectral.power_spectrum import estimate, radial_profile


def main():
    source = open_source(DataConfig(name="digits"))
    pictures = source.fetch(np.arange(len(source)))["x"] / 127.5 - 1
    spectrum = estimate([pictures])
    radius, power, error = radial_profile(spectrum)
    for r, p, e in zip(radius, power, error, strict=True):
        print(f"{r:.3f} cycles per pixel: {p:.4f} +- {e:.4f}")

    covariance = sagd.from_data(spectrum.power, (8, 8))  # as much signal per noise at all of them
    process = sagd.Diffusion(sagd.schedules.cosine(), covariance)
    x_t, _ = process.diffuse(jax.random.key(0), pictures[:4].astype(np.float32), 0.5)
    print(covariance, x_t.shape)
    return power


if __name__ == "__main__":
    main()
