"""A work directory with three sound steps."""

import shutil

import pytest
from saved_states import save

from sagd_jax.run.checkpoints import Checkpoints


@pytest.fixture(scope="session")
def three_steps(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir) as checkpoints:
        save(checkpoints, 10, 20, 30)
    return workdir


@pytest.fixture
def run(three_steps, tmp_path):
    """A work directory of its own with the sound steps 10, 20 and 30."""
    shutil.copytree(three_steps, tmp_path / "run")
    return tmp_path / "run"
