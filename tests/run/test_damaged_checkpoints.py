"""Damaged checkpoints: named, skipped, never loaded, never deleted."""

import logging
import os
import random
import shutil

import pytest
from saved_states import assert_holds, biggest_file, directory, entries, flip_bit, save

from sagd_jax.run import integrity
from sagd_jax.run.checkpoints import Checkpoints
from sagd_jax.run.restore import CheckpointError, NoCheckpointError


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
    words = "checkpoints cannot be read: NotADirectoryError"
    with Checkpoints(run, read_only=True) as reader, pytest.raises(CheckpointError, match=words):
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


@pytest.mark.thorough
def test_random_damage(run, caplog):
    check_damages(run, caplog, range(40))


@pytest.mark.slow
def test_more_random_damage(run, caplog):
    check_damages(run, caplog, range(100, 300))


def test_warnings_are_single_lines(run, caplog):
    caplog.set_level(logging.WARNING)
    flip_bit(biggest_file(directory(run, 30)))
    (run / "checkpoints" / "staging" / "40").mkdir()
    with Checkpoints(run) as checkpoints:
        checkpoints.open()
        save(checkpoints, 30)
    assert caplog.records and not any("\n" in record.getMessage() for record in caplog.records)
