"""Checkpoints: exact, complete or refused, whatever happens to the process or the files."""

import errno
import inspect
import json
import logging
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sagd_jax.training import checkpoint as checkpoint_lib
from sagd_jax.training import integrity
from sagd_jax.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    NoCheckpointError,
    check_finite,
)
from sagd_jax.training.lock import LockedError


def state(step, size=64):
    """What is saved at `step`; everything follows from the number."""
    rng = np.random.default_rng(step)
    params = {
        "dense": {"kernel": jnp.asarray(rng.standard_normal((size, size)), jnp.float32)},
        "norm": [jnp.asarray(rng.standard_normal(size), jnp.bfloat16), None],
    }
    return {"params": params, "ema": jax.tree.map(lambda x: x + 1, params)}


ARRAYS = {"variance": np.arange(12, dtype=np.float32).reshape(3, 4)}


def save(checkpoints, *steps, **kwargs):
    for step in steps:
        assert checkpoints.save(step, state(step), arrays=ARRAYS, record={"step": step}, **kwargs)
    checkpoints.wait()


def assert_same(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == e.dtype
        assert np.asarray(a).tobytes() == np.asarray(e).tobytes()


def assert_holds(saved, step):
    assert saved.step == step == saved.record["step"]
    assert_same(saved.arrays, ARRAYS)
    assert_same(saved.restore(state(0)), state(step))


def directory(workdir, step):
    return workdir / "checkpoints" / str(step)


def entries(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.fixture(scope="module")
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


def flip_bit(path, rng=random):
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def biggest_file(path):
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


# Saving and reading


def test_round_trip(tmp_path):
    params = state(1)["params"]
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.constant_schedule(1)))
    items = {
        "params": params,
        "opt_state": optimizer.init(params),
        "other": {"key": jax.random.key(3), "count": 3, "half": np.float16(0.5), "n": np.ones(3)},
    }
    record = {"seed": 1, "shape": [8, 8, 1], "config": {"name": "digits", "rate": 1e-3}}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(0, items, arrays=ARRAYS, record=record)
        checkpoints.wait()
        assert checkpoints.steps() == [0]
        saved = checkpoints.open()
        assert (saved.step, saved.record) == (0, record)
        assert_same(saved.arrays, ARRAYS)
        restored = saved.restore(items)
        assert jax.tree.structure(restored) == jax.tree.structure(items)
        key = restored["other"].pop("key")
        assert np.array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))
        assert restored["other"]["count"] == 3
        for name in ("params", "opt_state"):
            assert_same(restored[name], items[name])
        assert_same(restored["other"]["n"], np.ones(3))
        assert_same(restored["other"]["half"], np.float16(0.5))


def test_one_item_is_read_without_the_others(run):
    with Checkpoints(run, read_only=True) as reader:
        ema = reader.open(20).restore(jax.eval_shape(lambda: {"ema": state(0)["ema"]}))
    assert_same(ema, {"ema": state(20)["ema"]})


def test_a_reader_needs_no_lock_and_writes_nothing(run):
    before = entries(run)
    with Checkpoints(run) as writer, Checkpoints(run, read_only=True) as reader:
        assert_holds(reader.open(), 30)
        with pytest.raises(CheckpointError, match="read only"):
            reader.save(40, state(40))
        with pytest.raises(LockedError, match=str(os.getpid())):
            Checkpoints(run)
        assert writer.steps() == reader.steps() == [10, 20, 30]
    assert entries(run) == before
    with pytest.raises(NoCheckpointError), Checkpoints(run / "x", read_only=True) as reader:
        reader.open()
    assert not (run / "x").exists()


def test_plain_orbax_can_read_it(run):
    ocp = checkpoint_lib.ocp
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(directory(run, 30) / "ema", state(0)["ema"])
    assert_same(restored, state(30)["ema"])


def test_relative_work_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpoints("run") as checkpoints:
        save(checkpoints, 1)
    assert directory(tmp_path / "run", 1).is_dir()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"step": -1}, "step"),
        ({"items": {"a b": state(0)}}, "'a b'"),
        ({"items": {"record": state(0)}}, "'record'"),
        ({"items": {"params": {}}}, "'params'"),
        ({"items": {"params": {"a": [object()]}}}, "params/a/0 is no array but a object"),
        ({"record": {"a": {1, 2}}}, "record"),
        ({"record": {"a": float("nan")}}, "record"),
    ],
)
def test_what_cannot_be_saved_is_refused_at_once(tmp_path, kwargs, message):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.save(**{"step": 1, "items": state(0), **kwargs})


