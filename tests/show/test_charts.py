"""Charts and pages: what is drawn is what was given, nothing is loaded, and words stay words."""

import re
import xml.etree.ElementTree as tree

import numpy as np
import pytest

from sagd_jax.show import charts, page, palette, pictures, spectra_charts
from sagd_jax.show.charts import Series, line_chart, short, thinned
from sagd_jax.show.thumbnails import small_png


def drawn(chart):
    """The points of each line, and the places of the labels of both axes."""
    root = tree.fromstring(chart)
    lines = [
        np.array([[float(v) for v in p.split(",")] for p in line.get("points").split()])
        for line in root.iter()
        if line.tag.endswith("polyline")
    ]
    texts = [(t.get("class"), t.get("x"), t.get("y"), t.text) for t in root.iter() if t.text]
    return lines, texts


def value_of(text):
    factor = {"k": 1e3, "M": 1e6}.get(text[-1], 1)
    return float(text.rstrip("kM")) * factor


@pytest.mark.parametrize("log", [False, True])
def test_points_stand_where_the_labels_say(log):
    x, y = np.arange(1, 6) * 1000.0, np.array([1.0, 3, 10, 40, 100])
    chart = line_chart(
        [Series("", x, y)], title="t", xlabel="step", ylabel="loss", log_x=log, log_y=log
    )
    (line,), texts = drawn(chart)
    for kind, column, values, place in (("x", 0, x, 1), ("y", 1, y, 2)):
        labels = [
            (float(t[place]), value_of(t[3])) for t in texts if t[0] == kind and t[3][0].isdigit()
        ]
        assert len(labels) >= 2, kind
        places, at = np.array(labels).T
        places = places - (4 if kind == "y" else 0)
        scale = np.log if log else np.asarray
        slope, start = np.polyfit(scale(at), places, 1)
        np.testing.assert_allclose(line[:, column], slope * scale(values) + start, atol=0.6)
    assert {"step", "loss", "t"} <= {t[3] for t in texts}


def test_what_is_thinned_keeps_its_mean_and_its_ends():
    rng = np.random.default_rng(0)
    x, y = np.arange(50_000.0), rng.normal(size=50_000)
    y[123], y[777] = 40, np.nan
    at, mean, low, high = thinned(x, y)
    assert len(at) == charts.MOST_POINTS and high.max() == 40 and low.min() == np.nanmin(y)
    number = np.diff(np.append(np.linspace(0, 49_999, 240, endpoint=False).astype(int), 49_999))
    assert np.sum(mean * number) == pytest.approx(np.nansum(y))
    assert np.all(np.diff(at) > 0)
    short_ = thinned(np.arange(3), np.arange(3.0))
    np.testing.assert_array_equal(short_[1], [0, 1, 2])


@pytest.mark.parametrize(
    "y", [[5.0], [5.0, 5.0], [0.0, 0.0], [np.nan, np.nan], [], [1e-300, 1e300], [-3, np.inf, 2]]
)
def test_any_numbers_make_a_sound_chart(y):
    y = np.array(y)
    chart = line_chart(
        [Series("a", np.arange(len(y)), y), Series("b", np.arange(len(y)), -y)],
        title="t", xlabel="x",
    )  # fmt: skip
    lines, texts = drawn(chart)
    finite = np.isfinite(y).any()
    assert bool(lines) == bool(finite) and ("nothing to draw" in {t[3] for t in texts}) != finite
    assert "nan" not in chart and "inf" not in chart
    for line in lines:
        assert np.all((line >= -20) & (line <= 500))


def test_words_stay_words():
    evil = "<script>alert(1)</script>\"'&"
    lines = [Series(evil, np.arange(2), np.arange(2)), Series("b", np.arange(2), np.arange(2))]
    chart = line_chart(lines, title=evil, xlabel=evil, ylabel=evil)
    assert "<script" not in chart
    assert {t[3] for t in drawn(chart)[1]} >= {evil}
    text = page.page(
        evil, [(evil, page.table([[evil]], [evil]) + page.code(evil))], page.trouble([evil])
    )
    assert "<script" not in text


def test_lines_differ_without_colours_and_follow_the_theme():
    x = np.arange(3)
    chart = line_chart([Series(str(i), x, x + i) for i in range(6)], title="t", xlabel="x")
    styles = re.findall(r'<polyline[^>]*class="([^"]*)"(?: stroke-dasharray="([^"]*)")?', chart)
    assert len(set(styles)) == 6 and len({dashes for _, dashes in styles}) == 6
    assert "prefers-color-scheme:dark" in charts.STYLE
    assert palette.ON_LIGHT[0] in charts.STYLE and palette.ON_DARK[0] in charts.STYLE
    assert "<style" not in chart
    alone = line_chart([Series("", x, x)], title="t", xlabel="x", alone=True)
    assert "prefers-color-scheme:dark" in alone and "www.w3.org/2000/svg" in alone


@pytest.mark.parametrize("theme", [palette.ON_LIGHT, palette.ON_DARK])
def test_lines_of_reports_stand_out_from_their_ground(theme):
    ground = (0xF5, 0xF6, 0xF8) if theme is palette.ON_LIGHT else (0x20, 0x24, 0x2A)

    def luminance(rgb):
        parts = [c / 255 for c in rgb]
        r, g, b = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for colour in theme:
        light = [luminance(bytes.fromhex(colour[1:])), luminance(ground)]
        assert (max(light) + 0.05) / (min(light) + 0.05) >= 3, colour


def test_short_numbers():
    assert [short(v) for v in (0, 100, 12_000, 2.5e6, 0.05, 1e-7, 3e12, -0.5)] == [
        "0", "100", "12k", "2.5M", "0.05", "1e-7", "3e12", "-0.5",
    ]  # fmt: skip


def test_spectra_of_other_sizes_have_no_ratio():
    one = np.array([0.1, 0.2]), np.array([1.0, 2.0]), np.array([0.1, 0.1])
    chart = spectra_charts.ratio_chart(one, one, "ratio")
    assert np.ptp(drawn(chart)[0][1][:, 1]) == 0
    other = tuple(np.append(part, 1.0) for part in one)
    assert spectra_charts.ratio_chart(one, other, "ratio") is None


def test_a_picture_is_made_small_by_means():
    rng = np.random.default_rng(0)
    large = rng.integers(0, 256, (900, 1300, 3)).astype(np.uint8)
    small = pictures.read_png(small_png(pictures.png(large), 100_000))
    assert small.shape[1] <= 640 and len(pictures.png(small)) <= 100_000
    assert abs(small.mean() - large.mean()) < 1
    kept = pictures.png(large[:20, :30, :1])
    assert small_png(kept, 10_000) == kept


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_picture_is_no_picture(damage):
    content = pictures.png(np.zeros((5, 5, 1), np.uint8))
    content = {
        "cut": content[:-20],
        "flipped": content[:46] + bytes([content[46] ^ 1]) + content[47:],
        "other": b"GIF",
    }[damage]
    with pytest.raises(ValueError, match="no PNG of this program, or a damaged one"):
        pictures.read_png(content)
