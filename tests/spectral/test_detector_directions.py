"""Corruptions of some directions: a wedge."""

import numpy as np
from planted import fields

from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.finding import CORRUPTION


def bad(analysis):
    return [f for f in analysis.findings if f.verdict == CORRUPTION]


def loud(n, axes):
    return np.exp(np.random.default_rng(0).normal(size=(n, *[1] * (axes + 1))))


def filtered(shape, n, inside, seed=1):
    axes = tuple(range(1, len(shape) + 1))
    noise = np.random.default_rng(seed).normal(size=(n, *shape))
    return np.fft.ifftn(np.fft.fftn(noise, axes=axes) * inside, axes=axes).real[..., None]


def test_a_wedge_of_directions():
    shape, n = (64, 64), 80
    rows, columns = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")
    angle = np.degrees(np.arctan2(rows, columns)) % 180
    wedge = (angle >= 41.25) & (angle < 63.75) & (np.hypot(rows, columns) > 0.1)
    x = 0.2 * loud(n, 2) * fields(shape, -1.0, n) + 0.1 * filtered(shape, n, wedge)
    (found,) = bad(analyse(x))
    assert found.kind == "wedge" and found.floor
    assert abs(found.angle - 52.5) <= 7.5 and abs(found.width - 22.5) <= 15
    truth = 0.1**2
    assert abs(np.median(found.variance[found.mask]) / truth - 1) < 0.15
