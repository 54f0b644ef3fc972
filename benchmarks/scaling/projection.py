"""From bytes to times: what the compiled cases mean on each hardware, and on more devices."""

from __future__ import annotations

from typing import Any

from benchmarks.scaling.cases import CHECKS, DEVICE_COUNTS, NETWORKS, PAPER_BATCH, case_name
from benchmarks.scaling.compiled import wire_bytes
from benchmarks.scaling.hardware import HARDWARE, UTILISATION, Hardware


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
