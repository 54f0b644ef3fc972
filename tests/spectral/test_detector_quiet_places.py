"""Lines that only the quietest part of each example shows."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.finding import CORRUPTION

SIDE = 48
AT = (14 / SIDE, 9 / SIDE)


def fields(rng, shape, slope=-1.5):
    """Gaussian fields with a power law of the amplitude, standard deviation 0.2."""
    axes = tuple(range(1, len(shape)))
    radius = np.sqrt(
        sum(
            np.square(f)
            for f in np.meshgrid(*[np.fft.fftfreq(n) for n in shape[1:]], indexing="ij")
        )
    )
    radius.flat[0] = np.inf
    x = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape), axes=axes) * radius**slope, axes=axes).real
    return 0.2 * x / x.std()


def skies(rng, n=300):
    """Rough ground of another height and loudness in each picture, under a smooth sky."""
    y = np.arange(SIDE)[:, None]
    horizon = rng.uniform(0.4, 0.8, (n, 1, 1)) * SIDE
    loud = np.exp(0.7 * rng.normal(size=(n, 1, 1)))
    ground = loud * fields(rng, (n, SIDE, SIDE), -0.7)
    return np.where(
        y > horizon, np.clip(ground, -1, 1), 0.3 + 0.002 * rng.normal(size=ground.shape)
    )


def tones(rng, n, has, amplitude, at=AT):
    y, x = np.indices((SIDE, SIDE))
    phase = 2 * np.pi * rng.random((n, 1, 1))
    return has[:, None, None] * amplitude * np.cos(2 * np.pi * (at[0] * y + at[1] * x) + phase)


def called(x):
    return [f for f in analyse([x[..., None]]).findings if f.verdict == CORRUPTION]


@pytest.mark.parametrize("share", [0.2, 1.0])
@pytest.mark.parametrize("at", [AT, (0.2, 0.373)])
def test_a_tone_under_a_loud_ground(share, at):
    rng = np.random.default_rng(3)
    x = skies(rng)
    has = rng.random(len(x)) < share
    (line,) = called(x + tones(rng, len(x), has, 0.02, at))
    gaps = np.abs(np.array(line.frequencies[0]) - at) * SIDE
    assert line.kind == "line" and gaps.max() < 0.5
    # The energy of a wave of this amplitude, over the whole grid.
    weight = np.r_[1, np.full(SIDE // 2 - 1, 2), 1]
    energy = (line.variance[..., 0] * weight).sum()
    assert energy == pytest.approx(0.02**2 / 2 * SIDE**2, rel=0.1)
    assert line.share == pytest.approx(share, abs=0.06)
    assert ((line.has > 0.5) == has).mean() > 0.93


def test_it_is_seen_there_alone_and_said_so():
    rng = np.random.default_rng(4)
    x = skies(rng)
    has = np.arange(len(x)) % 8 == 0
    (line,) = called(x + tones(rng, len(x), has, 0.004))
    assert line.seen_in == "quiet places" and line.floor is True
    assert line.variance.max() == pytest.approx(0.004**2 / 4 * SIDE**2, rel=0.15)


@pytest.mark.parametrize("at", [(-14, 22), (14, 22.5)])
def test_next_to_the_highest_frequency(at):
    """The last column of a window is that of both signs."""
    rng = np.random.default_rng(9)
    x = skies(rng, 200)
    (line,) = called(x + tones(rng, 200, np.arange(200) % 5 == 0, 0.01, np.array(at) / SIDE))
    assert np.abs(np.multiply(line.frequencies[0], SIDE) - at).max() < 0.5


def test_blank_batches_are_passed_over():
    rng = np.random.default_rng(10)
    x = skies(rng, 200)
    x = (x + tones(rng, 200, np.arange(200) % 5 == 0, 0.02))[..., None]
    found = analyse([np.zeros_like(x[:3]), x[:100], x[100:], x[:0]]).findings
    assert [f.kind for f in found if f.verdict == CORRUPTION] == ["line"]


def test_waves_of_a_jpeg_are_none():
    rng = np.random.default_rng(5)
    y, x = np.indices((SIDE, SIDE)) / SIDE - 0.5
    slopes = 0.3 * rng.normal(size=(2, 150, 1, 1))
    clean = np.clip(skies(rng, 150) + slopes[0] * y + slopes[1] * x, -1, 1)
    files = []
    for picture in np.rint((clean + 1) * 127.5).astype(np.uint8):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=50)
        files.append(np.asarray(Image.open(file), np.float64) / 127.5 - 1)
    assert not [f for f in called(np.stack(files)) if f.kind == "line"]


def test_skies_have_none():
    assert not called(skies(np.random.default_rng(5)))


def test_a_wave_of_the_ground_follows_it():
    """Of the same frequency in a fifth of the pictures, as loud as each: a texture, also where it is faint."""
    rng = np.random.default_rng(6)
    x = skies(rng)
    ground = np.abs(x - 0.3) > 0.02
    loud = ndimage.uniform_filter(np.square(x - 0.3), (0, 9, 9)) ** 0.5
    own = tones(rng, len(x), np.arange(len(x)) % 5 == 0, 1.0)
    assert not called(np.clip(x + np.where(ground, 0.6 * loud * own, 0), -1, 1))


def test_two_waves_of_a_cloth_are_none():
    rng = np.random.default_rng(7)
    n = 200
    cloth = tones(rng, n, np.ones(n), 0.1, (0.21, 0.21)) + tones(
        rng, n, np.ones(n), 0.1, (0.21, -0.21)
    )
    folds = 0.3 + np.exp(ndimage.gaussian_filter(rng.normal(size=cloth.shape), (0, 8, 8)) * 6)
    assert not called(np.clip(cloth * folds + 0.02 * rng.normal(size=cloth.shape), -1, 1))


def test_clips_of_few_frames():
    rng = np.random.default_rng(8)
    n, shape = 120, (8, 24, 24)
    t, y, x = np.indices(shape)
    moving = np.zeros((n, *shape))
    for k in range(n):
        for _ in range(2):
            start, speed, size = rng.uniform(2, 22, 2), rng.normal(size=2), rng.uniform(2, 4)
            inside = np.hypot(y - start[0] - speed[0] * t, x - start[1] - speed[1] * t) < size
            moving[k] = np.where(inside, rng.uniform(-1, 1), moving[k])
    assert not called(moving)
    has = rng.random(n) < 0.25
    phase = 2 * np.pi * rng.random((n, 1, 1, 1))
    wave = np.cos(2 * np.pi * (3 / 8 * t + 4 / 24 * y + 6 / 24 * x) + phase)
    (line,) = called(moving + 0.02 * has[:, None, None, None] * wave)
    gaps = np.abs(np.abs(line.frequencies[0]) - np.array((3 / 8, 4 / 24, 6 / 24)))
    assert (gaps * shape).max() < 0.5
