"""Arguments that people get wrong: one line that names them, or taken as they are, with no warning."""

import dataclasses
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion import checks
from sagd_jax.diffusion.likelihood import dequantize

SHAPE = (4, 6)
COSINE, NOISE = sagd.schedules.cosine(), sagd.power_law(SHAPE, alpha=-0.5)
DIFFUSION = sagd.Diffusion(COSINE, NOISE)
SPECTRUM = sagd.power_spectrum.estimate(np.random.default_rng(0).normal(size=(64, *SHAPE, 1)))
KEY = jax.random.key(0)
X = np.random.default_rng(1).normal(size=(2, *SHAPE, 1))  # float64, as NumPy makes it


def zero(x, t):
    return 0 * x


class Line(sagd.Schedule):
    """alpha = 1 - t, sigma = t, for others to break."""

    def alpha(self, t):
        return 1 - jnp.asarray(t)

    def sigma(self, t):
        return jnp.asarray(t)


class Upwards(Line):
    def alpha(self, t):
        return jnp.asarray(t)

    def sigma(self, t):
        return 1 - jnp.asarray(t)


class Constant(Line):
    def alpha(self, t):
        return 1.0


class Infinite(Line):
    def sigma(self, t):
        return 1 / (1 - jnp.asarray(t))


class OfNumPy(Line):
    def alpha(self, t):
        return 1 - np.asarray(t)


class OfMath(Line):
    def alpha(self, t):
        return math.cos(t)


class Duck:
    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t


@dataclasses.dataclass(frozen=True)
class Power(Line):
    """A schedule whose parameter may be traced."""

    exponent: float

    def sigma(self, t):
        return t**self.exponent


def sample(*arguments, **options):
    return sagd.sample(*arguments, num_steps=1, **options)


