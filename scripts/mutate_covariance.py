"""Replaces Sigma by the identity at each of its uses, one at a time: some test must fail each time.

A use is a call of an operator of the covariance in the mathematics (`covariance.sample(...)`,
`self.covariance.log_prob(...)`, ...), or a draw given to a sampler's step. They are found in the
syntax tree, so that new ones are tried too. Each mutant is a copy of the package in a temporary
directory, tested by the files that belong to the module.

    python scripts/mutate_covariance.py               # all: about half a minute each
    python scripts/mutate_covariance.py diffusion/samplers.py   # one module's

Exits with 1 if a mutant survives, or if the tests fail without one.
"""

from __future__ import annotations

import ast
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent

OPERATORS = {"sample", "apply", "sqrt", "pinv", "pinv_sqrt", "project", "is_full_rank", "rank"}
OPERATORS |= {"log_det", "log_prob"}

COVARIANCE = "spectral/covariance.py"

# The tests of each module, the quickest to fail first.
TESTS = {
    "spectral/covariance.py": ["spectral/test_covariance.py"],
    "diffusion/process.py": ["diffusion/test_process.py"],
    "diffusion/samplers.py": ["diffusion/test_samplers.py"],
    "diffusion/sampling.py": ["diffusion/test_sampling.py", "diffusion/test_samplers.py"],
    "diffusion/likelihood.py": ["diffusion/test_likelihood.py"],
    "diffusion/losses.py": ["diffusion/test_losses.py"],
    "diffusion/guidance.py": ["diffusion/test_guidance.py"],
    "diffusion/editing.py": ["diffusion/test_editing.py"],
    "diffusion/oracle.py": ["diffusion/test_oracle.py"],
}

# What mutated code calls. NumPy, so that it is known to have full rank under jit too.
IDENTITY = """

FourierCovariance.identity = property(
    lambda self: FourierCovariance(np.ones(self.variance.shape, np.float32), self.spatial_shape)
)
"""


class Mutant(NamedTuple):
    module: str
    where: str  # function and line
    before: str  # the use as written
    source: str  # the module's text without it


def mutants(module: str) -> Iterator[Mutant]:
    """One mutant for each use of the covariance in a module."""
    source = (ROOT / "sagd_jax" / module).read_text()
    for node, function in _walk(ast.parse(source), ()):
        insertion = _insertion(node, module)
        if insertion is not None:
            end, text, start = insertion
            where = f"{'.'.join(function)}, line {node.lineno}"
            mutated = _insert(source, end, text)
            if start is not None:
                mutated = _insert(mutated, start, "diffusion.covariance.pinv_sqrt(")
            yield Mutant(module, where, ast.unparse(node), mutated)


def _walk(node: ast.AST, path: tuple[str, ...]) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        path = (*path, node.name)
    if isinstance(node, ast.expr):
        yield node, path
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, path)


def _insertion(node, module):
    """(position, text, position of an opening call) that turn a use into one of the identity.

    A sampler's draw is made white by whitening it: Sigma^{+1/2} Sigma^{1/2} = Pi.
    """
    if isinstance(node, ast.Attribute) and node.attr in OPERATORS:
        owner = ast.unparse(node.value)
        inside = module == COVARIANCE and owner == "self"
        if inside or owner.split(".")[-1] == "covariance":
            return _end(node.value), ".identity", None
    in_samplers = module == "diffusion/samplers.py" and isinstance(node, ast.Call)
    if in_samplers and ast.unparse(node.func) == "draw":
        return _end(node), ")", (node.lineno, node.col_offset)
    return None


def _end(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset  # type: ignore[return-value]


def _insert(source: str, position: tuple[int, int], text: str) -> str:
    lines = source.splitlines(keepends=True)
    line, column = position
    raw = lines[line - 1].encode()
    lines[line - 1] = (raw[:column] + text.encode() + raw[column:]).decode()
    return "".join(lines)


def run_tests(tree: pathlib.Path, module: str) -> subprocess.CompletedProcess[str]:
    files = [str(tree / "tests" / name) for name in TESTS[module]]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tree.parent / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    return subprocess.run(
        [*command, *files], cwd=tree, env=environment, capture_output=True, text=True
    )


def first_failure(output: str) -> str:
    for line in output.splitlines():
        if line.startswith(("FAILED", "ERROR")):
            return line.split("::")[-1].split(" - ")[0]
    return "the run itself"


def main(modules: list[str]) -> int:
    unknown = set(modules) - set(TESTS)
    if unknown:
        print(f"unknown modules {sorted(unknown)}; allowed: {', '.join(TESTS)}", file=sys.stderr)
        return 2
    survivors, count = [], 0
    with tempfile.TemporaryDirectory() as directory:
        tree = pathlib.Path(directory) / "tree"
        tree.mkdir()
        for name in ("sagd_jax", "tests", "setup.cfg", "pyproject.toml"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.pyc"))
            else:
                shutil.copy(ROOT / name, tree / name)
        with (tree / "sagd_jax" / COVARIANCE).open("a") as file:
            file.write(IDENTITY)
        for module in modules or TESTS:
            target = tree / "sagd_jax" / module
            original = target.read_text()
            unharmed = run_tests(tree, module)
            if unharmed.returncode:
                print(f"{module}: its tests fail as it is: {first_failure(unharmed.stdout)}")
                return 1
            for mutant in mutants(module):
                count += 1
                extra = IDENTITY if module == COVARIANCE else ""
                target.write_text(mutant.source + extra)
                run = run_tests(tree, module)
                killer = first_failure(run.stdout) if run.returncode else "NO TEST FAILS"
                print(f"{module}: {mutant.where}: {mutant.before}: {killer}", flush=True)
                if not run.returncode:
                    survivors.append(mutant)
            target.write_text(original)
    print(f"{count} uses of Sigma, {count - len(survivors)} found by tests, {len(survivors)} not")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
