"""`config.noise.file`: what is read, and what is wrong with a file in one line."""

import numpy as np
import pytest

from sagd_jax.run import build
from sagd_jax.run.config import CorruptedNoiseConfig, NoiseConfig, RunConfig
from sagd_jax.system.schema import ConfigError

POWER = 1 + np.random.default_rng(0).random((16, 9, 1))


def covariance(path, shape=(16, 16)):
    return build.covariance(NoiseConfig(kind="file", file=str(path)), shape)


def save(path, power=POWER):
    np.save(path / "power.npy", power)
    return path / "power.npy"


def test_a_file_of_this_size_is_used(tmp_path):
    power = POWER.copy()
    power[1:, [0, -1]] = (power[1:, [0, -1]] + power[:0:-1, [0, -1]]) / 2
    variance = np.asarray(covariance(save(tmp_path, power)).variance)
    np.testing.assert_allclose(variance / variance[0, 0], power / power[0, 0], rtol=1e-5)


def test_a_spectrum_of_other_data_says_how_to_make_it_anew(tmp_path):
    path = save(tmp_path)
    for shape in ((8, 8), (16, 8), (16,)):
        with pytest.raises(
            ConfigError, match=r"config\.noise\.file='.*power.npy': shape"
        ) as raised:
            covariance(path, shape)
        assert str(raised.value).endswith(
            "python -m sagd_jax.spectrum --config=CONFIG --out=FOLDER"
        )


def test_the_section_is_named(tmp_path):
    config = RunConfig(corrupted_noise=CorruptedNoiseConfig(kind="file", file=str(save(tmp_path))))
    with pytest.raises(ConfigError, match=r"^config\.corrupted_noise\.file='.*power.npy': shape"):
        build.corrupted_covariance(config, (8, 8))


@pytest.mark.parametrize("damage", ["cut", "empty", "archive", "missing", "complex", "text"])
def test_damage_is_said_in_one_line(tmp_path, damage):
    path = save(tmp_path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "archive":
        np.savez(tmp_path / "power.npz", POWER)
        path.write_bytes((tmp_path / "power.npz").read_bytes())
    elif damage == "missing":
        path.unlink()
    else:
        save(tmp_path, POWER.astype(complex if damage == "complex" else str))
    with pytest.raises(ConfigError, match=r"config\.noise\.file='.*power.npy': ") as raised:
        covariance(path)
    assert "\n" not in str(raised.value)
