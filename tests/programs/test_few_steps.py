"""Consistency models and learned paths through the programs: begun, cut, resumed, sampled, judged."""

import json
import sys

import numpy as np
import pytest
from programs import TINY, call

from sagd_jax.run.denoiser import PATH
from sagd_jax.run.saved import load_run

pytestmark = pytest.mark.thorough

CONSISTENCY = (
    "--config.objective.kind=consistency", "--config.objective.stages=2",
    "--config.objective.stage_steps=2",
)  # fmt: skip
LEARNED = (
    "--config.schedule.kind=learned", "--config.noise.kind=white", "--config.noise.alpha=0.0",
    "--config.objective.path_steps=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def train(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.py").write_text(TINY)

    def run(name, *flags, steps=2):
        done = call(
            "train.py",
            f"--config={folder / 'tiny.py'}",
            f"--workdir={folder / name}",
            f"--config.train.num_steps={steps}",
            "--config.model.prediction=v",
            "--config.model.class_conditional=True",
            "--config.checkpoint.every=2",
            *flags,
            cache=cache,
        )
        return folder / name, done

    return run


def good(pair):
    workdir, done = pair
    assert done.returncode == 0, done.stderr
    return workdir


def refused(done):
    status = done[1] if isinstance(done, tuple) else done
    assert status.returncode == 2, status.stderr
    (line,) = status.stderr.strip().splitlines()[-1:]
    return line


@pytest.fixture(scope="module")
def base(train):
    return good(train("base"))


@pytest.fixture(scope="module")
def tuned(train, base):
    return good(train("tuned", *CONSISTENCY, f"--init_from={base}", steps=4))


@pytest.fixture(scope="module")
def learned(train):
    previews = ("--config.preview.every=2", "--config.preview.num_samples=2")
    return good(train("learned", *LEARNED, *previews, steps=4))


def same(first, second):
    a, b = (dict(_flat(load_run(w, ema=False).params)) for w in (first, second))
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) for name in a)


def _flat(tree):
    import jax

    return [(jax.tree_util.keystr(p), np.asarray(x)) for p, x in jax.tree.leaves_with_path(tree)]


def test_a_consistency_run_resumes_bit_for_bit(train, base, tuned):
    cut = good(train("cut", *CONSISTENCY, f"--init_from={base}"))
    good(train("cut", *CONSISTENCY, steps=4))  # the first run is not read again
    assert same(cut, tuned) and not same(base, tuned)


def test_it_begins_with_a_network_of_its_process(train, base):
    line = refused(train("none", *CONSISTENCY))
    assert "it begins with the network of a diffusion model" in line and "--init_from" in line
    other = ("--config.noise.alpha=-0.2", f"--init_from={base}")
    assert "its noise has another spectrum" in refused(train("noise", *CONSISTENCY, *other))
    other = ("--config.schedule.kind=edm", f"--init_from={base}")
    line = refused(train("schedule", *CONSISTENCY, *other))
    assert "its schedule is another one (cosine there, edm here)" in line
    other = ("--config.model.prediction=velocity", f"--init_from={base}")
    line = refused(train("kind", *CONSISTENCY, *other))
    assert "config.model.prediction was 'v', is 'velocity'" in line


def test_the_sampler_knows_what_it_is(tuned, base, cache, tmp_path):
    def sample(out, *flags, workdir=tuned):
        few = (f"--workdir={workdir}", f"--out={tmp_path / out}", "--num_samples=3")
        return call("sample.py", *few, *flags, cache=cache)

    said = sample("two")
    assert said.returncode == 0, said.stderr
    assert "3 samples by consistency, 2 steps" in said.stdout
    assert json.loads((tmp_path / "two" / "samples.json").read_text())["method"] == "consistency"
    one = sample("one", "--num_steps=1")
    assert one.returncode == 0, one.stderr
    first, second = (np.load(tmp_path / n / "samples.npz")["samples"] for n in ("one", "two"))
    assert first.shape == (3, 8, 8, 1) and not np.array_equal(first, second)
    for flags in (("--method=heun",), ("--eta=0.5",), ("--method=ddim",)):
        assert f"{flags[0]}: this checkpoint is a consistency model" in refused(
            sample("no", *flags)
        )
    assert "not to be extrapolated" in refused(sample("no", "--guidance=2"))
    assert not (tmp_path / "no").exists()
    ordinary = sample("base", "--num_steps=2", workdir=base)
    assert "by ddim, 2 steps" in ordinary.stdout

    def evaluate(*flags):
        few = (f"--workdir={tuned}", f"--out={tmp_path / 'judged'}", "--num_samples=16")
        return call("evaluate", *few, "--metrics=bands", "--cache=off", *flags, cache=cache)

    assert "--method=heun: this checkpoint is a consistency" in refused(evaluate("--method=heun"))
    assert "has no bound" in refused(evaluate("--metrics=bound"))
    done = evaluate()
    assert done.returncode == 0, done.stderr
    own = np.load(tmp_path / "judged" / "samples" / "steps_0002" / "samples.npz")["samples"]
    np.testing.assert_array_equal(own[:3], second)
    judged = call("sagd_jax.likelihood", f"--workdir={tuned}", cache=cache)
    assert "a consistency model, which has no likelihood" in refused(judged)


