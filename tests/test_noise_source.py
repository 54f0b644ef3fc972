"""All diffusion noise is drawn in `Covariance.sample`: what the source says of Gaussians."""

import ast
import pathlib

import pytest

import sagd_jax

PACKAGE = pathlib.Path(sagd_jax.__file__).parent
ROOT = PACKAGE.parent

# Functions of jax.random, numpy.random and torch whose draws are Gaussian, or could be made so.
GAUSSIAN = {
    "ball", "double_sided_maxwell", "erf_inv", "erfinv", "gauss", "generalized_normal", "lognormal",
    "maxwell", "multivariate_normal", "ndtri", "normal", "normalvariate", "orthogonal", "randn",
    "randn_like", "random_normal", "standard_normal", "truncated_normal", "wald",
}  # fmt: skip

# Where they may stand: (file, function) and what is drawn there.
EXEMPT = {
    ("spectral/covariance.py", "Covariance.sample"): "the diffusion noise",
    ("diffusion/losses.py", "sample_times"): "logit-normal times",
    ("diffusion/likelihood.py", "_probes"): "Hutchinson probes",
    ("diffusion/oracle.py", "GaussianMixture.sample"): "synthetic data",
}


def draws(source):
    """The (function, name) of every mention of a Gaussian draw in Python source."""
    found = set()

    def is_initializer(node):
        return "init" in ast.unparse(node)

    def visit(node, path):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            path = (*path, node.name)
        if isinstance(node, ast.Attribute) and node.attr in GAUSSIAN:
            if not is_initializer(node.value):
                found.add((".".join(path), node.attr))
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names} & GAUSSIAN
            if names and "init" not in (node.module or ""):
                found.update((".".join(path), name) for name in names)
        elif isinstance(node, ast.Constant) and node.value in GAUSSIAN - {"normal", "ball"}:
            found.add((".".join(path), node.value))  # getattr(jax.random, "...")
        for child in ast.iter_child_nodes(node):
            visit(child, path)

    visit(ast.parse(source), ())
    return found


def all_draws():
    files = [*PACKAGE.rglob("*.py"), ROOT / "train.py", ROOT / "sample.py"]
    found = set()
    for path in filter(pathlib.Path.exists, files):
        name = path.relative_to(PACKAGE if PACKAGE in path.parents else ROOT).as_posix()
        for function, _ in draws(path.read_text()):
            # A function within an exempt one belongs to it.
            owner = next(
                (o for f, o in EXEMPT if f == name and f"{function}.".startswith(f"{o}.")), function
            )
            found.add((name, owner))
    return found


def test_gaussians_are_drawn_only_where_they_may_be():
    outside = all_draws() - set(EXEMPT)
    assert not outside, f"noise of diffusion belongs to Covariance.sample: {sorted(outside)}"


def test_every_exemption_is_in_use():
    assert set(EXEMPT) <= all_draws()


@pytest.mark.parametrize(
    "source",
    [
        "import jax\ndef f(key): return jax.random.normal(key)",
        "from jax import random\ndef f(key): return random.multivariate_normal(key)",
        "def f():\n    from jax.random import normal as n",
        "import jax.random as jr\ndef f(key): g = jr.truncated_normal",
        "import numpy as np\ndef f(): np.random.default_rng(0).standard_normal(3)",
        "import jax\ndef f(u): return jax.scipy.special.ndtri(u)",
        "import jax\ndef f(u): return jax.lax.erf_inv(u)",
        "import jax\ndef f(key): return getattr(jax.random, 'multivariate_normal')(key)",
    ],
)
def test_a_draw_elsewhere_is_found(source):
    assert {function for function, _ in draws(source)} == {"f"}


def test_initialisers_are_not_noise():
    assert not draws("from flax import linen as nn\ninit = nn.initializers.normal(0.02)")
    assert not draws("from jax.nn.initializers import normal")
