"""What a run says of itself before it begins."""

import dataclasses

import pytest

from sagd_jax import data
from sagd_jax.run.config import OptimizerConfig, RunConfig, TrainConfig, UNetConfig
from sagd_jax.system import schema
from sagd_jax.training.prepare import prepare
from sagd_jax.training.summary import corruption_lines, summarise

NETWORK = UNetConfig(
    block_out_channels=(8,), layers_per_block=1, mid_attention=False, norm_num_groups=4
)


def test_a_warm_up_longer_than_the_run_is_said():
    config = RunConfig(optimizer=OptimizerConfig(warmup_steps=500, learning_rate=1e-3))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, unet=NETWORK))
    source = data.open_source(config.data)
    run = prepare(config, source)

    def words(num_steps):
        short = dataclasses.replace(config, train=TrainConfig(num_steps=num_steps))
        return summarise(short, source, run.model, run.diffusion, run.state, run.mesh)

    assert "warm-up" not in words(500)
    # Of a linear rise to 1e-3 at step 500, half.
    said = (
        "warm-up   500 steps, more than the run's 250: the learning rate only rises, to 0.0005 of"
    )
    assert said in words(250)


@pytest.mark.parametrize(
    ("corruption", "margin", "said"),
    [
        ({"corruption": "moire", "corruption_frequency": (0.25, 0.25)}, 0.1, True),
        ({"corruption": "moire", "corruption_frequency": (0.25, 0.25)}, 10.0, False),
        ({"corruption": "band", "corruption_band": (0.4, 0.6)}, 0.1, False),
    ],
)
def test_a_tone_needs_a_margin(corruption, margin, said):
    values = {
        "data": {"name": "digits", **corruption},
        "schedule": {"kind": "capped", "corruption": ("planted",), "margin": margin},
        "model": {"unet": dataclasses.asdict(NETWORK)},
    }
    config = schema.build(RunConfig, values)
    source = data.open_source(config.data)
    lines = corruption_lines(config, source, prepare(config, source).diffusion)
    words = "samples need config.schedule.margin=10 (docs/corrupted_data.md), here it is 0.1"
    assert any(words in line for line in lines) == said


@pytest.mark.parametrize(("alpha", "said"), [(-0.5, False), (-9.0, True), (9.0, True)])
def test_coordinates_without_noise_worth_the_name_are_told(alpha, said):
    values = {
        "noise": {"kind": "power_law", "alpha": alpha},
        "model": {"unet": dataclasses.asdict(NETWORK)},
    }
    config = schema.build(RunConfig, values)
    source = data.open_source(config.data)
    run = prepare(config, source)
    words = summarise(config, source, run.model, run.diffusion, run.state, run.mesh)
    assert ("they hardly get any noise" in words) is said
