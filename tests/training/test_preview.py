"""The grid of times and the sampler that `config.preview` chooses."""

import types

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion.samplers import Sde
from sagd_jax.run.config import RunConfig
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training import preview


def drawer(monkeypatch, **options):
    """What the preview gives its drawer."""
    seen = {}
    monkeypatch.setattr(preview, "Drawer", lambda *args, **given: seen.update(given))
    monkeypatch.setattr(preview.layout, "replicated", lambda mesh: None)
    config = schema.build(RunConfig, {"preview": options})
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8, 8)))
    record = types.SimpleNamespace(config=config, data=None)
    preview.Preview(
        types.SimpleNamespace(record=record, model=None, diffusion=diffusion, mesh=None)
    )
    return seen


def test_the_grid_and_all_options_of_the_method_are_used(monkeypatch):
    options = {"times": "edm", "rho": 3.0, "ratio_min": 0.1, "num_steps": 5}
    seen = drawer(monkeypatch, **options, method="sde", churn=2.0)
    expected = sagd.time_grids.edm(sagd.schedules.cosine(), 5, rho=3.0, ratio_min=0.1)
    np.testing.assert_array_equal(seen["times"], expected)
    assert seen["sampler"] == Sde(churn=2.0)
    uniform = drawer(monkeypatch, num_steps=4)["times"]
    np.testing.assert_array_equal(uniform, [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"times": "edm", "ratio_min": 1e9}, r"config\.preview: ratio_min=1000000000\.0"),
        ({"rho": 3.0}, "rho=3.0 has no effect"),
        ({"times": "log"}, "'uniform', 'uniform_log_snr', 'edm'"),
    ],
)
def test_faults_of_the_grid(monkeypatch, options, words):
    with pytest.raises(ConfigError, match=words):
        drawer(monkeypatch, **options)
