"""Operations of the compiled training step and samplers, by kind: what a change adds or takes away.

    python -m benchmarks.operations --out=results/operations.json
    python -m benchmarks.operations --step=corrupted              that step anew, the others as they are

Counts are of the lowered (StableHLO) and of the compiled program, for one device. They depend on the
version of jax, which is recorded. `tests/training/test_operations.py` compares today's lowered programs
with the stored ones where the version is the same.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
import sys
from pathlib import Path
from typing import Any

import jax

from sagd_jax import data
from sagd_jax.diffusion.samplers import named
from sagd_jax.run.config import RunConfig
from sagd_jax.run.draw import compile_draw, shapes_of
from sagd_jax.run.provenance import provenance
from sagd_jax.system import schema
from sagd_jax.training.prepare import Prepared, prepare

_LOWERED = re.compile(r"stablehlo\.\w+|(?<=call )@(?=\w)")
_COMPILED = re.compile(r"^\s*(?:ROOT\s+)?%?[\w.\-]+ = [^=]*?\s([a-z][\w\-]*)\(", re.M)
_UNET = {"block_out_channels": (16, 32), "norm_num_groups": 8, "attention": (False, True)}
_HOLE = {"kind": "band_pass", "bands": ((0.0, 0.4), (0.6, 1.0))}

STEPS: dict[str, dict[str, Any]] = {
    "white": {},
    "power law": {"noise": {"kind": "power_law", "alpha": -0.5}},
    "classes and v": {"model": {"prediction": "v", "class_conditional": True}},
    "corrupted": {
        "noise": {"kind": "power_law", "alpha": -0.2},
        "corrupted_noise": _HOLE,
        "data": {
            "corruption": "band",
            "corruption_band": (0.4, 0.6),
            "corrupted_fraction": 0.5,
        },
    },
    "in parts": {"train": {"batch_size": 32, "accumulate": 4}},
    "projected": {"noise": _HOLE, "model": {"project_input": True}},
}
SAMPLERS: dict[str, dict[str, float]] = {
    "ddim": {},
    "ddim with eta": {"eta": 0.5},
    "euler": {},
    "ddpm": {},
    "heun": {},
    "dpmpp_2m": {},
    "sde": {"churn": 2.0},
    "pc": {"snr": 0.16},
}


def prepared(name: str) -> Prepared:
    """A run of a small U-Net on the digits, in one of the cases of `STEPS`."""
    values = {"train": {"batch_size": 32}, "preview": {"every": None}, **STEPS[name]}
    values["schedule"] = {"kind": "linear_beta"}
    values["model"] = {"prediction": "epsilon", "unet": _UNET, **values.get("model", {})}
    config = schema.build(RunConfig, values)
    return prepare(config, data.open_source(config.data))


def lowered_step(run: Prepared) -> Any:
    """One training step, lowered."""
    with jax.set_mesh(run.mesh):
        return run.steps.lower(run.state, run.batches)


def lowered_draw(run: Prepared, name: str) -> Any:
    """A draw of eight samples in ten steps by one of `SAMPLERS`, lowered."""
    sampler = named(name.split()[0], **SAMPLERS[name])
    draw = compile_draw(
        run.record, run.model, run.diffusion, run.mesh, 8, sampler=sampler, num_steps=10
    )
    with jax.set_mesh(run.mesh):
        return draw.lower(run.state["ema"], *shapes_of(8))


def count_lowered(lowered: Any) -> dict[str, int]:
    """Operations of a lowered program by kind; `@` are calls of its own functions."""
    return dict(sorted(collections.Counter(_LOWERED.findall(lowered.as_text())).items()))


def count_compiled(lowered: Any) -> dict[str, int]:
    """Operations of the compiled program by kind, those inside of fusions too."""
    text = lowered.compile().as_text()
    return dict(sorted(collections.Counter(_COMPILED.findall(text)).items()))


def main() -> None:
    """Counts everything; minutes, most of them the compiler's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/operations.json"))
    parser.add_argument("--step", choices=STEPS, help="count this one, and keep what --out has")
    flags = parser.parse_args()
    origin = provenance(["-m", "benchmarks.operations", *sys.argv[1:]])
    counts: dict[str, Any] = {}
    if flags.step:
        whole = json.loads(flags.out.read_text())
        title, lowered = f"step, {flags.step}", lowered_step(prepared(flags.step))
        whole["counts"][title] = {
            "lowered": count_lowered(lowered),
            "compiled": count_compiled(lowered),
            "of": origin,
        }
        flags.out.write_text(json.dumps(whole, indent=1) + "\n")
        return
    for name in STEPS:
        run = prepared(name)
        programs = {f"step, {name}": lowered_step(run)}
        if name in ("white", "power law", "projected"):
            programs |= {f"{s}, {name}": lowered_draw(run, s) for s in SAMPLERS}
        for title, lowered in programs.items():
            counts[title] = {"lowered": count_lowered(lowered), "compiled": count_compiled(lowered)}
            print(title, sum(counts[title]["compiled"].values()), flush=True)
    flags.out.write_text(json.dumps({**origin, "counts": counts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
