"""Bands taken out of the data."""

import dataclasses

import numpy as np
import pytest

from sagd_jax.data import open_source
from sagd_jax.data.config import DataConfig
from sagd_jax.data.source import DataError, normalise
from sagd_jax.spectral.frequencies import radial_frequency

BANDS = ((0.4, 0.6), (0.9, 1.0))


def spectrum(x):
    return np.abs(np.fft.rfft2(np.asarray(normalise(x, (0, 255)))[..., 0], norm="ortho"))


@pytest.mark.parametrize("corruption", ["none", "band"])
def test_the_bands_are_gone_and_the_rest_is_what_it_was(corruption):
    config = DataConfig(name="digits", corruption=corruption)
    if corruption == "band":
        config = dataclasses.replace(config, corruption_band=(0.3, 0.7))
    plain, without = (
        open_source(dataclasses.replace(config, filtered_bands=bands)) for bands in ((), BANDS)
    )
    indices = np.array([3, 77, 1000])
    before, after = (spectrum(s.fetch(indices)["x"]) for s in (plain, without))
    radius = radial_frequency((8, 8), "max")
    hole = (radius >= 0.4) & (radius < 0.6) | (radius >= 0.9)
    assert before[:, hole].max() > 0.1 and after[:, hole].max() < 1e-5
    np.testing.assert_allclose(after[:, ~hole], before[:, ~hole], atol=1e-4)
    # An example is the same whatever is fetched with it.
    assert (without.fetch(indices[1:2])["x"] == without.fetch(indices)["x"][1:2]).all()


@pytest.mark.parametrize(
    "bands, words", [(((0.4, 0.45),), "no frequency"), (((0.0, 1.0),), "zero everywhere")]
)
def test_bands_that_cannot_be_taken_out_are_refused(bands, words):
    with pytest.raises(DataError, match=f"data.filtered_bands=.*{words}"):
        open_source(DataConfig(name="digits", filtered_bands=bands))