@pytest.mark.parametrize("kwargs", [{"keep": 0}, {"keep_every": 0}])
def test_invalid_policy(tmp_path, kwargs):
    with pytest.raises(ValueError, match=next(iter(kwargs))):
        Checkpoints(tmp_path, **kwargs)


def test_a_save_returns_before_it_is_complete(tmp_path, monkeypatch):
    go_on, seal = threading.Event(), integrity.seal
    monkeypatch.setattr(integrity, "seal", lambda *args: (go_on.wait(30), seal(*args)))
    with Checkpoints(tmp_path) as checkpoints:
        record = {"step": 1}
        assert checkpoints.save(1, state(1), arrays=ARRAYS, record=record)
        record["step"] = 2  # what was given is ours again
        # We are back although hashing has not begun, and the step does not count yet.
        assert not go_on.is_set()
        assert checkpoints.steps() == [] and entries(tmp_path) == ["staging"]
        with Checkpoints(tmp_path, read_only=True) as reader, pytest.raises(NoCheckpointError):
            reader.open()
        go_on.set()
        checkpoints.wait()
        assert_holds(checkpoints.open(), 1)


def test_saved_buffers_may_be_donated_or_changed_at_once(tmp_path):
    advance = jax.jit(lambda x: jax.tree.map(lambda a: a * 1.5 + 1, x), donate_argnums=0)
    host = {"a": np.zeros(1 << 20, np.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 4):
            tree = {"a": jnp.full(1 << 22, float(step)), "b": jnp.full((3, 5), float(step))}
            host["a"][:] = step
            checkpoints.save(step, {"params": tree, "host": host})
            host["a"][:] = -1
            for _ in range(5):
                tree = advance(tree)
        checkpoints.wait()
        for step in checkpoints.steps():
            restored = checkpoints.open(step).restore({"params": tree, "host": host})
            assert all((leaf == step).all() for leaf in jax.tree.leaves(restored))


def test_saving_a_step_again(run):
    with Checkpoints(run) as checkpoints:
        assert checkpoints.save(30, state(1)) is False
        assert_holds(checkpoints.open(), 30)
        for step in (20, 25):
            with pytest.raises(CheckpointError, match=f"step {step} is older than step 30"):
                checkpoints.save(step, state(step))
        save(checkpoints, 31)
        assert checkpoints.steps() == [20, 30, 31]


def test_keep(tmp_path):
    with Checkpoints(tmp_path, keep=2, keep_every=4) as checkpoints:
        save(checkpoints, *range(1, 11))
        assert checkpoints.steps() == [4, 8, 9, 10]
    assert entries(tmp_path) == ["10", "4", "8", "9", "staging"]
    assert not any((tmp_path / "checkpoints" / "staging").iterdir())


def test_old_steps_go_only_after_the_new_one_is_complete(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        save(checkpoints, 1)
        go_on, seal = threading.Event(), integrity.seal
        monkeypatch.setattr(integrity, "seal", lambda *args: (go_on.wait(30), seal(*args)))
        checkpoints.save(2, state(2))
        assert checkpoints.steps() == [1]
        go_on.set()
        checkpoints.wait()
        assert checkpoints.steps() == [2]


# Failures


def test_a_failed_save_is_reported_and_the_next_one_works(run, monkeypatch):
    def disk_full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Checkpoints(run) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(integrity, "seal", disk_full)
            checkpoints.save(40, state(40))
            with pytest.raises(
                CheckpointError, match=r"step 40 failed \(OSError.* No space"
            ) as info:
                checkpoints.save(50, state(50))  # reported by the next save
        assert "newest complete step is 30" in str(info.value) and "\n" not in str(info.value)
        assert entries(run) == ["10", "20", "30", "staging"]
        assert not any((run / "checkpoints" / "staging").iterdir())  # its space is free again
        save(checkpoints, 40, 50)
        assert checkpoints.steps() == [30, 40, 50]
        assert_holds(checkpoints.open(), 50)


def test_files_that_cannot_be_written_are_reported(run):
    """The kernel refuses to let files grow, as a full disk or a quota would."""
    big = {"params": {"a": jnp.asarray(np.random.default_rng(0).random(1 << 20))}}
    with Checkpoints(run) as checkpoints:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            checkpoints.save(40, big)
            with pytest.raises(CheckpointError, match=r"step 40 failed .* complete step is 30"):
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert_holds(checkpoints.open(), 30)
        checkpoints.save(50, big)
        checkpoints.wait()
        assert_same(checkpoints.open().restore(big), big)


def test_close_reports_a_failed_save_and_frees_the_lock(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(integrity, "seal", lambda *_: 1 / 0)
        with pytest.raises(CheckpointError, match="step 40 failed"), Checkpoints(run) as failing:
            failing.save(40, state(40))
    with Checkpoints(run) as checkpoints:
        save(checkpoints, 40)


@pytest.mark.parametrize("in_the_way", ["a file", "a dangling link"])
def test_a_save_that_cannot_start_is_reported(run, in_the_way):
    staging = run / "checkpoints" / "staging"
    with Checkpoints(run) as checkpoints:
        staging.rmdir()
        staging.symlink_to("/proc/x") if "link" in in_the_way else staging.write_text("")
        with pytest.raises(CheckpointError, match="step 40 cannot be saved"):
            checkpoints.save(40, state(40))
        staging.unlink()
        save(checkpoints, 40)


def test_an_error_of_orbax_is_reported(run, monkeypatch):
    with Checkpoints(run) as checkpoints:
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(checkpoints._manager, "save", lambda *_, **__: 1 / 0)
                with pytest.raises(CheckpointError, match=r"step 40 failed \(div.* step is 30"):
                    checkpoints.save(40, state(40))
        save(checkpoints, 40)


def test_old_steps_that_cannot_be_deleted_do_not_stop_training(run, monkeypatch, caplog):
    def fail(_):
        raise PermissionError("not yours")

    monkeypatch.setattr(Checkpoints, "_prune", fail)
    with Checkpoints(run) as checkpoints:
        save(checkpoints, 40)
        assert checkpoints.steps() == [10, 20, 30, 40]
    assert "not yours" in caplog.text


# What is found on disk


def test_nothing_there_is_told_from_nothing_usable(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(NoCheckpointError):
            checkpoints.open()
        with pytest.raises(CheckpointError, match="no such step"):
            checkpoints.open(3)
        save(checkpoints, 1)
        flip_bit(biggest_file(directory(tmp_path, 1)))
        with pytest.raises(CheckpointError, match=r"no checkpoint in .* is sound: step 1: .*sum"):
            checkpoints.open()
        directory(tmp_path, 1).rename(directory(tmp_path, "1.damaged"))
        with pytest.raises(CheckpointError, match=r"1\.damaged was moved aside"):
            checkpoints.open()
    assert not issubclass(NoCheckpointError, CheckpointError)


def test_a_damaged_step_is_skipped_with_a_warning(run, caplog):
    flip_bit(biggest_file(directory(run, 30)))
    (directory(run, 20) / integrity.MANIFEST).unlink()
    with Checkpoints(run, read_only=True) as reader:
        assert_holds(reader.open(), 10)
        for step in (20, 30):
            with pytest.raises(CheckpointError, match=rf"step {step} .* complete steps: \[10"):
                reader.open(step)
        with pytest.raises(CheckpointError, match=r"no such step; complete steps: \[10, 30\]"):
            reader.open(40)
        assert reader.steps() == [10, 30]  # contents are not read for this
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2 and not any("\n" in message for message in messages)
    assert "30: " in messages[0] and "checksum" in messages[0]
    assert "20: " in messages[1] and "manifest" in messages[1]


def test_a_damaged_step_does_not_stand_in_the_way(run, caplog):
    for step in (30, 20):
        flip_bit(biggest_file(directory(run, step)))
    with Checkpoints(run, keep=1) as checkpoints:
        assert checkpoints.open().step == 10
        save(checkpoints, 15)  # moves both aside: were they counted, 15 would be pruned
        assert checkpoints.steps() == [15]
        save(checkpoints, 20, 30)
        assert_holds(checkpoints.open(), 30)
        flip_bit(biggest_file(directory(run, 30)))
        save(checkpoints, 30)
        assert_holds(checkpoints.open(), 30)
    assert entries(run) == ["20.damaged", "30", "30.damaged", "30.damaged+", "staging"]
    assert "moved a damaged checkpoint" in caplog.text


def test_other_things_named_like_steps(run, caplog):
    root = run / "checkpoints"
    (root / "99").mkdir()
    (root / "98").write_text("a file")
    (root / "97").symlink_to(directory(run, 30))
    shutil.copytree(directory(run, 30), root / "96")
    for ignored in ("007", "1.5", "-3", "x", "٣"):
        (root / ignored).mkdir()
    with Checkpoints(run, keep=2) as checkpoints:
        assert checkpoints.steps() == [10, 20, 30]
        assert_holds(checkpoints.open(), 30)
        assert [s for s in (96, 97, 98, 99) if f"/{s}: " in caplog.text] == [96, 97, 98, 99]
        save(checkpoints, 40)
        assert checkpoints.steps() == [30, 40]


def test_an_unreadable_root_is_not_an_empty_one(run):
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").write_text("")
    with Checkpoints(run, read_only=True) as reader, pytest.raises(NotADirectoryError):
        reader.open()


def test_leftovers_of_killed_saves_are_removed(run, caplog):
    staging = run / "checkpoints" / "staging"
    (staging / "40.orbax-checkpoint-tmp" / "params").mkdir(parents=True)
    shutil.copytree(directory(run, 30), staging / "50")
    with Checkpoints(run, read_only=True) as reader:
        assert reader.steps() == [10, 20, 30]
    assert len(list(staging.iterdir())) == 2
    with Checkpoints(run) as checkpoints:
        assert not any(staging.iterdir())
        assert caplog.text.count("interrupted save") == 2
        save(checkpoints, 40, 50)


def test_a_hostile_record_is_refused(run):
    path = directory(run, 30) / "record" / "metadata"
    for data in (b"[1]", b"[" * 100_000, b"\xff", b"{", b" " * (17 << 20) + b"{}"):
        path.write_bytes(data)
        integrity.seal(directory(run, 30), 30)
        with Checkpoints(run, read_only=True) as reader:
            assert reader.open().step == 20
            with pytest.raises(CheckpointError, match="record cannot be read"):
                reader.open(30)


def damage(workdir, rng):
    """Damages a random step in a random way and returns the step."""
    step = rng.choice([10, 20, 30, 30, 30])
    path = directory(workdir, step)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    if not any(p.stat().st_size for p in files):
        return step  # nothing is left to damage
    target = rng.choice([p for p in files if p.stat().st_size])
    match rng.randrange(6):
        case 0:
            os.truncate(target, rng.randrange(target.stat().st_size))
        case 1 | 2:
            flip_bit(target, rng)
        case 3:
            target.unlink()
        case 4:
            chosen = rng.choice(sorted({p.parent for p in files}))
            shutil.rmtree(chosen)
            chosen.mkdir()
        case 5:
            flip_bit(biggest_file(path), rng)
    return step


def check_damages(workdir, caplog, seeds):
    pristine = {p: p.read_bytes() for p in (workdir / "checkpoints").rglob("*") if p.is_file()}
    for seed in seeds:
        rng = random.Random(seed)
        damaged = {damage(workdir, rng) for _ in range(rng.randint(1, 3))}
        sound = sorted({10, 20, 30} - damaged)
        caplog.clear()
        with Checkpoints(workdir, read_only=True) as reader:
            if not sound:
                with pytest.raises(CheckpointError, match=r"step 30: .*step 20: .*step 10: "):
                    reader.open()
            else:
                assert_holds(reader.open(), sound[-1])
            for step in damaged:
                assert (f"/{step}: " in caplog.text) == (step > max(sound, default=0))
                with pytest.raises(CheckpointError, match=f"step {step} "):
                    reader.open(step)
        for path, data in pristine.items():
            if not path.is_file() or path.read_bytes() != data:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def test_random_damage(run, caplog):
    check_damages(run, caplog, range(40))


@pytest.mark.slow
def test_more_random_damage(run, caplog):
    check_damages(run, caplog, range(100, 300))


# Templates


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"model": state(0)["params"]}, r"no item 'model'; it has \['ema', 'params'\]"),
        ({"arrays": ARRAYS}, "no item 'arrays'"),
        ({"../20/params": state(0)["params"]}, "no item"),
        (
            {"params": {"dense": state(0)["params"]["dense"]}},
            r"params/norm/0: .* bfloat16\[64\], exp",
        ),
        (
            {"params": {**state(0)["params"], "x": jnp.ones(3)}},
            r"x: .* no such leaf, .* float32\[3\]",
        ),
        ({"params": state(0, 32)["params"]}, r"kernel: .* float32\[64, 64\], .* float32\[32, 32\]"),
        (
            {"params": jax.tree.map(lambda x: x.astype("float16"), state(0)["params"])},
            r"params/dense/kernel: .* float32\[64, 64\], expected float16\[64, 64\]",
        ),
    ],
)
def test_a_template_that_does_not_match_is_refused_before_reading(
    run, monkeypatch, template, message
):
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open()
        handler = checkpoint_lib.ocp.StandardCheckpointHandler
        monkeypatch.setattr(handler, "restore", lambda *_, **__: pytest.fail("arrays were read"))
        with pytest.raises(CheckpointError, match=message) as info:
            saved.restore({"ema": state(0)["ema"], **template})
    assert "\n" not in str(info.value)


