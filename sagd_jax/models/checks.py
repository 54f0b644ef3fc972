"""Checks shared by the networks: a ValueError has the argument, its value and the rule."""

from typing import Any

import jax
import jax.numpy as jnp


def require(condition: bool, argument: str, value: Any, allowed: str) -> None:
    """Raises ValueError naming the argument, its value and what is allowed."""
    if not condition:
        raise ValueError(f"{argument}={value!r}: must be {allowed}")


def positive_int(argument: str, value: Any, minimum: int = 1) -> None:
    """Refuses what is not an integer of at least `minimum`."""
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= minimum
    require(valid, argument, value, f"an integer of at least {minimum}")


def probability(argument: str, value: float) -> None:
    """Refuses what is not in [0, 1)."""
    require(0.0 <= value < 1.0, argument, value, "in [0, 1)")


def compute_dtype(dtype: Any) -> Any:
    """The dtype a network computes in, from a dtype or its name."""
    allowed = "float32, bfloat16 or float16"
    try:
        result = jnp.dtype(dtype)
    except TypeError:
        raise ValueError(f"dtype={dtype!r}: must be {allowed}") from None
    require(result.name in ("float32", "bfloat16", "float16"), "dtype", result.name, allowed)
    return result


def call_arguments(
    x: jax.Array,
    timestep: jax.Array,
    label: jax.Array | None,
    num_classes: int,
    kind: jax.Array | None = None,
    num_kinds: int = 0,
) -> None:
    """Checks the shapes and dtypes that every network is called with."""
    batch = x.shape[:1]
    require(jnp.issubdtype(x.dtype, jnp.floating), "x.dtype", x.dtype.name, "floating point")
    require(timestep.shape == batch, "timestep.shape", timestep.shape, f"(batch,) = {batch}")
    for name, values, count in (("label", label, num_classes), ("kind", kind, num_kinds)):
        if values is None:
            continue
        option = "num_classes" if name == "label" else "num_kinds"
        require(count > 0, name, "given", f"None for a network with {option}=0")
        require(values.shape == batch, f"{name}.shape", values.shape, f"(batch,) = {batch}")
        integer = jnp.issubdtype(values.dtype, jnp.integer)
        require(integer, f"{name}.dtype", values.dtype.name, "an integer type")
