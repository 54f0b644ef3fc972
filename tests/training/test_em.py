"""Rounds of restoring and training: folders of whole parts, gone on with by the same command."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from programs import TINY, call

from sagd_jax.data import ArraySource, order
from sagd_jax.data.corrupted import Corrupted
from sagd_jax.data.restored import Restored, restored, write_array, write_restored
from sagd_jax.programs import train
from sagd_jax.run.config import EMConfig, RunConfig
from sagd_jax.run.saved import load_run
from sagd_jax.training import em

CAPPED = (
    "--config.schedule.kind=capped", "--config.schedule.corruption=planted",
    "--config.data.corruption=band", "--config.data.corruption_band=(0.4,0.6)",
    "--config.noise.kind=white", "--config.noise.alpha=0", "--config.checkpoint.every=12",
    "--config.train.num_steps=4", "--config.schedule.restoring_share=0.2", "--config.model.kind=dit",
    "--config.model.dit.patch_size=4", "--config.model.dit.hidden_size=16", "--config.model.dit.depth=1",
    "--config.model.dit.num_heads=2",
)  # fmt: skip


@pytest.fixture
def config(tmp_path):
    (tmp_path / "tiny.py").write_text(TINY)
    return f"--config={tmp_path / 'tiny.py'}"


@pytest.mark.slow
def test_rounds_without_a_clean_example(config, tmp_path, cache):
    np.save(
        tmp_path / "x.npy",
        np.random.default_rng(0).uniform(-1, 1, (48, 8, 8, 1)).astype(np.float32),
    )
    flags = [config, f"--workdir={tmp_path / 'run'}", *CAPPED,
             "--config.data.name=array", f"--config.data.dir={tmp_path / 'x.npy'}",
             "--config.train.num_steps=2",
             "--config.em.rounds=2", "--config.em.draws=2", "--config.em.num_steps=2"]  # fmt: skip
    done = call("train.py", *flags, cache=cache)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    # The first network knows no restoring path: means, and a second one made anew. Then draws.
    assert "posterior means" in done.stdout and "2 draws each" in done.stdout
    # What two steps come to, of 48 examples.
    coming = np.unique([order.batch_indices(0, 48, 16, step) for step in range(2)])
    shapes = []
    for number in (1, 2):
        with np.load(folder / f"restored_{number}.npz") as file:
            shapes.append(file["x"].shape)
            np.testing.assert_array_equal(file["index"], coming)
    assert shapes == [(1, len(coming), 8, 8, 1), (2, len(coming), 8, 8, 1)]
    last = load_run(folder)  # the last round
    assert last.identity == load_run(folder / "round_2").identity
    assert last.identity != load_run(folder / "round_1").identity
    assert last.step == 2 and last.diffusion.schedule.kind == 0  # restored ones count as clean
    assert last.params["kind_embedding"]["embedding"].shape[0] == 3
    again = call("train.py", *flags, cache=cache)
    assert again.returncode == 0 and again.stdout.count("nothing to do") == 3
    assert "restored" not in again.stdout.replace("restored_", "")


def test_restoring_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    x = np.arange(40, dtype=np.float32).reshape(40, 1, 1)
    source = Corrupted(ArraySource(x, value_range=(-1, 1)), np.arange(40) % 4 > 0)
    schedule, calls = SimpleNamespace(restoring=True), []
    run = SimpleNamespace(
        identity="0123456789ab",
        diffusion=SimpleNamespace(schedule=schedule),
        model=SimpleNamespace(num_classes=0),
    )

    class Doubles:
        def __init__(self, run, **options):
            pass

        def __call__(self, y, labels, *, draw, first, interrupted, advance):
            if interrupted():
                return None
            calls.append((draw, first))
            advance(len(y))
            return 2 * y + draw

    monkeypatch.setattr(em, "load_run", lambda *arguments, **options: run)
    monkeypatch.setattr(em, "Restorer", Doubles)
    monkeypatch.setattr(em, "_PIECE", 8)
    config = dataclasses.replace(
        RunConfig(), train=dataclasses.replace(RunConfig().train, batch_size=4)
    )
    index, file = np.flatnonzero(source.kinds), tmp_path / "restored_1.npz"
    options = EMConfig(rounds=1, draws=2, num_steps=3)

    class Stop:
        exit_status = None

    stop = Stop()
    monkeypatch.setattr(
        em, "write_array", lambda *a: (write_array(*a), setattr(stop, "exit_status", 75))
    )
    assert not em._restore(config, tmp_path, source, index, file, options, stop)
    assert calls == [(0, 0), (1, 0)] and not file.exists()
    stop.exit_status = None
    monkeypatch.setattr(em, "write_array", write_array)
    assert em._restore(config, tmp_path, source, index, file, options, stop)
    assert calls == [(draw, first) for first in (0, 8, 16, 24) for draw in (0, 1)]
    with np.load(file) as made:
        np.testing.assert_array_equal(made["index"], index)
        np.testing.assert_array_equal(made["x"], 2 * x[index] + np.arange(2).reshape(2, 1, 1, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["restored_1.npz"]
    assert "restoring 30 examples (2 draws each, in 3 steps)" in capsys.readouterr().out


def test_the_examples_that_a_round_comes_to_are_restored():
    source = Corrupted(
        ArraySource(np.zeros((100, 1, 1), np.uint8), value_range=(0, 255)), np.arange(100) % 2 > 0
    )
    train = dataclasses.replace(RunConfig().train, batch_size=10)
    for steps, count in ((3, 30), (10, 100), (500, 100)):
        config = dataclasses.replace(RunConfig(), train=dataclasses.replace(train, num_steps=steps))
        comes = np.unique([order.batch_indices(0, 100, 10, step) for step in range(steps)])
        assert len(comes) == count
        np.testing.assert_array_equal(em._coming(config, source), comes[comes % 2 > 0])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--config.schedule.kind=cosine"], "restoring needs"),
        ([*CAPPED, "--config.schedule.restoring_share=0"], "restoring needs"),
        ([*CAPPED, "--config.data.corrupted_fraction=0"], "none to restore"),
    ],
)
def test_what_is_refused(flags, words, config, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main([config, f"--workdir={tmp_path / 'run'}", "--config.em.rounds=1", *flags])
    err = capsys.readouterr().err.strip()
    assert stopped.value.code == 2 and words in err and len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_restored_examples_stand_in_for_corrupted_ones(tmp_path):
    x = np.arange(20, dtype=np.uint8).reshape(20, 1, 1)
    source = Corrupted(ArraySource(x, value_range=(0, 255)), np.arange(20) % 2 == 1)
    index = np.arange(1, 20, 2)
    draws = np.stack([100.0 + index, 200.0 + index])[..., None, None]
    write_restored(tmp_path / "r.npz", draws, index)
    made = restored(source, str(tmp_path / "r.npz"))
    assert made.restored and made.kinds.sum() == 0 and made.dtype == np.uint8
    seen = []
    for step in range(30):
        batch = made.fetch(np.arange(20), step=step)
        values = batch["x"][:, 0, 0]
        np.testing.assert_array_equal(values % 100, np.arange(20))
        np.testing.assert_array_equal(values[::2] // 100, 0)
        assert batch["corrupted"].sum() == 0
        np.testing.assert_array_equal(made.fetch(np.arange(5), step=step)["x"], batch["x"][:5])
        seen.append(values[1::2] // 100)
    assert 0.3 < np.mean(np.concatenate(seen) == 1) < 0.7
    assert made.fingerprint() != Restored(source, draws.astype(np.float32) + 1, index).fingerprint()
    for arrays, words in (
        ({"x": draws[..., 0], "index": index}, "x of shape"),
        ({"x": draws, "index": index + 10}, "there are 20"),
        ({"x": draws * np.nan, "index": index}, "not finite"),
        ({"index": index}, "'x'"),
    ):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(ValueError, match=words) as raised:
            restored(source, str(tmp_path / "bad.npz"))
        assert "\n" not in str(raised.value)