def test_a_forged_shape_is_not_read(run):
    """The shape in the tree's metadata is changed and everything sealed again."""
    path = directory(run, 30) / "params" / "_METADATA"
    tree = json.loads(path.read_text())
    assert "[64, 64]" in path.read_text() or "write_shape" in path.read_text(), tree
    path.write_text(path.read_text().replace("64", "6400000"))
    integrity.seal(directory(run, 30), 30)
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open(30)
        huge = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct([n * 100_000 for n in x.shape], x.dtype),
            state(0)["params"],
        )
        with pytest.raises(CheckpointError):
            saved.restore({"params": huge})


def test_arrays_of_an_absurd_size_are_refused(run, monkeypatch):
    monkeypatch.setattr(checkpoint_lib, "_MAX_ARRAYS_BYTES", 47)
    with (
        Checkpoints(run, read_only=True) as reader,
        pytest.raises(CheckpointError, match="arrays claims 48 bytes, more than 47"),
    ):
        reader.open()


def test_non_finite_values_are_found(tmp_path):
    tree = {"a": jnp.ones(3), "b": [jnp.array([1.0, jnp.inf], jnp.bfloat16), jnp.arange(3)]}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"ema": tree, "opt_state": tree})
        saved = checkpoints.open()
        with pytest.raises(CheckpointError, match="ema/b/0 holds non-finite values"):
            saved.restore({"ema": tree})
        assert_same(saved.restore({"ema": tree}, finite=()), {"ema": tree})
        assert_same(saved.restore({"opt_state": tree}), {"opt_state": tree})
    check_finite("x", {"a": jnp.ones(3), "n": np.arange(3), "big": np.array(1e300), "i": 1.0})
    with pytest.raises(CheckpointError, match="x/n"):
        check_finite("x", {"a": jnp.ones(3), "n": np.array([np.nan])})


