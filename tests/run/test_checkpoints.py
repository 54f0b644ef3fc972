"""Checkpoints: what is saved is read back exactly, and a save that fails loses nothing."""

import errno
import os
import resource
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from saved_states import (
    ARRAYS,
    assert_holds,
    assert_same,
    directory,
    entries,
    save,
    state,
)

from sagd_jax.run import checkpoints as checkpoint_lib
from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.lock import LockedError
from sagd_jax.run.restore import CheckpointError, NoCheckpointError


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
