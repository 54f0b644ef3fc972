"""What the data's own shapes have that corruptions have not: corners, parts, and no images of themselves."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from sagd_jax.spectral.analysis import gather
from sagd_jax.spectral.detector.finding import CORRUPTION
from sagd_jax.spectral.detector.lines import QUIET, foremost
from sagd_jax.spectral.detector.marks import find_marks
from sagd_jax.spectral.detector.responses import Response
from sagd_jax.spectral.detector.runs import Run
from sagd_jax.spectral.detector.verdicts import _of_run


def test_a_tone_stands_over_all_bins_near_it_and_a_corner_over_some():
    tone = np.zeros((16, 16))
    tone[5, 6], tone[5, 7], tone[9, 6] = 2.0, 1.0, 0.3
    assert foremost((5, 6), [], [tone]) == pytest.approx(math.expm1(2.0) / 1e-9)
    tone[5, 9] = 0.5
    assert foremost((5, 6), [], [tone]) == pytest.approx(math.expm1(2.0) / math.expm1(0.5))
    # Another line, and its opposite, are none of its surroundings.
    assert foremost((5, 6), [(5, 10)], [tone]) > 1e6
    assert foremost((5, 6), [(11, 7)], [tone]) > 1e6
    corner = np.zeros((16, 16))
    corner[5:8, 6:10] = 2.0
    corner[5, 6] = 2.2
    assert foremost((5, 6), [], [corner]) < 1.3
    # It is enough to be foremost in the mean, or in the quiet examples.
    assert foremost((5, 6), [], [corner, tone]) > 6


BAND = Run(29, 31, 3.0, 3.0, 16.0, 14.0)


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        # As high in all examples, which are quiet enough to tell.
        (Response(1.0, 0.01, np.ones(9), 0.2, 0.02, 60.0), CORRUPTION),
        # In a few of them, and of all sizes: a voice's pitch.
        (Response(0.2, 0.01, np.ones(9), math.nan, 3.1, 1.9), "the data's own"),
        (Response(1.0, 0.01, np.ones(9), math.nan, 3.1, 60.0), "the data's own"),
    ],
)
def test_a_band_of_the_quiet_examples_is_a_floor_in_them(response, verdict):
    candidate = SimpleNamespace(
        kind="band",
        run=BAND,
        family=SimpleNamespace(low=np.full(64, 0.2)),
        excess=2.0,
        quiet_score=2.0,
        seen_in=QUIET,
    )
    assert _of_run(1, candidate, response, 0.0) == verdict
    assert _of_run(1, candidate, dataclasses.replace(response, level=0.0), 0.0) != CORRUPTION


def pictures(n=80, size=64, seed=0):
    """With edges, in [0, 1]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    out = np.full((n, size, size), 0.5)
    for x in out:
        for _ in range(12):
            angle, shift = rng.uniform(0, np.pi), rng.uniform(-10, 60)
            x += 0.1 * rng.normal() * (rows * np.sin(angle) + columns * np.cos(angle) > shift)
    return out


def blurred(x, width):
    f = np.fft.fftfreq(x.shape[1])
    gain = np.exp(-2 * (np.pi * f * width) ** 2)
    return np.fft.ifft2(np.fft.fft2(x) * gain[:, None] * gain).real


def test_an_enlargement_has_images_of_itself_and_blocks_have_none():
    small = blurred(pictures(size=32), 0.6)
    whole = np.arange(64) / 2
    left = np.minimum(whole.astype(int), 30)
    part = whole - left

    def longer(x):  # linearly, along the last axis
        return x[..., left] * (1 - part) + x[..., left + 1] * part

    enlarged = np.swapaxes(longer(np.swapaxes(longer(small), 1, 2)), 1, 2)
    evidence, marks = gather([enlarged[..., None]])
    assert min(marks.images(axis, 2.0) for axis in (0, 1)) > 2.5
    (found,) = find_marks(marks, evidence)
    assert found.kind == "enlarged" and found.details["factor"] == pytest.approx(2, rel=0.02)
    # As smooth, with every other second difference larger: no part of it follows from the rest.
    rng = np.random.default_rng(3)
    grain = 0.006 * blurred(rng.normal(size=(80, 64, 64)), 0.5)
    weight = 1 + 0.4 * (np.indices((64, 64)) % 2).sum(axis=0)
    textured = blurred(pictures(), 1.0) + weight * grain
    evidence, marks = gather([textured[..., None]])
    assert max(marks.images(axis, 2.0) for axis in (0, 1)) < 1.4
    assert "enlarged" not in [f.kind for f in find_marks(marks, evidence)]
