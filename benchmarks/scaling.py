"""A plan on paper for scaling: what a training step moves over the links, on 8 to 4,096 devices.

    python benchmarks/scaling.py --json results/scaling.json --docs docs/scaling.md
    python benchmarks/scaling.py --json results/scaling.json --docs docs/scaling.md --only_tables

Nothing is trained. For each case a process with as many host devices as the mesh has compiles the
program's own step from shapes (`prepare(...).steps.lower(...).compile()`), and the collectives are
read from the HLO, twice: right after the partitioner, where they still have the dtypes that any
backend starts from, and at the end of XLA:CPU's passes, which combine them and make bfloat16 ones
float32. The time and efficiency figures are computed from these bytes, from the flops and from the
vendors' link speeds (`HARDWARE`). It takes about a quarter of an hour on two cores. `--only_host`
measures only the host's work again, which takes seconds; `--only_tables` draws the tables of the
document from the JSON.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

UTILISATION = 0.4  # of the peak, assumed wherever the flops are the limit
DEVICE_COUNTS = (8, 256, 4096)
DISK_SPEED = 1e9  # bytes per second from one host to the checkpoints' file system, assumed
PAPER_BATCH = 128


@dataclasses.dataclass(frozen=True)
class Hardware:
    """Published figures of one accelerator.

    Attributes:
      peak: bfloat16 flop/s, dense.
      memory: bytes. memory_speed: bytes/s.
      fast: bytes/s that a device sends over the fast links, all of them together, one direction.
      fast_devices: devices that the fast links join.
      whole_torus: devices from which on the links wrap around; smaller groups have half of `fast`.
      slow: bytes/s that a device sends beyond.
      per_host: devices per host.
      source: where the figures are from.
    """

    peak: float
    memory: float
    memory_speed: float
    fast: float
    fast_devices: int
    whole_torus: int
    slow: float
    per_host: int
    source: str


HARDWARE = {
    "TPU v5e": Hardware(
        197e12,
        16e9,
        819e9,
        200e9,
        256,
        256,
        6.4e12 / 8 / 256,
        8,
        "docs.cloud.google.com/tpu/docs/v5e: 197 TFLOP/s, 16 GB at 819 GB/s, 400 GB/s both ways over "
        "4 links (51.2 TB/s of all-reduce per pod of 256: 200 GB/s each), 6.4 Tb/s per pod beyond",
    ),
    "TPU v5p": Hardware(
        459e12,
        95e9,
        2765e9,
        600e9,
        8960,
        64,
        50e9 / 8,
        4,
        "docs.cloud.google.com/tpu/docs/v5p: 459 TFLOP/s, 95 GB at 2,765 GB/s, 1,200 GB/s both ways "
        "over 6 links, a full torus from 64 chips on, 8,960 chips per pod",
    ),
    "H100 SXM": Hardware(
        989e12,
        80e9,
        3350e9,
        450e9,
        8,
        1,
        400e9 / 8,
        8,
        "NVIDIA H100 data sheet: 1,979 TFLOP/s with sparsity, half of it dense, 80 GB at 3.35 TB/s, "
        "NVLink 900 GB/s both ways; DGX H100 user guide: one 400 Gb/s InfiniBand port per GPU",
    ),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One compilation: a network on a mesh of `devices / fsdp` x `fsdp`.

    Attributes:
      left: leave out the program's rule that weights are whole where the network uses them, and let
        the compiler choose, to see what the rule is worth.
    """

    network: str
    devices: int
    fsdp: int
    per_device: int
    left: bool = False

    @property
    def name(self) -> str:
        mesh = f"{self.devices // self.fsdp}x{self.fsdp}"
        return f"{self.network} {mesh} @{self.per_device}" + " left" * self.left


