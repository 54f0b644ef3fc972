"""What the compiler is asked for, where its defaults cost more time than they save."""

from __future__ import annotations

import functools
import os
from typing import Any

import jax

# Devices of one CPU never lose each other, but a process that was stopped, or a laptop asleep, is late.
_PATIENCE = (
    "xla_cpu_collective_call_warn_stuck_timeout_seconds",
    "xla_cpu_collective_call_terminate_timeout_seconds",
)
_A_DAY = 24 * 3600


def options(platform: str, **wanted: Any) -> dict[str, Any] | None:
    """The `compiler_options` of `jax.jit` for programs on CPU; None for other platforms.

    What the user has set by XLA_FLAGS stays as it is, and what this compiler does not know is left out.

    >>> options("tpu", xla_backend_optimization_level=1)
    """
    if platform != "cpu":
        return None
    set_already = os.environ.get("XLA_FLAGS", "")
    return {
        name: value
        for name, value in wanted.items()
        if name not in set_already and _is_known(name, value)
    }


def of_networks() -> dict[str, Any] | None:
    """`options` of programs that hold a network, such as a training step, on the default devices.

    The compiler takes a fifth less time, and the program neither gives other numbers nor takes longer:
    what the level is for, XLA does before, or it is in library calls. Where a donated array may be
    written over is told by when it is read last; else XLA copies the whole state of training in each step.
    """
    wanted: dict[str, Any] = {
        "xla_backend_optimization_level": 1,
        "xla_cpu_copy_insertion_use_region_analysis": True,
    }
    if jax.device_count() > 1:
        wanted |= dict.fromkeys(_PATIENCE, _A_DAY)
    return options(jax.default_backend(), **wanted)


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    program = jax.jit(lambda x: x, compiler_options={name: value})
    try:
        program.lower(jax.ShapeDtypeStruct((), "float32")).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
