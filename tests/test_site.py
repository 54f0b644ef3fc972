"""The documentation: every page in the navigation, its Python and commands sound, built where mkdocs is."""

import importlib
import importlib.util
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml

import sagd_jax
from sagd_jax.programs import command
from sagd_jax.run.config import RunConfig
from sagd_jax.run.config_file import read_config, ready_configs
from sagd_jax.system.processes import add_flags
from sagd_jax.system.schema import field_names

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(sagd_jax.__file__).parents[1]
DOCS = ROOT / "docs"
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
TEXTS = {"README.md": (ROOT / "README.md").read_text(), **PAGES}


def entries(part):
    if isinstance(part, str):
        return [part]
    values = part.values() if isinstance(part, dict) else part
    return [page for value in values for page in entries(value)]


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_every_page_is_in_the_navigation():
    assert sorted(entries(SITE["nav"])) == sorted(PAGES)


def test_every_plot_is_on_the_page_of_plots():
    modules = re.findall(r"^::: (\S+)", PAGES["api/plots.md"], flags=re.MULTILINE)
    assert {getattr(sagd_jax.plots, n).__module__ for n in sagd_jax.plots.__all__} == set(modules)


def commands(text):
    """The command lines of `sh` blocks, each as the program's name and its flags."""
    for block in blocks(text, "sh"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            for part in re.split(r"&&|\|\|", line):
                if not re.search(r"sagd|train\.py|sample\.py", part):
                    continue
                try:
                    words = shlex.split(part, comments=True)
                except ValueError:  # inside of quotes that go over several lines
                    words = re.sub("['\"]", "", part).split()
                words = [w for w in words if not re.fullmatch(r"[A-Z_]+=\S*", w)]  # its environment
                words = words[words.index("python") :] if "python" in words else words
                joined = " ".join(words[:3])
                found = re.match(
                    r"sagd (\w+)|python (train|sample)\.py|python -m sagd_jax\.(\w+)", joined
                )
                if found:
                    skip = 3 if found[3] else 2
                    yield found[1] or found[2] or found[3], words[skip:]


@pytest.mark.parametrize("text", TEXTS)
def test_commands_have_flags_and_configs_that_exist(text):
    fields = set(field_names(RunConfig))
    for name, flags in commands(TEXTS[text]):
        assert name in command.PROGRAMS
        make = getattr(importlib.import_module(f"sagd_jax.programs.{name}"), "_parser", None)
        if make is None:
            continue
        parser = make()
        add_flags(parser)  # those of several processes, which most programs take
        if "--help=config" in flags:
            continue
        _, rest = parser.parse_known_args(flags)
        for flag in rest:
            field = flag.partition("=")[0].removeprefix("--config.")
            assert field in fields or ".options." in field, (text, flag)
        for flag in flags:
            if flag.startswith("--config="):
                config = flag.removeprefix("--config=")
                known = config in ready_configs() or (ROOT / config).is_file()
                assert known or config in ("mine.py", "my_config.py"), (text, flag)
                if known and name != "experiment":
                    read_config(str(ROOT / config) if "/" in config else config, rest)


def test_wrong_commands_are_found():
    (found,) = commands(
        "```sh\nJAX_PLATFORMS=cpu python train.py --config=x --workdir=y  # so\n```"
    )
    assert found == ("train", ["--config=x", "--workdir=y"])
    assert len(list(commands("```sh\nsagd train --a && sagd sample --b\n```"))) == 2


def test_the_lines_beside_the_equations_are_those_of_the_code():
    rows = re.findall(r"\| `(.+?)` \| `(sagd_jax/\S+\.py)` \|", PAGES["concepts.md"])
    assert len(rows) >= 12
    for line, path in rows:
        assert line in (ROOT / path).read_text(), f"{path}: {line}"


@pytest.mark.parametrize("name", ["own_network", "omit_a_band", "spectrum_of_data"])
def test_an_example_shows_what_it_says(name):
    path = ROOT / "examples" / f"{name}.py"
    main = runpy.run_path(str(path))["main"]
    if name == "own_network":
        code = path.read_text().split('"""')[2].splitlines()
        assert len([line for line in code if line.strip()]) <= 45
        assert main(400) > 0.6  # of white noise 1/8 of the energy is there
    elif name == "omit_a_band":
        omitted, elsewhere = main()
        assert omitted < 1e-6 and abs(elsewhere - 1) < 0.1
    else:
        power = main()
        assert np.all(np.diff(power) < 0)


def test_the_site_builds_without_a_warning(tmp_path):
    if not importlib.util.find_spec("mkdocs") or not importlib.util.find_spec("mkdocstrings"):
        pytest.skip("needs pip install -e '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path / "site")],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "sqrt(lambda)" in (tmp_path / "site" / "api" / "covariances" / "index.html").read_text()
