"""Single bytes changed in every kind of file of a checkpoint: found, and never a traceback."""

import json
import random

import pytest
from etils import epath
from saved_states import directory, save, state

from sagd_jax import data
from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.config import RunConfig
from sagd_jax.run.items import read_record_of
from sagd_jax.run.record import describe_run, read_record
from sagd_jax.run.restore import CheckpointError
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError

# What Orbax has not awaited when one of its reads fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    with Checkpoints(workdir) as checkpoints:
        save(checkpoints, 10)
    return workdir


def changed(content, rng):
    """The bytes with one changed, left out or added."""
    position = rng.randrange(len(content))
    middle = {
        0: bytes([content[position] ^ 1 << rng.randrange(8)]),
        1: b"",
        2: content[position : position + 1] + rng.choice([b"0", b'"', b"-", b"[", b"\xff", b"e99"]),
    }[rng.randrange(3)]
    return content[:position] + middle + content[position + 1 :]


def with_each_file_changed(step, rng):
    """Changes one file after the other, and puts back what it was."""
    for path in sorted(p for p in step.rglob("*") if p.is_file()):
        content, manifest = path.read_bytes(), (step / integrity.MANIFEST).read_bytes()
        path.write_bytes(changed(content, rng))
        yield path
        (step / integrity.MANIFEST).write_bytes(manifest)
        path.write_bytes(content)


def test_in_any_file_it_is_found_and_the_file_named(saved):
    seen = set()
    for path in with_each_file_changed(directory(saved, 10), random.Random(0)):
        with pytest.raises(CheckpointError, match=r"step 10 .* cannot be used") as refused:
            Checkpoints(saved, read_only=True).open(10)
        name = path.relative_to(directory(saved, 10)).as_posix()
        # A changed checksum reads like a changed file.
        assert name in str(refused.value) or name == integrity.MANIFEST
        assert "\n" not in str(refused.value)
        seen.add(name.partition("/")[0])
    assert {"params", "ema", "arrays", "record", integrity.MANIFEST} <= seen


def test_with_a_manifest_that_fits_it_is_read_or_refused_in_one_line(saved):
    step = directory(saved, 10)
    refused = 0
    for path in with_each_file_changed(step, random.Random(1)):
        if path.name == integrity.MANIFEST:
            continue
        integrity.seal(step, 10)
        try:
            Checkpoints(saved, read_only=True).open(10).restore(state(0))
        except CheckpointError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


def test_in_a_record_it_is_read_as_data_or_refused_in_one_line(tmp_path):
    config = RunConfig()
    record = describe_run(config, data.open_source(config.data))
    text = json.dumps(schema.as_dict(record)).encode()
    file = tmp_path / "record" / "metadata"
    file.parent.mkdir()
    rng = random.Random(2)
    outcomes = []
    for _ in range(120):
        file.write_bytes(changed(text, rng))
        try:
            outcomes.append(read_record(read_record_of(epath.Path(tmp_path))) == record)
        except (ConfigError, integrity.IntegrityError) as error:
            assert "\n" not in str(error)
            outcomes.append(None)
    assert outcomes.count(None) > 60
