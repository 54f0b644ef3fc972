"""The explorer's program: what it refuses before it begins, and its page without a browser."""

import dataclasses
import socket
import sys

import explorer_moves as moves
import numpy as np
import pytest
from programs import free_port
from toy_runs import serve, toy_run

from sagd_jax import data
from sagd_jax.data.source import ArraySource
from sagd_jax.programs import explore
from sagd_jax.programs.explored import Explorer
from sagd_jax.run.config import RunConfig
from sagd_jax.system import late, schema

gradio = pytest.importorskip("gradio")


def refused(capsys, *flags):
    with pytest.raises(SystemExit) as end:
        explore.main([*flags])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_bad_input_is_one_line(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    with socket.socket() as taken, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
        probe.close()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"--port={taken.getsockname()[1]}"
        own = f"--port={free}"
        for flags, words in (
            ((port,), "something listens there already; give another"),
            ((own, f"--folder={tmp_path}/none"), f"--folder={tmp_path}/none: no such folder"),
            ((own, f"--folder={tmp_path}"), "none of its 1 files is of images"),
            ((own, f"--workdir={tmp_path}"), "checkpoint"),
            ((own, "--config=nonesuch"), "--config=nonesuch: no such file"),
            ((own, "--config=digits", f"--folder={tmp_path}"), "--config and --folder: expected one of them"),
            ((own, f"--workdir={tmp_path}", "--config.seed=3"), "--workdir brings its own config"),
            ((own, "--port=0"), "--port"),
            ((own, "--host=192.0.2.1"), "--host=192.0.2.1"),
            ((own, f"--out={tmp_path}/file/x"), "--out"),
            ((own, "--config.noise.alfa=1"), "config.noise.alfa: no such field; did you mean 'alpha'?"),
        ):  # fmt: skip
            assert words in refused(capsys, *flags), flags


def test_without_gradio_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setattr(late.importlib.util, "find_spec", lambda name: None)
    assert refused(capsys).endswith("needs the package gradio: pip install 'sagd_jax[explore]'")


def test_what_a_checkpoint_would_import_has_to_be_allowed(capsys, monkeypatch):
    """Noise and data are made anew here: a checkpoint is data, and must not choose what is run."""
    for section in ({"noise": {"kind": "os:system"}}, {"data": {"name": "os:system"}}):
        run = toy_run()
        config = schema.build(RunConfig, section)
        run = dataclasses.replace(run, record=dataclasses.replace(run.record, config=config))
        serve(monkeypatch, theirs=run)
        line = refused(capsys, "--workdir=theirs", f"--port={free_port()}")
        assert "os:system" in line and "allow" in line


def test_a_run_without_steps_to_look_at_is_explored_all_the_same(monkeypatch):
    from sagd_jax.programs import explore_page

    source = ArraySource(np.zeros((6, 4, 4, 1), np.uint8), value_range=(0, 255))
    run = toy_run(objective={"kind": "consistency"})
    explore_page.build(Explorer(run.config, source, run=run))


@pytest.fixture(scope="module")
def page():
    from sagd_jax.programs import explore_page

    rng = np.random.default_rng(0)
    source = ArraySource(
        rng.normal(size=(32, 8, 8, 1)).astype(np.float32), value_range=(-4, 4), kind="field"
    )
    explorer = Explorer(RunConfig(), source)
    with gradio.Blocks() as blocks:
        made = explore_page._Page(gradio, explorer)
        made.fill(blocks)
    return made


def initial(page, **changed):
    values = {name: control.value for name, control in page._controls.by_name.items()} | changed
    return list(values.values())


def test_every_field_of_every_kind_has_a_control(page):
    from sagd_jax.programs.explored_choice import SECTIONS, own_fields

    wanted = {f"{s}.{f}" for s, table in SECTIONS.items() for k in table for f in own_fields(s, k)}
    assert wanted <= set(page._controls.by_name)
    assert page._controls.by_name["noise.alpha"].visible is False  # of another kind


def test_every_control_is_moved_in_the_browser_or_said_not_to_be(page):
    """By `test_explore_browser.py`; with a run there are the controls of its samples too."""
    from sagd_jax.programs import explore_page

    with gradio.Blocks() as blocks:
        run = toy_run()
        explorer = Explorer(run.config, page._explorer.source, run=run)
        explore_page._Page(gradio, explorer).fill(blocks)
    names = moves.names_on(blocks)
    assert len(set(names)) == len(names) and moves.moved_fields() <= moves.every_field()
    assert moves.every_field() == moves.moved_fields() | set(moves.NO_PICTURE)
    fields = {f"{section}-{field}" for section, _, field in moves.every_field()}
    assert set(names) == fields | set(moves.OTHERS)


def test_a_control_without_effect_is_not_shown(page):
    """The ends of a band before there is one, the margin of no holes."""
    assert not any(page._controls.by_name[name].visible for name in ("low", "high", "margin"))


def test_the_page_answers_with_pictures_and_lines(page):
    message, pictures, config, python, flags, _ = page._show(*initial(page))
    assert "fine" in message and pictures.count("<svg") == 2
    assert 'config.noise.kind = "white"' in config and "sagd.Diffusion(" in python
    assert flags.startswith("--config.noise.kind=white")


def test_a_wrong_value_is_a_message_and_pictures_stay(page):
    message, *rest = page._show(*initial(page, t=1.5))
    assert message == '<div class="wrong">t=1.5: expected a number in [0, 1]</div>'
    assert all(one == gradio.skip() for one in rest)
    message, *_ = page._show(*initial(page, **{"noise.kind": "file", "noise.file": "<b>/none"}))
    assert "&lt;b&gt;/none" in message and "<b>/none" not in message  # no markup of others


def test_a_fault_of_ours_is_said_and_its_traceback_is_not_in_the_page(page, monkeypatch, capsys):
    def fails(*_):
        raise ZeroDivisionError("hidden")

    monkeypatch.setattr("sagd_jax.programs.explored_pictures.page", fails)
    message, *_ = page._show(*initial(page))
    assert "a fault of the explorer" in message and "Traceback" not in message
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_kinds_show_their_fields_and_the_bases_that_go_together(page):
    fields = ["noise.alpha", "noise.bands", "schedule.blur_max"]
    alpha, bands, blur, basis, _ = page._of_kinds(fields)("power_law", "blurring", "haar")
    assert alpha["visible"] and not bands["visible"] and blur["visible"]
    assert basis["value"] in ("fourier", "cosine") and "haar" not in basis["choices"]


def test_a_process_sets_kinds_and_fields(page):
    noise, schedule, alpha, end, *_ = page._of_process(["noise.alpha", "schedule.end"])("moving")
    assert (noise["value"], schedule["value"]) == ("white", "moving")
    assert end["value"] == "power_law:alpha=-1.0" and end["visible"] and not alpha["visible"]


def test_the_default_data_are_fields(capsys):
    from sagd_jax.run.config_file import read_config

    config = read_config("synthetic", [*explore._FIELDS, "--config.data.num_examples=4"])
    assert data.open_source(config.data).shape == (32, 32, 1)
    assert sys.modules.get("gradio") is gradio
