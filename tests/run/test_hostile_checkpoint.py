"""Checkpoints made to harm whoever loads them: an error, whatever they ask for."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from programs import ROOT, TINY, call, command, environment

from sagd_jax.run import integrity, restore
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.restore import CheckpointError
from sagd_jax.run.saved import load_run


@pytest.fixture(scope="module")
def sound(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.py").write_text(TINY)
    flags = [
        f"--config={folder / 'tiny.py'}",
        f"--workdir={folder}",
        "--config.checkpoint.every=12",
    ]
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def forge(sound, tmp_path):
    """Changes the record of a copy, with a manifest that fits the change."""

    def change(**fields):
        shutil.copytree(sound, tmp_path / "forged")
        step = tmp_path / "forged" / "checkpoints" / "12"
        file = step / "record" / "metadata"
        record = json.loads(file.read_text())
        for name, value in fields.items():
            *sections, last = name.split("__")
            inner = record
            for section in sections:
                inner = inner[section]
            inner[last] = value
        file.write_text(json.dumps(record))
        integrity.seal(step, 12)
        return tmp_path / "forged"

    return change


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data__shape": [2**23, 2**23, 1]}, "data.shape"),
        ({"data__shape": [2**16, 2**15, 1]}, "variance|shape"),
        ({"data__shape": [8, 8, "x"]}, "expected a whole number"),
        ({"data__num_classes": 2**24, "config__model__class_conditional": True}, "expected"),
        ({"data__sample_rate": 1e300}, "expected at most"),
        ({"data__kind": "../../etc"}, "expected one of"),
        ({"data__low": [0.0] * 5}, "expected 1 or 1 numbers"),
        ({"config__model__unet__block_out_channels": [8192] * 4}, "expected"),
        ({"config__model__unet__block_out_channels": [10**9]}, "at most"),
        ({"config__model__unet__layers_per_block": 10**9}, "at most"),
        ({"config__model__kind": "os.system"}, "expected one of"),
        ({"config__seed": "__import__('os')"}, "expected a whole number"),
        ({"config__schedule__beta_max": float("nan")}, "finite|record"),
        ({"format": 99}, "expected one of"),
        ({"evil": {"a": 1}}, "no such field"),
        ({"config": []}, "expected a section"),
    ],
)
def test_a_forged_record_is_refused_in_one_line(forge, fields, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_run(forge(**fields))
    assert len(str(caught.value).splitlines()) == 1


# A process that forks starts with the memory of its parent: this small one is that parent.
MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_a_network_beyond_any_memory_is_refused_with_little(forge, cache, tmp_path):
    workdir = forge(
        config__model__kind="dit",
        config__model__dit={"hidden_size": 65536, "depth": 40, "num_heads": 64},
    )
    flags = [f"--workdir={workdir}", f"--out={tmp_path / 'out'}"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command("sample.py", *flags)],
        env=environment(cache),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert int(done.stdout) < 2 << 20  # KiB; the weights would be hundreds of GiB


def test_few_bytes_that_claim_to_be_many_are_not_read(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"params": {"w": jnp.zeros((64, 64))}}, record={})
        checkpoints.wait()
        saved = checkpoints.open()
        monkeypatch.setattr(restore, "MAX_ARRAYS_BYTES", 1000)
        shapes = {"params": {"w": jax.ShapeDtypeStruct((64, 64), jnp.float32)}}
        saved.restore(shapes)  # 16 KiB of zeros in a few hundred bytes: plausible
        monkeypatch.setattr(restore, "_LARGEST_COMPRESSION", 1)
        with pytest.raises(CheckpointError, match=r"claims 0.0 GiB of arrays in .* GiB of files"):
            saved.restore(shapes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.at[(0,) * w.ndim].set(jnp.nan), "holds non-finite values"),
        (lambda w: w.astype(jnp.bfloat16), r"has bfloat16\[.*expected float32"),
        (lambda w: w.astype(jnp.int32), r"has int32\[.*expected float32"),
        (lambda w: w[..., :1], "expected float32"),
    ],
)
def test_wrong_weights_are_refused(sound, tmp_path, change, message):
    saved = Checkpoints(sound, read_only=True).open()
    params = load_run(sound).params
    leaves, tree = jax.tree.flatten(params)
    forged = jax.tree.unflatten(tree, [*leaves[:-1], change(leaves[-1])])
    with Checkpoints(tmp_path / "forged") as checkpoints:
        items = {"params": params, "ema": forged}
        checkpoints.save(1, items, arrays=saved.arrays, record=saved.record)
    with pytest.raises(CheckpointError, match=message):
        load_run(tmp_path / "forged")


def test_files_that_a_record_names_are_not_opened(forge, cache, tmp_path):
    # Whoever opens a pipe that nobody writes to waits for ever.
    pipe = tmp_path / "pipe.npy"
    os.mkfifo(pipe)
    workdir = forge(
        config__noise={"kind": "file", "file": str(pipe)}, config__data__dir=str(tmp_path)
    )
    few = ["--num_samples=1", "--num_steps=1"]
    out = tmp_path / "out"
    done = call("sample.py", f"--workdir={workdir}", f"--out={out}", *few, cache=cache)
    assert done.returncode == 0, done.stderr
    done = call("sagd_jax.likelihood", f"--workdir={workdir}", cache=cache)
    assert done.returncode == 2
    assert f"its data is in {tmp_path}: pass --dir" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_written_outside_of_where_it_was_asked_for(sound, cache, tmp_path):
    """A reader writes to --out alone, of a read-only work directory too."""
    before = {p: p.stat().st_mtime_ns for p in sound.rglob("*")}
    out = tmp_path / "out"
    flags = [f"--workdir={sound}", f"--out={out}", "--num_samples=1", "--num_steps=1"]
    done = subprocess.run(
        command("sample.py", *flags), env=environment(cache), cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0
    assert {p: p.stat().st_mtime_ns for p in sound.rglob("*")} == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_no_pickle_anywhere():
    for file in [*Path(ROOT, "sagd_jax").rglob("*.py"), ROOT / "train.py", ROOT / "sample.py"]:
        text = file.read_text()
        assert not re.search(r"\bpickle\b(?!=False)", text.replace("allow_pickle=False", "")), file
        assert not re.search(r"\b(eval|exec)\(", text.replace("literal_eval(", "")), file
        reads = text.count("np.load(") + text.count("format.read_array(")
        assert reads == text.count("allow_pickle=False)"), file
