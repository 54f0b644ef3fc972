"""Draws divided by their own standard deviation, as the article's listing does."""

import jax
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.data import ArraySource
from sagd_jax.run import build
from sagd_jax.run.config import RunConfig
from sagd_jax.run.record import describe_run
from sagd_jax.run.saved import stored_process
from sagd_jax.system import schema
from sagd_jax.system.schema import ConfigError


@pytest.mark.parametrize("alpha", [-0.06, 0.04])
def test_it_is_the_listing(alpha):
    shape = (3, 16, 16, 2)
    key = jax.random.key(1)
    white = np.asarray(sagd.white((16, 16)).sample(key, shape), np.float64)
    f = np.fft.fftfreq(16)
    w = (np.hypot(f[:, None], f) + 1e-10) ** alpha
    shaped = np.fft.ifftn(np.fft.fftn(white, axes=(1, 2)) * w[..., None], axes=(1, 2)).real
    expected = shaped / (shaped.std(axis=(1, 2), keepdims=True) + 1e-8)
    covariance = sagd.power_law((16, 16), alpha, dc="floor").with_unit_draws()
    np.testing.assert_allclose(covariance.sample(key, shape), expected, rtol=1e-4, atol=1e-5)


def test_it_has_no_density():
    covariance = sagd.power_law((8,), -0.5).with_unit_draws()
    with pytest.raises(ValueError, match="have no density"):
        covariance.log_prob(jax.numpy.zeros((8, 1)))
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), covariance)
    with pytest.raises(ValueError, match="not Gaussian"):
        sagd.likelihood.bound(
            jax.random.key(0), lambda x, t: x, diffusion, jax.numpy.zeros((2, 8, 1)), num_times=1,
            prediction="v",
        )  # fmt: skip


def config(**sections):
    noise = {"kind": "power_law", "unit_draws": True, **sections.pop("noise", {})}
    return schema.build(RunConfig, {"noise": noise, **sections})


SOURCE = ArraySource(np.zeros((4, 8, 8, 1), np.uint8), value_range=(0, 255))


def test_a_run_and_its_checkpoint_have_it():
    diffusion, arrays = build.process(config(), SOURCE)
    assert diffusion.covariance.unit_draws
    again = stored_process(describe_run(config(), SOURCE), arrays)
    x = [one.prior_sample(jax.random.key(0), (2, 8, 8, 1)) for one in (diffusion, again)]
    np.testing.assert_array_equal(*x)
    np.testing.assert_allclose(np.std(x[0], axis=(1, 2, 3)), 1, rtol=1e-3)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"noise": {"basis": "cosine"}}, "in the Fourier basis alone"),
        ({"corrupted_noise": {"kind": "white"}}, "not together with a covariance per class or"),
        ({"schedule": {"kind": "capped"}}, "not together with config.schedule.kind='capped'"),
        (
            {"noise": {"kind": "product", "members": ["power_law:unit_draws=True"]}},
            "said of the whole noise",
        ),
    ],
)
def test_what_does_not_go_with_it(sections, words):
    with pytest.raises(ConfigError, match=words) as caught:
        build.process(config(**sections), SOURCE)
    assert len(str(caught.value).splitlines()) == 1
