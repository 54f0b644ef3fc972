"""Reports: one page that loads nothing, small however long the run, of what is stored and says what is not."""

import json
import logging
import time
import types
from html.parser import HTMLParser

import numpy as np
import pytest
from toy_runs import toy_run

from sagd_jax.data.source import ArraySource
from sagd_jax.programs.report import main
from sagd_jax.run import profiles
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.show import pictures
from sagd_jax.system import schema
from sagd_jax.training.actions import Moment
from sagd_jax.training.report import action, document, sections
from sagd_jax.training.report.action import Report
from sagd_jax.training.report.stored import NoRunError, read_stored

VOID = {"meta", "img", "br", "rect", "line", "circle", "polyline", "polygon", "path"}


class Parsed(HTMLParser):
    """Tags in balance, the text of each, and all addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.sources, self.count = [], [], [], {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.sources += [v for name, v in attrs if name in ("src", "href", "xlink:href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())


def lines_of(count, first=1):
    rng = np.random.default_rng(0)
    for step in range(first, first + count):
        noise = rng.random()
        yield json.dumps(
            {"step": step, "loss": 1 / step**0.3 + 0.1 * noise, "gradient_norm": noise, "skipped": 0.0,
             **{f"loss_t{i}of4": i / step**0.3 for i in (1, 2, 3, 4)}, "learning_rate": 2e-4,
             "images_per_second": 100.0, "data_wait_share": None}
        )  # fmt: skip


def a_run(workdir, count=40, previews=2, side=20):
    (workdir / "previews").mkdir(parents=True)
    (workdir / "metrics.jsonl").write_text("\n".join(lines_of(count)) + "\n")
    rng = np.random.default_rng(0)
    data = rng.normal(size=(20, 8, 8, 1))
    profiles.write(workdir / "previews" / "data_spectrum.json", profiles.profile_of(data))
    for i in range(1, previews + 1):
        name = f"step_{count * i // previews:08d}"
        picture = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
        pictures.write_png(workdir / "previews" / f"{name}.png", picture)
        profiles.write(workdir / "previews" / f"{name}.json", profiles.profile_of(data * i))
    return workdir


@pytest.mark.thorough
def test_the_page_of_a_long_run_is_small_and_loads_nothing(tmp_path):
    a_run(tmp_path / "run", count=50_000, previews=60, side=900)
    start = time.process_time()
    text = document.document(read_stored(tmp_path / "run"))
    assert time.process_time() - start < 10
    assert len(text) < 5_000_000
    parsed = Parsed(text)
    assert all(a.startswith(("#", "data:image/png;base64,")) for a in parsed.sources)
    assert "http:" not in text and "https:" not in text and "<script" not in text
    assert "default-src 'none'" in text and "prefers-color-scheme:dark" in text
    assert parsed.count["img"] == 12 and "step 50,000" in parsed.texts
    assert parsed.count["svg"] == 7  # loss, quarters, three numbers, spectra, their ratio
    assert text.count(",") < 40_000  # curves are thinned


def test_what_is_stored_is_shown(tmp_path):
    workdir = a_run(tmp_path / "run")
    run = toy_run()
    with Checkpoints(workdir, keep=3) as checkpoints:
        for step in (20, 40):
            checkpoints.save(step, {"params": run.params}, record=schema.as_dict(run.record))
    for step in (20, 40):
        results = {
            "50": {"spectral": {"value": 0.25, "low": 0.2, "high": 0.3, "floor": {"value": 0.01}}},
            "checkpoint": {"denoising": {
                "times": [0.1, 0.9], "edges": [0, 0.5, 1], "error": [[0.1, None], [0.3, 0.4]]}},
        }  # fmt: skip
        folder = workdir / "evaluation" / f"step_{step}"
        folder.mkdir(parents=True)
        content = {"settings": {"step": step}, "provenance": [], "results": results}
        (folder / "evaluation.json").write_text(json.dumps(content))
    assert main([f"--workdir={workdir}", f"--out={tmp_path / 'out'}"]) == 0
    text = (tmp_path / "out" / "index.html").read_text()
    shown = Parsed(text).texts
    for words in (
        "0.25 [0.2, 0.3]", "0.01", "config.noise.kind", "v", "complete", "loss by quarter of t",
        "t from 0.75 to 1", "held-out data", "0 to 0.5", "data (20 examples)", "6 of shape 4 x 4 x 1",
    ):  # fmt: skip
        assert any(words in one for one in shown), words
    assert f"sagd train --config=CONFIG --workdir={workdir}" in text and "from step 40" in text
    assert "trouble" not in text.partition("</style>")[2]
    assert "mean over t" in text


def test_every_damage_is_named_and_nothing_crashes(tmp_path, capsys):
    workdir = a_run(tmp_path / "run")
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 41, "loss": [1]}\n{"loss": 3}\n\xff\xfe\n[]\n{"step": 42, "lo')
    (workdir / "previews" / "step_00000040.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (workdir / "previews" / "step_00000020.json").write_text("[]")
    (workdir / "previews" / "data_spectrum.json").write_text("{}")
    (workdir / "checkpoints" / "30").mkdir(parents=True)
    (workdir / "checkpoints" / "20.damaged").mkdir()
    (workdir / "evaluation" / "bad").mkdir(parents=True)
    (workdir / "evaluation" / "bad" / "evaluation.json").write_text('{"results": 3}')
    assert main([f"--workdir={workdir}"]) == 0
    out = capsys.readouterr().out
    Parsed((workdir / "report" / "index.html").read_text())
    for words in (
        "4 of 45 lines are damaged", "step_00000040.png cannot be shown", "step_00000020.json",
        "data_spectrum.json", "checkpoints/30 is incomplete or damaged", "bad/evaluation.json",
        "no checkpoint says what the configuration was",
    ):  # fmt: skip
        assert f"{words}" in out, words
    assert "set aside: 20.damaged" in (workdir / "report" / "index.html").read_text()


def test_where_there_is_no_run_it_says_so_in_a_line(tmp_path, capsys):
    with pytest.raises(NoRunError, match="there is no run here"):
        read_stored(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([f"--workdir={tmp_path / 'nothing'}"])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_resumed_run_is_one_curve(tmp_path):
    workdir = a_run(tmp_path / "run")
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write("\n".join(lines_of(10, first=41)) + "\n")
        file.write('{"step": 50, "ema_loss": 0.5}\n')
    steps, loss = read_stored(workdir).curves["loss"]
    np.testing.assert_array_equal(steps, np.arange(1, 51))
    assert np.isfinite(loss).all() and read_stored(workdir).step == 50


def a_moment(workdir, step=5, first=True):
    return Moment(step, {}, workdir, None, first, lambda: False)


def a_report(**config):
    run = toy_run(preview={"every": 1}, **config)
    x = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1)).astype(np.uint8)
    return Report(
        types.SimpleNamespace(record=run.record, source=ArraySource(x, value_range=(0, 255)))
    )


def test_training_writes_it_with_the_spectrum_of_its_data(tmp_path):
    report = a_report(report={"every": 3})
    assert report.every == 3
    report(a_moment(tmp_path, first=False))
    assert not list(tmp_path.iterdir())
    a_report().finish(tmp_path, True)  # a signal came before any preview
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    (tmp_path / "previews").mkdir()
    report(a_moment(tmp_path))
    text = (tmp_path / "report" / "index.html").read_text()
    assert "metrics.jsonl is not there" in text and "config.report.every" in text
    found = profiles.read(tmp_path / "previews" / "data_spectrum.json")
    assert found.count == 50 and found.power.mean() == pytest.approx(1 / 3, rel=0.2)


def test_it_takes_no_more_than_a_hundredth_of_the_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(action.time, "monotonic", lambda: now[0])
    calls = []

    def slow(*args):
        calls.append(now[0])
        now[0] += 2

    monkeypatch.setattr(action, "write", slow)
    report = a_report()
    for _ in range(50):
        report(a_moment(tmp_path))
        now[0] += 10
    assert len(calls) == 3 and np.all(np.diff(calls) >= 200)
    report.finish(tmp_path, True)
    assert len(calls) == 4
    a_report(report={"every": None}).finish(tmp_path, True)
    assert len(calls) == 4


def test_a_report_that_cannot_be_written_ends_no_run(tmp_path, caplog):
    (tmp_path / "report").write_text("a file")
    with caplog.at_level(logging.WARNING):
        a_report()(a_moment(tmp_path))
    assert "the report could not be written" in caplog.text


def test_pictures_are_made_small_once(tmp_path, monkeypatch):
    workdir, cache = a_run(tmp_path / "run", previews=3, side=700), {}
    calls = []
    real = sections.small_png
    monkeypatch.setattr(sections, "small_png", lambda *a: calls.append(1) or real(*a))
    first = sections.grids(read_stored(workdir), cache)
    assert sections.grids(read_stored(workdir), cache) == first and len(calls) == 3
