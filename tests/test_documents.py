"""The lines of Python and of configs that the documents show do what they say."""

import pathlib
import re

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import DataConfig, open_source
from sagd_jax.data.source import ArraySource
from sagd_jax.run import build
from sagd_jax.run.config_file import read_config

ROOT = pathlib.Path(sagd.__file__).parents[1]
PAGE = ROOT / "docs" / "choose_a_process.md"


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_python_of_the_page_runs():
    names = {}
    for block in blocks(PAGE.read_text(), "python"):
        exec(block, names)
    assert names["samples"].shape == (4, 16, 16, 1) and np.all(np.isfinite(names["samples"]))


def test_the_python_of_the_readme_on_processes_runs():
    section = (
        (ROOT / "README.md").read_text().split("\n## The general process\n")[1].split("\n## ")[0]
    )
    names = {"my_network": lambda params, x_t, t: -x_t, "params": None}
    (block,) = blocks(section, "python")
    exec(block, names)
    assert names["samples"].shape == (4, 32, 32, 3)


@pytest.mark.parametrize("line", blocks(PAGE.read_text(), "sh"))
def test_the_config_lines_of_the_page_make_a_process(line):
    flags = [*line.split(), *([] if "schedule.kind" in line else ["--config.schedule.kind=cosine"])]
    config = read_config(str(ROOT / "configs" / "digits.py"), flags)
    diffusion, _ = build.process(config, open_source(DataConfig(name="digits")))
    assert config.model.prediction == "v" and repr(diffusion.schedule)


def test_every_picture_of_the_pages_is_there_and_small():
    pages = {path: path.read_text() for path in PAGE.parent.glob("*.md")}
    named = {p: re.findall(r"\]\((images/[\w/]+\.png)\)", text) for p, text in pages.items()}
    pictures = (PAGE.parent / "images").rglob("*.png")
    there = sorted(str(path.relative_to(PAGE.parent)) for path in pictures)
    assert sorted({name for names in named.values() for name in names}) == there
    assert all((PAGE.parent / name).stat().st_size < 100_000 for name in named[PAGE])
    assert all((PAGE.parent / name).stat().st_size < 200_000 for name in there)


SPECTRAL = sorted(
    p.stem
    for p in (ROOT / "configs").glob("*_*.py")
    if "omission" not in p.stem and "corrupted" not in p.stem
)


@pytest.mark.parametrize("name", SPECTRAL)
def test_a_config_that_starts_from_another_makes_its_process(name):
    """On noise of the right shape: the sets of some are not here."""
    config = read_config(str(ROOT / "configs" / f"{name}.py"))
    shape = (8, 8, 1) if name.startswith("digits") else (32, 32, 3)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, *shape)).astype(np.uint8)
    source = ArraySource(x, value_range=(0, 255), labels=np.arange(40) % 10, num_classes=10)
    diffusion, _ = build.process(config, source)
    build.network(config.model, source.num_classes)
    diffusion.check_readable(config.model.prediction, np.linspace(0, 1, 9))
    kind = name.split("_", 1)[1]
    made = {
        "per_class": sagd.CovarianceStack,
        "cosine": sagd.DiagonalCovariance,
        "equal_snr": sagd.schedules.SpectrallyShifted,
        "blurring": sagd.schedules.Blurring,
        "shortest_path": sagd.schedules.ShortestPath,
        "consistency": sagd.schedules.Cosine,
        "learned": sagd.schedules.Learned,
    }
    assert made[kind] in (type(diffusion.schedule), type(diffusion.covariance))
