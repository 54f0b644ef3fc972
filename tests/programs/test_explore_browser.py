"""The explorer in a real browser: every control moves the picture, two people do not mix, nothing leaves.

Needs playwright's Python package and Debian's chromium, and skips without.
"""

import shutil
import socket

import numpy as np
import pytest

from sagd_jax.data.source import ArraySource
from sagd_jax.programs import explore
from sagd_jax.programs.explored import Explorer
from sagd_jax.run.config import RunConfig

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
PATIENCE = 240_000  # milliseconds: what is new is compiled first
# Of each kind a field, and a value other than its default.
FIELDS = {
    "noise": {
        "power_law": ("alpha", "-0.7"),
        "exponential": ("beta", "4"),
        "two_band": ("gamma_low", "0.8"),
        "matern": ("length", "2"),
    },
    "schedule": {
        "edm": ("sigma_max", "9"),
        "blurring": ("blur_max", "3"),
        "hierarchical": ("softness", "0.3"),
    },
}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    from sagd_jax.programs import explore_page

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8, 8, 1)).cumsum(1).cumsum(2) / 10
    source = ArraySource(x.astype(np.float32), value_range=(-1, 1), kind="field")
    explorer = Explorer(RunConfig(), source, out=tmp_path_factory.mktemp("out"))
    page, options = explore_page.build(explorer)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    explore.serve(page, options, "127.0.0.1", port)
    yield explore.address("127.0.0.1", port)
    page.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


class Person:
    """Somebody with a page of their own."""

    def __init__(self, browser, address):
        self.requests = []
        self.page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("#spectrum svg")

    def until(self, text, where="#config_lines"):
        self.page.wait_for_function(
            "([where, text]) => document.querySelector(where).innerText.includes(text)",
            arg=[where, text],
        )

    def moved_by(self, action, where="#pictures"):
        """Waits until what an action does has changed this part of the page."""
        before = self.page.inner_html(where)
        action()
        self.page.wait_for_function(
            "([where, before]) => document.querySelector(where).innerHTML !== before",
            arg=[where, before],
        )

    def pick(self, control, text):
        self.page.click(f"#{control} input")
        self.page.get_by_role("option", name=text, exact=True).click()

    def type(self, control, text):
        field = f"#{control} input[type=number]"
        self.page.fill(field, text)
        self.page.press(field, "Tab")

    def drag(self, start, end):
        area = self.page.locator("[data-drag]").bounding_box()
        y = area["y"] + area["height"] / 2
        self.page.mouse.move(area["x"] + start * area["width"], y)
        self.page.mouse.down()
        self.page.mouse.move(area["x"] + end * area["width"], y, steps=4)
        self.page.mouse.up()


@pytest.fixture
def person(browser, address):
    one = Person(browser, address)
    yield one
    one.page.context.close()


def test_every_control_moves_the_picture(person):
    for control, value in (("t", "0.3"), ("example", "5"), ("seed", "2")):
        person.moved_by(lambda c=control, v=value: person.type(c, v))
    person.moved_by(lambda: person.page.click("#of_data input"))
    for section, kinds in FIELDS.items():
        for kind, (field, value) in kinds.items():
            person.pick(f"{section}-kind", kind)
            person.until(f'config.{section}.kind = "{kind}"')
            person.moved_by(lambda s=section, f=field, v=value: person.type(f"{s}-{f}", v))
            person.until(f"config.{section}.{field} = ")
    person.moved_by(lambda: person.page.click("#basis label:has-text('cosine')"))
    person.pick("process", "moving")
    person.until('config.schedule.end = "power_law:alpha=-1.0"')


def test_a_drag_over_the_spectrum_chooses_a_band(person):
    person.drag(0.5, 0.75)
    person.until("band_pass")
    low, high = (
        float(person.page.input_value(f"#{name} input[type=number]")) for name in ("low", "high")
    )
    # The axis is logarithmic from 0.93 / 8 to 1.02 times the largest radius.
    ends = np.log([0.93 / 8, 1.02 * np.sqrt(0.5)])
    expected = np.exp(ends[0] + np.array([0.5, 0.75]) * (ends[1] - ends[0]))
    np.testing.assert_allclose([low, high], expected, rtol=0.02)
    person.moved_by(lambda: person.type("high", "0.6"))


def test_a_wrong_number_is_a_message_and_the_picture_is_greyed(person):
    before = person.page.inner_html("#pictures")
    person.type("t", "7")
    person.until("t=7: expected a number in [0, 1]", "#message")
    assert person.page.inner_html("#pictures") == before
    opacity = "getComputedStyle(document.querySelector('#pictures')).opacity"
    assert float(person.page.evaluate(opacity)) < 0.5
    assert "Traceback" not in person.page.inner_text("body")
    person.moved_by(lambda: person.type("t", "0.7"))
    person.page.wait_for_function(f"{opacity} == 1")


def test_two_people_do_not_mix_and_nothing_leaves_the_machine(browser, address):
    first, second = Person(browser, address), Person(browser, address)
    untouched = second.page.inner_html("#pictures")
    first.pick("process", "tilted")
    first.until("config.noise.alpha = -0.5")
    assert second.page.inner_html("#pictures") == untouched
    second.moved_by(lambda: second.type("t", "0.9"))
    assert "alpha" not in second.page.inner_text("#config_lines")
    first.moved_by(lambda: first.type("seed", "3"))
    assert "config.noise.alpha = -0.5" in first.page.inner_text("#config_lines")
    asked = [url for one in (first, second) for url in one.requests]
    assert len(asked) > 20
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)


def test_findings_are_looked_for_when_asked(person):
    person.page.get_by_role("tab", name="What stands out of the data").click()
    person.until("What to do", "#found")
