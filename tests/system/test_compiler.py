"""Options for the compiler: a user's own come first, and unknown ones are left out."""

import re

import jax
import jax.numpy as jnp
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


def test_a_state_that_is_donated_is_written_over():
    wanted = {COPIES: True}
    if not compiler.options("cpu", **wanted):
        pytest.skip("this compiler does not know the option")
    state, x = (jnp.ones((64, 64)),) * 4, jnp.ones((64, 8))
    copies = {}
    for name, options in (("default", {}), ("ours", wanted)):
        program = jax.jit(adam, donate_argnums=0, compiler_options=options)
        text = program.lower(state, x).compile().as_text()
        copies[name] = len(re.findall(r" copy\(%?state", text))
    assert copies["ours"] == 0 < copies["default"]
