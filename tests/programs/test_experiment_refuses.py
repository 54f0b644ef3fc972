"""What the runner of experiments refuses before anything is trained, and that it loses nothing."""

import shutil

import pytest
from tilts import EXPERIMENT, Programs, run, written

from sagd_jax.programs import experiment as program


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def test_an_experiment_that_changed_is_not_mixed_with_the_old(folder, monkeypatch, capsys):
    Programs(monkeypatch)
    run(folder)
    changed, before = EXPERIMENT.replace("-0.3", "-0.4"), (folder / "tilts.json").read_bytes()
    (folder / "tilts.py").write_text(changed)
    for flags in ((), ("--dry_run",)):
        with pytest.raises(SystemExit) as leaving:
            run(folder, *flags)
        error = capsys.readouterr().err
        assert leaving.value.code == 2 and error.count("\n") == 1
        assert f"has changed since {folder}/runs/tilt/0 and 1 more was made" in error
    assert (folder / "tilts.json").read_bytes() == before
    shutil.rmtree(folder / "runs/tilt")
    assert run(folder)[0] == 0


def test_figures_and_other_files_are_not_lost(folder, monkeypatch, capsys):
    Programs(monkeypatch)
    for content in ("my notes", '{"my": "thesis"}', "[1]"):
        (folder / "tilts.json").write_text(content)
        with pytest.raises(SystemExit) as leaving:
            program.main([str(folder / "tilts.py"), f"--json={folder}/tilts.json"])
        assert leaving.value.code == 2 and (folder / "tilts.json").read_text() == content
        assert "no figures of an experiment" in capsys.readouterr().err
    (folder / "tilts.json").unlink()
    run(folder)
    whole = (folder / "tilts.json").read_bytes()
    shutil.rmtree(folder / "runs")
    run(folder, "--arms=white")  # of a folder that has less than the file
    assert "kept as" in capsys.readouterr().out
    assert (folder / "tilts.json.before").read_bytes() == whole
    run(folder)  # what is there is among what is added
    assert len(list(folder.glob("*.before*"))) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            '{"num_sample": 32}',
            "unknown argument '--num_sample=32'; did you mean --num_samples=32?",
        ),
        ('{"metrics": "spectrl"}', "--metrics: unknown metric 'spectrl'; expected some of"),
        ('{"method": "sde", "eta": 0.5}', "--eta=0.5: only --method=ddim uses it"),
        ('{"num_steps": "four"}', "argument --num_steps: "),
    ],
)
def test_flags_of_evaluations_are_checked_before_anything_is_trained(
    folder, monkeypatch, capsys, options, words
):
    programs = Programs(monkeypatch)
    text = EXPERIMENT.replace('{"num_steps": (2, 4), "num_samples": 16}', options)
    (folder / "tilts.py").write_text(text)
    for flags in ((), ("--dry_run",)):
        with pytest.raises(SystemExit) as leaving:
            run(folder, *flags)
        error = capsys.readouterr().err
        assert leaving.value.code == 2 and error.count("\n") == 1
        assert f"arm 'white': evaluate: {words}" in error
    assert not programs.calls


def test_the_data_s_folder_is_told_to_the_evaluation(folder, monkeypatch):
    programs = Programs(monkeypatch)
    told = []
    call = programs.__call__

    def remember(runner, name, argv, *rest):
        told.extend(word for word in argv if word.startswith("--dir="))
        call(name, argv, *rest)

    monkeypatch.setattr(program.Runner, "_call", remember)
    own = "--config.data.dir=/pictures", "--config.data.name=folder"
    assert run(folder, *own)[0] == 0 and set(told) == {"--dir=/pictures"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arm={}", "line 5: Experiment has no argument 'arm'; expected some of config, arms,"),
        ('arms={"a b": {}, "a_b": {}}', "arms 'a b' and 'a_b' differ in signs and spaces alone"),
        ("arms={}, seeds=1 / 0", "line 5: ZeroDivisionError: division by zero"),
    ],
)
def test_a_fault_of_the_file_is_one_line_that_says_where(folder, capsys, text, words):
    code = f"def get_experiment():\n    return sagd.Experiment('config.py', {text})\n"
    (folder / "tilts.py").write_text(f"import sagd_jax as sagd\n\n\n{code}")
    with pytest.raises(SystemExit):
        run(folder)
    error = capsys.readouterr().err
    assert words in error and error.count("tilts.py") == error.count("\n") == 1


def test_flags_that_are_wrong_are_one_line(folder, capsys):
    for flags, words in (
        (["--arms=tilt;pink"], "no arm 'pink'; there are white; tilt; few steps"),
        (["--config.noise.alfa=1"], "arm 'white': "),
    ):
        with pytest.raises(SystemExit) as leaving:
            program.main([str(folder / "tilts.py"), *flags])
        error = capsys.readouterr().err
        assert leaving.value.code == 2 and words in error and error.count("\n") == 1


def test_a_second_runner_in_one_folder_is_refused(folder, monkeypatch, capsys):
    import fcntl

    Programs(monkeypatch)
    monkeypatch.setattr(program, "WAIT", 0.2)
    (folder / "runs").mkdir()
    with (folder / "runs/runner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit) as leaving:
            run(folder)
    assert leaving.value.code == 2
    assert "another process runs this experiment" in capsys.readouterr().err
