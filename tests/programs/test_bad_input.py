"""Bad input to the programs: one line that says what is wrong, exit status 2, nothing written."""

import pytest
from programs import TINY

from sagd_jax.programs import inspect, sample, spectrum, train

OTHER_NOISE = ("--config.noise.alpha=0",)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return f"--config={path}"


def complaint(main, argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    captured = capsys.readouterr()
    assert stopped.value.code == 2
    assert captured.out == ""
    assert len(captured.err.strip().splitlines()) == 1
    return captured.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dryrun"], "did you mean --dry_run?"),
        (["--steps=5"], "--config.train.num_steps"),
        (["--steps=5"], "--config.train.num_steps"),
        (["--batch-size=5"], "did you mean --config.train.batch_size=5?"),
        (["--lerning_rate", "5"], "did you mean --config.optimizer.learning_rate?"),
        (["--confg.seed=1"], "did you mean --config.seed=1?"),
        (["train.num_steps=3"], "did you mean --config.train.num_steps=3?"),
        (["--config.train.num_stepz=3"], "did you mean 'num_steps'?"),
        (
            ["--config.train.batch_size=100000"],
            "the data has only 1437 examples; give at most that many",
        ),
        (["--config.train.batch_size=0"], "expected at least 1"),
        (["--config.noise.kind=white"], "it needs kind='power_law'"),
        ([*OTHER_NOISE, "--config.noise.kind=band_pass"], "config.noise: bands"),
        ([*OTHER_NOISE, "--config.noise.kind=file"], "config.noise.file"),
        ([*OTHER_NOISE, "--config.noise.kind=file", "--config.noise.file=no.npy"], "no.npy"),
        (["--config.noise.alpha=200"], "config.noise: alpha=200"),
        (["--config.model.unet.norm_num_groups=3"], "norm_num_groups"),
        (["--config.model.unet.block_out_channels=8,8,8,8,8"], "config.model"),
        (["--config.mesh.fsdp=7"], "config.mesh"),
        (
            ["--config.schedule.kind=rectified_flow", "--config.model.prediction=epsilon"],
            "x0, v or velocity",
        ),
        (["--config.model.prediction=score", "--config.train.norm=mahalanobis"], "mahalanobis"),
        (["--config.data.name=digitz"], "expected one of 'digits'"),
        (["--config.data.split=validation"], "validation"),
    ],
)
def test_train_refuses(flags, words, config, tmp_path, capsys):
    workdir = tmp_path / "run"
    line = complaint(train.main, [config, f"--workdir={workdir}", *flags], capsys)
    assert words in line
    assert line.startswith("train.py: ")
    assert not (workdir / "checkpoints").exists() or not any(
        p.name.isdigit() for p in (workdir / "checkpoints").iterdir()
    )


def test_train_refuses_missing_files_and_flags(config, tmp_path, capsys):
    workdir = f"--workdir={tmp_path / 'run'}"
    assert "no such file" in complaint(train.main, ["--config=no.py", workdir], capsys)
    line = complaint(train.main, [f"--config={tmp_path}", workdir], capsys)
    assert f"this is a folder; there are: {tmp_path / 'tiny.py'}" in line
    assert "--workdir" in complaint(train.main, [config], capsys)
    assert "--config" in complaint(train.main, [workdir], capsys)
    file = tmp_path / "tiny.py"
    assert "this is a file" in complaint(train.main, [config, f"--workdir={file}"], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["file/run", "file", "dangling", "/proc/run"])
def test_places_that_cannot_be_written(place, config, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for main, flag in ((train.main, "--workdir"), (spectrum.main, "--out")):
        line = complaint(main, [config, f"{flag}={place}"], capsys)
        assert place in line and sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [("checkpoints", "file"), ("previews", "file"), ("metrics.jsonl", "folder")],
)
def test_places_in_a_workdir_that_cannot_be_written(name, kind, config, tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / name).mkdir() if kind == "folder" else (workdir / name).write_text("")
    flags = [config, f"--workdir={workdir}", "--config.preview.every=3"]
    line = complaint(train.main, flags, capsys)
    assert f"{workdir / name}: this is a {kind}, expected a" in line


def test_train_writes_nothing_among_the_data(config, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    data = "--config.data.name=folder", f"--config.data.dir={tmp_path / 'photos'}"
    argv = [config, *data, f"--workdir={tmp_path / 'photos' / 'run'}"]
    assert "lies in data.dir, where nothing is ever written" in complaint(train.main, argv, capsys)
    assert not list((tmp_path / "photos").iterdir())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("c.data.imgsize = 3", "line 5: no such field 'imgsize'; did you mean 'image_size'?"),
        ("import no_such_module", "line 5: ModuleNotFoundError: No module named 'no_such_module'"),
        ("{}['some key']", "line 5: KeyError: some key"),
        ("x = (", "line 5: '(' was never closed"),
    ],
)
def test_a_fault_of_a_config_file_is_short_and_says_where(line, words, tmp_path, capsys):
    start = "import sagd_jax as sagd\n\ndef get_config():\n    c = sagd.default_config()\n"
    (tmp_path / "own.py").write_text(f"{start}    {line}\n    return c\n")
    argv = [f"--config={tmp_path / 'own.py'}", f"--workdir={tmp_path / 'run'}"]
    assert complaint(train.main, argv, capsys).strip().endswith(words)


def test_train_refuses_weights_that_are_not_there(config, tmp_path, capsys):
    flags = [config, f"--workdir={tmp_path / 'run'}", f"--init_from={tmp_path / 'nowhere'}"]
    with pytest.raises(SystemExit) as stopped:
        train.main(flags)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "nowhere" in lines[0]


def test_sample_refuses(tmp_path, capsys):
    out = tmp_path / "out"
    flags = [f"--workdir={tmp_path / 'run'}", f"--out={out}"]
    assert "there is no checkpoint in" in complaint(sample.main, flags, capsys)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert "there is no checkpoint in" in complaint(sample.main, flags, capsys)
    (tmp_path / "run" / "checkpoints" / "9").mkdir()
    assert "9" in complaint(sample.main, flags, capsys)
    assert "expected" in complaint(sample.main, [*flags, "--num_samples=0"], capsys)
    assert "invalid choice" in complaint(sample.main, [*flags, "--method=magic"], capsys)
    assert "unknown argument" in complaint(sample.main, [*flags, "--numsamples=3"], capsys)
    assert not out.exists()


def test_inspect_refuses(tmp_path, capsys):
    assert "there is no checkpoint in" in complaint(inspect.main, [str(tmp_path)], capsys)