CASES = [
    Case("unet", 8, 1, 16),  # the paper's batch of 128
    Case("unet", 8, 1, 64),
    Case("unet", 256, 1, 64),
    Case("unet", 8, 8, 64),
    Case("unet", 64, 8, 64),
    Case("unet", 256, 8, 64),
    Case("unet", 64, 8, 64, left=True),
    Case("unet", 256, 8, 64, left=True),
    Case("dit", 8, 1, 32),
    Case("dit", 256, 1, 32),
    Case("dit", 8, 8, 32),
    Case("dit", 64, 8, 32),
    Case("dit", 256, 8, 32),
    Case("dit", 8, 8, 32, left=True),
    Case("dit", 64, 8, 32, left=True),
    Case("dit", 256, 8, 32, left=True),
]
# Bytes of the second are also computed from those of the first, and compared.
CHECKS = [
    ("unet 8x1 @64", "unet 256x1 @64"),
    ("dit 8x1 @32", "dit 256x1 @32"),
    ("unet 8x8 @64", "unet 32x8 @64"),
    ("dit 8x8 @32", "dit 32x8 @32"),
    ("unet 8x8 @64 left", "unet 32x8 @64 left"),
    ("dit 8x8 @32 left", "dit 32x8 @32 left"),
]
NETWORKS = {
    "unet": {
        "words": "U-Net of the paper, 32x32x3",
        "shape": (32, 32, 3),
        "model": {"dtype": "bfloat16"},
    },
    "dit": {
        "words": "DiT-XL/2, 32x32x4 latents, remat",
        "shape": (32, 32, 4),
        "model": {
            "kind": "dit",
            "dtype": "bfloat16",
            "remat": True,
            "dit": {"patch_size": (2,), "hidden_size": 1152, "depth": 28, "num_heads": 16},
        },
    },
}


# --- One case, in a process of its own ---------------------------------------------------------


def measure(case: Case) -> dict[str, Any]:
    """Compiles the step of `case` and returns what its HLO holds; call before jax is imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={case.devices}"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # the partitioner's warnings are counted
    import jax

    from sagd_jax import schema
    from sagd_jax.data.source import ArraySource
    from sagd_jax.training import factory
    from sagd_jax.training.config import RunConfig
    from sagd_jax.training.prepare import prepare

    network = NETWORKS[case.network]
    batch = case.per_device * case.devices
    values = {
        "data": {"name": "synthetic"},
        "model": network["model"],
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
        factory.gathered = lambda params: params
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
        result |= _counted(prepared, case, factory)
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


def _counted(prepared: Any, case: Case, factory: Any) -> dict[str, Any]:
    """Flops and kept activations of one device's share of a step, without any compiler."""
    import jax
    import jax.numpy as jnp

    def plain(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)

    params = jax.tree.map(plain, prepared.state["params"])
    whole = prepared.model.clone(remat=False)
    x = jax.ShapeDtypeStruct((case.per_device, *NETWORKS[case.network]["shape"]), jnp.float32)
    t = jax.ShapeDtypeStruct((case.per_device,), jnp.float32)

    def loss(params: Any, x: Any, t: Any, model: Any = prepared.model) -> Any:
        y = factory.apply_network(model, params, prepared.diffusion, x, t, None)
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

    from sagd_jax.training import sharding

    result = {}
    for size in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096):
        laid = sharding.with_layout(state, AbstractMesh((1, size), sharding.BATCH_AXES))
        result[str(size)] = sum(
            math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize
            for a in jax.tree.leaves(laid)
        )
    return result


# --- What the host does, timed here ------------------------------------------------------------


