"""The amplitude for other programs: their ten lines draw the same noise from the same white draw."""

import pathlib
import re

import jax
import numpy as np
import pytest

import sagd_jax as sagd

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "other_tools.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
LINES = {
    language: next(block for block in BLOCKS if f"import {language}\n" in block)
    for language in ("numpy", "torch")
}
COVARIANCES = {
    "power law": sagd.power_law((8, 6), alpha=-0.5),
    "hole": sagd.band_pass((7, 9), [(0, 0.4), (0.6, 1)]),
    "audio": sagd.exponential((32,), beta=3.0),
    "white in cosines": sagd.from_coefficients(np.ones((8, 6)), sagd.bases.cosine((8, 6))),
    "in Fourier coordinates": sagd.from_coefficients(
        np.square(sagd.radial_frequency((8,)))[[0, 1, 2, 3, 4, 3, 2, 1]], sagd.bases.fourier((8,))
    ),
    "colour": sagd.from_variance(np.broadcast_to([1.0, 2.0, 4.0], (4, 5, 3)), (4, 8)),
}


def page_function(language):
    names = {}
    exec(LINES[language], names)
    return names["noise_like"]


def check(covariance, noise_like, wrap, file):
    channels = max(covariance.variance.shape[-1], 2)
    shape = (3, *covariance.spatial_shape, channels)
    white = np.asarray(jax.random.normal(jax.random.key(0), shape))
    ours = np.asarray(covariance.sqrt(white))
    first = np.ascontiguousarray(np.moveaxis(white, -1, 1))
    sagd.exported.write_amplitude(file, covariance)
    theirs = np.moveaxis(np.asarray(noise_like(wrap(first), file)), 1, -1)
    np.testing.assert_allclose(theirs, ours, atol=2e-6 * np.abs(ours).max())


@pytest.mark.parametrize("name", COVARIANCES)
def test_ten_lines_of_numpy_draw_the_same(name, tmp_path):
    assert len(LINES["numpy"].splitlines()) <= 10
    check(COVARIANCES[name], page_function("numpy"), np.asarray, tmp_path / "noise.npz")


def test_ten_lines_of_torch_draw_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    assert len(LINES["torch"].splitlines()) <= 10
    for covariance in COVARIANCES.values():
        check(covariance, page_function("torch"), torch.from_numpy, tmp_path / "noise.npz")


def test_the_drawn_spectrum_is_lambda(tmp_path):
    """To five standard errors in every bin, from white draws of NumPy's own."""
    covariance, file, count = COVARIANCES["power law"], tmp_path / "noise.npz", 4000
    sagd.exported.write_amplitude(file, covariance)
    white = np.random.default_rng(0).normal(size=(count, 1, 8, 6))
    drawn = np.fft.rfft2(page_function("numpy")(white, file)[:, 0], norm="ortho")
    found, expected = np.mean(np.abs(drawn) ** 2, axis=0), covariance.variance[..., 0]
    error = expected * np.sqrt(2 / count)  # of a real coefficient; half as much for a complex one
    assert np.all(np.abs(found - expected) < 5 * error)
    assert np.any(np.abs(found - 1) > 50 * error)  # it is not white


def test_a_stack_has_an_axis_in_front_and_other_bases_are_refused():
    both = sagd.stack([sagd.white((8, 6)), COVARIANCES["power law"]])
    amplitudes = sagd.exported.amplitude(both)
    assert amplitudes.shape == (2, 1, 8, 4) and np.all(amplitudes[0] == 1)
    np.testing.assert_array_equal(amplitudes[1], sagd.exported.amplitude(COVARIANCES["power law"]))
    left = sagd.from_coefficients(np.arange(8.0), sagd.bases.sites((8,)))
    with pytest.raises(ValueError, match=r"covariance: it is diagonal in Sites"):
        sagd.exported.amplitude(left)
