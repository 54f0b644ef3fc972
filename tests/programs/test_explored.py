"""What the explorer computes and the lines that it gives, without a page."""

import dataclasses

import jax
import numpy as np
import pytest

import sagd_jax as sagd
from benchmarks.explorer import values as first_values
from sagd_jax.data.source import ArraySource, DataError
from sagd_jax.programs import explored_lines as lines
from sagd_jax.programs import explored_pictures as drawn
from sagd_jax.programs.explored import Explorer
from sagd_jax.programs.explored_choice import (
    PROCESSES,
    SECTIONS,
    Choice,
    allowed_bases,
    read,
)
from sagd_jax.programs.explored_numbers import rings_of, show
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

SIDE = 16
CONFIG = schema.build(
    RunConfig,
    {
        "data": {
            "name": "synthetic",
            "field_shape": (SIDE, SIDE),
            "field_alpha": -0.5,
            "num_examples": 200,
        }
    },
)


@pytest.fixture(scope="module")
def explorer():
    return Explorer(CONFIG, sagd.data.open_source(CONFIG.data))


def values(process="white", **changed):
    """The values of a page, as it begins, but for some."""
    return first_values(process) | changed


def choice(process="white", **changed):
    return read(values(process, **changed), CONFIG)


# One of each family, as text where a page has text.
NOISES = {
    "power_law": {"noise.alpha": "-0.3", "noise.dc": "unit"},
    "exponential": {"noise.beta": 3.0},
    "band_pass": {"noise.bands": "(0, 0.3), (0.6, 1)"},
    "two_band": {"noise.gamma_low": 0.7, "noise.split": 0.4},
    "offset": {"noise.strength": 0.3},
    "multiresolution": {"noise.levels": 3.0},
    "shared_frames": {"noise.strength": 0.5, "noise.time_axis": 1},
    "matern": {"noise.length": 2.0},
    "colour": {"noise.colour": "pink"},
    "wedge": {"noise.direction": "(0, 1)", "noise.width": 40},
    "notch": {"noise.frequencies": "((0.25, 0),)", "noise.width": 0.1},
    "from_data": {"noise.exponent": 0.5},
    "product": {"noise.members": "power_law:alpha=-0.3, band_pass:bands=((0,0.5),)"},
    "mixture": {"noise.members": "white, colour:colour=brown", "noise.weights": "(3, 1)"},
    "complement": {"noise.members": "wedge:direction=(0,1):width=30"},
}


def test_each_family_but_files_is_tried():
    assert set(NOISES) | {"white", "file"} == set(SECTIONS["noise"])


def process_of_lines(explorer, made, code):
    """The process that a run with these lines of a config has, on the explorer's data."""
    config = sagd.default_config()
    exec(code, {"config": config})
    return build.process(schema.build(RunConfig, config.to_dict()), explorer.source)[0]


def alike(first, second, basis):
    one, two = (np.asarray(d.covariance.coefficients(basis)) for d in (first, second))
    np.testing.assert_allclose(one, two, rtol=2e-5, atol=1e-7)
    t = np.linspace(0.05, 1, 7, dtype=np.float32)
    for name in ("alpha", "sigma"):
        ours, theirs = (np.asarray(getattr(d.schedule, name)(t)) for d in (first, second))
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6)


def check_lines(explorer, made):
    shown, basis = explorer.process(made), explorer.basis_of(explorer.process(made))
    alike(shown, process_of_lines(explorer, made, lines.config_lines(explorer, made)), basis)
    # The Python lines open the data anew; here they are those of the explorer.
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sagd.data, "open_source", lambda config: explorer.source)
        exec(lines.python_lines(explorer, made), names)
    alike(shown, names["diffusion"], basis)


@pytest.mark.parametrize("kind", NOISES)
def test_the_lines_of_a_family_make_the_noise_that_is_shown(explorer, kind):
    made = choice(**{"noise.kind": kind, **NOISES[kind]})
    assert np.ptp(np.asarray(explorer.covariance(made).variance)) > 0
    check_lines(explorer, made)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_lines_of_a_process_make_it(explorer, process):
    check_lines(explorer, choice(process, **{"schedule.blur_max": 9.0, "schedule.softness": 0.7}))


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule.kind": "shifted", "schedule.shift": "0.7"},
        {"schedule.kind": "learned", "schedule.knots": 3.0},
        {"schedule.kind": "learned_slope", "schedule.slope": -0.4},
        {"schedule.kind": "edm", "schedule.sigma_max": 20},
        {"schedule.kind": "linear_beta", "schedule.beta_max": "0.03"},
        {"schedule.kind": "hierarchical", "basis": "haar"},
    ],
    ids=lambda fields: fields["schedule.kind"],
)
def test_the_lines_of_other_schedules_make_them(explorer, fields):
    check_lines(explorer, choice(**fields))


