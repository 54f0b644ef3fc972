"""The explorer in a real browser: every control moves the picture, two people do not mix, nothing leaves.

Needs playwright's Python package and Debian's chromium, and skips without.
"""

import contextlib
import shutil

import explorer_moves as moves
import numpy as np
import pytest
from programs import free_port

from sagd_jax.data import open_source
from sagd_jax.data.source import ArraySource
from sagd_jax.programs import explore
from sagd_jax.programs.explored import Explorer
from sagd_jax.run.config import RunConfig
from sagd_jax.run.saved import load_run

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
# Milliseconds: a control is there at once, an answer may have to be compiled first; both on a machine with other work.
SOON, PATIENCE = 60_000, 120_000


@contextlib.contextmanager
def served(explorer):
    """The address of a page of this explorer."""
    from sagd_jax.programs import explore_page

    page, options = explore_page.build(explorer)
    port = free_port()
    explore.serve(page, options, "127.0.0.1", port)
    yield explore.address("127.0.0.1", port)
    page.close()


@pytest.fixture(scope="module")
def address():
    with served(Explorer(RunConfig(), moves.fields_of_images())) as its:
        yield its


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
        self.page.set_default_timeout(SOON)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.wait("() => document.querySelector('#spectrum svg')", None, "the first pictures")

    def wait(self, condition, arg, wanted):
        """What a condition of the page gives once it holds; in vain, it is said what the page shows."""
        with self.told(wanted):
            return self.page.wait_for_function(condition, arg=arg, timeout=PATIENCE).json_value()

    @contextlib.contextmanager
    def told(self, wanted):
        """What is waited for in vain inside is said, with what the page shows."""
        try:
            yield
        except playwright.TimeoutError:
            raise AssertionError(f"no {wanted}; {self.shown()}") from None

    def shown(self):
        """What the page shows, in words."""
        return "the page shows:\n" + "\n".join(
            f"  {name}: {text}" for name, text in self.page.evaluate(moves.SHOWN).items()
        )

    def until(self, text, where="#config_lines"):
        self.wait(
            "([where, text]) => document.querySelector(where).innerText.includes(text)",
            [where, text],
            f"{text!r} in {where}",
        )

    def lines(self):
        """The lines of a config, though they may be on a tab that is not in front."""
        return self.page.text_content("#config_lines")

    def picture(self, where="#pictures"):
        """What is drawn in a part of the page, without the bars that Gradio lays over it while it waits."""
        return self.page.evaluate(f"where => ({moves.DRAWN})(where)", where)

    def moved_by(self, action, where="#pictures"):
        """Waits until what an action does has changed what is drawn; that it is refused is not waited for."""
        before, refusal = self.picture(where), self.page.evaluate(moves.REFUSAL)
        action()
        moved = self.wait(
            f"""([where, before, refusal]) => {{
              if (({moves.DRAWN})(where) !== before) return 'moved';
              const now = ({moves.REFUSAL})();
              return now && now !== refusal && 'refused';
            }}""",
            [where, before, refusal],
            f"change in {where}",
        )
        assert moved == "moved", f"refused; {self.shown()}"

    def pick(self, control, text):
        self.page.click(f"#{control} input")
        self.page.get_by_role("option", name=text, exact=True).click()

    def type(self, control, text):
        field = f"#{control} input[type=number]"
        self.page.fill(field, text)
        self.page.press(field, "Tab")

    def set(self, name, value):
        """Gives a control this value, whatever sort of control it is."""
        block = self.page.locator(f"#{name}")
        with self.told(f"control {name}"):
            block.wait_for()  # a menu may just have made it appear
        if isinstance(value, bool):
            block.locator("input[type=checkbox]").set_checked(value)
        elif block.locator("input[type=radio]").count():
            block.locator("label").get_by_text(str(value), exact=True).click()
        elif block.locator("input[type=number]").count():
            self.type(name, str(value))
        elif block.locator("input[role=combobox], input[role=listbox]").count():
            self.pick(name, value)
        else:
            field = block.locator("textarea, input").first
            field.fill(str(value))
            field.press("Tab")

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
    for name in ("t", "example", "seed", "of_data"):
        person.moved_by(lambda n=name: person.set(n, moves.OTHERS[n]))
    assert not person.page.is_visible("#low")
    # The end before the beginning, which is moved beyond where the end was.
    for name in ("band", "high", "low", "process", "basis", "noise-kind", "schedule-kind"):
        person.moved_by(lambda n=name: person.set(n, moves.OTHERS[n]))
    person.pick("process", "moving")
    person.until("Moving contains the spectrum of its noise", "#message")  # there is a band
    person.moved_by(lambda: person.set("band", "off"))
    person.until('config.schedule.end = "power_law:alpha=-1.0"')