WRONG = {
    "a schedule's name": (lambda: sagd.Diffusion("cosine", NOISE), "schedule='cosine': expected a S"),
    "its function": (lambda: sagd.Diffusion(sagd.schedules.cosine, NOISE), "<function cosine>: exp"),
    "its class": (lambda: sagd.Diffusion(sagd.schedules.Cosine, NOISE), "expected a Schedule"),
    "swapped": (lambda: sagd.Diffusion(NOISE, COSINE), "schedule=<FourierCovariance>: expected a S"),
    "a spectrum's name": (lambda: sagd.Diffusion(COSINE, "white"), "covariance='white': expected"),
    "its variance": (lambda: sagd.Diffusion(COSINE, NOISE.variance), "expected a FourierCovariance"),
    "no schedule's methods": (lambda: sagd.Diffusion(Duck(), NOISE), "lacks log_snr, time, alpha_p"),
    "upwards": (lambda: sagd.Diffusion(Upwards(), NOISE), "-inf, -2.2, 0, 2.2, inf at t = 0, 0.25"),
    "a number": (lambda: sagd.Diffusion(Constant(), NOISE), r"alpha\(t\) has shape \(\)"),
    "infinite": (lambda: sagd.Diffusion(Infinite(), NOISE), r"sigma\(1\) is inf"),
    "of NumPy": (lambda: sagd.Diffusion(OfNumPy(), NOISE), r"alpha\(t\) is not made of jax.numpy"),
    "of math": (lambda: sagd.Diffusion(OfMath(), NOISE), r"alpha\(t\) fails for an array"),
    "shifted": (lambda: sagd.calibration.shifted(Upwards(), 1.0), "to decrease"),
    "a grid's schedule": (lambda: sagd.time_grids.edm("edm", 5), "schedule='edm'"),
    "a seed": (lambda: NOISE.sample(0, X.shape), r"key=0: expected a jax.random.key"),
    "a seed to diffuse": (lambda: DIFFUSION.diffuse(0, X, 0.5), "key=0"),
    "a seed to sample": (lambda: sample(0, zero, DIFFUSION, X.shape), "key=0"),
    "no key": (lambda: sample(None, zero, DIFFUSION, X.shape), "key=None"),
    "keys": (lambda: sample(jax.random.split(KEY), zero, DIFFUSION, X.shape), r"key: .* of \(2,\)"),
    "words": (lambda: NOISE.sample(np.zeros(3, np.uint32), X.shape), "expected a jax.random.key"),
    "a size": (lambda: sample(KEY, zero, DIFFUSION, 8), "shape=8: expected a tuple"),
    "no process": (lambda: sample(KEY, zero, COSINE, X.shape), "diffusion=Cosine.*sagd.Diffusion"),
    "no denoiser": (lambda: sample(KEY, None, DIFFUSION, X.shape), "denoiser=None: expected a fun"),
    "words of time": (lambda: sample(KEY, zero, DIFFUSION, X.shape, times="edm"), "times='edm'"),
    "steps for times": (lambda: DIFFUSION.diffuse(KEY, X, 500), r"t=500: expected times in \[0, 1\]"),
    "three times": (lambda: DIFFUSION.diffuse(KEY, X, [0.1, 0.2, 0.3]), "t: 3 times for signals"),
    "complex": (lambda: DIFFUSION.diffuse(KEY, X * 1j, 0.5), "x0: expected real numbers"),
    "an int dtype": (lambda: NOISE.sample(KEY, X.shape, np.uint8), "dtype="),
    "channels": (
        lambda: sagd.power_law((8, 8, 3), 0.5).sample(KEY, (2, 8, 8, 3)),
        r"spatial_shape has no channels: \(8, 8\) for 3 channels",
    ),
    "no tuple": (lambda: sagd.power_law(32, 0.5), "spatial_shape=32: expected a tuple"),
    "another shape": (lambda: sagd.from_data(SPECTRUM, (8, 8)), r"the spectrum is of \(4, 6\)"),
    "no shape": (lambda: sagd.from_data(SPECTRUM.power), "spatial_shape=None"),
    "data": (lambda: sagd.from_data(X, SHAPE), r"power.shape=\(2, 4, 6, 1\).*estimate"),
    "text": (lambda: sagd.from_variance("abc", (8,)), "variance='abc': expected an array"),
    "ragged": (lambda: sagd.from_variance([[1], [2, 3]], (8,)), "expected an array of real numbers"),
    "an amplitude": (lambda: sagd.spectra.from_amplitude(np.ones(3), (8,)), r"expected \(5,\)"),
    "a band": (lambda: sagd.band_pass((8,), 0.5), "bands=0.5"),
    "a frequency": (lambda: sagd.notch((8,), 0.25), "frequencies=0.25"),
    "an axis": (lambda: sagd.radial_frequency(SHAPE, axes=0), "axes=0: expected distinct"),
    "a product": (lambda: sagd.product([NOISE, NOISE]), "covariances: <list> is no"),
    "a mixture": (lambda: sagd.mixture(NOISE, [1]), "covariances=<FourierCovariance>: expected at"),
    "a complement": (lambda: sagd.complement(3), "covariance: 3 is no covariance"),
    "a shift": (lambda: sagd.calibration.shifted(COSINE, "1"[1:]), "shift='': expected a finite"),
    "a beta": (lambda: sagd.schedules.linear_beta("small"), "beta_min='small'"),
    "a generator": (lambda: sagd.power_spectrum.estimate(x for x in [X]), "gone through twice"),
    "nested lists": (lambda: sagd.power_spectrum.estimate(X.tolist()), "expected arrays of shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named_in_one_line(name):
    call, words = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_arrays_of_any_kind_are_taken_without_a_warning():
    t = np.array([0.1, 0.9])
    lists = (X.tolist(), t.tolist())
    floats = (X.astype(np.float32), t.astype(np.float32))
    uses = {
        "diffuse": lambda x, t: DIFFUSION.diffuse(KEY, x, t),
        "predict": lambda x, t: DIFFUSION.predict(x, x, t, "velocity"),
        "convert": lambda x, t: DIFFUSION.convert(x, x, t, "v", "score"),
        "target": lambda x, t: DIFFUSION.target(x, x, t, "v"),
        "posterior": lambda x, t: DIFFUSION.posterior(x, x, 0.1, t),
        "loss": lambda x, t: sagd.losses.denoising_loss(DIFFUSION, x, x, x, t),
        "log_prob": lambda x, t: NOISE.log_prob(x),
        "sqrt": lambda x, t: NOISE.sqrt(x),
        "start": lambda x, t: sample(KEY, zero, DIFFUSION, X.shape, start=x),
        "times": lambda x, t: sagd.sample(KEY, zero, DIFFUSION, X.shape, times=[1, t[0], 0]),
        "dequantize": lambda x, t: dequantize(KEY, x),
    }
    for name, use in uses.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results = [use(*given) for given in ((X, t), lists, floats)]
        for got in jax.tree.leaves(results[:2]):
            assert got.dtype == jnp.float32, name
        for got in results[:2]:
            jax.tree.map(np.testing.assert_array_equal, got, results[2])


def test_log_likelihood_takes_float64_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = sagd.log_likelihood(
            KEY, zero, DIFFUSION, X, times=np.linspace(1, 0, 5), prediction="v"
        )
    np.testing.assert_allclose(got, NOISE.log_prob(X), rtol=1e-2)


def test_whole_numbers_are_noised_like_their_floats():
    pixels = np.arange(48, dtype=np.uint8).reshape(2, *SHAPE, 1)
    whole, _ = DIFFUSION.diffuse(KEY, pixels, 0.5)
    np.testing.assert_array_equal(whole, DIFFUSION.diffuse(KEY, pixels.astype(np.float32), 0.5)[0])


def test_the_old_kind_of_key_draws_what_the_new_one_does():
    old = jax.random.PRNGKey(7)
    for key in (old, np.asarray(old)):
        drawn = NOISE.sample(key, X.shape)
        np.testing.assert_array_equal(drawn, NOISE.sample(jax.random.key(7), X.shape))
    pairs = jax.random.split(old, 3)
    assert NOISE.sample(pairs, X.shape).shape == (3, *X.shape)


def test_a_spectrum_is_taken_whole():
    expected = sagd.from_data(SPECTRUM.power, SHAPE, exponent=0.5)
    np.testing.assert_array_equal(
        sagd.from_data(SPECTRUM, exponent=0.5).variance, expected.variance
    )
    shift = sagd.calibration.log_snr_shift(SPECTRUM, sagd.white(SHAPE), NOISE)
    assert shift == sagd.calibration.log_snr_shift(SPECTRUM.power, sagd.white(SHAPE), NOISE)


def test_an_array_of_jax_is_one_batch():
    x = np.random.default_rng(0).normal(size=(64, *SHAPE, 1)).astype(np.float32)
    spectrum = sagd.power_spectrum.estimate(jnp.asarray(x))
    assert spectrum.spatial_shape == SHAPE and spectrum.num_examples == 64


def test_transformations_put_anything_into_a_diffusion():
    assert jax.tree.map(lambda leaf: None, DIFFUSION).schedule == COSINE
    jax.tree.unflatten(jax.tree.structure(DIFFUSION), [object()])
    jax.eval_shape(lambda d: d.prior_sample(KEY, X.shape), DIFFUSION)
    by_position = sagd.Diffusion(COSINE, 0)  # as a prefix, such as in_axes
    doubled = jax.tree.map(lambda v: jnp.stack([v, v]), DIFFUSION)
    drawn = jax.vmap(lambda d: d.prior_sample(KEY, X.shape), in_axes=(by_position,))(doubled)
    np.testing.assert_allclose(drawn[0], DIFFUSION.prior_sample(KEY, X.shape), atol=1e-6)


def test_a_schedule_may_be_traced_or_have_arrays():
    loss = lambda p: sagd.Diffusion(Power(p), NOISE).diffuse(KEY, X, 0.5)[0].sum()  # noqa: E731
    assert np.isfinite(jax.jit(jax.grad(loss))(2.0))

    class Spectral(Line):
        basis = sagd.bases.fourier(NOISE.spatial_shape)

        def alpha(self, t):
            raise AssertionError("what is no scalar of t is not tried")

    assert sagd.Diffusion(Spectral(), NOISE)


def test_the_schedules_of_the_package_pass_the_check_that_others_get():
    for schedule in (
        COSINE,
        sagd.schedules.linear_beta(),
        sagd.schedules.rectified_flow(),
        sagd.schedules.edm(),
    ):
        assert checks._fault(schedule) is None
    assert sagd.Diffusion(Line(), NOISE)


ONE = X[0]
T = np.full(2, 0.5)
PAIR = DIFFUSION.diffuse(KEY, X, T)


def loss(prediction=PAIR[1], x0=X, noise=PAIR[1], t=T):
    return sagd.losses.denoising_loss(DIFFUSION, prediction, x0, noise, t)


def likelihood(x0):
    return sagd.log_likelihood(KEY, zero, DIFFUSION, x0, prediction="v", num_steps=2)


def draw(denoiser=zero, **options):
    options = {"num_steps": 2, "prediction": "v", **options}
    return sagd.sample(KEY, denoiser, DIFFUSION, (2, *SHAPE, 1), **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        # Of one signal without a batch each row would be taken for a signal.
        (lambda: likelihood(ONE), "x0: shape (4, 6, 1); expected (batch, 4, 6, channels)"),
        (lambda: likelihood(X[:0]), "x0: shape (0, 4, 6, 1); expected (batch, 4, 6, channels)"),
        (lambda: loss(ONE, ONE, ONE, 0.5), "x0: shape (4, 6, 1); expected (batch, 4, 6, channels)"),
        (
            lambda: loss(prediction=PAIR[1][:1]),
            "prediction: shape (1, 4, 6, 1); expected that of x0",
        ),
        (lambda: loss(noise=PAIR[1][:1]), "noise: shape (1, 4, 6, 1); expected that of x0"),
        (lambda: loss(prediction=PAIR[1][..., 0]), "prediction: shape (2, 4, 6); expected (batch,"),
        (lambda: DIFFUSION.diffuse(KEY, X, T[:, None]), "t: shape (2, 1); expected () or (batch,)"),
        (lambda: DIFFUSION.diffuse(jax.random.split(KEY), X, T), "expected one jax.random.key"),
        (
            lambda: draw(lambda x, t: 1j * x),
            "denoiser: it returned complex64; expected real floats",
        ),
        (lambda: draw(lambda x, t: x.astype(int)), "denoiser: it returned int32"),
        (lambda: draw(offset=-1), "offset=-1: expected 0 to 4294967294"),
        (lambda: draw(offset=2**33), "offset=8589934592: expected 0 to"),
        (lambda: draw(num_steps=True), "num_steps=True: expected an integer >= 1"),
        (
            lambda: jax.grad(lambda a: sagd.power_law(SHAPE, alpha=a).variance.sum())(0.3),
            "alpha: expected a number, not one that JAX traces",
        ),
    ],
)
def test_what_would_be_read_otherwise_is_refused(call, words):
    with pytest.raises((ValueError, TypeError)) as refused:
        call()
    assert words in str(refused.value) and len(str(refused.value).splitlines()) == 1
