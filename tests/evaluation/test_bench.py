"""What samples are compared with: splits, halves, fingerprints, floors, and refusals by name."""

import numpy as np
import pytest

from sagd_jax import data
from sagd_jax.data import ArraySource, DataConfig
from sagd_jax.evaluation import bench, judge, sets
from sagd_jax.evaluation import compared as compared_data
from sagd_jax.evaluation.bench import Bench
from sagd_jax.evaluation.compared import open_data
from sagd_jax.evaluation.features import EvaluationError
from sagd_jax.run import layout
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run
from sagd_jax.spectral.frequencies import radial_frequency

CONFIG = DataConfig(name="digits")
RECORD = describe_run(RunConfig(), data.open_source(CONFIG)).data


def of_digits(**options):
    return Bench(RECORD, open_data(CONFIG, RECORD), layout.local_mesh(), **options)


def test_the_splits_of_digits_and_halves_without_a_split():
    found = open_data(CONFIG, RECORD)
    assert (len(found.reference.indices), len(found.held_out.indices)) == (1437, 360)
    assert sorted(found.reference.indices) == list(range(1437))
    assert found.held_out.fingerprint["split"] == "test"
    halves = open_data(CONFIG, RECORD, held_out="halves", count=700)
    first, second = halves.reference, halves.held_out
    assert len(first.indices) == 700 and len(second.indices) == 719
    assert not set(first.indices) & set(second.indices)
    assert first.fingerprint != second.fingerprint
    for options, words in [
        ({"held_out": "train"}, "this is the reference itself"),
        ({"count": 1438}, r"the reference \(train\) has 1437"),
        ({"held_out": "tset"}, "digits has the splits"),
    ]:
        with pytest.raises((EvaluationError, data.DataError), match=words):
            open_data(CONFIG, RECORD, **options)


def test_what_a_run_does_to_its_data_is_undone():
    done = {
        "corruption": "band", "corruption_band": (0.2, 0.3), "corrupted_fraction": 0.5, "flip": True,
        "filtered_bands": ((0.2, 0.3),), "restored": "of_a_round.npz", "corrupted_all": False,
    }  # fmt: skip
    assert compared_data.clean(DataConfig(name="digits", **done)) == CONFIG