def test_a_path_is_kept_with_the_weights(train, learned, cache):
    averaged, raw = (load_run(learned, ema=ema) for ema in (True, False))
    assert np.abs(raw.params[PATH]).max() > 5e-3
    for run in (averaged, raw):
        np.testing.assert_array_equal(run.diffusion.schedule.path, run.params[PATH])
    assert {p.name for p in (learned / "previews").glob("path_*.png")} == {
        "path_00000002.png", "path_00000004.png"
    }  # fmt: skip
    entries = [json.loads(x) for x in (learned / "metrics.jsonl").read_text().splitlines()]
    assert any("path_even_lowest" in entry for entry in entries)
    assert any("path_steps" in entry for entry in entries)
    cut = good(train("cut_learned", *LEARNED))
    good(train("cut_learned", *LEARNED, steps=4))
    assert same(cut, learned)


@pytest.mark.slow
def test_a_path_alone_is_learned_for_a_network_that_stays(train, learned, base):
    alone = ("--config.objective.network=False", f"--init_from={learned}")
    after = good(train("alone", *LEARNED, *alone))
    before, now = load_run(learned), load_run(after, ema=False)
    for name, part in before.params.items():
        equal = all(np.array_equal(a, b) for (_, a), (_, b) in
                    zip(_flat(part), _flat(now.params[name]), strict=True))  # fmt: skip
        assert equal == (name != PATH)
    line = refused(train("other", *LEARNED, "--config.objective.network=False"))
    assert "config.objective.network=False: it begins with the network" in line
    line = refused(train("clock", *LEARNED, alone[0], f"--init_from={base}"))
    assert "its noise has another spectrum" in line


def test_the_bound_of_a_split(learned, cache, tmp_path):
    def judge(out, *flags):
        few = (f"--workdir={learned}", f"--out={tmp_path / out}", "--num_examples=5")
        return call("sagd_jax.likelihood", *few, *flags, cache=cache)

    steps = judge("a", "--bound", "--num_steps=4", "--batch_size=5")
    assert steps.returncode == 0, steps.stderr
    assert "the bound for 4 steps; each takes 4 evaluations" in steps.stdout
    assert "a bound on -log p (diffusion " in steps.stdout and "bits per dimension" in steps.stdout
    lines = (tmp_path / "a" / "bound.jsonl").read_text().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines[1:]]
    for entry in entries:
        assert entry["nats"] == pytest.approx(
            sum(entry[n] for n in ("diffusion", "prior", "decoder"))
        )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "bound.jsonl").write_text("".join(lines[:3]))  # cut, and gone on with
    assert judge("b", "--bound", "--num_steps=4", "--batch_size=3").returncode == 0
    again = (tmp_path / "b" / "bound.jsonl").read_text().splitlines()[1:]
    np.testing.assert_allclose(
        [json.loads(line)["nats"] for line in again], [e["nats"] for e in entries], rtol=1e-4
    )
    assert "--divergence=exact: not used by --bound" in refused(
        judge("c", "--bound", "--divergence=exact")
    )
    assert "only --bound uses it" in refused(judge("c", "--num_times=3"))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="trains in this process")
@pytest.mark.slow
def test_a_slope_is_searched_on_held_out_data(tmp_path, capsys):
    import importlib.util
    from pathlib import Path

    script = Path(__file__).parents[2] / "scripts" / "search_slope.py"
    spec = importlib.util.spec_from_file_location("search_slope", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "tiny.py").write_text(TINY)
    flags = (
        f"--config={tmp_path / 'tiny.py'}", f"--workdir={tmp_path / 'search'}", "--slopes=0,-0.5",
        "--steps=2", "--num_examples=8", "--config.model.prediction=v", "--config.noise.kind=white",
        "--config.noise.alpha=0.0", "--config.train.num_steps=1",
    )  # fmt: skip
    assert module.main(list(flags)) == 0
    result = json.loads((tmp_path / "search" / "search.json").read_text())
    assert result["best"] == min(result["figures"], key=lambda f: f["nats"])["slope"]
    assert "--config.schedule.slope=" in capsys.readouterr().out.splitlines()[-1]
