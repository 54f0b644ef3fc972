"""The script that runs the documents: what it takes for a command, and what takes seconds of what it runs."""

import pathlib
import re
import shlex
import sys

import jax
import pytest

import sagd_jax
from sagd_jax.programs import command
from sagd_jax.run.config_file import read_config
from sagd_jax.system.commandline import Parser

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(sagd_jax.__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Whose Python does not stand alone here, and why.
NOT_ALONE = {
    "docs/choose_a_process.md": "in tests/test_documents.py",
    "docs/corrupted_data.md": "needs the training before it",
    "docs/other_tools.md": "runs whole, below",
}
ALONE = sorted(
    {str(page.relative_to(ROOT)) for page in PAGES if "```python\n" in page.read_text()}
    - set(NOT_ALONE)
)


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
            if line in ("```sh", "```python", "```py", "```bash", "```console")
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
    text = '<!-- before:\nn = 1\n-->\n```sh\nssh "a && b" && c\n```\n'
    found = [(step.line, step.language, step.code) for step in script.steps(text)]
    assert found == [(5, "before", "n = 1"), (5, "sh", 'ssh "a && b"'), (5, "sh", "c")]
    assert "num_steps=4" in script.shortened("python train.py --config=x")
    assert script.shortened("sagd train --dry_run") == "sagd train --dry_run"


def test_what_fails_is_named_with_its_line_and_the_status(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "prepare", lambda folder, page: None)
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\ntrue\nfalse\n```\n```python\nn = 1\n```\n```python\n1 / 0\n```\n"
        "<!-- before: open('own.py', 'w').write(BLOCK) -->\n```sh\ngrep -q '^n = 1$' own.py\n```\n"
    )
    assert script.main([str(page)]) == 1
    said = capsys.readouterr().out
    assert "page.md:3: failed: false" in said and "page.md:9: failed: 1 / 0" in said
    assert "ZeroDivisionError" in said and "3 run, 0 shortened, 0 skipped, 2 failed" in said
    assert script.main(["--python", str(page)]) == 1
    assert "1 run, 0 shortened, 0 skipped, 1 failed" in capsys.readouterr().out


@pytest.mark.parametrize("page", ["docs/other_tools.md"])
def test_a_page_runs(script, page, capsys):
    assert script.main(["--quick", "--limit=120", str(ROOT / page)]) == 0, capsys.readouterr().out


@pytest.mark.parametrize("page", ALONE)
def test_the_python_of_a_page_runs(script, page, capsys):
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)  # half the time
    try:
        assert script.main(["--python", str(ROOT / page)]) == 0, capsys.readouterr().out
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


class Parsed(BaseException):
    """Instead of what a program would do with its flags."""


def test_all_commands_have_flags_that_their_programs_know(script, monkeypatch):
    """Those too that cannot run here: of MNIST, of pods."""

    def stop(parse):
        def parsed(*args, **kwargs):
            raise Parsed(parse(*args, **kwargs))

        return parsed

    for name in ("parse_args", "parse_with_overrides"):
        monkeypatch.setattr(Parser, name, stop(getattr(Parser, name)))
    monkeypatch.chdir(ROOT)
    seen = set()
    for page in PAGES:
        for step in script.steps(page.read_text()):
            if step.language != "sh":
                continue
            where = f"{page.name}:{step.line}: {step.code}"
            program, flags = _program(script, step.code)
            if program not in command.PROGRAMS:
                continue
            seen.add(program)
            try:
                with pytest.raises(Parsed) as end:
                    command.main([program, *flags])
                parsed = end.value.args[0]
                if program == "train" and parsed[0].config != "mine.py":  # the reader's
                    read_config(parsed[0].config, parsed[1])
            except (SystemExit, Exception) as error:
                raise AssertionError(where) from error
    assert seen >= set(command.PROGRAMS) - {"experiment"}


def _program(script, code):
    """The program of ours that a command calls, and its flags; also within another's: srun, ssh."""
    code = script.FLAGS_ALONE + code if code.startswith("--") else code
    inner = re.search(r'="(cd .*)"$', code)
    code = inner[1].split("&&")[-1] if inner else code
    found = re.search(r"(?:sagd |python -m sagd_jax\.|python )(\w+)(?:\.py)?(?:\s|$)", code)
    return (found[1], shlex.split(code[found.end() :])) if found else ("", [])