def test_a_distance_and_its_floor():
    own = of_digits()
    (asked,) = judge.parse(["frechet:pixels"], True, ())
    test = data.open_source(DataConfig(name="digits", split="test"))
    raw = np.concatenate([test.fetch(np.arange(360))["x"]] * 2)
    found = own.judge(asked, raw, {})
    # Twice the held-out data: the same Gaussian but for its factor of n - 1.
    assert found["floor"]["value"] == pytest.approx(found["value"], rel=1e-2)
    assert (found["num_samples"], found["num_floor"], found["num_reference"]) == (720, 360, 1437)
    assert found["at_num_floor"]["value"] == pytest.approx(found["floor"]["value"], rel=0.2)
    words = judge.line(asked, found)
    assert words.startswith("frechet:pixels: ") and "both of 360" in words
    # The floor is of no samples: others of as many get the same, of fewer another.
    others = [own.judge(asked, raw[::-1] // 2, {}), own.judge(asked, raw[:200], {})]
    assert others[0]["floor"] is found["floor"] and others[0]["value"] > 2 * found["value"]
    assert others[1]["num_floor"] == 200 and others[1]["floor"]["value"] > found["floor"]["value"]
    few = judge.judge(
        asked,
        judge.Compared(
            sets.of_array(raw, own.features("pixels"), {}),
            own.reference("pixels"),
            sets.of_array(raw[:40], own.features("pixels"), {}),
            RECORD.shape,
        ),
    )
    assert few["floor"] is None and "only 40 held-out" in judge.line(asked, few)


@pytest.mark.parametrize(
    "name", ["kernel:pixels", "precision_recall:pixels", "density_coverage:pixels", "nearest"]
)
def test_a_bench_that_has_judged_judges_as_a_fresh_one(name):
    (asked,) = judge.parse([name], True, ())
    raw = data.open_source(DataConfig(name="digits", split="test")).fetch(np.arange(360))["x"]
    used = of_digits()
    first = used.judge(asked, raw // 2, {})
    assert used.judge(asked, raw, {}) == of_digits().judge(asked, raw, {}) != first


OWN = """
def some(x):
    assert x.dtype == "float32" and x.min() == -1
    return x.reshape(len(x), -1)[:, 20:24]

def flat(x):
    return x.reshape(-1)
"""


def test_features_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "own_features.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = of_digits()
    (asked,) = judge.parse(["frechet:own_features:some"], True, ())
    assert str(asked) == "frechet:own_features:some"
    own.check([asked], 100)
    raw = data.open_source(CONFIG).fetch(np.arange(100))["x"]
    x = np.asarray(data.normalise(raw, (0, 255)), np.float64).reshape(100, -1)[:, 20:24]
    found = own.judge(asked, raw, (seen := {}))
    np.testing.assert_allclose(seen["own_features:some"].moments.mean, x.mean(axis=0), rtol=1e-6)
    assert 0 < found["value"] < 1
    (bad,) = judge.parse(["kernel:own_features:flat"], True, ())
    with pytest.raises(EvaluationError, match=r"returned shape \(128,\)"):
        own.check([bad], 100)


def test_the_corruption_that_is_left():
    config = DataConfig(name="digits", corruption="band", corruption_band=(0.5, 1.0))
    mask = radial_frequency((8, 8), unit="max") >= 0.5
    compared = compared_data.with_corruption(
        open_data(compared_data.clean(config), RECORD), config, mask
    )
    own = Bench(RECORD, compared, layout.local_mesh())
    assert "corruption" in own.has and "corruption" not in of_digits().has
    (asked,) = judge.parse(["corruption"], True, own.has)
    clean = compared.reference.source.fetch(compared.reference.indices)["x"]
    assert abs(own.judge(asked, clean, {})["value"]) < 1e-6
    corrupted = compared.corrupted.source.fetch(compared.reference.indices)["x"]
    assert own.judge(asked, corrupted, {})["value"] == pytest.approx(1, abs=1e-6)
    with pytest.raises(EvaluationError, match="no corruption in a known band"):
        judge.parse(["corruption"], True, ())


def test_reference_statistics_are_kept_and_others_refused(tmp_path):
    own = of_digits()
    file = sets.file_of(tmp_path, "pixels")
    sets.write(file, own.reference("pixels"))
    given = sets.read_all(tmp_path)
    again = of_digits(given=given).reference("pixels")
    assert again is given["pixels"]
    np.testing.assert_array_equal(again.moments.scatter, own.reference("pixels").moments.scatter)
    other = Bench(RECORD, open_data(CONFIG, RECORD, count=1000), layout.local_mesh(), given=given)
    with pytest.raises(EvaluationError, match="its count is 1437, expected 1000"):
        other.reference("pixels")
    swapped = open_data(CONFIG, RECORD, split="all")
    other = Bench(RECORD, swapped, layout.local_mesh(), given=given)
    with pytest.raises(EvaluationError, match="statistics of pixels: its data is '"):
        other.reference("pixels")
    for damage in (b"", file.read_bytes()[:3000]):
        file.write_bytes(damage)
        with pytest.raises(EvaluationError, match="no reference statistics, or damaged"):
            sets.read_all(file)
    with pytest.raises(EvaluationError, match=r"no reference-\*\.npz"):
        sets.read_all(tmp_path.parent)


def test_many_values_are_held_in_part(monkeypatch):
    monkeypatch.setattr(sets, "MOST", 50)
    monkeypatch.setattr(sets, "_PIECE", 32)
    source = ArraySource(
        np.random.default_rng(0).integers(0, 255, (100, 4, 4, 1)).astype(np.uint8),
        value_range=(0, 255),
    )
    own = bench.features.pixels((0, 255))
    found = sets.of_source(source, np.arange(100), own, {})
    x = source.fetch(np.arange(100))["x"] / 127.5 - 1
    assert found.features.shape == (50, 16) and found.moments.count == found.count == 100
    np.testing.assert_allclose(found.moments.covariance, np.cov(x.reshape(100, -1).T), rtol=1e-5)
    monkeypatch.setattr(sets, "LARGEST", 10)
    assert sets.of_source(source, np.arange(100), own, {}).moments is None


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("fd", "unknown metric 'fd'; expected some of frechet, kernel"),
        ("spectral:pixels", "spectral is always of the signals themselves"),
        ("frechet:inception", "expected features pixels, classifier or module:function"),
        ("frechet:classifier", "no labels to train a classifier on; use frechet:pixels"),
        ("fid", "no 8-bit images"),
    ],
)
def test_no_metrics(word, words):
    with pytest.raises(EvaluationError, match=words):
        judge.parse([word], False, ())


def test_defaults_need_nothing_and_fit():
    names = judge.default_names(True, 100, 64, {"run"})
    assert {"frechet", "denoising"} <= set(names) and not {"fid", "corruption"} & set(names)
    assert "frechet" not in judge.default_names(False, 64, 64, ())
    assert "frechet" in judge.default_names(False, 65, 64, ())
    asked = judge.parse(["frechet:pixels", "frechet", "frechet:classifier"], True, ())
    assert [str(a) for a in asked] == ["frechet:pixels", "frechet:classifier"]
    with pytest.raises(EvaluationError, match="64 samples; expected at least 65"):
        judge.check(asked[0], 64, 64)
    with pytest.raises(EvaluationError, match="use kernel:pixels"):
        judge.check(asked[0], 10**5, 5000)
    with pytest.raises(EvaluationError, match="15 samples; expected at least 16"):
        judge.check(judge.parse(["spectral"], True, ())[0], 15, 64)
