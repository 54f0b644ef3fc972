"""What was planted is found and called a corruption; clean data raise no alarm."""

import dataclasses

import jax
import numpy as np
import pytest
from planted import digits, fields, support, within_one_bin

from sagd_jax import radial_frequency
from sagd_jax.spectral import spectra
from sagd_jax.spectral.analysis import analyse
from sagd_jax.spectral.detector import pieces
from sagd_jax.spectral.detector.finding import CORRUPTION, UNKNOWN
from sagd_jax.spectral.detector.kinds_of_examples import kinds_of_examples


def bad(analysis):
    return [f for f in analysis.findings if f.verdict == CORRUPTION]


def loudness(n, axes, seed=0):
    """Examples are not all as loud: so data are, and added noise is not."""
    return np.exp(np.random.default_rng(seed).normal(size=(n, *[1] * (axes + 1))))


def scenes(shape, n, seed=0, alpha=-1.0):
    return 0.2 * loudness(n, len(shape), seed) * fields(shape, alpha, n, seed)


def waves(shape, n, frequency, seed=1):
    rng = np.random.default_rng(seed)
    sites = np.meshgrid(*map(np.arange, shape), indexing="ij")
    phase = sum(f * s for f, s in zip(frequency, sites, strict=True))
    start = rng.random((n, *[1] * len(shape)))
    return np.cos(2 * np.pi * (phase + start))[..., None]


