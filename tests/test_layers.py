"""The layout: which folder may use which, no circle of files, few files beside the folders.

All imports are read, those inside functions and for type checkers too.
"""

import ast
import pathlib

import pytest

import sagd_jax

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
ROOT = PACKAGE.parent

# From the bottom up: each folder, and those below it that it may use.
MAY_USE = {
    "system": set(),
    "models": {"system"},
    "spectral": {"system"},
    "data": {"spectral", "system"},
    "diffusion": {"spectral", "system"},
    "show": {"diffusion", "spectral", "system"},  # a process is drawn by what it does to an image
    "run": {"diffusion", "data", "spectral", "models", "system"},
    "evaluation": {"run", "diffusion", "data", "spectral", "system"},
    "training": {"evaluation", "run", "diffusion", "data", "show", "spectral", "models", "system"},
    "programs": {
        "training", "evaluation", "run", "diffusion", "data", "show", "spectral", "system",
    },
}  # fmt: skip
MATHEMATICS = ("spectral", "diffusion")  # needs jax and numpy, and nothing else
LONGEST = 400
LONGEST_DOOR = 20


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(source, modules=MODULES):
    """The modules that some Python source imports, each as far as it is one of `modules`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules else node.module)
    return found


GRAPH = {
    name: {other for other in imports(path.read_text()) if other in MODULES}
    for name, path in MODULES.items()
}


def folder(module):
    """The folder of a module; None for those beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_USE else None


def forbidden(module, used):
    """The folders among the modules that this one uses, which it must not."""
    allowed = {folder(module), *MAY_USE[folder(module)]}
    return {u for u in used if folder(u) not in allowed and u != "sagd_jax.version"}


@pytest.mark.parametrize("name", MAY_USE)
def test_a_folder_uses_only_those_below_it(name):
    for module in MODULES:
        if folder(module) == name:
            assert not forbidden(module, GRAPH[module]), module


def test_the_table_has_all_folders_and_no_way_up():
    assert {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()} == set(MAY_USE)
    below = set()
    for name, used in MAY_USE.items():
        assert used <= below, name
        below.add(name)


def test_no_circle_of_files():
    done = set()

    def visit(module, path):
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in GRAPH[module]:
                visit(other, [*path, module])
            done.add(module)

    for module in GRAPH:
        visit(module, [])


@pytest.mark.parametrize("name", MATHEMATICS)
def test_the_mathematics_needs_jax_and_numpy_alone(name):
    import sys

    for module, path in MODULES.items():
        if folder(module) == name:
            others = {used.split(".")[0] for used in imports(path.read_text())}
            assert others <= {"jax", "numpy", "sagd_jax", *sys.stdlib_module_names}, module


def test_what_stands_beside_the_folders():
    """The public face, and doors: each of a few lines, that of a program of its name."""
    files = [path for path in PACKAGE.iterdir() if path.is_file()]
    doors = [path for path in files if (PACKAGE / "programs" / path.name).is_file()]
    others = {path.name for path in files} - {path.name for path in doors}
    assert others <= {"__init__.py", "version.py", "py.typed"}
    for path in doors:
        if path.name != "__init__.py":
            assert len(path.read_text().splitlines()) <= LONGEST_DOOR, path.name


def test_no_file_is_long_unless_its_docstrings_make_it_so():
    roots = ("sagd_jax", "tests", "benchmarks", "scripts", "configs", "examples")
    for path in (p for root in roots for p in (ROOT / root).rglob("*.py")):
        text = path.read_text()
        if len(text.splitlines()) > LONGEST:
            tree = ast.parse(text)
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            words = [
                node.body[0]
                for node in ast.walk(tree)
                if isinstance(node, kinds) and ast.get_docstring(node)
            ]
            code = len(text.splitlines()) - sum(w.end_lineno - w.lineno + 1 for w in words)
            assert code <= LONGEST, path
            assert "docstrings" in ast.get_docstring(tree), f"{path} does not say why it is long"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sagd_jax.spectral.spectra", "from sagd_jax.diffusion import schedules"),
        ("sagd_jax.spectral.spectra", "def f():\n    from sagd_jax.run.config import RunConfig"),
        ("sagd_jax.run.saved", "import sagd_jax.training.loop"),
        ("sagd_jax.show.plots", "from sagd_jax import data"),
        ("sagd_jax.system.processes", "if TYPE_CHECKING:\n    from sagd_jax.run import lock"),
        ("sagd_jax.diffusion.losses", "import sagd_jax as sagd"),
    ],
)
def test_a_way_up_is_found(module, source):
    assert forbidden(module, imports(source))
