"""The detector's benchmark: truths of treatments against closed forms, and what the judge says."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.detector import __main__ as program
from benchmarks.detector import suite, tables
from benchmarks.detector import treatments as t
from benchmarks.detector.examples import Examples
from benchmarks.detector.judge import CORRUPTION, OWN, UNKNOWN, Answer, Finding, judge
from sagd_jax.spectral.half_grid import to_full_grid

SHAPE = (32, 24)
GREY = Examples(np.full((40, *SHAPE, 1), 0.5), levels=0)


def rng():
    return np.random.default_rng(0)


def added(treatment):
    """Mean |F e|^2 on the whole grid, for values in [-1, 1], and the truth."""
    x, truth = treatment(GREY, rng())
    e = 2 * (x - 0.5)[truth.has, ..., 0]
    return np.square(np.abs(np.fft.fft2(e, norm="ortho"))).mean(axis=0), truth


@pytest.mark.parametrize(
    ("treatment", "variance"),
    [
        (t.band(0.05), 4 * 0.05**2),
        (t.band(0.05, 0.4), 4 * 0.05**2),
        (t.line(0.1, at=(4 / 32, 7 / 24)), 4 * 0.1**2 / 2),
        (t.rows(0.02), 4 * 0.02**2),
        (t.rows(0.02, axis=1), 4 * 0.02**2),
    ],
)
def test_what_is_added_lies_in_its_bins_and_has_the_variance_that_is_stated(treatment, variance):
    power, truth = added(treatment)
    full = to_full_grid(truth.mask, SHAPE)
    assert power[full].sum() > (1 - 1e-9) * power.sum()
    np.testing.assert_allclose(truth.variance, variance, rtol=0.1)
    np.testing.assert_allclose(power.sum() / power.size, truth.variance, rtol=0.25)


def test_only_a_share_of_the_examples_has_it():
    x, truth = t.line(0.1, 0.3)(GREY, rng())
    changed = np.ptp(x, axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(changed, truth.has)
    assert 4 <= truth.has.sum() <= 20


def test_a_line_is_so_many_decibels_over_its_neighbours():
    noisy = Examples(0.5 + 0.01 * rng().normal(size=(400, *SHAPE, 1)), levels=0)
    x, truth = t.line_above(6.0)(noisy, rng())
    power = np.square(np.abs(np.fft.fft2(x[..., 0] - 0.5, norm="ortho"))).mean(axis=0)
    place = tuple(round(f * n) % n for f, n in zip(truth.lines[0], SHAPE, strict=True))
    np.testing.assert_allclose(10 * np.log10(power[place] / np.median(power)), 6.0, atol=1.0)


BAND = t.band(0.05)(GREY, rng())[1]
LINE = t.line(0.1, at=(4 / 32, 7 / 24))(GREY, rng())[1]
NOTHING = t.none(GREY, rng())[1]


def said(truth, verdict=CORRUPTION, shift=0.0, **fields):
    """The right finding, off by so many bins."""
    lines = tuple((f + shift / SHAPE[0], g) for f, g in truth.lines)
    edges = {"low": truth.low + shift / 32, "high": truth.high + shift / 32}
    kind = "line" if truth.lines else "band"
    values = {"lines": lines, "mask": truth.mask, **edges, **fields}
    return Answer([Finding(kind, verdict, **values)], "capped levels")


@pytest.mark.parametrize("truth", [BAND, LINE], ids=["band", "line"])
def test_a_right_answer_is_found_and_no_false_alarm(truth):
    score = judge(said(truth), truth, SHAPE)
    assert (score.found, score.weak, score.false) == (True, True, 0)
    hesitating = judge(said(truth, UNKNOWN), truth, SHAPE)
    assert (hesitating.found, hesitating.weak, hesitating.false) == (False, True, 0)
    assert judge(said(truth, OWN), truth, SHAPE).weak is False


@pytest.mark.parametrize(("truth", "most"), [(BAND, 2.0), (LINE, 1.0)], ids=["band", "line"])
def test_lines_are_found_within_a_bin_and_edges_within_two(truth, most):
    assert judge(said(truth, shift=0.95 * most), truth, SHAPE).found
    assert not judge(said(truth, shift=1.1 * most), truth, SHAPE).found


def test_a_finding_that_is_mostly_elsewhere_is_false():
    everywhere = np.ones_like(LINE.mask)
    assert judge(said(LINE, mask=everywhere, lines=()), LINE, SHAPE).false == 1
    score = judge(said(LINE), NOTHING, SHAPE)
    assert (score.found, score.false) == (None, 1)


def test_an_omission_of_clean_data_or_of_much_is_wrong():
    assert judge(Answer([], "omission", 0.01, 0.01), NOTHING, SHAPE).too_much
    assert judge(Answer([], "omission", 0.2, 0.01), BAND, SHAPE).too_much
    assert judge(Answer([], "omission", 0.01, 0.3), BAND, SHAPE).too_much
    assert not judge(Answer([], "omission", 0.05, 0.1), BAND, SHAPE).too_much
    assert not judge(Answer([], "equal SNR"), NOTHING, SHAPE).too_much


def test_the_variance_and_its_interval_are_compared():
    stated = 1.2 * BAND.variance
    score = judge(said(BAND, variance=stated, interval=(0.0, 0.9 * stated)), BAND, SHAPE)
    np.testing.assert_allclose(score.variance_error, 0.2)
    assert score.covered
    score = judge(said(BAND, variance=stated, interval=(0.9 * stated, stated)), BAND, SHAPE)
    assert not score.covered


def test_examples_that_are_told_apart_are_counted():
    truth = t.band(0.05, 0.4)(GREY, rng())[1]
    right = said(truth)
    half = Answer(right.findings, right.suggestion, has=np.ones(len(truth.has), bool))
    whole = Answer(right.findings, right.suggestion, has=truth.has)
    assert judge(half, truth, SHAPE).assigned == 0.5
    assert judge(whole, truth, SHAPE).assigned == 1.0


@pytest.mark.parametrize(
    "name", ["digits", "speech", "moving shapes", "hearts", "weather", "held out: rain"]
)
def test_sets_are_a_function_of_their_seed(name):
    one = suite.all_sets()[name]
    first, second, other = (next(suite.cases(name, one, seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x, second.x)
    assert not np.array_equal(first.x, other.x)
    assert first.x.min() >= -1 and first.x.max() <= 1


def test_the_tables_count_what_the_results_say(tmp_path):
    score = {"found": True, "weak": True, "false": 2, "too_much": False}
    score |= {"variance_error": 0.05, "covered": True, "assigned": None}
    case = {"set": "s", "treatment": "band", "seed": 0, "shape": [4, 8, 1], "truth": "band"}
    clean = {**case, "treatment": "none", "truth": "nothing"}
    silent = {**score, "found": None, "weak": None, "false": 0, "variance_error": None}
    results = {"cases": [{**case, "new": score}, {**clean, "new": silent, "landed": score}]}
    document = tmp_path / "table.md"
    document.write_text("Words.\n\n<!-- table: summary -->\nstale\n<!-- end -->\n")
    tables.write_tables(document, results)
    text = document.read_text()
    assert "| clean: findings called a corruption | 1 | 0 | 2 | 1 | 0 |" in text
    assert "| corrupted: found | 0 | - | - | 1 | 1 of 1 |" in text
    assert text.startswith("Words.") and "stale" not in text


def test_sets_that_are_held_out_are_summed_up_apart():
    score = {"found": None, "weak": None, "false": 1, "too_much": False}
    score |= {"variance_error": None, "covered": None, "assigned": None}
    case = {"set": "s", "treatment": "none", "seed": 0, "shape": [4, 8, 1], "truth": "nothing"}
    held = {**case, "set": "held out: t"}
    results = {"cases": [{**case, "new": score}, {**held, "new": {**score, "false": 3}}]}
    row = "| clean: findings called a corruption | 0 | - | - | 1 | {} |"
    assert row.format(1) in tables.TABLES["summary"](results)
    assert row.format(3) in tables.TABLES["held out"](results)
    assert tables.TABLES["treatments"](results).count("none | 1 |") == 1


def test_a_run_that_goes_on_asks_only_what_is_missing():
    def detector(x, rate):
        return Answer([], "leave it alone")

    case = SimpleNamespace(x=np.zeros((4, *SHAPE, 1)), rate=0.0, truth=NOTHING)
    old = {"new": {"commit": "a", "mark": 1}}
    assert program._answer("new", detector, case, old, "a", resume=True) == old
    for commit, resume in (("b", True), ("a", False)):
        asked = program._answer("new", detector, case, old, commit, resume)
        assert asked["new"]["commit"] == commit and "mark" not in asked["new"]
    assert program._answer("new", None, case, old, "b", resume=True) == old
    assert program._answer("landed", None, case, old, "b", resume=True) == {}
