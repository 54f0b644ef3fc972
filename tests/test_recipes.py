"""The recipes of CONTRIBUTING.md, each applied to a copy of the package and used."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from programs import TINY

pytestmark = pytest.mark.thorough

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = dict(
    re.findall(
        r"^### (.+?)\n.*?^```diff\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S
    )
)
FILES = {
    "A spectrum": 1,
    "A sampler with an option": 1,
    "A schedule": 1,
    "A data source": 2,  # its own file, and its name in the table
    "A metric during training": 1,
}


def test_every_recipe_is_there_and_takes_one_place():
    assert RECIPES.keys() == FILES.keys()
    for name, diff in RECIPES.items():
        assert diff.count("\n+++ ") == FILES[name], name


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the package with all recipes applied, and a config that is tiny."""
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "sagd_jax", tree / "sagd_jax", ignore=shutil.ignore_patterns("*.pyc"))
    for diff in RECIPES.values():
        applied = subprocess.run(
            ["git", "apply", "--unidiff-zero", "--directory", "", "-"],
            input=diff,
            cwd=tree,
            text=True,
            capture_output=True,
        )
        assert applied.returncode == 0, applied.stderr
    (tree / "tiny.py").write_text(TINY)
    return tree


def python(tree, source, cache):
    """Runs some Python with the copy as the package; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tree,
        env={
            **os.environ,
            "PYTHONPATH": str(tree),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_copy_is_what_runs(tree, cache):
    assert str(tree) in python(tree, "import sagd_jax; print(sagd_jax.__file__)", cache)


def test_the_mathematics_of_the_recipes(tree, cache):
    out = python(
        tree,
        """
import json
import jax, numpy as np, sagd_jax as sagd
ring = sagd.spectra.ring((16, 16), radius=0.25, spread=0.1)
peak = np.unravel_index(np.argmax(ring.variance[..., 0]), (16, 9))
schedule = sagd.schedules.scalar.simple_linear()
diffusion = sagd.Diffusion(schedule, ring)
zero = lambda x, t: 0 * x
cold, hot = (
    sagd.sample(jax.random.key(0), zero, diffusion, (4, 16, 16, 1), prediction="v", num_steps=5,
                method="tempered", temperature=temperature, times=[0.9, 0.5, 0.1, 0])
    for temperature in (0.0, 2.0)
)
try:
    sagd.sample(jax.random.key(0), zero, diffusion, (4, 16, 16, 1), temperature=2.0)
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "peak": float(sagd.radial_frequency((16, 16))[peak]),
    "mean": float(ring.variance.mean()),
    "time": float(schedule.time(schedule.log_snr(0.3))),
    "cold": float(np.var(cold)), "hot": float(np.var(hot)),
    "refusal": refusal,
}))
""",
        cache,
    )
    found = json.loads(out)
    assert abs(found["peak"] - 0.25) < 0.03
    assert abs(found["time"] - 0.3) < 1e-5
    assert found["hot"] > found["cold"]
    assert "temperature=2.0: method='ddim' has no option temperature" in found["refusal"]


def test_a_run_uses_all_of_them(tree, cache):
    flags = [
        "--config=tiny.py",
        "--workdir=run",
        "--config.data.name=checkers",
        "--config.data.largest=3",
        "--config.noise.kind=ring",
        "--config.noise.alpha=0",
        "--config.noise.radius=0.3",
        "--config.schedule.kind=simple_linear",
        "--config.schedule.floor=0.001",
        "--config.model.prediction=v",
        "--config.train.num_steps=4",
        "--config.preview.every=4",
        "--config.preview.method=tempered",
        "--config.preview.temperature=0.8",
        "--config.preview.num_steps=2",
        "--config.preview.num_samples=4",
        "--config.metrics.names=ema_loss,ema_distance",
        "--config.metrics.every=2",
    ]
    sampling = ["--workdir=run", "--out=samples", "--num_samples=4", "--num_steps=2"]
    sampling += ["--method=tempered", "--temperature=0.8"]
    out = python(
        tree,
        f"""
from sagd_jax.programs import inspect, sample, train
assert train.main({flags!r}) == 0
assert sample.main({sampling!r}) == 0
assert inspect.main(["run"]) == 0
""",
        cache,
    )
    assert "checkers: 512 examples of shape (8, 8, 1)" in out
    assert "noise     ring" in out and "SimpleLinear(floor=0.001)" in out
    lines = [json.loads(line) for line in (tree / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = {line["step"]: line for line in lines if "ema_distance" in line}
    assert measured.keys() == {2, 4}
    assert all(
        0 < line["ema_distance"] < 1 and 0 < line["ema_loss"] < 3 for line in measured.values()
    )
    assert (tree / "run" / "previews" / "step_00000004.png").is_file()
    assert (tree / "samples" / "samples.npz").is_file()