# Other devices and processes


def script(*parts):
    return "\n".join([*(p if isinstance(p, str) else inspect.getsource(p) for p in parts)])


IMPORTS = """
import os, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sagd_jax.training import integrity
from sagd_jax.training.checkpoint import CheckpointError, Checkpoints, NoCheckpointError
"""

MESHES = """
def place(tree, mesh):
    spec = lambda x: P("x") if x.ndim == 2 else P()
    return jax.tree.map(lambda x: jax.make_array_from_callback(
        x.shape, NamedSharding(mesh, spec(x)), lambda i: np.asarray(x)[i]), tree)

def template(tree):
    struct = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
    return jax.tree.map(struct, tree)

def check(restored, expected):
    for a, e in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert a.sharding == e.sharding and a.dtype == e.dtype
        for x, y in zip(a.addressable_shards, e.addressable_shards, strict=True):
            assert np.array_equal(x.data, y.data)

mesh = lambda n: jax.make_mesh((n,), ("x",), (AxisType.Auto,), devices=jax.devices()[:n])
"""

FOUR_DEVICES = """
with Checkpoints(sys.argv[1], keep=9) as checkpoints:
    for n in (4, 2):
        there = place(state(30), mesh(n))
        check(checkpoints.open(30).restore(template(there)), there)
    checkpoints.save(40, place(state(40), mesh(4)), record={"step": 40})
    there = place(state(40), mesh(2))
    check(checkpoints.open().restore(template(there)), there)
"""

