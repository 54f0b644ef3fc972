"""The runner of experiments: what it calls, what it leaves alone, and that kills do not show."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tilts import EXPERIMENT, Programs, run, written

from sagd_jax.evaluation import experiments
from sagd_jax.programs import experiment as program
from sagd_jax.programs import experiment_runner


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def test_what_is_done_is_left_alone_and_the_figures_are_paired(folder, monkeypatch, capsys):
    programs = Programs(monkeypatch)
    status, result = run(folder)
    assert status == 0
    # Seed after seed; the third arm is the first one's training.
    assert programs.calls[:5] == [
        ("train", "white/0"), ("evaluate", "white/0"), ("train", "tilt/0"), ("evaluate", "tilt/0"),
        ("evaluate", "few_steps/0"),
    ]  # fmt: skip
    assert len(programs.calls) == 10
    tilt = result["arms"]["tilt"]
    assert tilt["seeds"]["1"]["training"] == {"step": 40, "loss": 1.5}
    path = "evaluation/4/frechet/value"
    # Differences 1 and 2: the mean over seeds of 5 and 16 would have an interval of +-70.
    assert tilt["difference"][path] == pytest.approx([1.5, 12.706 * 0.5], rel=1e-3)
    assert tilt["mean"][path][0] == 10.5 and "difference" not in result["arms"]["white"]
    assert "few steps" in result["arms"] and result["baseline"] == "white"
    before = (folder / "tilts.json").read_bytes()
    assert run(folder)[0] == 0 and len(programs.calls) == 10
    assert (folder / "tilts.json").read_bytes() == before
    assert str(folder) not in before.decode().replace(result["command"], "")
    assert "there already" in capsys.readouterr().out


def test_one_arm_that_fails_does_not_stop_the_others(folder, monkeypatch, capsys):
    programs = Programs(monkeypatch, fail=[("train", "tilt/0")])
    status, result = run(folder)
    assert status == 2 and list(result["arms"]["tilt"]["seeds"]) == ["1"]
    assert "tilt, seed 0: train ended with status 1: it broke" in capsys.readouterr().err
    programs.fail.clear()
    status, result = run(folder)
    assert status == 0 and list(result["arms"]["tilt"]["seeds"]) == ["0", "1"]


def test_figures_go_on_without_their_folder(folder, monkeypatch, capsys):
    programs = Programs(monkeypatch)
    whole = run(folder)[1]
    half = json.loads(json.dumps(whole))
    del half["arms"]["white"]["seeds"]["1"], half["arms"]["few steps"]["seeds"]["0"]
    (folder / "half.json").write_text(json.dumps(half))
    known, calls = f"--known={folder}/half.json", len(programs.calls)

    def again(*flags):
        (folder / "runs").rename(folder / f"runs{len(list(folder.iterdir()))}")
        return run(folder, *flags)

    status, result = again(known)
    # "few steps" of seed 0 shares the training of a "white" whose weights are gone: it is made again.
    assert status == 0 and programs.calls[calls:] == [
        ("train", "white/0"), ("evaluate", "few_steps/0"),
        ("train", "white/1"), ("evaluate", "white/1"),
    ]  # fmt: skip
    assert "has 4 arms and seeds with" in capsys.readouterr().out
    differs = {name for name in whole if result[name] != whole[name]}
    assert differs <= {"time"} and set(result) == set(whole)
    # Other settings, another evaluation: nothing of the file is used; no such file: one line.
    calls = len(programs.calls)
    assert again(known, "--config.optimizer.learning_rate=0.01")[0] == 0
    assert len(programs.calls) == calls + 10
    (folder / "tilts.py").write_text(EXPERIMENT.replace('"num_samples": 16', '"num_samples": 32'))
    calls = len(programs.calls)
    assert again(known)[0] == 0 and len(programs.calls) == calls + 10
    for content in (None, "[]", '{"arms": {}}', json.dumps({**half, "arms": [1]})):
        if content:
            (folder / "none.json").write_text(content)
        with pytest.raises(SystemExit):
            run(folder, f"--known={folder}/none.json")
        assert "not the figures of an experiment" in capsys.readouterr().err
    for own in half["arms"].values():
        for figures in own["seeds"].values():
            figures.pop("settings")
    (folder / "none.json").write_text(json.dumps(half))
    with pytest.raises(SystemExit):
        run(folder, f"--known={folder}/none.json")
    assert "does not say with which settings" in capsys.readouterr().err


def test_known_figures_are_those_of_today_and_yield_to_the_folders_own(folder, monkeypatch, capsys):
    programs = Programs(monkeypatch)
    run(folder)
    whole = (folder / "tilts.json").read_text()
    (folder / "whole.json").write_text(whole.replace('"loss": 0.5', '"loss": 0.25'))
    known = f"--known={folder}/whole.json"
    # What was made elsewhere is told.
    elsewhere = json.loads(whole) | {
        "hardware": "64 x Other",
        "jax": "0.1.0",
        "commit": "1, 2 (changed)",
    }
    (folder / "elsewhere.json").write_text(json.dumps(elsewhere | {"uncommitted changes": True}))
    (folder / "runs/white").rename(folder / "white")
    mixed = run(folder, f"--known={folder}/elsewhere.json")[1]
    own = json.loads(whole)
    assert mixed["hardware"].split(", ") == sorted([own["hardware"], "64 x Other"])
    assert (
        mixed["jax"].split(", ") == sorted([own["jax"], "0.1.0"]) and mixed["uncommitted changes"]
    )
    assert {"1", "2 (changed)"} <= set(mixed["commit"].split(", "))
    assert not any("white" in where for _, where in programs.calls[10:])
    shutil.rmtree(folder / "runs/white")
    (folder / "white").rename(folder / "runs/white")
    # The folder has all of it: its own figures stand.
    assert run(folder, known)[1] == json.loads(whole)
    (folder / "runs").rename(folder / "before")
    calls = len(programs.calls)
    assert run(folder, known)[1]["arms"]["white"]["seeds"]["0"]["training"]["loss"] == 0.25
    assert len(programs.calls) == calls
    capsys.readouterr()
    for out in ("runs", "none_yet"):
        program.main([str(folder / "tilts.py"), f"--out={folder}/{out}", known, "--dry_run"])
        said = capsys.readouterr().out
        assert "has 6 arms" in said and said.count("0 evaluated, 2 known from a file") == 3
    assert not (folder / "none_yet").exists()
    # Nothing is left for a device; notes of other settings are none, with the flag and without.
    assert run(folder, known, "--together=cpu")[0] == 0
    (folder / "tilts.py").write_text(EXPERIMENT.replace("-0.3", "-0.4"))
    assert run(folder)[0] == 0
    assert programs.calls[calls:] == [
        ("train", "tilt/0"), ("evaluate", "tilt/0"), ("train", "tilt/1"), ("evaluate", "tilt/1"),
    ]  # fmt: skip


def test_an_arm_is_not_known_whose_start_has_changed(folder, monkeypatch):
    started = EXPERIMENT.replace(
        "sagd.Arm(evaluate=", 'sagd.Arm({"train.num_steps": 50}, init_from="tilt", evaluate='
    )
    (folder / "tilts.py").write_text(started)
    programs = Programs(monkeypatch)
    run(folder)
    (folder / "before.json").write_bytes((folder / "tilts.json").read_bytes())
    calls = len(programs.calls)
    (folder / "runs").rename(folder / "before")
    (folder / "tilts.py").write_text(started.replace("-0.3", "-0.4"))
    assert run(folder, f"--known={folder}/before.json")[0] == 0
    again = {where for name, where in programs.calls[calls:] if name == "train"}
    assert again == {"tilt/0", "few_steps/0", "tilt/1", "few_steps/1"}


@pytest.mark.parametrize(
    "flags", [["--out=o", "--json=j", "--jobs=2"], ["--out", "o", "--known", "k", "--json", "j"]]
)
def test_a_result_says_what_was_run_and_not_where(flags):
    assert program._told(["e.py", *flags, "--arms=a"]) == ["e.py", "--arms=a"]


def test_several_experiments_in_one_call(folder, monkeypatch, capsys):
    programs = Programs(monkeypatch)
    (folder / "others.py").write_text(EXPERIMENT.replace("-0.3", "0.3"))
    files = [str(folder / "tilts.py"), str(folder / "others.py")]
    flags = [f"--out={folder}/runs", f"--json={folder}/json"]
    assert program.main([*files, *flags]) == 0
    tilts, others = (
        json.loads((folder / f"json/{n}.json").read_text()) for n in ("tilts", "others")
    )
    assert len(programs.calls) == 20 and (folder / "runs/others/tilt/1").is_dir()
    assert tilts["arms"]["tilt"]["fields"] == {"noise.kind": "power_law", "noise.alpha": -0.3}
    assert others["arms"]["tilt"]["fields"]["noise.alpha"] == 0.3
    # A folder of figures needs not have those of all.
    (folder / "runs").rename(folder / "before")
    (folder / "json/others.json").rename(folder / "json/else.json")
    calls = len(programs.calls)
    flags = [f"--out={folder}/runs", f"--json={folder}/again", f"--known={folder}/json"]
    assert program.main([*files, *flags]) == 0
    assert len(programs.calls) == calls + 10
    assert json.loads((folder / "again/tilts.json").read_text())["arms"] == tilts["arms"]
    capsys.readouterr()
    for given, words in (
        ([*files, "--arms=tilt"], "--arms: of one experiment; there are several here"),
        ([files[0], files[0]], "expected names that differ"),
        ([*files, f"--known={folder}/nowhere"], "it has no tilts.json, others.json"),
    ):
        with pytest.raises(SystemExit) as leaving:
            program.main(given)
        error = capsys.readouterr().err
        assert leaving.value.code == 2 and words in error and error.count("\n") == 1


def test_another_evaluation_shares_the_trainings(folder, monkeypatch):
    programs = Programs(monkeypatch)
    first = run(folder)[1]
    count = len(programs.calls)
    (folder / "tilts.py").write_text(EXPERIMENT.replace('"num_samples": 16', '"num_samples": 32'))
    assert run(folder)[0] == 0
    assert {name for name, _ in programs.calls[count:]} == {"evaluate"}
    (folder / "tilts.py").write_text(EXPERIMENT)
    calls = len(programs.calls)
    assert run(folder)[1] == first and len(programs.calls) == calls  # both are kept


def test_flags_of_an_evaluation():
    assert experiment_runner.flag("num_steps", (2, 4)) == "--num_steps=2,4"
    assert experiment_runner.flag("remove_band", "0.4:0.6") == "--remove_band=0.4:0.6"
    assert (
        experiment_runner.flag("clip", True) == "--clip"
        and experiment_runner.flag("clip", False) == "--no-clip"
    )


def test_intervals_are_those_of_student():
    from scipy import stats

    x = np.array([3.1, 2.7, 3.9, 3.3])
    low, high = stats.t.interval(0.95, 3, loc=x.mean(), scale=stats.sem(x))
    assert experiments.interval(x.tolist()) == pytest.approx([x.mean(), (high - low) / 2])


def of_few(folder, **changed):
    """Writes the experiment so that 16 samples are enough for its metric."""
    text = EXPERIMENT.replace('"num_samples": 16', '"num_samples": 16, "metrics": "kernel:pixels"')
    for old, new in changed.items():
        text = text.replace(old, new)
    (folder / "tilts.py").write_text(text)
    return [sys.executable, "-m", "sagd_jax.experiment", str(folder / "tilts.py")]


@pytest.mark.slow
def test_arms_as_one_program_leave_what_single_ones_leave(folder):
    command = of_few(folder, **{"seeds=(0, 1)": "seeds=(0,)"})
    for name, flags in (("single", []), ("together", ["--together=cpu"])):
        flags = [*flags, f"--out={folder}/{name}", f"--json={folder}/{name}.json"]
        assert subprocess.run([*command, *flags]).returncode == 0
    log = (folder / "together/log.txt").read_text()
    assert "trained 2 of 2 runs as one program" in log
    # The third arm has the first one's training; what is drawn of all is there before they are judged.
    assert "drew 16 samples in 2 steps of 3 runs as one program" in log
    assert not (folder / "together/white/0/log.txt").read_text().count("compiling")
    one, other = (
        dict(experiments.flat(json.loads((folder / f"{name}.json").read_text())["arms"]))
        for name in ("single", "together")
    )
    assert one.keys() == other.keys() and any(name.endswith("kernel:pixels/value") for name in one)
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name
    # What two experiments have to train is one program too.
    text = (folder / "tilts.py").read_text()
    (folder / "others.py").write_text(text.replace("-0.3", "0.3"))
    flags = ["--together=cpu", f"--out={folder}/both", f"--json={folder}/both"]
    assert subprocess.run([*command, str(folder / "others.py"), *flags]).returncode == 0
    log = (folder / "both/tilts/log.txt").read_text()
    assert "trained 4 of 4 runs as one program" in log
    assert "drew 16 samples in 2 steps of 6 runs as one program" in log
    both = json.loads((folder / "both/tilts.json").read_text())["arms"]
    for name, value in experiments.flat(both):
        assert one[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_figures_of_an_undisturbed_run(folder):
    command = of_few(folder)

    def start(where):
        flags = [f"--out={folder}/{where}", f"--json={folder}/{where}.json", "--jobs=2"]
        return subprocess.Popen([*command, *flags])

    assert start("undisturbed").wait(900) == 0
    random = np.random.default_rng(int(time.time()))
    for number in (signal.SIGKILL, signal.SIGKILL):
        process = start("killed")
        time.sleep(random.uniform(5, 60))
        process.send_signal(number)
        process.wait(60)
    assert start("killed").wait(900) == 0
    results = [(folder / f"{w}.json").read_text() for w in ("undisturbed", "killed")]
    assert results[0] == results[1] and "2/kernel:pixels/value" in results[0]
