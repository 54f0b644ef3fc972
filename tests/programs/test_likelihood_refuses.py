"""The likelihood program: what it keeps, what it refuses, what it says beforehand."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_runs import serve, toy_run

from sagd_jax.programs import likelihood


@pytest.fixture
def compute(tmp_path, capsys):
    def run(*flags, workdir="A", out="out"):
        argv = [f"--workdir={workdir}", f"--out={tmp_path / out}", "--num_steps=2", *flags]
        try:
            status = likelihood.main(argv)
        except SystemExit as stopped:
            status = stopped.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def digits(scale=0.3, **options):
    return toy_run(scale, shape=(6, 8, 8, 1), **options)


def refused(result):
    status, _, complaint = result
    assert status == 2
    (line,) = complaint.strip().splitlines()
    return line


def test_what_is_not_finite_is_refused_and_not_kept(compute, tmp_path, monkeypatch):
    serve(monkeypatch, A=digits(float("nan")))
    line = refused(compute("--num_examples=3"))
    assert "3 of 3 examples (0 to 2) have a likelihood that is not finite (number 0: nan)" in line
    assert list((tmp_path / "out").iterdir()) == []


def test_lines_that_are_no_results_are_not_gone_on_from(compute, tmp_path, monkeypatch):
    serve(monkeypatch, A=digits())
    assert compute("--num_examples=2")[0] == 0
    file = tmp_path / "out" / "likelihood.jsonl"
    head, first, _ = file.read_text().splitlines(keepends=True)
    file.write_text(head + first + '{"index": 1, "nats": NaN}\n')
    line = refused(compute("--num_examples=2"))
    assert "line 3 says nan, which is no result" in line
    assert "NaN" in file.read_text()


def test_results_are_of_one_checkpoint(compute, tmp_path, monkeypatch):
    serve(monkeypatch, A=digits(), B=digits(identity="b"))
    assert compute("--num_examples=1")[0] == 0
    file = tmp_path / "out" / "likelihood.jsonl"
    line = refused(compute("--num_examples=2", workdir="B"))
    assert "other settings" in line and "checkpoint was 'a', is 'b'" in line
    head, *rest = file.read_text().splitlines(keepends=True)
    settings = json.loads(head)
    del settings["checkpoint"], settings["dir"]
    file.write_text(json.dumps(settings) + "\n" + "".join(rest))
    assert 'put "checkpoint": "a"' in refused(compute("--num_examples=2"))


def test_seeds_that_would_be_others_are_refused(compute, tmp_path):
    assert "--seed: 4294967297: expected" in refused(compute("--seed=4294967297"))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_splits_needs_its_place_alone(compute, tmp_path, monkeypatch):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8), 9 * i, np.uint8)).save(folder / f"{i}.png")
    serve(monkeypatch, A=digits(data={"name": "folder", "dir": str(folder)}))
    assert f"pass --dir={folder}" in refused(compute())
    status, said, _ = compute(f"--dir={folder}")
    assert status == 0 and f"3 examples of {folder}" in said


def test_a_place_that_cannot_be_written_is_found_out_first(compute, tmp_path, monkeypatch):
    serve(monkeypatch)  # no run: nothing may be loaded
    (tmp_path / "file").write_text("")
    assert f"{tmp_path / 'file'} is a file" in refused(compute(out="file/below"))


def test_the_divergence_follows_from_the_size():
    from sagd_jax.diffusion.likelihood import default_divergence

    assert default_divergence((16, 16, 1)) == "exact"
    assert default_divergence((257, 1)) == "hutchinson"


def test_a_long_one_says_how_long(capsys):
    likelihood._say_how_long(30.0, 16, 64)
    assert "about 2 minutes for the others" in capsys.readouterr().out
    likelihood._say_how_long(3600.0, 16, 64)
    assert "about 3.0 hours for the others" in capsys.readouterr().out
    likelihood._say_how_long(1.0, 16, 64)
    assert capsys.readouterr().out == ""