TWO_PROCESSES = """
jax.distributed.initialize(sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
first = jax.process_index() == 0
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    try:
        checkpoints.open()
        raise SystemExit("opened nothing")
    except NoCheckpointError:
        pass
    for step in (1, 2, 3):
        checkpoints.save(step, place(state(step), mesh(2)), record={"step": step},
                         arrays={"variance": np.arange(12, dtype=np.float32).reshape(3, 4)})
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3]
    assert checkpoints.save(3, place(state(3), mesh(2))) is False
    there = place(state(3), mesh(2))
    check(checkpoints.open().restore(template(there)), there)
    bad = place(jax.tree.map(lambda x: x.at[0].set(jnp.nan), state(4)), mesh(2))
    seal, integrity.seal = integrity.seal, lambda *_: 1 / 0
    checkpoints.save(4, bad)
    try:
        checkpoints.wait()
        raise SystemExit("an error was lost")
    except CheckpointError as error:
        assert "step 4 failed" in str(error) and "step is 3" in str(error), error
    integrity.seal = seal
    checkpoints.save(4, bad)
    try:
        checkpoints.open().restore(template(there))
        raise SystemExit("NaN was restored")
    except CheckpointError as error:
        assert "non-finite" in str(error), error
    try:
        checkpoints.open(7)
        raise SystemExit("opened an absent step")
    except CheckpointError as error:
        assert ("no such step" in str(error)) == first
print("done")
"""


