"""What tells lines apart: in part of the examples, products of others, threads of a weave, notes, a layout."""

import numpy as np
import pytest

from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.finding import CORRUPTION, OWN, UNKNOWN, Finding
from sagd_jax.spectral.detector.together import taken_together

SHAPE = (64, 64)


def bad(analysis):
    return [f for f in analysis.findings if f.verdict == CORRUPTION]


def wave(shape, n, frequency, seed=1):
    """Of amplitude 1, with a phase of its own in each example."""
    sites = np.meshgrid(*map(np.arange, shape), indexing="ij")
    phase = sum(f * s for f, s in zip(frequency, sites, strict=True))
    start = np.random.default_rng(seed).random((n, *[1] * len(shape)))
    return np.cos(2 * np.pi * (phase + start))[..., None]


@pytest.mark.parametrize(("decibels", "share"), [(6.0, 1.0), (6.0, 0.2), (9.0, 0.2)])
def test_a_weak_line_on_white_noise(decibels, share):
    n, size = 300, 512
    rng = np.random.default_rng(2)
    has = rng.random(n) < share
    amplitude = 2 * np.sqrt((10 ** (decibels / 10) - 1) / size)
    x = rng.normal(size=(n, size, 1)) + amplitude * has[:, None, None] * wave(
        (size,), n, (100 / size,)
    )
    (line,) = bad(analyse(0.1 * x))
    assert line.kind == "line" and abs(line.frequencies[0][0] * size - 100) < 0.5
    assert line.share == pytest.approx(share, abs=0.1)
    assert line.variance.sum() == pytest.approx(0.01 * amplitude**2 / 4 * size, rel=0.2)


def test_a_line_that_a_fifth_of_unlike_examples_has():
    """Far under the mean of the loud examples, it stands out where the examples are quiet."""
    n, size = 200, 512
    rng = np.random.default_rng(3)
    has = np.arange(n) % 5 == 0
    loud = np.exp(1.5 * rng.normal(size=(n, 1, 1)))
    x = 0.01 * loud * rng.normal(size=(n, size, 1))
    (line,) = bad(analyse(x + 0.01 * has[:, None, None] * wave((size,), n, (0.301,))))
    assert line.share == pytest.approx(0.2, abs=0.08) and line.frequencies[0][0] == pytest.approx(
        0.301, abs=0.002
    )


def test_a_weak_band_on_white_noise_has_its_variance():
    n, size = 200, 512
    rng = np.random.default_rng(4)
    noise = np.fft.rfft(rng.normal(size=(n, size)))
    noise[:, :150] = noise[:, 200:] = 0
    x = 0.1 * (rng.normal(size=(n, size)) + 1.2 * np.fft.irfft(noise))
    (band,) = bad(analyse(x[..., None]))
    assert band.kind == "band"
    assert band.low * size == pytest.approx(150, abs=2) and band.high * size == pytest.approx(
        200, abs=2
    )
    assert band.variance[band.mask].mean() == pytest.approx(0.0144, rel=0.1)


def test_products_of_clipped_tones_are_not_called():
    n, shape = 80, (32, 32)
    noise = 0.01 * np.random.default_rng(5).normal(size=(n, *shape, 1))
    a, b = (8.3 / 32, 3.2 / 32), (2.9 / 32, 11.2 / 32)
    x = np.clip(0.5 * wave(shape, n, a, 1) + 0.5 * wave(shape, n, b, 2) + noise, -0.6, 0.6)
    found = bad(analyse(x))
    assert len(found) == 2
    for f in found:
        near = [np.abs(np.abs(f.frequencies[0]) - np.array(own)).max() for own in (a, b)]
        assert min(near) < 0.5 / 32


def test_a_frame_around_pictures_is_their_layout():
    n = 100
    x = np.zeros((n, 32, 32, 1))
    rng = np.random.default_rng(6)
    x[:, 4:-4, 4:-4] = 0.5 + 0.2 * rng.normal(size=(n, 1, 1, 1))
    assert bad(analyse(x + 0.01 * rng.normal(size=x.shape))) == []


def test_notes_in_part_of_the_examples_are_music():
    n, size = 120, 1024
    rng = np.random.default_rng(7)
    x = 1e-3 * rng.normal(size=(n, size, 1))
    for seed, pitch in enumerate((0.031, 0.047, 0.0391)):
        has = rng.random((n, 1, 1)) < 0.4
        x += (
            0.1 * has * sum(wave((size,), n, (k * pitch,), 10 * seed + k) / k for k in (1, 2, 3, 4))
        )
    assert bad(analyse(x)) == []


def test_mains_whose_fundamental_is_low_are_whole():
    """At 50 Hz this window has seven periods: as low a line would not be called, were it no mains."""
    n, size, rate = 150, 1024, 7000
    x = 0.05 * np.random.default_rng(8).normal(size=(n, size, 1))
    x += sum(0.05 * wave((size,), n, (50 * k / rate,), k) for k in (1, 2, 3))
    (hum,) = bad(analyse(x, sample_rate=rate))
    assert hum.details["mains"] == 50 and len(hum.frequencies) == 3
    assert hum.variance.sum() == pytest.approx(3 * 0.05**2 / 4 * size, rel=0.1)


def line(frequency, size, verdict=CORRUPTION, share=1.0, score=50.0, tone=True):
    """Of a total N of `size`."""
    mask = np.zeros((64, 33), bool)
    mask[round(frequency[0] * 64) % 64, abs(round(frequency[1] * 64))] = True
    variance = size * mask[..., None].astype(float)
    return Finding(
        "line",
        verdict,
        mask,
        (0, 1),
        frequencies=(frequency,),
        share=share,
        score=score,
        variance=variance,
        error=variance / 10,
        details={"tone": tone},
    )


def verdicts(*lines):
    return [f.verdict for f in taken_together(list(lines), SHAPE)]


def test_multiples_sums_and_differences_of_stronger_lines_are_doubted():
    first, second = line((0.26, 0.11), 1.0), line((0.05, 0.31), 1.0)
    for product in ((-0.22, 0.33), (0.31, 0.42), (0.21, -0.2), (0.36, -0.27)):
        assert verdicts(first, second, line(product, 0.01)) == [CORRUPTION, CORRUPTION, UNKNOWN]
        assert verdicts(first, second, line(product, 0.9)) == [CORRUPTION] * 3
    assert verdicts(first, line((0.11, 0.45), 0.01)) == [CORRUPTION] * 2


def test_a_wave_across_one_that_is_no_tone_is_a_thread():
    thread = line((0.21, 0.19), 1.0)
    assert verdicts(thread, line((-0.21, 0.19), 0.5, UNKNOWN, tone=False)) == [UNKNOWN] * 2
    assert verdicts(thread, line((-0.21, 0.19), 0.5)) == [CORRUPTION] * 2
    assert verdicts(thread, line((0.4, 0.1), 0.5, OWN, tone=False)) == [CORRUPTION, OWN]


def test_next_to_a_stronger_own_line_and_several_in_part_of_the_examples():
    assert verdicts(line((0.3, 0.2), 0.1), line((0.33, 0.22), 1.0, OWN)) == [UNKNOWN, OWN]
    some = [line((0.3, 0.2), 1.0, share=0.3), line((0.1, 0.4), 1.0, share=0.3)]
    assert verdicts(*some) == [UNKNOWN] * 2 and verdicts(some[0]) == [CORRUPTION]
