"""What the data's own shapes have that corruptions have not: corners, parts, and no images of themselves."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from planted import fields

from sagd_jax.spectral.analysis import analyse, gather
from sagd_jax.spectral.detector.finding import CORRUPTION
from sagd_jax.spectral.detector.fixed import find_fixed
from sagd_jax.spectral.detector.lines import QUIET, foremost
from sagd_jax.spectral.detector.marks import find_marks
from sagd_jax.spectral.detector.responses import Response, respond
from sagd_jax.spectral.detector.runs import Run
from sagd_jax.spectral.detector.verdicts import _of_run

pytestmark = pytest.mark.thorough


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


def bad(analysis):
    return [f for f in analysis.findings if f.verdict == CORRUPTION]


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
    sounds = SimpleNamespace(shape=(4096,))
    assert _of_run(sounds, candidate, response) == verdict
    assert _of_run(sounds, candidate, dataclasses.replace(response, level=0.0)) != CORRUPTION


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


def loud(n, sigma=1.0, seed=0):
    return np.exp(sigma * np.random.default_rng(seed).normal(size=(n, 1, 1)))


def fixed_of(x):
    return find_fixed(gather([x[..., None]])[0], [x[..., None]])


def test_what_is_laid_over_all_pictures_is_a_fixed_pattern_and_a_frame_is_none():
    x = loud(60, 0.5) * blurred(np.random.default_rng(6).normal(size=(60, 32, 32)), 2.0)
    mark = np.zeros((32, 32))
    mark[14, 10:16] = mark[14:19, 10] = mark[18, 10:14] = 0.1
    (found,) = fixed_of(x + mark)
    assert found.kind == "fixed pattern" and 0.01 < found.details["sites"] < 0.1
    frame = np.zeros((32, 32))
    frame[6] = frame[25] = frame[:, 6] = frame[:, 25] = 0.1
    for own in (x, x + frame):
        assert fixed_of(own) == []


def test_dead_rows_are_a_fixed_pattern_and_columns_that_some_have_are_noise():
    x = 0.2 * loud(150) * fields((48, 48), -1.0, 150)[..., 0]
    dead = x.copy()
    dead[:, [17, 31]] += 0.2
    (found,) = bad(analyse(dead[..., None]))
    assert (found.kind, found.details["of"]) == ("fixed pattern", "rows") and not found.is_noise
    has = (np.arange(150) % 3 == 0)[:, None, None]
    striped = x + 0.06 * has * np.random.default_rng(7).normal(size=(150, 1, 48))
    analysis = analyse(striped[..., None])
    (found,) = bad(analysis)
    assert (found.kind, found.details["of"]) == ("stripes", "columns")
    assert found.share == pytest.approx(1 / 3, abs=0.06)
    assert found.variance[0, 12, 0] == pytest.approx(0.06**2 * 48, rel=0.2)
    assert "wedge" not in [f.kind for f in analysis.findings]


@pytest.mark.parametrize("level", [0.5, 2.0])
def test_the_median_of_few_coefficients_is_not_taken_for_power_that_flees(level):
    """Where the data are loud, what is added is a small part of a skewed power: it is as much there."""
    rng = np.random.default_rng(8)
    quiet = np.exp(rng.normal(size=1500))
    own, control = (quiet * rng.exponential(size=1500) for _ in range(2))
    phase = rng.uniform(0, 2 * np.pi, 1500)
    added = own + level + 2 * np.sqrt(own * level) * np.cos(phase)
    response = respond(added, quiet, 1.0, control, tone=True)
    assert response.share == 1.0 and response.level == pytest.approx(level, rel=0.1)
    assert abs(response.slope) < 0.25
    assert respond(4 * own, quiet, 1.0, control, tone=True).slope > 0.5
