"""The tables of the document, drawn from the results and put between their marks."""

from __future__ import annotations

import collections
import math
import re
from pathlib import Path
from typing import Any

from benchmarks.scaling.cases import DEVICE_COUNTS, NETWORKS, case_name
from benchmarks.scaling.hardware import DISK_SPEED, HARDWARE
from benchmarks.scaling.projection import step_seconds


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
            made, chosen = (
                host["seconds_for_512_images_by_devices"],
                host["seconds_for_512_rows_by_devices"],
            )
            fetched = [
                f"{1e3 * made[key] * images / 512:.1f}; {1e3 * chosen[key] * images / 512:.2f}"
                if network == "unet"
                else "not timed"
                for key in made
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
    header += [f"making; choosing them, ms, {devices:,} devices" for devices in DEVICE_COUNTS]
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
