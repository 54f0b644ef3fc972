"""Options for the compiler: a user's own come first, and unknown ones are left out."""

import jax
import pytest

from sagd_jax.system import compiler

WANTED = {"xla_backend_optimization_level": 1}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", WANTED),
        ("--xla_dump_to=/nowhere", WANTED),
        ("--xla_dump_to=/nowhere --xla_backend_optimization_level=3", {}),
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
