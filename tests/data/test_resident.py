"""Sets on the devices: what is picked there is what the host fetches, bit for bit."""

import functools

import jax
import numpy as np
import pytest

from sagd_jax.data import ArraySource, DataConfig, open_source
from sagd_jax.data.augment import Augmented
from sagd_jax.data.resident import gather
from sagd_jax.data.restored import Restored, write_restored
from sagd_jax.data.stream import batches
from sagd_jax.training.restoring import Restoring

SEED, BATCH, STEPS = 5, 16, 4
rng = np.random.default_rng(0)


def pictures():
    return np.asarray(rng.integers(0, 256, (40, 6, 8, 3)), np.uint8)


def source_of(x, kind="image"):
    labels = np.arange(len(x)) % 3
    return ArraySource(x, value_range=(0, 255), labels=labels, num_classes=3, kind=kind)


def flagged(tmp_path, kinds, **options):
    np.save(tmp_path / "x.npy", pictures())
    np.save(tmp_path / "flags.npy", kinds)
    paths = {"dir": str(tmp_path / "x.npy"), "corrupted_flags": str(tmp_path / "flags.npy")}
    return open_source(DataConfig(name="array", **paths, **options))


def plain(tmp_path):
    return source_of(pictures())


def floats_of_other_widths(tmp_path):
    return source_of(rng.standard_normal((20, 12, 2)))


def flips(tmp_path):
    return Augmented(source_of(pictures()), flip=True)


def crops(tmp_path):
    return Augmented(source_of(pictures()), crop_padding=2)


def sounds_cropped(tmp_path):
    return Augmented(source_of(pictures()[:, 0], "audio"), crop_padding=3)


def clips_flipped_and_cropped(tmp_path):
    """Whose time axis is left alone."""
    x = np.asarray(rng.integers(0, 256, (20, 3, 6, 8, 1)), np.uint8)
    return Augmented(source_of(x, "video"), flip=True, crop_padding=2)


def flags_of_corrupted_files(tmp_path):
    return flagged(tmp_path, np.arange(40) % 2 == 0, flip=True)


def a_restoring_share(tmp_path):
    kinds = (np.arange(40) % 3).astype(np.uint8)
    return Restoring(flagged(tmp_path, kinds, flip=True, crop_padding=1), 0.5, 3)


def draws_in_the_place_of_corrupted_ones(tmp_path):
    index = np.flatnonzero(np.arange(40) % 2 == 0)
    x = rng.normal(128, 60, (3, len(index), 6, 8, 3)).astype(np.float32)
    write_restored(tmp_path / "restored.npz", x, index)
    kinds = np.arange(40) % 2 == 0
    source = flagged(tmp_path, kinds, restored=str(tmp_path / "restored.npz"), flip=True)
    assert isinstance(source._source, Restored)
    return source


@pytest.mark.parametrize(
    "make",
    [
        plain,
        floats_of_other_widths,
        flips,
        crops,
        sounds_cropped,
        clips_flipped_and_cropped,
        flags_of_corrupted_files,
        a_restoring_share,
        draws_in_the_place_of_corrupted_ones,
    ],
)
def test_batches_are_those_of_the_host(make, tmp_path):
    source = make(tmp_path)
    resident = source.resident()
    assert resident.examples.shape[1:] == tuple(source.shape)

    def stacked(of):
        drawn = list(batches(of, seed=SEED, batch_size=BATCH, start_step=7, stop_step=7 + STEPS))
        return {name: np.stack([batch[name] for batch in drawn]) for name in drawn[0]}

    wanted, rows = stacked(source), stacked(resident.rows)
    assert rows["x"].shape == (STEPS, BATCH)
    here = functools.partial(gather, axes=resident.axes, padding=resident.padding)
    found = jax.jit(here)(resident.examples, rows)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {"corruption": "band", "corruption_band": (0.5, 0.7)},
        {"filtered_bands": ((0.5, 0.7),)},
        {"filtered_bands": ((0.5, 0.7),), "flip": True},
    ],
)
def test_what_the_host_computes_stays_there(options):
    assert open_source(DataConfig(**options)).resident() is None


class Darker(ArraySource):
    def fetch(self, indices, **options):
        batch = super().fetch(indices // 2, **options)
        return {**batch, "x": batch["x"] // 2}


class Gamma(Augmented):
    def fetch(self, indices, **options):
        batch = super().fetch(indices, **options)
        return {**batch, "x": batch["x"] // 2}


def test_what_a_source_of_ones_own_does_is_done():
    own = Darker(pictures(), value_range=(0, 255))
    for source in (own, Augmented(own, flip=True), Gamma(source_of(pictures()), flip=True)):
        assert source.resident() is None


def test_two_augmentations_stay_on_the_host():
    once = Augmented(source_of(pictures()), flip=True)
    drawn = np.zeros((1, 4, 6, 8, 3), np.float32)
    for source in (Augmented(once, crop_padding=2), Restored(once, drawn, np.arange(4))):
        assert source.resident() is None


def test_a_set_too_large_is_not_copied_first():
    wide = source_of(rng.standard_normal((40, 6, 8, 3)))
    assert wide.resident(most=40 * 6 * 8 * 3 * 4) is not None
    assert wide.resident(most=40 * 6 * 8 * 3 * 4 - 1) is None
    restored = Restored(source_of(pictures()), np.zeros((1, 4, 6, 8, 3), np.float32), np.arange(4))
    assert restored.resident(most=44 * 6 * 8 * 3 * 4) is not None
    assert restored.resident(most=44 * 6 * 8 * 3 * 4 - 1) is None


def test_a_map_of_a_file_stays_where_it_is(tmp_path):
    np.save(tmp_path / "x.npy", pictures())
    config = DataConfig(name="array", dir=str(tmp_path / "x.npy"), memory_limit_mb=0)
    assert open_source(config).resident() is None
