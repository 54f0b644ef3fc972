"""Options for the compiler: a user's own come first, and unknown ones are left out."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax.system import compiler

COPIES = "xla_cpu_copy_insertion_use_region_analysis"
WANTED = {"xla_backend_optimization_level": 1, COPIES: True}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", WANTED),
        ("--xla_dump_to=/nowhere", WANTED),
        ("--xla_dump_to=/nowhere --xla_backend_optimization_level=3", {COPIES: True}),
    ],
)
def test_what_the_user_has_set_stays(monkeypatch, flags, expected):
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert compiler.options("cpu", **WANTED) == compiler.of_networks() == expected
    assert compiler.options("gpu", **WANTED) is None


def test_what_this_compiler_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    found = compiler.options("cpu", xla_no_such_option=1, **WANTED)
    assert found == WANTED
    assert jax.jit(lambda x: 2 * x, compiler_options=found)(3.0) == 6


def adam(state, x):
    """A step of Adam on (tanh(w x) - 1)^2, skipped where it is not finite; all of the state is donated."""

    def loss(w):
        return jnp.square(jnp.tanh(w @ x) - 1).sum()

    w, first, second, average = state
    value, gradient = jax.value_and_grad(loss)(w)
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * jnp.square(gradient)
    w = w - 0.1 * first / (jnp.sqrt(second) + 1e-8)
    new = w, first, second, 0.9 * average + 0.1 * w
    return [jnp.where(jnp.isfinite(value), a, b) for a, b in zip(new, state, strict=True)]


_COPIES = """
import re, sys
import jax, jax.numpy as jnp
sys.path.insert(0, sys.argv[1])
from test_compiler import COPIES, adam
state, x = (jnp.ones((64, 64)),) * 4, jnp.ones((64, 8))
for options in ({}, {COPIES: True}):
    program = jax.jit(adam, donate_argnums=0, compiler_options=options).lower(state, x).compile()
    print(len(re.findall(r" copy\\(%?state", program.as_text())))
"""


def by_itself(code, *arguments):
    """What a process prints whose XLA has no flags; it reads them once."""
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), *arguments],
        env={**os.environ, "XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_a_state_that_is_donated_is_written_over():
    if not compiler.options("cpu", **{COPIES: True}):
        pytest.skip("this compiler does not know the option")
    default, ours = by_itself(_COPIES)
    assert ours == 0 < default


_KERNELS = """
import contextlib, sys
import numpy as np, jax, jax.numpy as jnp
from sagd_jax.system import compiler
sys.path.insert(0, sys.argv[1])
from test_compiler import adam
with compiler.multi_output_fusion() if sys.argv[3:] else contextlib.nullcontext():
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(64, 8)), jnp.float32)
    state = (x @ x.T / 100,) * 4
    program = jax.jit(adam).lower(state, x).compile()
    np.save(sys.argv[2], program(state, x))
    print(program.as_text().split("ENTRY")[1].count(" fusion("))
"""


def test_results_of_the_same_arrays_are_one_kernel_with_the_same_numbers(tmp_path):
    kernels, results = {}, {}
    for name, word in (("default", []), ("ours", ["ours"])):
        file = tmp_path / f"{name}.npy"
        (kernels[name],) = by_itself(_KERNELS, str(file), *word)
        results[name] = np.load(file)
    assert kernels["ours"] < kernels["default"]
    np.testing.assert_allclose(results["ours"], results["default"], rtol=1e-5, atol=1e-6)


def test_the_flags_of_before_are_back_and_a_user_s_own_stay(monkeypatch):
    monkeypatch.setattr(compiler, "_has_devices", lambda: False)
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/nowhere")
    with compiler.multi_output_fusion():
        first, second = os.environ["XLA_FLAGS"].split()
        assert first == "--xla_dump_to=/nowhere" and "multi_output" in second
    assert os.environ["XLA_FLAGS"] == "--xla_dump_to=/nowhere"
    own = "--xla_backend_extra_options=xla_cpu_optimize_for_size"
    monkeypatch.setenv("XLA_FLAGS", own)
    with compiler.multi_output_fusion():
        assert os.environ["XLA_FLAGS"] == own
    monkeypatch.delenv("XLA_FLAGS")
    with compiler.multi_output_fusion():
        pass
    assert "XLA_FLAGS" not in os.environ


def test_flags_that_nobody_reads_any_more_are_not_set(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    jax.devices()
    with compiler.multi_output_fusion():
        assert os.environ["XLA_FLAGS"] == ""
