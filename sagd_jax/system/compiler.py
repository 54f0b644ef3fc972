"""What the compiler is asked for, where its defaults cost more time than they save."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import jax

# Devices of one CPU never lose each other, but a process that was stopped, or a laptop asleep, is late.
_PATIENCE = (
    "xla_cpu_collective_call_warn_stuck_timeout_seconds",
    "xla_cpu_collective_call_terminate_timeout_seconds",
)
_A_DAY = 24 * 3600
_FUSION = "xla_backend_extra_options", "xla_cpu_use_multi_output_fusion"


@contextlib.contextmanager
def multi_output_fusion() -> Iterator[None]:
    """On a CPU, one kernel for several results of the same arrays, in what this process compiles.

    The weights' average and both moments of Adam are such. Numbers stay the same to rounding; other platforms
    have it anyway. It is no option of `jax.jit`, so XLA_FLAGS says it, which XLA reads when it first compiles;
    where there are devices already, nothing is set (the flags are part of a program's name in the compilation
    cache). A user's own stay as they are.

    >>> with multi_output_fusion():
    ...     "xla_cpu_use_multi_output_fusion" in os.environ["XLA_FLAGS"]
    True
    """
    before = os.environ.get("XLA_FLAGS")
    name, value = _FUSION
    if name in (before or "") or _has_devices():
        yield
        return
    os.environ["XLA_FLAGS"] = f"{before or ''} --{name}={value}".strip()
    try:
        yield
    finally:
        if before is None:
            del os.environ["XLA_FLAGS"]
        else:
            os.environ["XLA_FLAGS"] = before


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


def _has_devices() -> bool:
    try:
        from jax._src.xla_bridge import backends_are_initialized
    except ImportError:  # JAX has no public name for it
        return False
    return bool(backends_are_initialized())


@functools.cache
def _is_known(name: str, value: Any) -> bool:
    program = jax.jit(lambda x: x, compiler_options={name: value})
    try:
        program.lower(jax.ShapeDtypeStruct((), "float32")).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
