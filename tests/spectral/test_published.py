"""Spectra and the cosine basis against numbers that other people's published code gave.

`tests/diffusion/published.json` says where each comes from; numbers have nine digits.
"""

import json
import pathlib

import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax import bases

PUBLISHED = json.loads(
    (pathlib.Path(__file__).parents[1] / "diffusion" / "published.json").read_text()
)


def cases(block):
    found = PUBLISHED[block]["cases"]
    return pytest.mark.parametrize("case", found, ids=range(len(found)))


def variance(covariance):
    return np.asarray(covariance.variance, np.float64)[..., 0]


@cases("offset")
def test_offset(case):
    shape = tuple(case["shape"])
    covariance = sagd.offset(shape, case["noise_offset"])
    np.testing.assert_allclose(
        variance(covariance), np.array(case["dft"]) / case["mean"], rtol=1e-6
    )
    found = covariance.coefficients(bases.cosine(shape))[..., 0]
    np.testing.assert_allclose(found, np.array(case["dct"]) / case["mean"], rtol=1e-6)


def multiresolution(case):
    """The arguments for a published case; None where its sizes are not halved one by one."""
    shape, levels, weights = case["shape"], case["levels"], case.get("weights")
    if isinstance(levels, str):
        return None
    own = list(levels)
    full = own[0] == shape
    if full:
        own, weights = own[1:], weights[1:]
    if own != [[max(n >> k, 1) for n in shape] for k in range(1, len(own) + 1)]:
        return None
    discount = case.get("discount", case.get("strength"))
    # With a first level of the full size it counts twice; without one the weights begin at 1.
    white = 2.0 if full else discount**2
    return {"discount": discount, "levels": len(own), "white": white}


def test_which_published_multiresolution_noises_are_expressed():
    found = [multiresolution(case) is not None for case in PUBLISHED["multiresolution"]["cases"]]
    assert found == [True, True, False, True, False]


@pytest.mark.parametrize("basis", ["fourier", "cosine"])
@cases("multiresolution")
def test_multiresolution(case, basis):
    options = multiresolution(case)
    if options is None:
        pytest.skip("sizes that are drawn, or not halved one by one")
    found = sagd.multiresolution(tuple(case["shape"]), basis=basis, **options)
    published = np.array(case["dft" if basis == "fourier" else "dct"])
    np.testing.assert_allclose(variance(found), published / case["mean"], rtol=2e-6)


@cases("power_law")
def test_power_law(case):
    found = variance(sagd.power_law((case["n"],), -case["exponent"] / 2, dc="nearest"))
    np.testing.assert_allclose(found, case["relative"], rtol=2e-6)
    named = {2: "brown", 1: "pink", -1: "blue", -2: "violet"}.get(case["exponent"])
    if named:
        np.testing.assert_allclose(
            variance(sagd.colour((case["n"],), named)), case["relative"], rtol=2e-6
        )


def test_laplacian():
    block = PUBLISHED["laplacian"]
    arguments = block["arguments"]
    shape = tuple(arguments["shape"])
    first, second = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    sines = np.sin(np.pi * first) ** 2 + np.sin(np.pi * second) ** 2
    power = (arguments["scale"] + 4 * shape[0] ** 2 * sines) ** (-2 * arguments["power"])
    found = variance(sagd.from_variance(power, shape))
    np.testing.assert_allclose(found, block["relative"], rtol=2e-6)


@cases("matern_gstools")
def test_matern(case):
    found = sagd.matern(tuple(case["shape"]), case["len_scale"], case["nu"])
    np.testing.assert_allclose(variance(found), case["relative"], rtol=5e-6)


@cases("matern_gaussian_rf")
def test_matern_without_dc(case):
    shape = (case["size"],) * case["dim"]
    values = variance(sagd.matern(shape, case["length"], case["smoothness"]))
    values[(0,) * case["dim"]] = 0
    found = variance(sagd.from_variance(values, shape))
    # The published length has nine digits, and their zero is rounding.
    np.testing.assert_allclose(found, case["relative"], rtol=1e-5, atol=1e-12)


def test_the_cosine_transform():
    for case in PUBLISHED["dct"]["images"]:
        image = np.array(case["image"])[..., None]
        basis = bases.cosine(image.shape[:-1])
        published = np.array(case["coefficients"])
        np.testing.assert_allclose(basis.forward(image)[..., 0], published, atol=2e-6)
        np.testing.assert_allclose(
            sagd.host.coordinates(image[None], basis)[0, ..., 0], published, atol=1e-8
        )


def test_blurring_is_a_gain_in_the_cosine_basis():
    block = PUBLISHED["heat"]
    image = np.array(block["image"])
    basis = bases.cosine(image.shape)
    state = basis.forward(image[..., None])
    for sigma, blurred in zip(block["blurred_sigma"], block["blurred"], strict=True):
        published = block["attenuation"][block["attenuation_sigma"].index(sigma)]
        gain = np.exp(-((2 * np.pi * basis.radius[..., 0] * sigma) ** 2) / 2)
        np.testing.assert_allclose(gain, published, rtol=1e-7, atol=1e-15)
        found = basis.inverse(gain[..., None] * state)[..., 0]
        np.testing.assert_allclose(found, blurred, atol=1e-6)
