"""Fresh weights without a program that holds every draw.

Compiled whole, `init` has a generator of random numbers for each of its hundreds of leaves, and the
compiler spends up to a second on each: a third of what a first run of a small network on CPU waited
for. Here `init` is traced; what no leaf needs, the forward pass, is left out; and the rest is done one
operation at a time, where draws of one law and shape are one program. The values are those that `init`
compiled whole gives: functions of the key and of the leaf's path in the network, whatever the devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core

from sagd_jax.system import compiler
from sagd_jax.system.host import host_device, on_host

_INLINED = ("checkpoint", "remat", "remat2")


def evaluate(function: Callable[[], Any], layout: Any) -> Any:
    """`function()`, a tree of arrays, done one operation at a time, in each process by itself.

    Args:
      function: can be traced, and the same in all processes. Equal calls of jitted functions in it, such
        as draws of one law and shape, are compiled once. Keys are to be made in it: an array made outside
        may lie on devices of other processes.
      layout: the shardings of the result, over devices of any processes. Each process makes each leaf
        whole, on its host where JAX may compute there.

    Returns:
      the tree, of arrays that share no memory.

    >>> here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    >>> tree = evaluate(lambda: {"w": jax.random.bits(jax.random.key(0), (2,))}, {"w": here})
    >>> bool((tree["w"] == jax.random.bits(jax.random.key(0), (2,))).all())
    True
    """
    values: dict[Any, Any] = {}
    operations: list[_Operation] = []
    programs: dict[Any, Callable[..., Any]] = {}
    with on_host() as device:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)()
        given = traced.jaxpr.constvars
        for var, value in zip(given, traced.consts, strict=True):
            values[var] = jax.device_put(value, device)
        outputs = _flattened(traced.jaxpr, {var: var for var in given}, operations)
        for operation in _needed(operations, outputs):
            results = _perform(operation, values, programs, device.platform)
            values.update(zip(operation.outputs, results, strict=True))
    leaves = [
        _laid_out(_value(atom, values), sharding)
        for atom, sharding in zip(outputs, jax.tree.leaves(layout), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


@dataclasses.dataclass(frozen=True)
class _Operation:
    """An equation of a trace; what it takes, literals or names of values; the names of what it gives."""

    equation: core.JaxprEqn
    inputs: list[Any]
    outputs: list[Any]


def _flattened(jaxpr: Any, names: dict[Any, Any], operations: list[_Operation]) -> list[Any]:
    """Appends the operations of `jaxpr`, those of rematerialised parts among them; names its results.

    A part that is recomputed in the backward pass would else be one operation, forward pass and all.
    """
    for equation in jaxpr.eqns:
        inputs = [_name(atom, names) for atom in equation.invars]
        if equation.primitive.name in _INLINED:
            inner = equation.params["jaxpr"]
            outputs = _flattened(inner, dict(zip(inner.invars, inputs, strict=True)), operations)
        else:
            outputs = [object() for _ in equation.outvars]
            operations.append(_Operation(equation, inputs, outputs))
        names.update(zip(equation.outvars, outputs, strict=True))
    return [_name(atom, names) for atom in jaxpr.outvars]


def _name(atom: Any, names: dict[Any, Any]) -> Any:
    return atom if isinstance(atom, core.Literal) else names[atom]


def _needed(operations: list[_Operation], outputs: list[Any]) -> list[_Operation]:
    needed = {name for name in outputs if not isinstance(name, core.Literal)}
    kept = []
    for operation in reversed(operations):
        if not needed.isdisjoint(operation.outputs):
            kept.append(operation)
            needed.update(name for name in operation.inputs if not isinstance(name, core.Literal))
    return kept[::-1]


def _perform(
    operation: _Operation, values: dict[Any, Any], programs: dict[Any, Any], platform: str
) -> list[Any]:
    equation = operation.equation
    inputs = [_value(name, values) for name in operation.inputs]
    if equation.primitive.name in ("jit", "pjit"):
        called = equation.params["jaxpr"]  # one object for all calls with arguments of these shapes
        if called not in programs:
            # With these a draw is compiled in an eighth of the time, and gives the same numbers.
            options = compiler.options(
                platform, xla_backend_optimization_level=1, xla_cpu_use_fusion_emitters=False
            )
            programs[called] = jax.jit(core.jaxpr_as_fun(called), compiler_options=options)
        return list(programs[called](*inputs))
    moved = _MOVES.get(equation.primitive.name)
    if moved and not any(map(_has_keys, [*equation.invars, *equation.outvars])):
        return [moved(np.asarray(inputs[0]), **equation.params)]
    parameters = equation.primitive.get_bind_params(equation.params)
    result = equation.primitive.bind(*inputs, **parameters)
    return list(result) if equation.primitive.multiple_results else [result]


def _broadcast(x: np.ndarray, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> np.ndarray:
    own = dict(zip(broadcast_dimensions, x.shape, strict=True))
    return np.broadcast_to(x.reshape([own.get(axis, 1) for axis in range(len(shape))]), shape)


def _slice(
    x: np.ndarray, *, start_indices: Any, limit_indices: Any, strides: Any = None
) -> np.ndarray:
    steps = strides or (1,) * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, steps))]


# What only moves numbers: NumPy has it done before JAX has compiled it, shape by shape.
_MOVES: dict[str, Callable[..., np.ndarray]] = {
    "broadcast_in_dim": _broadcast,
    "copy": lambda x: x,  # the leaves of the result are copies
    "reshape": lambda x, *, new_sizes, **_: x.reshape(new_sizes),
    "slice": _slice,
}


def _has_keys(atom: Any) -> bool:
    return jax.dtypes.issubdtype(atom.aval.dtype, jax.dtypes.extended)


def _value(name: Any, values: dict[Any, Any]) -> Any:
    if isinstance(name, core.Literal):
        shaped: Any = name.aval
        return np.asarray(name.val, shaped.dtype)
    return values[name]


def _laid_out(value: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    if sharding.is_fully_addressable:
        # NumPy's memory may be kept all the same, and two leaves may share it: not so JAX's.
        return jax.device_put(jax.device_put(value, host_device()), sharding, may_alias=False)
    whole = np.asarray(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index].copy())
