"""What a configuration determines before anything is compiled; what is refused there."""

import dataclasses

import jax
import numpy as np
import pytest

from sagd_jax import data
from sagd_jax.data import DataConfig
from sagd_jax.data.source import ArraySource
from sagd_jax.run import record
from sagd_jax.run.config import ModelConfig, RunConfig, TrainConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training import prepare as module
from sagd_jax.training.prepare import prepare

SMALL = RunConfig(train=TrainConfig(batch_size=8))
X = np.random.default_rng(0).uniform(-1, 1, (32, 8, 8, 1))


def labelled(labels, num_classes):
    return ArraySource(X, value_range=(-1, 1), labels=labels, num_classes=num_classes)


@pytest.mark.parametrize("class_conditional", [False, True])
def test_classes_that_no_record_can_have(class_conditional):
    config = dataclasses.replace(SMALL, model=ModelConfig(class_conditional=class_conditional))
    with pytest.raises(ConfigError, match=r"could be opened again: record.data.num_classes=31"):
        prepare(config, labelled(np.zeros(32), 31 * 10**8 + 1))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.999999999, 1.000000001),
        ((9999.9999,), (10000.0001,)),
        ((-1.0, 3e4 - 1e-4), (1.0, 3e4 + 1e-4)),
    ],
)
def test_ranges_that_are_empty_in_float32(low, high):
    x = np.zeros((32, 8, 8, np.size(low)), np.float32)
    with pytest.raises(ConfigError, match=r"could be opened again: .* low < high in float32"):
        prepare(SMALL, ArraySource(x, value_range=(low, high)))


def test_numbers_that_json_does_not_have():
    with pytest.raises(ConfigError, match="could be opened again: "):
        prepare(SMALL, ArraySource(X, value_range=(-1, np.inf)))


def test_a_record_and_spectra_too_large_to_be_read(monkeypatch):
    source = data.open_source(DataConfig())
    monkeypatch.setattr(record, "MAX_BYTES", 1000)
    with pytest.raises(ConfigError, match=r"could be opened again: record: .* at most 1000"):
        prepare(SMALL, source)
    monkeypatch.undo()
    monkeypatch.setattr(module, "MAX_ARRAYS_BYTES", 100)
    with pytest.raises(ConfigError, match=r"config.noise: .* of spectra for examples of shape \(8"):
        prepare(SMALL, source)


def test_one_program_trains_with_all_seeds():
    source = labelled(np.zeros(32), 10)
    sections = {
        "train": {"batch_size": 8},
        "model": {
            "unet": {"block_out_channels": (8,), "attention": (False,), "norm_num_groups": 4}
        },
        "preview": {"every": None},
    }
    configs = [schema.build(RunConfig, {**sections, "seed": seed}) for seed in (0, 7, 2**31 - 1)]
    runs = [prepare(config, source) for config in configs]
    programs = set()
    for run in runs:
        with jax.set_mesh(run.mesh):
            programs.add(run.steps.lower(run.state, run.batches).as_text())
    assert len(programs) == 1
