"""Errors of a denoiser per band and time: the exact one's is (11)'s."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.evaluation.denoising import denoising_errors

EDGES = (0.0, 0.35, 0.7, 1.0)
TIMES = (0.1, 0.5, 0.9)


def test_the_exact_denoiser_has_its_closed_form():
    shape = (8, 8)
    r = sagd.radial_frequency(shape)
    power = (0.05 / (0.05 + r) ** 2)[..., None]
    mean = jnp.linspace(-1, 1, 64).reshape(8, 8, 1)
    data = sagd.oracle.FourierGaussian(mean, jnp.asarray(power))
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law(shape, -0.7))
    x0 = data.sample(jax.random.key(0), 600)
    found = denoising_errors(
        jax.random.key(1), data.denoiser(diffusion, "v"), diffusion, x0, EDGES,
        times=TIMES, prediction="v",
    )  # fmt: skip
    weight = np.broadcast_to([1.0, 2, 2, 2, 1], r.shape)
    radius = sagd.radial_frequency(shape, unit="max")
    noise = np.asarray(diffusion.covariance.variance)[..., 0]
    for i, t in enumerate(TIMES):
        alpha, sigma = float(diffusion.schedule.alpha(t)), float(diffusion.schedule.sigma(t))
        s = power[..., 0]
        error = s * sigma**2 * noise / (alpha**2 * s + sigma**2 * noise)
        for band in range(3):
            inside = (radius >= EDGES[band] - 1e-9) & (
                radius < EDGES[band + 1] + 1e-9 * (band == 2)
            )
            expected = (weight * error)[inside].sum() / weight[inside].sum()
            assert found.standard_error[i, band] < 0.05 * expected
            assert abs(found.error[i, band] - expected) < 4.5 * found.standard_error[i, band]


def test_no_examples_or_times():
    diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8,)))
    x0 = np.zeros((3, 8, 1))
    for change, words in [({"x0": x0[:1]}, "1 examples"), ({"times": (0.0,)}, r"times=\(0.0,\)")]:
        with pytest.raises(ValueError, match=words):
            denoising_errors(
                **{
                    "key": jax.random.key(0), "denoiser": lambda x, t: x, "diffusion": diffusion,
                    "x0": x0, "edges": EDGES, **change,
                }
            )  # fmt: skip
