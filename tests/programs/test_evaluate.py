"""The program evaluate, in this process, of a network of one number that was never trained."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from programs import call
from toy_runs import serve, toy_run

from sagd_jax.run.draw import Drawer

FEW = ("--num_samples=80", "--num_steps=2,3", "--metrics=spectral,frechet:pixels", "--cache=off")


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    serve(
        monkeypatch,
        a=toy_run(0.3, shape=(6, 8, 8, 1)),
        b=toy_run(0.4, shape=(6, 8, 8, 1), identity="b"),
    )

    def program(*flags, out="out", run="a"):
        place = [] if out is None else [f"--out={tmp_path / out}"]
        done = call("evaluate", f"--workdir={run}", *place, *flags, cache=tmp_path / "cache")
        if done.returncode == 2:
            assert done.stderr.count("\n") == 1, done.stderr
        return done

    return program


def read(tmp_path, out="out"):
    return json.loads((tmp_path / out / "evaluation.json").read_text())


def test_several_numbers_of_steps_and_what_is_there_is_not_computed_again(
    evaluate, tmp_path, monkeypatch
):
    done = evaluate(*FEW)
    assert done.returncode == 0, done.stderr
    first = read(tmp_path)
    assert set(first["results"]) == {"2", "3"}
    assert set(first["results"]["2"]) == {"spectral", "frechet:pixels"}
    assert first["settings"]["num_samples"] == 80 and first["settings"]["checkpoint"] == "a"
    assert first["settings"]["reference"]["split"] == "train"
    assert {"command", "commit", "jax", "hardware"} <= set(first["provenance"][0])
    assert "2 steps: spectral: " in done.stdout and "floor" in done.stdout
    # The samples are those of sample.py, which gives the same numbers.
    done = call(
        "sample.py", "--workdir=a", "--num_samples=80", "--num_steps=3", f"--out={tmp_path / 's'}",
        cache=tmp_path / "cache",
    )  # fmt: skip
    own = tmp_path / "out" / "samples" / "steps_0003" / "samples.npz"
    with np.load(tmp_path / "s" / "samples.npz") as theirs, np.load(own) as ours:
        np.testing.assert_array_equal(ours["samples"], theirs["samples"])
    assert evaluate(*FEW[2:], f"--samples={tmp_path / 's'}", out="given").returncode == 0
    given = read(tmp_path, "given")["results"]["samples"]["frechet:pixels"]
    assert given["value"] == first["results"]["3"]["frechet:pixels"]["value"]
    # Nothing is drawn any more; a metric that is added is computed of the files.
    monkeypatch.setattr(Drawer, "__call__", lambda *a, **k: pytest.fail("drawn again"))
    done = evaluate(*FEW[:2], "--metrics=spectral,high_frequency", "--cache=off")
    assert done.returncode == 0, done.stderr
    second = read(tmp_path)
    assert set(second["results"]["2"]) == {"spectral", "frechet:pixels", "high_frequency"}
    assert second["results"]["2"]["spectral"] == first["results"]["2"]["spectral"]
    assert len(second["provenance"]) == 2


def test_an_interrupted_one_goes_on(evaluate, tmp_path, monkeypatch):
    from sagd_jax.evaluation.bench import Bench

    judge, calls = Bench.judge, []

    def once(self, one, *rest):
        calls.append(str(one))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return judge(self, one, *rest)

    monkeypatch.setattr(Bench, "judge", once)
    assert evaluate(*FEW).returncode == 130
    assert set(read(tmp_path)["results"]["2"]) == {"spectral"}
    assert evaluate(*FEW).returncode == 0
    # The first is not computed again, the second is.
    assert calls == ["spectral", *["frechet:pixels"] * 2, "spectral", "frechet:pixels"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--metrics=fd"], "unknown metric 'fd'; expected some of frechet"),
        (["--metrics=frechet:pixels", "--num_samples=64"], "64 samples; expected at least 65"),
        (["--metrics=frechet:classifier"], "these data have no labels"),
        pytest.param(
            ["--metrics=fid"],
            "needs torch-fidelity: pip install 'sagd_jax[fid]'",
            marks=pytest.mark.skipif(find_spec("torch_fidelity") is not None, reason="it is there"),
        ),
        (["--metrics=frechet:nothing:here"], "there is no module nothing"),
        (["--metrics=corruption"], "no corruption in a known band"),
        (["--num_steps=4,x"], "argument --num_steps"),
        (["--num_steps=4,4"], "4,4: one number twice"),
        (["--samples=nowhere"], "--samples=nowhere: does not exist"),
        (["--band=0.5"], "argument --band"),
        (["--held_out=train"], "this is the reference itself"),
        (["--reference=nowhere.npz"], "no reference statistics, or damaged"),
        (["--class=1"], "this network was trained without classes"),
    ],
)
def test_refused_before_anything_is_drawn(evaluate, tmp_path, flags, words):
    done = evaluate(*flags)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "out").exists()


def test_results_of_others_are_not_touched(evaluate, tmp_path):
    only = ("--metrics=spectral", "--num_samples=16", "--num_steps=1", "--cache=off")
    assert evaluate(*only).returncode == 0
    before = (tmp_path / "out" / "evaluation.json").read_text()
    for flags, run, words in [
        (["--seed=1"], "a", "seed was 0, is 1"),
        ([], "b", "checkpoint was 'a', is 'b'"),
        (["--held_out=halves"], "a", "held_out was"),
    ]:
        done = evaluate(*only, *flags, run=run)
        assert done.returncode == 2 and words in done.stderr and "use another --out" in done.stderr
    assert (tmp_path / "out" / "evaluation.json").read_text() == before
    (tmp_path / "out" / "evaluation.json").write_text('{"settings": 1}')
    done = evaluate(*only)
    assert done.returncode == 2 and "none that this program wrote" in done.stderr


def test_a_band_is_taken_out_of_the_samples(evaluate, tmp_path):
    flags = ("--num_samples=16", "--num_steps=2", "--metrics=bands", "--cache=off")
    assert evaluate(*flags).returncode == 0
    done = evaluate(*flags, "--remove_band=0.4:0.6", out="without")
    assert done.returncode == 0, done.stderr
    whole, without = (
        np.array(read(tmp_path, out)["results"]["2"]["bands"]["samples"], float)
        for out in ("out", "without")
    )
    inside = np.isin(np.arange(10), [4, 5])
    there = ~np.isnan(whole)
    assert (whole[inside & there] > 1e-3).all() and (without[inside & there] < 1e-9).all()
    np.testing.assert_allclose(without[~inside & there], whole[~inside & there], rtol=1e-4)
    # The drawn samples are kept as they are; the same folder takes no other flags.
    assert evaluate(*flags, out="without").returncode == 2
    assert "no frequency" in evaluate(*flags, "--remove_band=0.4:0.41", out="none").stderr


def test_the_bound_of_so_many_steps(evaluate, tmp_path):
    flags = ("--num_samples=16", "--num_steps=2,3", "--metrics=bound", "--cache=off")
    done = evaluate(*flags)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path)["results"]["checkpoint"]["bound"]
    parts = [found, *found["steps"].values()]
    assert set(found["steps"]) == {"2", "3"} and "checkpoint: bound: " in done.stdout
    for one in parts:
        terms = one["diffusion"] + one["prior"] + one["decoder"]
        assert one["value"] == pytest.approx(terms)
        assert one["bits_per_dimension"] == pytest.approx(one["value"] / 64 / np.log(2))
    # Fewer steps cost more, and the continuous bound least.
    assert parts[1]["value"] > parts[2]["value"] > parts[0]["value"]
