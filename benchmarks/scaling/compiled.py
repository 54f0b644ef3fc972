"""One case, in a process of its own: what the compiled step holds, and what it sends over links."""

from __future__ import annotations

import collections
import dataclasses
import math
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling.cases import NETWORKS, Case


def measure(case: Case) -> dict[str, Any]:
    """Compiles the step of `case` and returns what its HLO holds; call before jax is imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={case.devices}"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # the partitioner's warnings are counted
    import jax

    from sagd_jax.data.source import ArraySource
    from sagd_jax.run import denoiser
    from sagd_jax.run.config import RunConfig
    from sagd_jax.system import schema
    from sagd_jax.training.prepare import prepare

    network = NETWORKS[case.network]
    batch = case.per_device * case.devices
    values = {
        "data": {"name": "synthetic"},
        "schedule": {"kind": "linear_beta"},
        "model": {"prediction": "epsilon", **network["model"]},
        "train": {"batch_size": batch},
        "mesh": {"fsdp": case.fsdp},
        "preview": {"every": None},
    }
    config = schema.build(RunConfig, values)
    # Only shapes and dtypes count, so the examples are one number, repeated without memory.
    zero, value_range = (
        (np.uint8(0), (0, 255)) if case.network == "unet" else (np.float32(0), (-4, 4))
    )
    source = ArraySource(np.broadcast_to(zero, (batch, *network["shape"])), value_range=value_range)
    if case.left:
        denoiser.gathered = lambda params: params
    prepared = prepare(config, source)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, jax.set_mesh(prepared.mesh):
        options = {
            "xla_dump_to": folder,
            "xla_dump_hlo_pass_re": "spmd-partitioning",
            # The machine code is not run, so none of the compiler's time goes into it.
            "xla_backend_optimization_level": 0,
            "xla_llvm_disable_expensive_passes": True,
        }
        compiled = prepared.steps.lower(prepared.state, prepared.batches).compile(options)
        (file,) = Path(folder).glob("*.after_spmd-partitioning.*")
        partitioned = file.read_text()
    sizes = {math.prod(leaf.shape) for leaf in jax.tree.leaves(prepared.state["params"])}
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    result = {
        **dataclasses.asdict(case),
        "compile_seconds": round(time.monotonic() - start, 1),
        "parameters": sum(math.prod(p.shape) for p in jax.tree.leaves(prepared.state["params"])),
        "partitioned": collectives(partitioned, case, sizes),
        "final_cpu": collectives(compiled.as_text(), case, sizes),
        "argument_bytes": memory.argument_size_in_bytes,
        "cpu_temp_bytes": memory.temp_size_in_bytes,
        "flops": cost["flops"],
    }
    if case.devices == 8 and case.fsdp == 1:
        result |= _counted(prepared, case)
        result["state_bytes_by_fsdp"] = _state_bytes(prepared.state)
    return result


_SIZE = {"f32": 4, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "s64": 8, "u64": 8}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_LINE = re.compile(rf"%?(\S+) = (.+?) ({_KINDS})(?:-start)?\(")
_ARRAY = re.compile(rf"\b({'|'.join(_SIZE)})\[([\d,]*)\]")
_TINY = 2**12  # bytes: losses, norms, counts


def collectives(hlo: str, case: Case, parameter_sizes: set[int]) -> list[dict[str, Any]]:
    """The collectives of a module, summed over those that are alike.

    Each entry has the `kind`, what it `moves` (weights, gradients, activations, scalars), the mesh
    axes it `spans` (data, fsdp, both), `dtype`, `bytes` (of the results that one device ends up
    with), `count`, and `wire_bytes`, what one device sends over a ring. An all-reduce over `fsdp`
    of which each device only keeps its slice is a reduce-scatter: XLA:CPU has no such pass, the
    others have.
    """
    users = _users(hlo)
    entries: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in hlo.splitlines():
        match = _LINE.search(line)
        if not match:
            continue
        name, shapes, kind = match.groups()
        spans, size = _span(line, case)
        if kind == "all-reduce" and spans == "fsdp" and users[name] == {"dynamic-slice"}:
            kind = "reduce-scatter"
        arrays = []
        for dtype, dims in _ARRAY.findall(shapes):
            shape = [int(n) for n in dims.split(",") if n]
            arrays.append((dtype, math.prod(shape), _SIZE[dtype] * math.prod(shape)))
        if kind == "all-to-all" and len(arrays) > 1:
            # As a tuple it lists the pieces; one array per peer.
            arrays = [(arrays[0][0], sum(a[1] for a in arrays), sum(a[2] for a in arrays))]
        if match.group(3) == "reduce-scatter":  # its result is a slice of what is reduced
            arrays = [(dtype, count * size, nbytes * size) for dtype, count, nbytes in arrays]
        for position, (dtype, entries_of, nbytes) in enumerate(arrays):
            moves = _content(kind, spans, entries_of, nbytes, parameter_sizes, case)
            key = (kind, moves, spans, dtype)
            entry = entries.setdefault(
                key,
                {
                    "kind": kind,
                    "moves": moves,
                    "spans": spans,
                    "dtype": dtype,
                    "group": size,
                    "bytes": 0,
                    "wire_bytes": 0.0,
                    "count": 0,
                },
            )
            entry["bytes"] += nbytes
            entry["wire_bytes"] += wire_bytes(kind, nbytes, size)
            entry["count"] += position == 0
    return sorted(entries.values(), key=lambda e: -e["wire_bytes"])


def wire_bytes(kind: str, nbytes: float, group: int) -> float:
    """What each of `group` devices in a ring sends, for `nbytes` of the whole (gathered) array."""
    factor = {"all-reduce": 2, "collective-permute": group / max(group - 1, 1)}.get(kind, 1)
    return factor * (group - 1) / group * nbytes


def _users(hlo: str) -> dict[str, set[str]]:
    """The opcodes that use each instruction."""
    users: dict[str, set[str]] = collections.defaultdict(set)
    for line in hlo.splitlines():
        match = re.search(r" = .+? ([a-z][\w\-]*)\(([^)]*)\)", line)
        if match:
            for operand in re.findall(r"%([\w.\-]+)", match.group(2)):
                users[operand].add(match.group(1))
    return users


def _span(line: str, case: Case) -> tuple[str, int]:
    """The mesh axes along which the first group of a collective varies, and its size."""
    text = re.search(r"(?:replica_groups|source_target_pairs)=(.*)", line)
    ids = _first_group(text.group(1) if text else "", case.devices)
    ranks = np.asarray(ids)
    data = len(set(ranks // case.fsdp)) > 1
    fsdp = len(set(ranks % case.fsdp)) > 1
    return {(True, True): "both", (True, False): "data"}.get((data, fsdp), "fsdp"), len(ids)


def _first_group(text: str, devices: int) -> list[int]:
    def iota(text: str) -> np.ndarray:
        dims, order = re.match(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", text).groups()
        order_of = np.arange(devices).reshape([int(n) for n in dims.split(",")])
        return order_of.transpose([int(n) for n in order.split(",")]) if order else order_of

    if text.startswith("mesh["):
        # A mesh of named axes, over the devices in a given order, and the axes of the group.
        inside, rest = re.match(r"mesh\[([^\]]*)\](.*)", text).groups()
        names = re.findall(r"'(\w+)'=(\d+)", inside)
        given = re.match(r", device_ids=\((.*?\]?(?:T\([\d,]+\))?)\) ", rest)
        flat = iota(given.group(1)).reshape(-1) if given else np.arange(devices)
        grid = flat.reshape([int(n) for _, n in names])
        chosen = re.search(r"\{([^}]*)\}", rest).group(1)
        if ":" in chosen:
            raise ValueError(f"a split axis is not understood: {text[:200]}")
        axes = set(re.findall(r"'(\w+)'", chosen))
        index = tuple(slice(None) if name in axes else 0 for name, _ in names)
        return grid[index].reshape(-1).tolist()
    if text.startswith("["):
        groups, order = re.match(r"\[(\d+,\d+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)", text).groups()
        return iota(order).reshape([int(n) for n in groups.split(",")])[0].tolist()
    inner = re.match(r"\{+([\d,]*)\}", text)
    if not inner:
        raise ValueError(f"groups are not understood: {text[:200]}")
    return [int(n) for n in inner.group(1).split(",")] if inner.group(1) else list(range(devices))


def _content(kind: str, spans: str, entries: int, nbytes: int, sizes: set[int], case: Case) -> str:
    if nbytes < _TINY and entries not in sizes:
        return "scalars"
    if kind in ("all-reduce", "reduce-scatter"):
        known = entries in sizes or entries * case.fsdp in sizes
        return "gradients" if known else "activations"
    # No weight is split over `data`, so what is gathered along it is something else.
    whole = kind == "all-gather" and spans == "fsdp" and entries in sizes
    return "weights" if whole else "activations"


def _counted(prepared: Any, case: Case) -> dict[str, Any]:
    """Flops and kept activations of one device's share of a step, without any compiler."""
    import jax
    import jax.numpy as jnp

    from sagd_jax.run.denoiser import apply_network

    def plain(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)

    params = jax.tree.map(plain, prepared.state["params"])
    whole = prepared.model.clone(remat=False)
    x = jax.ShapeDtypeStruct((case.per_device, *NETWORKS[case.network]["shape"]), jnp.float32)
    t = jax.ShapeDtypeStruct((case.per_device,), jnp.float32)

    def loss(params: Any, x: Any, t: Any, model: Any = prepared.model) -> Any:
        y = apply_network(model, params, prepared.diffusion, x, t, None)
        return jnp.mean(y**2)

    def kept(model: Any) -> int:
        pullback = jax.eval_shape(
            lambda p, x, t: jax.vjp(lambda p: loss(p, x, t, model), p)[1], params, x, t
        )
        batches = [a for a in jax.tree.leaves(pullback) if a.shape[:1] == (case.per_device,)]
        return sum(a.dtype.itemsize * math.prod(a.shape) for a in batches)

    return {
        "forward_flops": count_flops(jax.make_jaxpr(loss)(params, x, t).jaxpr),
        "counted_flops": count_flops(jax.make_jaxpr(jax.grad(loss))(params, x, t).jaxpr),
        "kept_bytes": kept(prepared.model),
        "kept_bytes_without_remat": kept(whole),
    }


def count_flops(jaxpr: Any) -> int:
    """Flops of the matrix products and convolutions of a jaxpr, inner ones included."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contract, _), _ = eqn.params["dimension_numbers"]
            inner = math.prod(eqn.invars[0].aval.shape[axis] for axis in contract)
            total += 2 * inner * math.prod(eqn.outvars[0].aval.shape)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, out = eqn.invars[1].aval.shape, eqn.outvars[0].aval.shape
            features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            zeros = math.prod(eqn.params["lhs_dilation"])  # products with inserted zeros
            total += 2 * math.prod(out) * math.prod(kernel) // features // zeros
        for value in eqn.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    total += count_flops(inner)
    return total


def _state_bytes(state: Any) -> dict[str, int]:
    """Bytes of the training state on one device, by the program's rule, for several `fsdp`."""
    import jax
    from jax.sharding import AbstractMesh

    from sagd_jax.run import layout

    result = {}
    for size in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        laid = layout.with_layout(state, AbstractMesh((1, size), layout.BATCH_AXES))
        result[str(size)] = sum(
            math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize
            for a in jax.tree.leaves(laid)
        )
    return result
