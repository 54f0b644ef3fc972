"""`config.schedule` with a coefficient per coordinate: built from data, and again from a checkpoint."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from sagd_jax.data import DataConfig, open_source
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.run.noise import NoiseConfig
from sagd_jax.run.record import describe_run
from sagd_jax.run.restore import CheckpointError
from sagd_jax.run.saved import stored_process
from sagd_jax.run.schedule import SPECTRAL_KINDS, ScheduleConfig
from sagd_jax.system.schema import ConfigError


@pytest.fixture(scope="module")
def digits():
    return open_source(DataConfig(name="digits"))


def config(noise=None, **fields):
    return dataclasses.replace(
        RunConfig(), noise=noise or NoiseConfig(), schedule=ScheduleConfig(**fields)
    )


def fields_of(kind, tmp_path):
    if kind == "shifted":
        np.save(tmp_path / "shift.npy", np.linspace(0, 1, 40).reshape(8, 5) * 0)
        return {"shift": str(tmp_path / "shift.npy")}
    if kind == "moving":
        return {"start": "power_law:alpha=0.3", "end": "white"}
    return {}


@pytest.mark.parametrize("kind", [k for k in SPECTRAL_KINDS if k != "capped"])  # test_corruption.py
def test_a_checkpoint_makes_the_same_process(kind, digits, tmp_path):
    run = config(kind=kind, **fields_of(kind, tmp_path))
    diffusion, arrays = build.process(run, digits)
    assert diffusion.is_spectral
    record = describe_run(run, digits)
    again = stored_process(record, arrays)
    for t in (0.0, 0.37, 1.0):
        for name in ("alpha", "sigma"):
            values = getattr(diffusion.schedule, name)(t)
            np.testing.assert_array_equal(values, getattr(again.schedule, name)(t))
    np.testing.assert_array_equal(again.covariance.variance, diffusion.covariance.variance)
    x = jnp.ones((2, 8, 8, 1))
    assert np.all(np.isfinite(diffusion.schedule.input_scale(jnp.array([0.1, 1.0]))))
    assert diffusion.decode(diffusion.encode(x)).shape == x.shape


def test_the_spectrum_is_that_of_the_data(digits):
    diffusion, arrays = build.process(config(kind="shortest_path", basis="cosine"), digits)
    x = digits.fetch(np.arange(len(digits)))["x"].astype(np.float64)
    x = x * (2 / digits.value_range[1]) - 1
    state = diffusion.schedule.basis.forward(jnp.asarray(x - x.mean(), jnp.float32))
    expected = np.mean(np.square(np.asarray(state, np.float64)), axis=0)
    expected = np.maximum(expected, 1e-6 * expected.max())
    np.testing.assert_allclose(arrays["schedule_spectrum"], expected, rtol=2e-3, atol=1e-5)


def test_a_changed_array_of_a_checkpoint_is_refused(digits):
    run = config(kind="shortest_path")
    _, arrays = build.process(run, digits)
    record = describe_run(run, digits)
    for damage, words in (
        (lambda a: {k: v for k, v in a.items() if k != "schedule_spectrum"}, "has no array"),
        (lambda a: {**a, "schedule_spectrum": 0 * a["schedule_spectrum"]}, "none > 0"),
        (lambda a: {**a, "schedule_spectrum": a["schedule_spectrum"][:4]}, "spectrum.shape"),
    ):
        with pytest.raises((ConfigError, CheckpointError), match=words) as raised:
            stored_process(record, damage(arrays))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("noise", "fields", "words"),
    [
        (None, {"kind": "shifted"}, r"config\.schedule\.shift=None"),
        (None, {"kind": "shifted", "shift": "none.npy"}, r"config\.schedule\.shift='none.npy'"),
        (None, {"kind": "moving", "end": "pinkish"}, r"config\.schedule\.end='pinkish'"),
        (None, {"kind": "equal_snr", "spectrum": "none.npy"}, r"config\.schedule\.spectrum="),
        (
            NoiseConfig(kind="power_law", alpha=0.5),
            {"kind": "shortest_path"},
            "contains the spectrum",
        ),
        (NoiseConfig(kind="power_law", alpha=0.5), {"kind": "blurring"}, "diagonal in"),
    ],
)
def test_what_is_refused(noise, fields, words, digits):
    with pytest.raises(ConfigError, match=words) as raised:
        build.process(config(noise, **fields), digits)
    assert "\n" not in str(raised.value)


def test_haar_needs_powers_of_two():
    signals = open_source(DataConfig(name="synthetic", field_shape=(6, 6)))
    with pytest.raises(ConfigError, match="powers of two"):
        build.process(config(kind="equal_snr", basis="haar"), signals)


def test_a_covariance_per_class_goes_through_a_checkpoint(digits):
    run = config(NoiseConfig(kind="from_data", per_class=True, exponent=0.5))
    diffusion, arrays = build.process(run, digits)
    assert arrays["variance"].shape[0] == 10
    again = stored_process(describe_run(run, digits), arrays)
    each = again.at(jnp.array([3, 7]))
    np.testing.assert_array_equal(
        each.covariance.variance, diffusion.covariance.variance[np.array([3, 7])]
    )
    with pytest.raises(CheckpointError, match="for 9 classes"):
        stored_process(describe_run(run, digits), {"variance": arrays["variance"][:9]})