def host_costs() -> dict[str, Any]:
    """Seconds of one host thread for what the input pipeline and the checkpoints do.

    The batches are those of `data.batches`, as the training loop asks for them: the 512 rows of one
    host with 8 devices, of the batch of all.
    """
    import hashlib

    from sagd_jax import data
    from sagd_jax.data.augment import Augmented
    from sagd_jax.data.source import ArraySource
    from sagd_jax.training.malloc import keep_freed_memory

    keep_freed_memory()  # as train.py does

    def best(function: Any, turns: int = 60) -> float:
        times = []
        for _ in range(turns):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    # As many images as ImageNet has, all of them the same few bytes.
    images = np.broadcast_to(np.uint8(0), (1_281_167, 32, 32, 3))
    source = Augmented(ArraySource(images, value_range=(0, 255)), flip=True)
    batches = {}
    for devices in DEVICE_COUNTS:
        rows = data.host_rows(64 * devices, 0, devices // 8)
        stream = data.batches(source, seed=0, batch_size=64 * devices, rows=rows)
        batches[str(devices)] = best(lambda stream=stream: next(stream))
    block = bytes(2**26)
    return {
        "seconds_for_512_images_by_devices": batches,
        "sha256_bytes_per_second": len(block) / best(lambda: hashlib.sha256(block).digest(), 3),
    }


def sum_errors() -> list[dict[str, float]]:
    """Error of a sum of gradients in bfloat16, over that sum (root mean squares).

    The gradients are independent and normal: noise is most of a gradient. A ring adds one device's
    after the other's; rings of 16 add 16 at a time, as the axes of a torus do.
    """
    import ml_dtypes

    def ring(values: np.ndarray) -> np.ndarray:
        total = values[0]
        for value in values[1:]:
            total = total + value  # rounds to bfloat16
        return total

    rows = []
    generator = np.random.default_rng(0)
    for devices in (8, 256, 4096):
        values = generator.standard_normal((devices, 4096)).astype(ml_dtypes.bfloat16)
        exact = values.astype(np.float64).sum(axis=0)
        stages = values
        while len(stages) > 1:
            size = min(16, len(stages))
            stages = np.stack([ring(part) for part in stages.reshape(-1, size, 4096)])

        def error(total: np.ndarray, exact: np.ndarray = exact) -> float:
            off = total.astype(np.float64) - exact
            return float(np.sqrt(np.mean(off**2) / np.mean(exact**2)))

        rows.append(
            {"devices": devices, "one_ring": error(ring(values)), "rings_of_16": error(stages[0])}
        )
    return rows


# --- From bytes to times -----------------------------------------------------------------------


def seconds(entry: dict[str, Any], devices: int, fsdp: int, hardware: Hardware) -> float:
    """The time of a collective at the links' full speed, first inside the fast part, then beyond.

    Inside a group of m fast neighbours a reduce-scatter or gather of n bytes sends n (m - 1) / m;
    between g such groups, each device has n / m left to send over its own slow link.
    """
    in_island = min(hardware.fast_devices, devices)
    if entry["spans"] == "fsdp":
        near, far = min(fsdp, in_island), -(-fsdp // in_island)
    elif entry["spans"] == "data":
        near = max(1, in_island // fsdp)
        far = devices // fsdp // near
    else:
        near, far = in_island, devices // in_island
    fast = hardware.fast if near >= hardware.whole_torus else hardware.fast / 2
    times = 2 if entry["kind"] == "all-reduce" else 1
    nbytes = entry["bytes"]
    return times * nbytes * ((near - 1) / near / fast + (far - 1) / far / near / hardware.slow)


def at_scale(
    entries: list[dict[str, Any]], measured: int, devices: int, fsdp: int
) -> list[dict[str, Any]]:
    """The collectives of `measured` devices as they are on `devices`, with the same `fsdp`.

    Weights, gradients and scalars keep their size. Activations that are gathered along `data` are
    those of all its devices, so they grow with them.
    """
    result = []
    for entry in entries:
        grows = entry["moves"] == "activations" and entry["spans"] != "fsdp"
        group = {"fsdp": fsdp, "data": devices // fsdp, "both": devices}[entry["spans"]]
        nbytes = entry["bytes"] * (devices / measured if grows else 1)
        wire = wire_bytes(entry["kind"], nbytes, group)
        result.append({**entry, "bytes": nbytes, "group": group, "wire_bytes": wire})
    return result


def step_seconds(base: dict[str, Any], hardware: Hardware) -> float:
    """The shortest step without any link: flops at `UTILISATION`, or kept activations, twice.

    What is kept for the backward pass has to be written and read at least once. A slower step would
    hide more of the communication.
    """
    by_flops = base["counted_flops"] / (UTILISATION * hardware.peak)
    return max(by_flops, 2 * base["kept_bytes"] / hardware.memory_speed)


def working_bytes(base: dict[str, Any], fsdp: int, gathered: bool) -> float:
    """Memory beside the state: gradients, what is kept, a block's own, and gathered weights.

    With remat, a block's activations are there while its gradient is computed.
    """
    depth = NETWORKS[base["network"]]["model"].get("dit", {}).get("depth", 1)
    extra = base["kept_bytes_without_remat"] / depth if depth > 1 else 0
    weights = 4 * base["parameters"] * ((1 / fsdp) + gathered)
    return weights + base["kept_bytes"] + extra


def foreign_bytes_per_device(cases: dict[str, Any], case: dict[str, Any]) -> float:
    """How fast the memory for activations of other devices grows with their number.

    It is half of the growth of XLA:CPU's temporary memory from 64 to 256 devices, since there those
    arrays are float32; 0 where nothing grows.
    """
    small = cases.get(case_name({**case, "devices": 64}))
    if small is None:
        return 0.0
    growth = case["cpu_temp_bytes"] - small["cpu_temp_bytes"]
    return max(0, growth) / 2 / (case["devices"] - small["devices"])


def fixed_batch(base: dict[str, Any], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's batch over more and more devices: what is left to compute shrinks."""
    rows = []
    for name, hardware in HARDWARE.items():
        for devices in (8, 32, 128):
            share = PAPER_BATCH / devices / base["per_device"]
            compute = share * step_seconds(base, hardware)
            links = sum(seconds(e, devices, 1, hardware) for e in at_scale(entries, 8, devices, 1))
            rows.append(
                {
                    "hardware": name,
                    "devices": devices,
                    "step_seconds": compute,
                    "link_seconds": links,
                    "efficiency_no_overlap": compute / (compute + links),
                    "efficiency_full_overlap": compute / max(compute, links),
                }
            )
    return rows


def limits(cases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Further numbers that the text quotes."""
    unet, dit = cases["unet 8x1 @64"], cases["dit 8x1 @32"]
    forward = dit["forward_flops"] / dit["per_device"]
    every = 5000  # steps, the default of checkpoints and previews
    rows = {
        name: {
            # One sample per device, 50 evaluations of the network.
            "dit_preview_seconds": 50 * forward / (UTILISATION * h.peak),
            "unet_minutes_between_checkpoints": every * step_seconds(unet, h) / 60,
            "dit_minutes_between_checkpoints": every * step_seconds(dit, h) / 60,
        }
        for name, h in HARDWARE.items()
    }
    return {
        "unet_batch_on_4096_devices": 4096 * unet["per_device"],
        "most_devices_for_the_images_of_cifar10": 50_000 // unet["per_device"],
        "samples_drawn_for_a_preview_of_64_on_4096_devices": -(-16 // 4096) * 4096,
        **rows,
    }


def check(cases: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Bytes that are computed from a smaller mesh, beside those of the larger mesh's own HLO."""
    rows = []
    for small, large in CHECKS:
        first, second = cases[small], cases[large]
        computed = at_scale(
            first["partitioned"], first["devices"], second["devices"], second["fsdp"]
        )
        rows.append(
            {
                "from": small,
                "to": large,
                "computed_wire_bytes": sum(e["wire_bytes"] for e in computed),
                "compiled_wire_bytes": sum(e["wire_bytes"] for e in second["partitioned"]),
            }
        )
    return rows


def project(cases: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Times and efficiency on every hardware, from the cases compiled for the fewest devices."""
    plans = [
        ("unet", 1, lambda d: "unet 8x1 @64", "data only"),
        ("unet", 8, lambda d: "unet 1x8 @64" if d == 8 else "unet 32x8 @64", "fsdp 8"),
        ("dit", 1, lambda d: "dit 8x1 @32", "data only"),
        ("dit", 8, lambda d: "dit 1x8 @32" if d == 8 else "dit 32x8 @32", "fsdp 8"),
        (
            "dit",
            8,
            lambda d: "dit 1x8 @32 left" if d == 8 else "dit 32x8 @32 left",
            "fsdp 8, left to the compiler",
        ),
    ]
    rows = []
    for network, fsdp, which, words in plans:
        base = cases[f"{network} 8x1 @{64 if network == 'unet' else 32}"]
        state = base["state_bytes_by_fsdp"][str(fsdp)]
        for name, hardware in HARDWARE.items():
            for devices in DEVICE_COUNTS:
                case = cases[which(devices)]
                entries = at_scale(case["partitioned"], case["devices"], devices, fsdp)
                compute = step_seconds(base, hardware)
                links = sum(seconds(e, devices, fsdp, hardware) for e in entries)
                needed = state + working_bytes(base, fsdp, fsdp > 1 and not case["left"])
                if devices > 8:
                    needed += devices * foreign_bytes_per_device(cases, case)
                rows.append(
                    {
                        "network": network,
                        "plan": words,
                        "from": case_name(case),
                        "hardware": name,
                        "devices": devices,
                        "wire_bytes": sum(e["wire_bytes"] for e in entries),
                        "activation_wire_bytes": sum(
                            e["wire_bytes"] for e in entries if e["moves"] == "activations"
                        ),
                        "step_seconds": compute,
                        "link_seconds": links,
                        "efficiency_no_overlap": compute / (compute + links),
                        "efficiency_full_overlap": compute / max(compute, links),
                        "memory_needed_bytes": needed,
                        "fits": needed < hardware.memory,
                    }
                )
    return rows


def case_name(case: dict[str, Any]) -> str:
    """The name of a measured case."""
    return Case(**{f.name: case[f.name] for f in dataclasses.fields(Case)}).name


# --- Tables ------------------------------------------------------------------------------------


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _mega(nbytes: float) -> str:
    return f"{nbytes / 1e6:,.1f}" if nbytes < 1e8 else f"{nbytes / 1e6:,.0f}"


def tables(result: dict[str, Any]) -> dict[str, str]:
    """The tables of the document by name, as Markdown."""
    cases = {case_name(case): case for case in result["cases"]}
    return {
        "hlo": _hlo_table(cases),
        "network": _network_table(cases),
        "fsdp": _fsdp_table(cases),
        "links": _links_table(),
        "efficiency": _efficiency_table(result["projection"]),
        "host": _host_table(result, cases),
        "fixed": _fixed_table(result["fixed_batch"]),
        "check": _check_table(result["checks"]),
        "sums": _sums_table(result["sum_errors"]),
    }


def _sum(entries: list[dict[str, Any]], field: str, **wanted: str) -> float:
    return sum(e[field] for e in entries if all(e[k] == v for k, v in wanted.items()))


def _hlo_table(cases: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, case in cases.items():
        entries = case["partitioned"]
        rows.append(
            [
                name,
                _mega(_sum(entries, "bytes", moves="weights")),
                _mega(_sum(entries, "bytes", moves="gradients")),
                _mega(_sum(entries, "bytes", moves="activations")),
                f"{sum(e['count'] for e in entries):,}",
                f"{sum(e['count'] for e in case['final_cpu']):,}",
                str(case["involuntary_replications"]),
                _mega(sum(e["wire_bytes"] for e in entries)),
                _mega(sum(e["wire_bytes"] for e in case["final_cpu"])),
                f"{case['argument_bytes'] / 1e9:.2f}",
                f"{case['cpu_temp_bytes'] / 1e9:.2f}",
            ]
        )
    header = ["network, data x fsdp, examples per device", "weights gathered, MB"]
    header += ["gradients reduced, MB", "activations moved, MB", "collectives"]
    header += ["combined, CPU", "forced replications"]
    header += ["sent per device, MB", "the same, CPU (f32)", "state and batch, GB", "CPU temp, GB"]
    return _table(header, rows)


def _network_table(cases: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name in ("unet 8x1 @64", "dit 8x1 @32"):
        case = cases[name]
        examples = case["per_device"]
        rows.append(
            [
                NETWORKS[case["network"]]["words"],
                f"{case['parameters']:,}",
                f"{case['forward_flops'] / examples / 1e9:.2f}",
                f"{case['counted_flops'] / examples / 1e9:.2f}",
                f"{case['flops'] / examples / 1e9:.2f}",
                f"{case['kept_bytes'] / examples / 1e6:.1f}",
                f"{case['kept_bytes_without_remat'] / examples / 1e6:.1f}",
            ]
        )
    header = ["network", "parameters", "forward, GFLOP per example", "step, counted"]
    header += ["step, XLA:CPU", "kept for the backward pass, MB per example", "without remat"]
    return _table(header, rows)


def _fsdp_table(cases: dict[str, dict[str, Any]]) -> str:
    sizes = list(cases["dit 8x1 @32"]["state_bytes_by_fsdp"])
    rows = [
        [
            NETWORKS[network]["words"],
            *(
                f"{cases[f'{network} 8x1 @{per}']['state_bytes_by_fsdp'][s] / 1e9:.3f}"
                for s in sizes
            ),
        ]
        for network, per in (("unet", 64), ("dit", 32))
    ]
    return _table(["state per device, GB, at fsdp =", *sizes], rows)


def _links_table() -> str:
    rows = [
        [
            name,
            f"{h.peak / 1e12:.0f}",
            f"{h.memory / 1e9:.0f} at {h.memory_speed / 1e9:,.0f}",
            f"{h.fast / 1e9:.0f} among {h.fast_devices:,}",
            f"{h.slow / 1e9:.3g}",
            h.source,
        ]
        for name, h in HARDWARE.items()
    ]
    header = ["", "TFLOP/s", "memory, GB, GB/s", "fast links, GB/s sent", "beyond", "source"]
    return _table(header, rows)


def _efficiency_table(projection: list[dict[str, Any]]) -> str:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for row in projection:
        groups[row["network"], row["plan"], row["hardware"]].append(row)
    rows = []
    for (network, plan, hardware), parts in groups.items():
        cells = [f"{network}, {plan}", hardware, f"{1e3 * parts[0]['step_seconds']:.1f}"]
        for part in parts:
            low, high = part["efficiency_no_overlap"], part["efficiency_full_overlap"]
            words = f"{_mega(part['wire_bytes'])}; {1e3 * part['link_seconds']:.2f}; "
            words += f"{low:.0%} to {high:.0%}; {part['memory_needed_bytes'] / 1e9:.1f} GB"
            cells.append(words if part["fits"] else f"{words}: does not fit")
        rows.append(cells)
    header = ["network and mesh", "hardware", "step without links, ms"]
    header += [f"{d:,} devices: MB sent; ms; efficiency; memory" for d in DEVICE_COUNTS]
    return _table(header, rows)


def _host_table(result: dict[str, Any], cases: dict[str, dict[str, Any]]) -> str:
    host = result["host"]
    rows = []
    for network, per in (("unet", 64), ("dit", 32)):
        base = cases[f"{network} 8x1 @{per}"]
        size = math.prod(NETWORKS[network]["shape"]) * (1 if network == "unet" else 4)
        state = base["state_bytes_by_fsdp"]["1"]
        for name, hardware in HARDWARE.items():
            step = step_seconds(base, hardware)
            images = per * hardware.per_host
            fetched = [
                f"{1e3 * seconds * images / 512:.1f}" if network == "unet" else "not timed"
                for seconds in host["seconds_for_512_images_by_devices"].values()
            ]
            rows.append(
                [
                    network,
                    name,
                    f"{1e3 * step:.1f}",
                    f"{images} ({images * size / step / 1e6:,.0f})",
                    *fetched,
                    f"{state / DISK_SPEED:.1f} + {state / host['sha256_bytes_per_second']:.1f}",
                ]
            )
    header = ["network", "hardware", "step, ms", "examples per host and step (MB/s)"]
    header += [f"making them, ms, {devices:,} devices" for devices in DEVICE_COUNTS]
    return _table([*header, "checkpoint: writing + SHA-256, s"], rows)


def _fixed_table(fixed: list[dict[str, Any]]) -> str:
    groups: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
    for row in fixed:
        groups[row["hardware"]].append(row)
    rows = []
    for name, parts in groups.items():
        cells = [
            f"{1e3 * p['step_seconds']:.2f}; {1e3 * p['link_seconds']:.2f}; "
            f"{p['efficiency_no_overlap']:.0%} to {p['efficiency_full_overlap']:.0%}"
            for p in parts
        ]
        rows.append([name, *cells])
    counts = [f"{p['devices']} devices" for p in next(iter(groups.values()))]
    return _table(["step, ms; links, ms; efficiency", *counts], rows)


def _check_table(checks: list[dict[str, Any]]) -> str:
    rows = [
        [
            c["from"],
            c["to"],
            _mega(c["computed_wire_bytes"]),
            _mega(c["compiled_wire_bytes"]),
            f"{c['computed_wire_bytes'] / c['compiled_wire_bytes'] - 1:+.1%}",
        ]
        for c in checks
    ]
    return _table(["from", "to", "computed, MB", "compiled, MB", "difference"], rows)


def _sums_table(errors: list[dict[str, float]]) -> str:
    rows = [
        [f"{e['devices']:,}", f"{e['one_ring']:.2%}", f"{e['rings_of_16']:.2%}"] for e in errors
    ]
    return _table(["devices", "one ring", "rings of 16, one after the other"], rows)


def write_tables(file: Path, result: dict[str, Any]) -> None:
    """Puts each table between its marks, `<!-- table: name -->` and `<!-- end -->`."""
    text = file.read_text()
    for name, table in tables(result).items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{file}: no place for the table {name!r}")
        text = pattern.sub(lambda m, t=table: f"{m.group(1)}{t}\n{m.group(2)}", text)
    file.write_text(text)


def run_cases(pattern: str) -> list[dict[str, Any]]:
    """Measures the cases, each in a process that has that many devices."""
    results = []
    for number, case in enumerate(CASES):
        if not re.search(pattern, case.name):
            continue
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--case", str(number)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case.name}: {done.stderr[-2000:]}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
        # The compiler's own warning that it replicates an array, for want of a better way.
        results[-1]["involuntary_replications"] = done.stderr.count("Involuntary full remat")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", help="file to write, which --only_tables and --only_host read first"
    )
    parser.add_argument("--docs", help="Markdown file whose tables are drawn again")
    parser.add_argument("--only_tables", action="store_true", help="measure nothing")
    parser.add_argument("--only_host", action="store_true", help="measure the host again, no more")
    parser.add_argument("--cases", default="", help="regular expression: only these cases")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.case is not None:
        print(json.dumps(measure(CASES[flags.case])))
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    if flags.only_tables or flags.only_host:
        result = json.loads(Path(flags.json).read_text())
    else:
        from provenance import provenance

        result = {**provenance(sys.argv), "cases": run_cases(flags.cases)}
        result["sum_errors"] = sum_errors()
    if not flags.only_tables:
        result["host"] = host_costs()
    named = {case_name(case): case for case in result["cases"]}
    with contextlib.suppress(KeyError):  # only some of the cases
        result["projection"] = project(named)
        result["checks"] = check(named)
        result["limits"] = limits(named)
        base = named["unet 8x1 @64"]
        result["fixed_batch"] = fixed_batch(base, base["partitioned"])
    if flags.json:
        Path(flags.json).write_text(json.dumps(result, indent=1) + "\n")
    if flags.docs:
        write_tables(Path(flags.docs), result)
    elif not flags.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
