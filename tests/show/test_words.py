"""Lines of words about spectra."""

import numpy as np

import sagd_jax as sagd
from sagd_jax.show.words import describe_covariance


def test_energy_by_radius_in_words():
    line = describe_covariance(sagd.power_law((8, 8), -1.0, basis="cosine"), 1, "power_law")
    r = np.hypot(*np.meshgrid(np.arange(8), np.arange(8)))
    power = np.where(r > 0, r, 1) ** -2.0
    share = power[r / r.max() < 0.25].sum() / power.sum()
    assert "power_law in the cosine basis, rank 64 of 64" in line
    assert f"{share:.1%}" in line
