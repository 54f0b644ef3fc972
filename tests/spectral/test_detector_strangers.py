"""Clean sets whose own pattern is in every example, and corruptions of which only part of the examples, or of a
tone's harmonics, tell."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector.families import families
from sagd_jax.spectral.detector.finding import CORRUPTION, UNKNOWN
from sagd_jax.spectral.detector.runs import runs
from sagd_jax.spectral.frequencies import radial_frequency

SITES = np.mgrid[:64, :64]


def bad(analysis):
    return [f for f in analysis.findings if f.verdict == CORRUPTION]


def weave(rng):
    y, x = SITES
    turn, offset = 0.03 * rng.normal(), rng.uniform(0, 9, 2)
    u = np.cos(turn) * x - np.sin(turn) * y + offset[0]
    v = np.sin(turn) * x + np.cos(turn) * y + offset[1]
    threads = np.sin(2 * np.pi * u / 4.7) * np.sin(2 * np.pi * v / 4.7)
    return 0.24 * threads + 0.08 * rng.normal(size=u.shape)


def ridges(rng):
    y, x = SITES
    centre = rng.uniform(16, 48, 2)
    radius = np.hypot(x - centre[0], 0.8 * (y - centre[1]))
    bent = 18 * ndimage.gaussian_filter(rng.normal(size=x.shape), 6)
    own = ndimage.gaussian_filter(np.cos(2 * np.pi * radius / rng.uniform(5.5, 8) + bent), 0.6)
    inside = np.hypot((x - 32) / 29, (y - 32) / 32) < 1
    return np.where(inside, 0.6 * own, 0.8) + 0.04 * rng.normal(size=x.shape)


def fingers(rng):
    """Ridges of nearly one pitch, without an end, in all directions."""
    turn, bent = rng.uniform(0, np.pi), 9 * ndimage.gaussian_filter(rng.normal(size=(64, 64)), 7)
    y, x = SITES
    along = np.cos(turn) * x + np.sin(turn) * y
    own = np.cos(2 * np.pi * along / rng.uniform(6.5, 8.5) + 3 * bent)
    return ndimage.gaussian_filter(0.5 * own, 0.5) + 0.03 * rng.normal(size=x.shape)


def doubled(rng):
    """Small icons on a ground of one brightness, twice as large."""
    icon = np.zeros((32, 32))
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(2, 20, 2)
        height, width = rng.integers(3, 12), rng.integers(8, 26)
        icon[top : top + height, left : left + width] = rng.uniform(-1, 1)
    return np.kron(icon, np.ones((2, 2))) + 0.004 * rng.normal(size=(64, 64))


def lanes(rng):
    """Of a gel: bands at random heights in lanes of one pitch."""
    y, x = SITES
    image = np.full(x.shape, 0.7)
    for lane in range(6, 64, 12):
        for _ in range(rng.integers(2, 7)):
            band = np.exp(-(((y - rng.uniform(5, 59)) / 1.6) ** 2)) * (np.abs(x - lane) < 4)
            image = image - rng.uniform(0.2, 1.2) * band
    return ndimage.gaussian_filter(image, 0.7) + 0.02 * rng.normal(size=x.shape)


def hide(rng):
    """Of a zebra: stripes of many widths, more or less turned."""
    y, x = SITES
    turn = 0.5 * rng.normal()
    bent = 20 * ndimage.gaussian_filter(rng.normal(size=x.shape), 8)
    along = np.cos(turn) * x + np.sin(turn) * y
    own = np.sin(2 * np.pi * along / rng.uniform(6, 12) + bent) > 0
    return ndimage.gaussian_filter(1.2 * own, 0.6) - 0.6 + 0.04 * rng.normal(size=x.shape)


def layers(rng):
    """Of a retina: of nearly one depth, under speckle, as a logarithm."""
    y, x = SITES
    bent = 0.06 * rng.normal() * (x - 32) + 0.0012 * rng.normal() * (x - 32) ** 2
    depth, image = rng.uniform(14, 24) + bent, np.full(x.shape, 0.02)
    brightness = (0.75, 0.42, 0.55, 0.35, 0.16, 0.7, 0.28, 0.95)
    for bright, thick in zip(brightness, (4.5, 4, 3.5, 4.5, 6, 2, 1.5, 2.5), strict=True):
        image = np.where(y >= depth, bright * rng.normal(1, 0.08), image)
        depth = depth + thick * rng.normal(1, 0.1)
    image = np.where(y >= depth, 0.5 * np.exp((depth - y) / rng.uniform(5, 12)), image)
    grains = ndimage.gaussian_filter(rng.normal(size=(2, *x.shape)), (0, 0.5, 0.7))
    speckle = np.square(grains).sum(axis=0)
    image = image * (0.55 + 0.45 * speckle / speckle.mean()) * np.exp(0.2 * rng.normal())
    logs = np.log(image + 0.008 * rng.exponential(size=x.shape) + 0.004)
    return 2 * (logs - np.log(0.006)) / np.log(1.6 / 0.006) - 1


def crops(rng):
    """Fields in rows of one distance, each in its own direction, with bare ground in part of the picture."""
    y, x = SITES
    turn, pitch = rng.uniform(0, np.pi), 6 * rng.normal(1, 0.03)
    along = (
        np.cos(turn) * x
        + np.sin(turn) * y
        + 2 * ndimage.gaussian_filter(rng.normal(size=x.shape), 8)
    )
    rows = 1 / (1 + np.exp(-6 * np.sin(2 * np.pi * along / pitch)))
    grown = ndimage.gaussian_filter(rng.normal(size=x.shape), 10) > -0.03
    ground = ndimage.gaussian_filter(rng.normal(size=x.shape), 3)
    image = rng.uniform(0.3, 0.5) * rows * grown + 0.12 * ground / ground.std()
    return ndimage.gaussian_filter(image, 0.6) - 0.4 + 0.01 * rng.normal(size=x.shape)


def slices(rng):
    """Of a head, in the middle: along one axis fewer coefficients were measured than there are pixels."""
    y, x = np.mgrid[:128, :128] / 2
    turn, centre = 0.07 * rng.normal(), 32 + rng.normal(size=2)
    u = np.cos(turn) * (y - centre[0]) - np.sin(turn) * (x - centre[1])
    v = np.sin(turn) * (y - centre[0]) + np.cos(turn) * (x - centre[1])
    radius, image = np.hypot(u / rng.normal(27, 1.3), v / rng.normal(21.5, 1.2)), np.zeros(x.shape)
    for edge, bright in ((1, 0.95), (0.94, 0.07), (0.88, 0.15), (0.85, 0.5), (0.7, 0.75)):
        image[radius < edge] = bright
    for side in (-1, 1):
        across = (v - side * rng.normal(4.3, 0.5)) / rng.uniform(1.3, 3)
        image[np.hypot(u / rng.uniform(5, 10), across) < 1] = 0.15
    own = np.fft.fftshift(np.fft.fft2(image.reshape(64, 2, 64, 2).mean(axis=(1, 3))))
    noise = rng.normal(size=own.shape) + 1j * rng.normal(size=own.shape)
    own = own + 64 * rng.uniform(0.008, 0.025) * noise
    own[:, :8] = own[:, 56:] = 0
    return 2 * np.abs(np.fft.ifft2(np.fft.ifftshift(own))) - 1


def examples(make, n=160, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(np.stack([make(rng) for _ in range(n)]), -1, 1)[..., None]


def tone(n, amplitude, frequency=(0.31, 0.17), seed=1):
    phase = np.random.default_rng(seed).random((n, 1, 1))
    wave = np.cos(2 * np.pi * (frequency[0] * SITES[0] + frequency[1] * SITES[1] + phase))
    return amplitude * wave[..., None]


@pytest.mark.parametrize(
    "make", [weave, ridges, fingers, doubled, lanes, hide, layers, slices, crops]
)
def test_what_all_examples_are_made_of_is_no_corruption(make):
    assert not bad(analyse([examples(make)]))


def of_strokes(rng):
    """Thick strokes on black, as digits are."""
    image = np.zeros((28, 28))
    points = rng.uniform(6, 22, (4, 2))
    for a, b in itertools.pairwise(points):
        for step in np.linspace(0, 1, 30):
            y, x = a + step * (b - a)
            image[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 1.0
    return ndimage.gaussian_filter(image, 0.6)


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.28, 0.36), (0.36, 0.43), (0.5, 0.57)])
def test_a_band_of_one_power_over_strokes(clipped, low, high):
    """No ring is free of the strokes, and each band has but two or three: its edges are not sharp."""
    rng = np.random.default_rng(5)
    n = 400
    x = np.stack([of_strokes(rng) for _ in range(n)])
    radius = radial_frequency((28, 28))
    inside = (radius >= low) & (radius < high)
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=x.shape)) * inside, s=(28, 28))
    noisy = x + 0.1 * noise / noise.std()
    noisy = np.clip(noisy, 0, 1) if clipped else noisy
    (band,) = bad(analyse([2 * noisy[..., None] - 1]))
    assert band.kind == "band" and band.share > 0.9
    assert band.low == pytest.approx(low, abs=1.5 / 28)
    assert band.high == pytest.approx(high, abs=1.5 / 28)
    added = np.abs(np.fft.rfft2(noisy - x, norm="ortho")) ** 2
    stated = band.variance[inside].mean()
    assert stated == pytest.approx(4 * added[:, inside].mean(), rel=0.15)


def test_a_floor_above_the_end_of_a_filter_is_no_band():
    """The power falls by many decades within few sets, and stays there: no edge up, where a step up is one."""
    family = families((4096,))[0]
    profile = -0.01 * np.arange(len(family.low))
    profile += 0.003 * np.random.default_rng(0).normal(size=len(profile))
    fallen, raised = profile.copy(), profile.copy()
    fallen[-18:] -= np.minimum(1.5 * np.arange(18), 9)
    raised[-12:] += 1.0
    assert not [r for r in runs(family, fallen, 0.02, 4.5) if r.open_ended]
    assert [r.first for r in runs(family, raised, 0.02, 4.5)] == [len(profile) - 12]


@pytest.mark.parametrize("make", [weave, ridges, hide])
def test_a_tone_beside_it_is_one_and_makes_none_of_it(make):
    x = examples(make)
    line, *others = bad(analyse([x + tone(len(x), 0.05)]))
    assert np.allclose(np.abs(line.frequencies[0]), (0.31, 0.17), atol=0.5 / 64)
    assert sum(f.energy for f in others) < 1e-3


def test_a_pattern_that_a_third_of_the_examples_share():
    rng = np.random.default_rng(2)
    n = 160
    has = np.arange(n) % 3 == 0
    blobs = ndimage.gaussian_filter(rng.normal(size=(n, 64, 64)), (0, 2, 2)) * 2
    pattern = 0.08 * rng.normal(size=(64, 64))
    x = blobs + has[:, None, None] * pattern + 0.03 * rng.normal(size=blobs.shape)
    result = analyse([x[..., None]])
    (found,) = bad(result)
    assert found.kind == "fixed pattern" and found.share == pytest.approx(has.mean(), abs=0.06)
    assert ((found.has > 0.5) == has).mean() > 0.97
    assert any("from those alone" in line for line in result.advice)
    (found,) = bad(analyse([(blobs + pattern)[..., None]]))
    assert found.kind == "fixed pattern" and found.share == 1 and found.has is None


def test_who_has_a_hum_is_not_told_by_its_line_at_the_end_of_the_spectrum():
    """There the power goes by the phase, and is next to nothing in some examples."""
    rng = np.random.default_rng(3)
    n, size = 160, 1000
    time = np.arange(size)
    phases = rng.uniform(0, 2 * np.pi, (2, n, 1))
    hum = np.sin(np.pi / 2 * time + phases[0]) + np.sin(np.pi * time + phases[1]) / 2
    loud = np.exp(rng.normal(size=(n, 1)))
    x = 0.02 * loud * rng.normal(size=(n, size)) + 0.06 * hum
    result = analyse([x[..., None]])
    (found,) = bad(result)
    assert [round(f[0], 3) for f in found.frequencies] == [0.25, 0.5]
    assert found.share == 1 and (result.kinds == 1).all()


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_band_with_soft_edges_over_a_steep_spectrum(share):
    """Its edges take several of the narrow sets of a long signal, and each of them shows a part of one."""
    rng = np.random.default_rng(4)
    n, size = 160, 3000
    frequency = np.fft.rfftfreq(size)
    own = np.maximum(frequency, 3e-3) ** -2.5
    soft = 1 / (1 + np.abs((frequency - 0.275) / 0.025) ** 12)
    has = rng.random(n) < share
    level = 30 * np.interp(0.275, frequency, own)

    def drawn():
        return np.fft.rfft(rng.normal(size=(n, size)))

    spectrum = own * drawn() + has[:, None] * level * soft * drawn()
    x = np.fft.irfft(spectrum, n=size)[..., None]
    found = analyse([0.3 * x / np.abs(x).max()]).findings
    (band,) = [f for f in found if f.kind == "band" and f.verdict in (CORRUPTION, UNKNOWN)]
    assert band.low == pytest.approx(0.25, abs=0.01) and band.high == pytest.approx(0.3, abs=0.01)
    # Of sounds a band that some have may be a voice's own.
    assert band.verdict == (CORRUPTION if share == 1 else UNKNOWN)