@pytest.mark.parametrize("shape", [(32, 32), (24, 40), (256,), (8, 16, 16)])
@pytest.mark.parametrize("alpha", [-1.5, 0.3])
def test_clean_fields_raise_no_alarm(shape, alpha):
    assert bad(analyse(fields(shape, alpha, 100) / 5)) == []
    assert bad(analyse(scenes(shape, 100, alpha=alpha))) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 1))
    x[3, 2, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        analyse(x)


def test_clean_digits_raise_no_alarm():
    analysis = analyse(digits())
    assert bad(analysis) == []
    assert analysis.advice[0] == "leave it alone"
    assert np.all(analysis.kept == 1) and analysis.corruption() is None
    assert np.all(analysis.kinds == 0)


@pytest.mark.parametrize("frequency", [(0.25, 0.1875), (0.32, -0.21)])
def test_a_moire_weaker_than_the_data_is_found_in_the_quiet_ones(frequency):
    x = scenes((64, 64), 150) + 0.02 * waves((64, 64), 150, frequency)
    analysis = analyse(x)
    (line,) = bad(analysis)
    sign = np.sign(line.frequencies[0][1] * frequency[1])
    np.testing.assert_allclose(np.multiply(sign, line.frequencies[0]), frequency, atol=0.5 / 64)
    assert line.share > 0.9 and line.floor
    assert analysis.advice[0] == "omission"
    wave = 0.02 * waves((64, 64), 150, frequency)
    true = np.square(np.abs(np.fft.fft2(wave[..., 0], norm="ortho"))).mean(axis=0)
    most = true > 0.3 * true.max()
    np.testing.assert_allclose(analysis.corruption()[0, ..., 0][most], true[most], rtol=0.12)


def test_a_line_of_some_examples_and_which_these_are():
    has = np.arange(300) % 5 == 0
    x = scenes((32, 32), 300) + 0.2 * has[:, None, None, None] * waves((32, 32), 300, (0.25, 0.25))
    analysis = analyse(x)
    (line,) = bad(analysis)
    assert line.share == pytest.approx(0.2, abs=0.04)
    assert analysis.advice[0] == "capped levels"
    assert np.mean((analysis.kinds == 1) == has) > 0.9
    assert analysis.corruption().shape == (1, 32, 32, 1)


def test_hum_and_its_harmonics_are_one_finding():
    rate, n = 8000, 120
    x = scenes((4096,), n, alpha=-0.5)
    x += sum(0.1 / k * waves((4096,), n, (50.4 * k / rate,), seed=k) for k in (1, 2, 3))
    (hum,) = bad(analyse(x, sample_rate=rate))
    assert hum.kind == "hum" and hum.details["mains"] == 50
    assert hum.details["hertz"] == pytest.approx(50.4, abs=0.2)
    np.testing.assert_allclose(
        sorted(f[0] * rate for f in hum.frequencies), [50.4, 100.8, 151.2], atol=rate / 4096
    )


@pytest.mark.parametrize("low", [0.35, 0.55])
def test_a_band_under_the_data_is_found_with_its_variance(low):
    band = spectra.band_pass((64, 64), [(low, low + 0.12)])
    noise = 0.03 * np.asarray(band.sample(jax.random.key(1), (200, 64, 64, 1)))
    (found,) = bad(analyse(scenes((64, 64), 200) + noise))
    assert found.kind == "band" and found.floor
    assert within_one_bin(found.mask, support(band)) and within_one_bin(support(band), found.mask)
    true = 0.03**2 * float(np.asarray(band.variance).max())
    assert found.variance[found.mask].mean() == pytest.approx(true, rel=0.1)
    assert not found.variance[~found.mask].any()


def test_rows_are_found_and_a_ridge_of_the_data_is_not():
    x = scenes((64, 64), 150)
    rng = np.random.default_rng(2)
    follows = loudness(150, 2) * 0.3 * rng.normal(size=(150, 64, 1, 1))
    smooth = np.cumsum(follows, axis=1) / 8
    assert bad(analyse(x + smooth)) == []
    (rows,) = bad(analyse(x + 0.03 * rng.normal(size=(150, 64, 1, 1))))
    assert (rows.kind, rows.details["of"]) == ("stripes", "rows")
    assert rows.variance[20, 0, 0] == pytest.approx(0.03**2 * 64, rel=0.1)


def test_what_grows_with_the_data_is_theirs():
    x = scenes((64, 64), 150)
    texture = loudness(150, 2) * 0.1 * waves((64, 64), 150, (0.3, 0.2))
    assert bad(analyse(x + texture)) == []


def test_a_shared_pattern_and_a_checkerboard_are_named():
    x = scenes((32, 32), 150)
    pattern = np.random.default_rng(3).normal(size=(1, 32, 32, 1))
    assert "fixed pattern" in [f.kind for f in bad(analyse(x + 0.2 * pattern))]
    board = (np.indices((32, 32)).sum(axis=0) % 2)[..., None] - 0.5
    (mosaic,) = bad(analyse(x + 0.1 * board))
    assert mosaic.kind == "mosaic" and mosaic.details["pattern"] == "checkerboard"
    assert mosaic.coherence > 100


def pixels(n=80, size=64, seed=0):
    """Pictures with edges and some grain, uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((size, size))
    result = []
    for _ in range(n):
        x = 110 + 8 * rng.normal(size=(size, size))
        for _ in range(12):
            angle, shift = rng.uniform(0, np.pi), rng.uniform(-10, 60)
            x += rng.normal() * 25 * (rows * np.sin(angle) + columns * np.cos(angle) > shift)
        result.append(np.clip(x, 0, 255).astype(np.uint8))
    return np.stack(result)


def treated(x, change):
    from PIL import Image

    return np.stack([np.asarray(change(Image.fromarray(picture))) for picture in x])


def in_range(x):
    return x[..., None] / 127.5 - 1


def test_jpeg_blocks_are_named_and_a_good_quality_is_not():
    import io

    from PIL import Image

    def saved(quality):
        def change(picture):
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            return Image.open(file)

        return treated(pixels(), change)

    found = bad(analyse(in_range(saved(20)[:, 3:59, 2:58])))
    assert [f.kind for f in found] == ["jpeg"]
    assert found[0].details["phase"] == [5, 6]
    assert "jpeg" not in [f.kind for f in analyse(in_range(saved(97))).findings]


def test_an_enlargement_is_named_with_its_factor():
    from PIL import Image

    x = treated(pixels(), lambda p: p.resize((128, 128), Image.BICUBIC))[:, 20:84, 30:94]
    kinds = {f.kind: f for f in analyse(in_range(x)).findings}
    assert kinds["enlarged"].details["factor"] == pytest.approx(2, rel=0.02)
    assert "enlarged" not in {f.kind for f in analyse(in_range(pixels())).findings}


def test_a_colour_alone():
    x = scenes((32, 32), 150) * np.ones(3)
    x[..., 2:] += 0.06 * waves((32, 32), 150, (0.25, 0.25))
    lines = bad(analyse(x))
    assert lines and all(set(f.channels) <= {"2", "chroma 2"} for f in lines)


def test_holes_and_levels_in_the_cosine_basis():
    x = scenes((32, 32), 150) + 0.06 * waves((32, 32), 150, (0.25, 0.25))
    analysis = analyse(x, basis="cosine")
    fourier = analyse(x)
    assert analysis.kept.shape == (32, 32) and analysis.kept[16, 16] == 0 < analysis.kept[4, 4]
    own, other = analysis.corruption(), fourier.corruption()
    assert own.shape == (1, 32, 32, 1)
    assert own.sum() == pytest.approx(other.sum())  # a basis keeps the energy
    assert np.unravel_index(own[0, ..., 0].argmax(), (32, 32)) in {(15, 15), (16, 16), (17, 17)}


def test_findings_are_chosen_by_number_and_the_margin_widens_holes():
    x = scenes((64, 64), 150) + 0.03 * waves((64, 64), 150, (0.25, 0.125))
    exact, wide = (analyse(x, margin=m) for m in (0.0, 2.0))
    radius = radial_frequency((64, 64))
    assert (exact.kept == 0).sum() < (wide.kept == 0).sum()
    assert radius[exact.kept == 0].min() > 0.2
    chosen = analyse(x, margin=0.0, chosen=[1])
    np.testing.assert_array_equal(chosen.kept == 0, exact.findings[0].mask)
    # What is chosen is taken for a corruption, whatever its verdict, and nothing else is.
    doubtful = dataclasses.replace(exact.findings[0], verdict=UNKNOWN)
    assert kinds_of_examples([doubtful], 150)[1] == []
    kinds, combinations = kinds_of_examples([doubtful], 150, [1])
    assert combinations == [(1,)] and kinds.all()
    assert kinds_of_examples(exact.findings, 150, [])[1] == []
    with pytest.raises(ValueError, match=r"chosen=\(99,\)"):
        analyse(x, chosen=[99])
    with pytest.raises(ValueError, match="margin=-1"):
        analyse(x, margin=-1)


def test_one_large_picture_is_cut():
    rng = np.random.default_rng(4)
    rows, columns = np.indices((400, 300))
    field = np.cumsum(np.cumsum(rng.normal(size=(400, 300)), 0), 1) / 2000
    picture = field + 0.05 * rng.normal(size=field.shape)
    picture += 0.2 * np.cos(2 * np.pi * (0.31 * rows + 0.11 * columns))
    cut = pieces.cut(picture[..., None])
    assert cut.shape[1:] == (64, 64, 1) and len(cut) >= 64
    (line,) = bad(analyse(cut))
    np.testing.assert_allclose(np.abs(line.frequencies[0]), (0.31, 0.11), atol=0.5 / 64)
    with pytest.raises(ValueError, match="size=0"):
        pieces.cut(picture[..., None], 0)