def test_a_finding_taken_into_a_hole_takes_its_noise_away_in_the_lines_too(tmp_path):
    shape, rng = (32, 32), np.random.default_rng(0)
    fields = np.asarray(sagd.power_law(shape, -0.5).sample(jax.random.key(0), (100, *shape, 1)))
    phase = rng.uniform(0, 7, (100, 1))
    wave = np.cos(2 * np.pi * 0.25 * np.arange(32) + phase)[:, None, :, None]
    x = ((fields + wave) / 5).astype(np.float32)
    explorer = Explorer(CONFIG, ArraySource(x, value_range=(-1, 1), kind="field"), out=tmp_path)
    made = choice("tilted", holes=[1], band="remove", low=0.4, high=0.45)
    ((text, number),), words = drawn.findings(explorer, made)
    assert number == 1 and text.startswith("1. line at") and "the holes: " in words
    assert "What to do" in words and ">1</text>" in drawn.page(explorer, made)
    path = explorer.write_holes(made)
    assert path.is_file() and str(path) in lines.config_lines(explorer, made)
    check_lines(explorer, made)
    variance = np.asarray(explorer.covariance(made).variance)[..., 0]
    assert variance[0, 8] == 0  # the wave: 0.25 cycles per sample
    radius = sagd.radial_frequency(shape, "cycles")
    assert np.all(variance[(radius >= 0.4) & (radius < 0.45)] == 0) and variance[0, 3] > 0
    without = dataclasses.replace(made, holes=(), band="off")
    assert np.all(np.asarray(explorer.covariance(without).variance) > 0)


@pytest.mark.parametrize("band", ["remove", "keep"])
@pytest.mark.parametrize("basis", ["fourier", "cosine"])
def test_a_band_in_white_noise_is_one_spectrum(explorer, band, basis):
    changed = {"schedule.kind": "equal_snr", "basis": basis}
    made = choice("white", band=band, low=0.2, high=0.3, **changed)
    assert 'config.noise.kind = "band_pass"' in lines.config_lines(explorer, made)
    check_lines(explorer, made)
    b = explorer.basis(basis)
    power = np.asarray(explorer.covariance(made).coefficients(b))
    inside = (b.radius >= 0.2) & (b.radius < 0.3)
    assert np.all((power > 0) == (inside if band == "keep" else ~inside))


def test_lines_undo_what_was_given_and_has_no_effect_any_more(explorer):
    given = schema.build(
        RunConfig, {"noise": {"kind": "power_law", "alpha": -0.2}, "schedule": {"kind": "edm", "rho": 3.0}}
    )  # fmt: skip
    own = Explorer(given, explorer.source)
    code = lines.config_lines(own, choice("white"))
    config = sagd.default_config()
    config.noise.kind, config.noise.alpha, config.schedule.kind, config.schedule.rho = (
        "power_law",
        -0.2,
        "edm",
        3.0,
    )
    exec(code, {"config": config})
    built = schema.build(RunConfig, config.to_dict())
    assert (built.noise.kind, built.noise.alpha, built.schedule.kind) == ("white", 0.0, "cosine")


