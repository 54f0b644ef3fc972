"""Spectra that stand beside previews: estimated alike, few rings, and read as data."""

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data.source import ArraySource
from sagd_jax.run import profiles


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (3000,), (8, 16, 16)])
def test_white_signals_have_a_flat_one_in_few_rings(shape):
    x = np.random.default_rng(0).normal(size=(60, *shape, 1))
    found = profiles.profile_of(x)
    assert found.count == 60 and len(found.radius) <= profiles.MOST_RINGS
    assert np.all(np.diff(found.radius) > 0)
    assert np.all(np.abs(found.power - 1) < 6 * found.error) and np.all(found.error < 0.3)


def test_nothing_to_estimate():
    assert profiles.profile_of(np.zeros((1, 8, 8, 1))) is None
    assert profiles.profile_of(np.zeros((5, 1, 1, 1))) is None


def test_data_are_mapped_and_clean_ones_chosen():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 8, 8, 1)).astype(np.uint8)
    source = ArraySource(x, value_range=(0, 255))
    found = profiles.profile_of_source(source)
    assert found.count == 300 and found.power.mean() == pytest.approx(1 / 3, rel=0.1)
    x[::2] = 128  # corrupted, to constants
    source.kinds = np.arange(300) % 2 == 0
    assert profiles.profile_of_source(source).power.mean() == pytest.approx(1 / 3, rel=0.1)


def test_it_is_read_as_it_was_written(tmp_path):
    x = np.asarray(sagd.power_law((16, 16), -1).sample(_key(), (10, 16, 16, 1)))
    found = profiles.profile_of(x)
    profiles.write(tmp_path / "x.json", found)
    again = profiles.read(tmp_path / "x.json")
    for a, b in zip(found.lines, again.lines, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert again.count == 10


def _key():
    import jax

    return jax.random.key(0)


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '{"radius": [1], "power": [1], "error": [1]}', "nonsense",
     '{"radius": [1], "power": [1, 2], "error": [1], "count": 1}',
     '{"radius": [1], "power": [NaN], "error": [1], "count": 1}',
     '{"radius": [[1]], "power": [[1]], "error": [[1]], "count": 1}'],
)  # fmt: skip
def test_what_is_none_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json is no spectrum of this program"):
        profiles.read(tmp_path / "x.json")
