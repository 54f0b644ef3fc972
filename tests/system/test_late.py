"""Packages that not everybody needs: every import of one is guarded, and one that is missing is named."""

import ast
import configparser
import pathlib
import re
import sys

import numpy as np
import pytest

import sagd_jax
from sagd_jax.show import bars
from sagd_jax.system import late

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
SETUP = configparser.ConfigParser()
SETUP.read(PACKAGE.parent / "setup.cfg")
CORE = {
    "numpy",
    "jax",
    "flax",
    "optax",
    "orbax",
    "ml_collections",
    "etils",
    "scipy",
}  # etils: orbax's own
GUARDS = ("optional", "ImportError", "ModuleNotFoundError")


def unguarded(source):
    """The packages that some Python imports outside of the guards, for type checkers too."""
    found = set()

    def visit(node, safe):
        if isinstance(node, ast.Import | ast.ImportFrom) and not safe:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            found.update(name.partition(".")[0] for name in names)
        if isinstance(node, ast.With | ast.Try):
            head = node.items if isinstance(node, ast.With) else node.handlers
            safe = safe or any(guard in ast.dump(part) for part in head for guard in GUARDS)
        for child in ast.iter_child_nodes(node):
            visit(child, safe)

    visit(ast.parse(source), False)
    return found - set(sys.stdlib_module_names) - {"sagd_jax"}


def packages(names):
    return {re.split(r"[\[<>=]", name)[0].lower() for name in names.split("\n") if name}


def test_only_the_core_is_imported_without_a_guard():
    own_words = PACKAGE / "evaluation" / "torch_metrics.py"  # which needs weights too
    paths = [p for p in PACKAGE.rglob("*.py") if "configs" not in p.parts and p != own_words]
    assert len(paths) > 100
    for path in paths:
        assert unguarded(path.read_text()) <= CORE, path


def test_an_import_without_a_guard_is_found():
    assert unguarded("def f():\n    import PIL.Image") == {"PIL"}
    assert unguarded("def f():\n    with optional('x'):\n        import PIL.Image") == set()


def test_the_core_and_the_extras_are_those_of_setup_cfg():
    core = {"orbax-checkpoint", "ml-collections", *CORE} - {
        "orbax",
        "ml_collections",
        "etils",
        "scipy",
    }
    assert packages(SETUP["options"]["install_requires"]) == core
    extras = SETUP["options.extras_require"]
    for package, extra in late.EXTRAS.values():
        assert package.lower() in packages(extras[extra])
        assert extra in extras["all"]


def test_one_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)  # what an import of it then says
    from sagd_jax.show import media

    with pytest.raises(
        late.MissingExtraError, match=r"soundfile: pip install 'sagd_jax\[audio\]'$"
    ):
        media.write_wav("x.wav", np.zeros((4, 1)), 8)
    monkeypatch.setattr(late.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(late.MissingExtraError, match=r"^plotting needs the package matplotlib: "):
        late.require("matplotlib", "plotting")
    with pytest.raises(ModuleNotFoundError, match="nonesuch"), late.optional():
        import nonesuch  # noqa: F401


def test_without_tqdm_there_is_no_bar(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with bars.bar_class()(total=9, initial=2, unit="step", disable=None) as bar:
        bar.update(3)
        bar.unpause()
        bar.write("a line")
        bar.close()
    assert bar.n == 5 and capsys.readouterr().out == "a line\n"
