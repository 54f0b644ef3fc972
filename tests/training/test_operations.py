"""The training step and the samplers are the programs that results/operations.json counted."""

import json
from pathlib import Path

import jax
import pytest

from benchmarks import operations

STORED = json.loads((Path(__file__).parents[2] / "results" / "operations.json").read_text())

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(
        jax.__version__ != STORED["jax"], reason="another version of jax lowers to other operations"
    ),
]


@pytest.mark.parametrize("name", ["white", "corrupted", "projected"])
def test_the_step_has_the_same_operations(name):
    run = operations.prepared(name)
    stored = STORED["counts"]
    assert (
        operations.count_lowered(operations.lowered_step(run)) == stored[f"step, {name}"]["lowered"]
    )
    if name == "projected":
        for sampler in ("ddim with eta", "dpmpp_2m", "sde", "pc"):
            found = operations.count_lowered(operations.lowered_draw(run, sampler))
            assert found == stored[f"{sampler}, {name}"]["lowered"], sampler
