"""Where a run starts: the data is what it was, or the run does not go on."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sagd_jax import data
from sagd_jax.data import DataConfig
from sagd_jax.models import UNet
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run, identified
from sagd_jax.run.restore import Checkpoint
from sagd_jax.system import processes, schema
from sagd_jax.system.schema import ConfigError
from sagd_jax.training import start
from sagd_jax.training.fitting import require_the_same_network


def recorded(folder):
    config = RunConfig(data=DataConfig(name="folder", dir=str(folder)))
    source = data.open_source(config.data)
    return identified(describe_run(config, source), source)


@pytest.fixture
def resume(monkeypatch):
    """Resumes a run of one record as one of another."""
    monkeypatch.setattr(start, "restored", lambda saved, prepared: "the state")

    def attempt(before, now):
        saved = Checkpoint(8, Path("run/checkpoints/8"), json.loads(json.dumps(before)), {})
        checkpoints = types.SimpleNamespace(open=lambda: saved)
        return start.resume(checkpoints, types.SimpleNamespace(record=now, arrays={}))

    return attempt


def test_data_that_changed_under_a_run_is_refused_by_name(tmp_path, resume):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(folder / f"{i}.png")
    before = schema.as_dict(recorded(folder))
    folder = folder.rename(tmp_path / "moved")
    assert resume(before, recorded(folder)) == ("the state", "resuming at step 8")
    # As many other files.
    (folder / "2.png").rename(folder / "two.png")
    with pytest.raises(ConfigError, match=r"holds another run: the data had file 2, 2.png, has"):
        resume(before, recorded(folder))
    # A record of an earlier version.
    del before["data"]["fingerprint"]
    assert resume(before, recorded(folder)) == ("the state", "resuming at step 8")


def test_processes_that_find_other_data_are_told(monkeypatch):
    config = RunConfig()
    record = describe_run(config, data.open_source(config.data))
    start.require_the_same_data(record)
    monkeypatch.setattr(processes, "broadcast", lambda own: own + 1)
    with pytest.raises(ConfigError, match="process 0 found other data there than process 0 did"):
        start.require_the_same_data(record)


def test_weights_that_fit_but_mean_another_network_are_refused():
    """Options that no shape shows: time embedding, padding, epsilon, heads."""
    there = UNet((8, 16), attention=(False, True), norm_num_groups=4, freq_shift=1, norm_eps=1e-6)
    with pytest.raises(ConfigError) as error:
        require_the_same_network(there, there.clone(freq_shift=0, norm_eps=1e-5), "ddpm")
    assert str(error.value).startswith(
        "--init_from=ddpm: another network, though its weights would fit: "
        "freq_shift is 1 there, 0 here; norm_eps is 1e-06 there, 1e-05 here"
    )
    with pytest.raises(ConfigError, match="attention_head_dim"):
        require_the_same_network(there, there.clone(attention_head_dim=4), "ddpm")
    # The same heads by another name, none at all, and what may change.
    one = there.clone(attention_head_dim=None)
    require_the_same_network(one, one.clone(attention_head_dim=16, dropout=0.1, remat=True), "ddpm")
    none = there.clone(attention=(False, False), mid_attention=False)
    require_the_same_network(none, none.clone(attention_head_dim=4), "ddpm")
    require_the_same_network(None, there, "elsewhere")