def start(source, *args, **env):
    return subprocess.Popen(
        [sys.executable, "-c", source, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **env},
        cwd=pathlib.Path(checkpoint_lib.__file__).parents[2],
    )


def test_restoring_onto_other_devices(run):
    source = script(IMPORTS, MESHES, state, FOUR_DEVICES)
    process = start(source, run, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    process.communicate(timeout=120)
    assert process.returncode == 0
    with Checkpoints(run, read_only=True) as reader:
        saved = reader.open(40)
        template = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), jax.eval_shape(lambda: state(0))
        )
        assert_same(saved.restore(template), state(40))


def test_two_processes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    source = script(IMPORTS, MESHES, state, TWO_PROCESSES)
    processes = [start(source, tmp_path, address, i, XLA_FLAGS="") for i in range(2)]
    try:
        for process in processes:
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0 and "done" in output
    finally:
        for process in processes:
            process.kill()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [3, 4]
        assert_holds(checkpoints.open(3), 3)


# Kills

SAVE_FOREVER = """
for line in sys.stdin:  # each line asks for a writer; forking spares it the imports
    pid = os.fork()
    if not pid:
        with Checkpoints(sys.argv[1], keep=2) as checkpoints:
            try:
                step = checkpoints.open().step
            except NoCheckpointError:
                step = 0
            start = step + int(line)
            while True:
                if step == start:
                    checkpoints.wait()
                    os.write(1, f"{os.getpid()}\\n".encode())
                step += 1
                checkpoints.save(step, state(step), record={"step": step},
                                 arrays={"variance": np.arange(12, dtype=np.float32).reshape(3, 4)})
    os.waitpid(pid, 0)
    os.write(1, b"dead\\n")
"""


def test_kills_lose_nothing(tmp_path):
    rng = random.Random(0)
    source = script(IMPORTS, state, SAVE_FOREVER)
    staging = tmp_path / "checkpoints" / "staging"
    newest = interrupted = 0
    with start(source, tmp_path) as process:
        assert process.stdin is not None and process.stdout is not None
        for kill in range(10):
            process.stdin.write(f"{kill % 2}\n")  # told to kill after that many complete saves
            process.stdin.flush()
            writer = int(process.stdout.readline())
            time.sleep(rng.uniform(0, 0.4))
            os.kill(writer, signal.SIGKILL)
            assert process.stdout.readline() == "dead\n"
            interrupted += any(staging.iterdir())
            with Checkpoints(tmp_path, keep=2) as checkpoints:  # no lock is left behind either
                assert not any(staging.iterdir())
                steps = checkpoints.steps()
                # Whatever bears a step's number is complete.
                assert entries(tmp_path) == sorted([*map(str, steps), "staging"])
                try:
                    saved = checkpoints.open()
                except NoCheckpointError:
                    assert newest == 0
                    continue
                assert saved.step == steps[-1] >= newest
                for step in steps:
                    assert_holds(checkpoints.open(step), step)
                newest = saved.step
        process.stdin.close()
    assert newest > 0 and interrupted > 0


def test_warnings_are_single_lines(run, caplog):
    caplog.set_level(logging.WARNING)
    flip_bit(biggest_file(directory(run, 30)))
    (run / "checkpoints" / "staging" / "40").mkdir()
    with Checkpoints(run) as checkpoints:
        checkpoints.open()
        save(checkpoints, 30)
    assert caplog.records and not any("\n" in record.getMessage() for record in caplog.records)