KINDS = [(section, kind) for section, table in moves.FIELDS.items() for kind in table]


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_every_field_of_a_kind_moves_the_picture(person, tmp_path, section, kind):
    needed, moved = moves.with_files(*moves.FIELDS[section][kind], tmp_path)
    person.set(f"{section}-kind", kind)
    for field, value in needed.items():
        person.set(f"{section}-{field}", value)
    # Lines and pictures are one answer: that to all of these is there before anything is moved.
    person.until(f'config.{section}.kind = "{kind}"')
    for field in needed:
        person.until(f"config.{section}.{field} = ")
    for field, value in moved.items():
        person.moved_by(lambda f=field, v=value: person.set(f"{section}-{f}", v))
        person.until(f"config.{section}.{field} = ")


def test_hertz_move_the_picture_of_sounds(browser):
    x = np.random.default_rng(0).normal(size=(16, 64, 1)).astype(np.float32)
    source = ArraySource(x, value_range=(-4, 4), kind="audio", sample_rate=8000.0)
    with served(Explorer(RunConfig(), source)) as its:
        person = Person(browser, its)
        person.set("noise-kind", "notch")
        person.set("noise-width", 0.1)
        person.moved_by(lambda: person.set("noise-frequencies", "((0.25,),)"))
        person.moved_by(lambda: person.set("noise-hertz", True))
        person.page.context.close()


def test_holes_and_the_button_that_writes_them(browser, tmp_path):
    source = moves.fields_with_a_line()
    with served(Explorer(RunConfig(), source, out=tmp_path)) as its:
        person = Person(browser, its)
        person.page.click("#write")
        person.until("there are no holes", "#written")
        tab = person.page.get_by_role("tab", name="What stands out of the data")
        person.moved_by(tab.click)  # the findings are numbered in the spectrum
        person.until("What to do", "#found")
        assert not person.page.is_visible("#margin")
        person.moved_by(lambda: person.page.locator("#holes input").first.check())
        before = person.lines()
        person.moved_by(lambda: person.set("margin", moves.OTHERS["margin"]))
        person.page.get_by_role("tab", name="Lines to copy").click()
        person.page.click("#write")
        person.until("written: ", "#written")
        (path,) = tmp_path.glob("holes-*.npy")
        assert path.name in person.lines() and path.name not in before
        assert 0 < np.mean(np.load(path) == 0) < 1
        person.page.context.close()


def test_samples_step_by_step(browser):
    run = load_run("digits")
    source = open_source(run.config.data)
    with served(Explorer(run.config, source, num_examples=100, run=run)) as its:
        person = Person(browser, its)
        person.page.get_by_role("tab", name="Samples, step by step").click()
        person.set("steps", moves.OTHERS["steps"])
        person.moved_by(lambda: person.page.click("#draw"), "#samples")
        for name in ("count", "method", "sample_seed"):
            person.set(name, moves.OTHERS[name])
            person.moved_by(lambda: person.page.click("#draw"), "#samples")
        person.until(f"after step {moves.OTHERS['steps']} of 6", "#samples")
        person.moved_by(lambda: person.set("step", moves.OTHERS["step"]), "#samples")
        person.until("after step 2 of 6", "#samples")
        person.set("count", 65)
        person.page.click("#draw")
        person.until("samples=65: expected 1 to 64", "#message")
        person.page.context.close()


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
    before = person.picture()
    person.type("t", "7")
    person.until("t=7: expected a number in [0, 1]", "#message")
    assert person.picture() == before
    opacity = "getComputedStyle(document.querySelector('#pictures')).opacity"
    assert float(person.page.evaluate(opacity)) < 0.5
    assert person.page.input_value("#t input[type=number]") == "7"  # which the message is about
    assert "Traceback" not in person.page.inner_text("body")
    person.moved_by(lambda: person.type("t", "0.7"))
    person.wait(f"() => {opacity} == 1", None, "picture that is not greyed")


def test_a_number_beyond_the_ends_of_a_slider_is_taken(person):
    """Where the config allows it; it stays in the field, and in what is shown when others are moved."""
    person.set("noise-kind", "power_law")
    person.until("power_law")
    person.moved_by(lambda: person.type("noise-alpha", "-2.5"))
    person.moved_by(lambda: person.type("seed", "3"))
    person.until("config.noise.alpha = -2.5")
    assert person.page.input_value("#noise-alpha input[type=number]") == "-2.5"


def test_two_people_do_not_mix_and_nothing_leaves_the_machine(browser, address):
    first, second = Person(browser, address), Person(browser, address)
    untouched = second.picture()
    first.pick("process", "tilted")
    first.until("config.noise.alpha = -0.5")
    assert second.picture() == untouched
    second.moved_by(lambda: second.type("t", "0.9"))
    assert "alpha" not in second.page.inner_text("#config_lines")
    first.moved_by(lambda: first.type("seed", "3"))
    assert "config.noise.alpha = -0.5" in first.page.inner_text("#config_lines")
    asked = [url for one in (first, second) for url in one.requests]
    assert len(asked) > 20
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
