"""What others expect of a project: citation, workflow, hooks and release agree with the rest."""

import os
import pathlib
import subprocess
import sys

import yaml

import sagd_jax

ROOT = pathlib.Path(sagd_jax.__file__).parents[1]


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_the_citation_is_of_this_version():
    assert read("CITATION.cff")["version"] == sagd_jax.__version__
    assert read("CITATION.cff")["license"] == "Apache-2.0"


def test_the_workflow_runs_what_contributors_run():
    steps = read(".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_hooks_are_the_checks_of_ci():
    hooks = [
        hook["entry"] for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    ]
    ci = (ROOT / ".ci" / "run").read_text()
    for hook in hooks:
        assert " ".join(word for word in hook.split() if not word.startswith("--")) in ci


def test_a_release_wants_its_section_of_the_changelog_and_an_empty_folder(tmp_path):
    (tmp_path / "full").write_text("")
    command = [sys.executable, str(ROOT / "scripts" / "release.py"), f"--out={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "expected an empty folder" in done.stderr
    (tmp_path / "full").unlink()
    if f"\n## {sagd_jax.__version__}\n" not in (ROOT / "CHANGELOG.md").read_text():
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "CHANGELOG.md: expected a section" in done.stderr
