"""Every path and module that words name exists: README, docs, docstrings, configs, scripts."""

import importlib.util
import pathlib
import re

import pytest

import sagd_jax

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
ROOT = PACKAGE.parent
FOLDERS = ("sagd_jax", "tests", "docs", "configs", "scripts", "benchmarks", "results", "examples")

PATH = re.compile(r"(?<![\w/.<-])((?:[\w-]+/)*[\w-]+\.(?:py|md|json|png|cfg))(?![\w/])")
MODULE = re.compile(r"\b(?:sagd_jax|sagd)(?:\.[a-z][a-z_]*)+\b(?!/)")
# A bare name stands beside the path that it follows: `sagd_jax/run/lock.py`, `items.py`.
FOLLOWS = re.compile(r"`([\w/]+)/\w+\.py`((?:(?:, | and )`\w+\.py`)+)")

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
    """Whether a path that is named in a file of folder `place` is that of a file.

    Paths start at the root or in the package; a bare name is that of a neighbour.
    """
    starts = [ROOT, PACKAGE, ROOT / "tests"] if "/" in name else [ROOT, place]
    return any((start / name).is_file() for start in starts)


def missing(text, place):
    """Paths in some text that do not exist, of those that say that they are of this project."""
    found = set()
    for folder, names in FOLLOWS.findall(text):
        found |= {f"{folder}/{n}" for n in re.findall(r"\w+\.py", names)}
    text = FOLLOWS.sub(r"`\1/`", text)
    ours = (*FOLDERS, *(p.name for p in PACKAGE.iterdir() if p.is_dir()))
    found |= {n for n in PATH.findall(text) if n.split("/")[0] in ours or f"`{n}`" in text}
    return {name for name in found if not exists(name, place)}


def unknown_modules(text):
    found = set()
    for name in MODULE.findall(text):
        parts = ["sagd_jax", *name.split(".")[1:]]
        # A name inside a module, or inside a class of it, is as good.
        modules = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
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
    r"runs/.*|.*/grid\.png|grid\.png|spectrum\.(png|json)|noise_config\.py|capped_config\.py|samples\.json|diverged\.json"
    r"|data_spectrum\.json|step_\d+\.json|manifest\.json|result\.json|search\.json|.*evaluation\.json|(tiny|config|mine)\.py|configs/NAME\.py"
    r"|config\.json|models/unets/unet_2d\.py"  # of diffusers
)


MADE_UP = {
    "sagd.anomalies",  # of before
    "sagd.run.nothing",
    "sagd.schedules.scalar.simple_linear",
    "sagd.spectra.ring",
}  # by tests, recipes


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_is_named_exists(path):
    if path.name == "test_paths.py":
        return
    gone = {name for name in missing(text_of(path), path.parent) if not NOT_HERE.fullmatch(name)}
    assert not gone
    assert not unknown_modules(text_of(path)) - MADE_UP


def test_what_does_not_exist_is_found():
    assert missing("see `sagd_jax/covariance.py`", ROOT) == {"sagd_jax/covariance.py"}
    assert missing("python scripts/nothing.py", ROOT) == {"scripts/nothing.py"}
    assert missing("`covariance.py`", PACKAGE / "spectral") == set()
    assert missing("`covariance.py`", PACKAGE / "diffusion") == {"covariance.py"}
    assert missing("in training/sharding.py", ROOT) == {"training/sharding.py"}
    assert missing("`sagd_jax/run/lock.py`, `loop.py`", ROOT) == {"sagd_jax/run/loop.py"}
    assert missing("`sagd_jax/run/lock.py` and `items.py`", ROOT) == set()
    assert unknown_modules("`sagd.times.edm`") == {"sagd.times.edm"}
    assert unknown_modules("import sagd_jax.generate") == {"sagd_jax.generate"}
    assert unknown_modules("python -m sagd_jax.likelihood") == set()
