"""Charts: where things are, by arithmetic; and that they are XML."""

import base64
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from sagd_jax.show import svg


def chart(**options):
    return svg.Chart(
        svg.Axis(1, 100, "x <unit>", log=True), svg.Axis(0, 10, "y"), "title", **options
    )


def test_it_is_xml_with_its_words():
    one = chart(drag="band")
    one.band([1, 10], [1, 2], [3, 4], "data")
    one.dots([2], [5], "noise")
    one.span(2, 3, "mark", "7")
    one.time(10)
    one.legend([("data", "a & b")])
    one.raster(np.zeros((2, 3, 3), np.uint8))
    root = ElementTree.fromstring(one.svg())
    words = [element.text for element in root.iter("text")]
    assert {"x <unit>", "y", "title", "7", "a & b"} <= set(words)
    (area,) = (e for e in root.iter("rect") if e.get("data-drag"))
    assert (area.get("data-low"), area.get("data-high")) == ("1", "100")


def test_points_lie_where_the_axes_say_and_lines_break():
    one = chart(size=(162, 110))  # 100 wide inside, 50 high
    one.line([1, 10, 100, 100, 10], [0, 5, np.nan, 10, 10], "data")
    lines = re.findall(r'points="([^"]+)"', one.svg())
    assert lines == ["52.0,72.0 102.0,47.0", "152.0,22.0 102.0,22.0"]


@pytest.mark.parametrize(
    ("low", "high"), [(0.014, 0.72), (1e-9, 1e3), (0.3, 0.5), (2e-4, 40), (0.05, 0.5)]
)
def test_logarithmic_ticks_are_few_and_inside(low, high):
    ticks = svg.Axis(low, high, "", log=True).ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low * 0.999 <= float(text) <= high * 1.001 for _, text in ticks)
    places = [place for place, _ in ticks]
    assert np.all(np.diff(places) > 0.03)  # they do not overlap


def test_linear_ticks_are_round():
    assert [t for _, t in svg.Axis(0, 0.71, "").ticks()] == ["0", "0.2", "0.4", "0.6"]
    assert [t for _, t in svg.Axis(-3, 3, "").ticks()] == ["-2", "0", "2"]


def test_pictures_are_within_the_text_and_words_are_no_markup():
    made = svg.image(np.full((2, 2, 1), 9, np.uint8), "<i>", "a < b")
    assert "<i>" not in made and "a &lt; b" in made
    content = re.search(r"base64,([^\"]+)", made).group(1)
    assert base64.b64decode(content)[1:4] == b"PNG"


def test_colours_of_numbers_beyond_the_ends_are_those_of_the_ends():
    assert np.array_equal(svg.diverging([-99, 99], 10), svg.diverging([-10, 10], 10))
    assert svg.sequential(np.nan).shape == (3,)
