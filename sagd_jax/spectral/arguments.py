"""What people give as arguments, read or refused by one line: numbers, arrays, shapes, keys."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LONGEST = 60  # characters of a value that an error quotes


def number(name: str, value: Any) -> float:
    """A finite number as a float; raises ValueError naming the argument otherwise."""
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name}: expected a number, not one that JAX traces: it is a constant here"
        )
    try:
        result = float(value)
    except (TypeError, ValueError):
        result = float("nan")
    if not np.isfinite(result):
        raise ValueError(f"{name}={quoted(value)}: expected a finite number")
    return result


def numbers(name: str, values: Any) -> np.ndarray:
    """Real numbers, nested as they are, as a float64 NumPy array; raises ValueError otherwise.

    >>> numbers("variance", [1, 2])
    array([1., 2.])
    """
    try:
        result = np.asarray(values)
        real = not np.iscomplexobj(result)
        result = result.astype(np.float64) if real else result
    except (TypeError, ValueError):
        real = False
    if not real:
        raise ValueError(f"{name}={quoted(values)}: expected an array of real numbers")
    return result


def signal(name: str, values: Any) -> jax.Array:
    """Real numbers as a JAX array of floats; raises ValueError otherwise.

    NumPy's float64 becomes what JAX's x64 mode has for it, without a warning; whole numbers become
    float32.
    """
    if isinstance(values, (list, tuple)) or not isinstance(values, jax.Array):
        try:
            values = jnp.asarray(
                np.asarray(values) if isinstance(values, (list, tuple)) else values
            )
        except (TypeError, ValueError):
            raise ValueError(
                f"{name}={quoted(values)}: expected an array of real numbers"
            ) from None
    if jnp.issubdtype(values.dtype, jnp.floating):
        return values
    if not (jnp.issubdtype(values.dtype, jnp.integer) or values.dtype == bool):
        raise ValueError(f"{name}: expected real numbers, not {values.dtype}")
    return values.astype(jnp.float32)


def batch(name: str, values: Any, spatial_shape: Sequence[int]) -> jax.Array:
    """Signals `(batch, *spatial, channels)`, as `signal`; raises ValueError for another shape, or none at all.

    >>> batch("x0", np.zeros((8, 8, 1)), (8, 8))
    Traceback (most recent call last):
    ValueError: x0: shape (8, 8, 1); expected (batch, 8, 8, channels)
    """
    x = signal(name, values)
    sizes = tuple(spatial_shape)
    if x.ndim != len(sizes) + 2 or x.shape[1:-1] != sizes or not len(x):
        expected = ", ".join(["batch", *map(str, sizes), "channels"])
        raise ValueError(f"{name}: shape {x.shape}; expected ({expected})")
    return x


def shape(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """A tuple of sizes as ints; raises ValueError for anything else."""
    try:
        return tuple(operator.index(n) for n in sizes)
    except TypeError:
        raise ValueError(f"{name}={quoted(sizes)}: expected a tuple of whole numbers") from None


def key(name: str, value: Any) -> jax.Array:
    """One or more random keys, as `jax.random.key` makes them; the old uint32 pairs are wrapped.

    Raises:
      TypeError: for anything else, such as a seed.

    >>> key("key", 0)
    Traceback (most recent call last):
    TypeError: key=0: expected a jax.random.key, such as jax.random.key(0)
    """
    dtype = getattr(value, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return value
    if dtype == np.uint32:
        try:
            return jax.random.wrap_key_data(value)
        except TypeError:
            pass
    raise TypeError(f"{name}={quoted(value)}: expected a jax.random.key, such as jax.random.key(0)")


def one_key(name: str, value: Any) -> jax.Array:
    """A single random key, as `key`; raises TypeError for an array of them."""
    result = key(name, value)
    if result.shape:
        raise TypeError(f"{name}: expected one jax.random.key, not an array of {result.shape}")
    return result


def quoted(value: Any) -> str:
    """How an error quotes a value: its repr on one line, or its type where that is long."""
    text = " ".join(repr(value).split())
    if " at 0x" in text:  # an address says nothing, the name does
        return f"<{type(value).__name__} {getattr(value, '__name__', '')}".rstrip() + ">"
    return text if len(text) <= _LONGEST else f"<{type(value).__name__}>"
