"""The script that runs the documents: what it takes for a command, and one page that it runs."""

import pathlib
import sys

import pytest

import sagd_jax

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(sagd_jax.__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        import run_documents

        yield run_documents
        sys.modules.pop("run_documents")


def test_every_block_of_a_page_is_found(script):
    for page in PAGES:
        text = page.read_text()
        lines = [
            number
            for number, line in enumerate(text.splitlines(), 2)
            if line in ("```sh", "```python")
        ]
        found = {step.line for step in script.steps(text)}
        for first in lines:
            end = text.splitlines()[first - 1 :].index("```") + first
            assert any(first <= line < end for line in found), f"{page.name}:{first}"


def test_marks_say_what_is_left_out_and_what_stands_for_the_readers_own(script):
    text = (
        "<!-- not run (pod): needs a pod -->\n```sh\npip install x && a \\\n --b # so\non pod\n```\n"
        "<!-- before: y = 2 -->\n```python\nz = y\n```\n"
    )
    found = [(step.line, step.code, step.reason) for step in script.steps(text)]
    assert found == [
        (3, "pip install x", script.INSTALLS),
        (3, "a  --b", ""),
        (5, "on pod", "needs a pod"),
        (9, "y = 2\nz = y\n", ""),
    ]
    assert "num_steps=4" in script.shortened("python train.py --config=x")
    assert script.shortened("sagd train --dry_run") == "sagd train --dry_run"


def test_what_fails_is_named_with_its_line_and_the_status(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "prepare", lambda folder, page: None)
    page = tmp_path / "page.md"
    page.write_text("```sh\ntrue\nfalse\n```\n```python\n1 / 0\n```\n")
    assert script.main([str(page)]) == 1
    said = capsys.readouterr().out
    assert "page.md:3: failed: false" in said and "page.md:6: failed: 1 / 0" in said
    assert "ZeroDivisionError" in said and "1 run, 0 shortened, 0 skipped, 2 failed" in said


@pytest.mark.parametrize("page", ["docs/extend.md", "docs/other_tools.md"])
def test_a_page_runs(script, page, capsys):
    assert script.main(["--quick", "--limit=120", str(ROOT / page)]) == 0, capsys.readouterr().out
