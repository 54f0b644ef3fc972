"""Every path and module that words name exists: README, docs, docstrings, configs, scripts."""

import importlib.util
import pathlib
import re

import pytest

import sagd_jax

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
ROOT = PACKAGE.parent
FOLDERS = ("sagd_jax", "tests", "docs", "configs", "scripts", "benchmarks", "results")

PATH = re.compile(r"(?<![\w/.<-])((?:[\w-]+/)*[\w-]+\.(?:py|md|json|png|cfg))(?![\w/])")
MODULE = re.compile(r"\bsagd_jax(?:\.[a-z][a-z_]*)+\b")
BESIDE = re.compile(r"`(sagd_jax/[\w/]+)/\w+\.py`, ")  # `sagd_jax/run/lock.py`, `items.py`

TEXTS = sorted(
    path
    for pattern in ("*.md", "*.py", "*.cfg", "docs/*.md", "*/**/*.py")
    for path in ROOT.glob(pattern)
    if path.relative_to(ROOT).parts[0] in (*FOLDERS, path.name) and "build" not in path.parts
)


def text_of(path):
    text = path.read_text()
    if path.name == "CHANGELOG.md":  # its tables name what was
        text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    return text


def exists(name, place):
    """Whether a path that is named in a file of folder `place` is that of a file."""
    starts = [ROOT, PACKAGE, place, *(p for p in PACKAGE.iterdir() if p.is_dir())]
    return any((start / name).is_file() for start in starts)


def missing(text, place):
    """Paths in some text that do not exist, of those that say that they are of this project."""
    found = set()
    for name in PATH.findall(text):
        ours = name.split("/")[0] in FOLDERS or f"`{name}`" in text
        if (
            ours
            and not exists(name, place)
            and not any((ROOT / folder / name).is_file() for folder in BESIDE.findall(text))
        ):
            found.add(name)
    return found


def unknown_modules(text):
    found = set()
    for name in MODULE.findall(text):
        parts = name.split(".")
        # A name inside a module, or inside a class of it, is as good.
        modules = [".".join(parts[:end]) for end in range(len(parts), 1, -1)]
        module = next((m for m in modules if spec(m)), None)
        if module is None or not has(module, parts[len(module.split(".")) :]):
            found.add(name)
    return found


def spec(module):
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None


def has(module, names):
    value = importlib.import_module(module)
    for name in names:
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


# What programs and tests write, and files of other projects.
NOT_HERE = re.compile(
    r"runs/.*|.*/grid\.png|grid\.png|spectrum\.(png|json)|noise_config\.py|samples\.json|diverged\.json"
    r"|manifest\.json|result\.json|(tiny|config|mine)\.py|configs/NAME\.py"
    r"|config\.json|models/unets/unet_2d\.py"  # of diffusers
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_is_named_exists(path):
    if path.name == "test_paths.py":
        return
    gone = {name for name in missing(text_of(path), path.parent) if not NOT_HERE.fullmatch(name)}
    assert not gone
    assert not unknown_modules(text_of(path))


def test_what_does_not_exist_is_found():
    assert missing("see `sagd_jax/covariance.py`", ROOT) == {"sagd_jax/covariance.py"}
    assert missing("python scripts/nothing.py", ROOT) == {"scripts/nothing.py"}
    assert missing("`covariance.py`", PACKAGE / "spectral") == set()
    assert unknown_modules("import sagd_jax.generate") == {"sagd_jax.generate"}
    assert unknown_modules("python -m sagd_jax.likelihood") == set()