def test_the_flags_are_those_lines(explorer):
    made = choice("moving", **{"noise.kind": "white"})
    import shlex

    from sagd_jax.run.config_file import read_config

    config = read_config("digits", shlex.split(lines.flags(explorer, made)))
    assert (config.noise, config.schedule) == (made.noise, made.schedule)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"noise.kind": "power_law", "noise.alpha": "steep"}, r"^config\.noise\.alpha='steep': expected a finite"),
        ({"noise.kind": "power_law", "noise.alpha": None}, r"^config\.noise\.alpha=None: expected a finite"),
        ({"noise.kind": "two_band", "noise.gamma_low": 2}, r"^config\.noise\.gamma_low=2\.0: expected at most 1"),
        ({"noise.kind": "band_pass"}, r"^config\.noise: bands=\(\): expected at least one pair"),
        ({"noise.kind": "file"}, r"^config\.noise\.file=None: expected the path"),
        ({"noise.kind": "power_law", "basis": "haar"}, r"^config\.noise\.basis='haar': expected one of"),
        ({"schedule.kind": "hierarchical", "schedule.softness": 0}, r"^config\.schedule\.softness=0\.0: expected more"),
        ({"schedule.kind": "shifted"}, r"^config\.schedule\.shift=None: expected the path"),
        ({"t": 1.5}, r"^t=1\.5: expected a number in \[0, 1\]"),
        ({"t": None}, r"^t=None: expected a number in"),
        ({"seed": 1.5}, r"^seed=1\.5: expected a whole number"),
        ({"example": 200}, r"^example=200: expected 0 to 199"),
        ({"band": "keep", "low": 0.3, "high": 0.2}, r"^band: from 0\.3 to 0\.2; expected its end above"),
        ({"band": "keep", "low": 0.721, "high": 0.73}, r"^config\.noise: bands: .*holds no frequency"),
        ({"band": "remove", "low": 0, "high": 2}, r"^band: 0 to 2 is all there is"),
        ({"band": "keep", "noise.kind": "mixture", "noise.members": "white", "noise.weights": "(1,)"},
         r"^config\.noise\.kind='mixture': a band or a hole cannot be cut into it"),
        ({"holes": [9]}, r"^holes: chosen=\(9,\): "),
        ({"schedule.kind": "equal_snr", "basis": "sites"}, r"^basis='sites': its coordinates have no frequencies"),
        ({"schedule.kind": "capped"}, r"^config\.schedule"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_line(explorer, changed, words):
    with pytest.raises((ConfigError, ValueError), match=words) as caught:
        show(explorer, read(values("white", **changed), CONFIG))
    assert "\n" not in str(caught.value)


def test_what_is_shown_is_what_was_drawn(explorer):
    """x_t = alpha x_0 + sigma e, spectra, and where the log-SNR crosses 0, against closed forms."""
    made = choice("tilted", t=0.3, seed=5, example=7)
    shown = show(explorer, made)
    diffusion = explorer.process(made)
    e = np.asarray(diffusion.covariance.sample(jax.random.key(5), (1, SIDE, SIDE, 1)))[0]
    alpha, sigma = np.cos(0.15 * np.pi), np.sin(0.15 * np.pi)
    x0 = explorer.source.fetch(np.array([7]))["x"][0] / 4
    np.testing.assert_allclose(shown.x_t, alpha * x0 + sigma * e, atol=1e-5)
    np.testing.assert_allclose(shown.noise * shown.noise_std, sigma * e, atol=1e-5)
    # Of a power law of -0.5: lambda = c / r, so that level * radius is one number but for the rings' width.
    constant = shown.level * shown.rings.centre
    assert constant.std() < 0.05 * constant.mean()
    np.testing.assert_allclose(shown.faded, alpha**2 * shown.data, rtol=1e-5)
    # tan^2(pi t / 2) = S / lambda where they cross.
    ring = 3
    inside = shown.rings.order[shown.rings.starts[ring] : shown.rings.starts[ring + 1]]
    ratio = explorer.power(shown.basis).ravel()[inside] / (shown.plane.ravel()[inside] / sigma**2)
    expected = 2 / np.pi * np.arctan(np.exp(np.log(ratio).mean() / 2))
    assert abs(shown.crossing[ring] - expected) < 0.01
    assert np.all(np.diff(shown.levels, axis=0) <= 1e-5)


def test_the_rings_have_all_coordinates_but_the_constant():
    rings = rings_of(sagd.bases.cosine((8, 6)))
    assert rings.count.sum() == 47 and np.all(np.diff(rings.centre) > 0)
    np.testing.assert_allclose(
        rings.mean(sagd.bases.cosine((8, 6)).radius.ravel()), rings.centre, rtol=1e-12
    )


def test_other_signals_are_drawn_too():
    """Colours, sounds and clips."""
    rng = np.random.default_rng(0)
    for shape, kind in (((8, 8, 3), "image"), ((64, 1), "audio"), ((2, 8, 8, 1), "video")):
        source = ArraySource(
            rng.normal(size=(20, *shape)).astype(np.float32), value_range=(-1, 1), kind=kind
        )
        own = Explorer(RunConfig(), source)
        page = drawn.page(own, choice("white"))
        assert page.count("<svg") == 2 and page.count("<img") >= 9 and "nan" not in page


def test_pictures_are_those_of_the_choice_and_of_no_other(explorer):
    first, second = choice("white", t=0.2), choice("tilted", t=0.8)
    before = drawn.page(explorer, first)
    assert drawn.page(explorer, second) != before
    assert drawn.page(explorer, first) == before


def test_bases_are_those_that_both_kinds_have():
    assert allowed_bases("white", "cosine") == []
    assert allowed_bases("power_law", "cosine") == ["fourier", "cosine"]
    assert allowed_bases("white", "equal_snr") == ["fourier", "cosine", "haar", "sites"]
    assert sorted(allowed_bases("power_law", "blurring")) == ["cosine", "fourier"]


def test_one_example_has_no_spectrum():
    with pytest.raises(DataError, match="a single example; expected at least two"):
        Explorer(RunConfig(), ArraySource(np.zeros((1, 8, 8, 1), np.float32), value_range=(-1, 1)))


def test_defaults_are_a_choice():
    assert choice("white") == Choice()
