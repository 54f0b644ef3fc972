"""jit for tests of whole networks, whose time is nearly all the compiler's."""

from collections.abc import Callable
from typing import Any

import jax


def quickly(function: Callable[..., Any], *args: Any) -> Any:
    """`jax.jit(function)(*args)` with the compiler's costly passes off."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function).lower(*args).compile(options)(*args)
