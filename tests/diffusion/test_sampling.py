"""What `sample` does around the steps: keys, grids, trajectories, options, refusals."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sampler_cases import SCHEDULES, SPECTRA, VARIANTS, options

import sagd_jax as sagd
from sagd_jax.diffusion import samplers
from sagd_jax.diffusion.samplers import Ddim, Sampler, named
from sagd_jax.diffusion.sampling import sample


def network(x, t):
    """Nonlinear, time-dependent, and different for every site; treats samples on their own."""
    weights = jnp.cos(jnp.arange(x[0].size, dtype=x.dtype)).reshape(x.shape[1:])
    t = t.reshape(-1, *(1,) * (x.ndim - 1))
    return 0.9 * x + 0.2 * jnp.tanh(weights * x + t) + 0.1 * jnp.roll(x, 1, axis=1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sample_i_does_not_depend_on_the_batch(variant):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], SPECTRA["low"]((4, 5)))
    settings = {"num_steps": 4, "prediction": "v", **options(variant)}

    @functools.partial(jax.jit, static_argnums=0)
    def run(count, offset):
        return sample(
            jax.random.key(5), network, diffusion, (count, 4, 5, 2), offset=offset, **settings
        )

    whole = run(6, 0)
    assert len(np.unique(np.round(whole, 4), axis=0)) == 6
    parts = jnp.concatenate([run(2, 0), run(2, 2), run(2, 4)])
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-6)


def isotropic(key, shape, steps, ancestral):
    """DDIM and DDPM on the cosine schedule for white noise, with no covariance anywhere."""
    keys = [jax.random.fold_in(key, i) for i in range(shape[0])]

    def normal(keys):
        return jnp.stack([jax.random.normal(k, shape[1:]) for k in keys])

    schedule, x = SCHEDULES["cosine"], None
    times = np.linspace(1, 0, steps + 1).astype(np.float32)
    x = schedule.sigma(1.0) * normal(keys)
    for n, (t, s) in enumerate(itertools.pairwise(times)):
        e = network(x, jnp.full(shape[:1], t))
        x0 = (x - schedule.sigma(t) * e) / schedule.alpha(t)
        if ancestral:
            ratio = schedule.alpha(t) / schedule.alpha(s)
            added = jnp.maximum(schedule.sigma(t) ** 2 - (ratio * schedule.sigma(s)) ** 2, 0)
            mean = (ratio * schedule.sigma(s) ** 2 / schedule.sigma(t) ** 2) * x
            mean = mean + (schedule.alpha(s) * added / schedule.sigma(t) ** 2) * x0
            scale = jnp.sqrt(added) * schedule.sigma(s) / schedule.sigma(t)
            x = mean + scale * normal([jax.random.fold_in(k, n) for k in keys])
        else:
            x = schedule.alpha(s) * x0 + schedule.sigma(s) * e
    return x


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
def test_white_noise_is_the_isotropic_algorithm_bit_for_bit(method):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], sagd.white((4, 5)))
    key, shape = jax.random.key(2), (3, 4, 5, 2)
    # One operation at a time: a compiler may fuse (and round) two equal programs differently.
    with jax.disable_jit():
        result = sample(key, network, diffusion, shape, num_steps=3, method=method)
        expected = isotropic(key, shape, 3, ancestral=method == "ddpm")
    np.testing.assert_array_equal(result, expected)


def test_compiled_and_eager_samples_agree():
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], SPECTRA["hole"]((8,)))

    def run(key, diffusion):
        return sample(key, network, diffusion, (2, 8, 1), method="sde", churn=2.0, prediction="v")

    eager = run(jax.random.key(0), diffusion)
    np.testing.assert_allclose(jax.jit(run)(jax.random.key(0), diffusion), eager, atol=2e-5)


def test_the_network_may_compute_in_bfloat16():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], SPECTRA["low"]((8,)))

    def denoiser(x, t):
        return network(x.astype(jnp.bfloat16), t.astype(jnp.bfloat16))

    arguments = (diffusion, (2, 8, 1))
    low = sample(jax.random.key(0), denoiser, *arguments, num_steps=5, prediction="v")
    high = sample(jax.random.key(0), network, *arguments, num_steps=5, prediction="v")
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, high, atol=0.1)
    assert not np.array_equal(low, high)


@pytest.mark.parametrize("variant", ["ddim", "dpmpp_2m", "sde"])
def test_memory_does_not_grow_with_the_number_of_steps(variant):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], SPECTRA["low"]((8, 8)))

    def memory(steps, trajectory=False):
        def run(key):
            return sample(
                key, network, diffusion, (4, 8, 8, 1), prediction="v", num_steps=steps,
                trajectory=trajectory, **options(variant),
            )  # fmt: skip

        analysis = jax.jit(run).lower(jax.random.key(0)).compile().memory_analysis()
        return analysis.temp_size_in_bytes + analysis.output_size_in_bytes

    state = 4 * 4 * 8 * 8
    assert memory(200) - memory(20) < 10 * state
    if variant == "ddim":
        assert memory(200, trajectory=True) - memory(20, trajectory=True) > 100 * state


EVALUATIONS = {"ddim": 4, "ddpm": 4, "dpmpp_2m": 4, "heun": 7, "sde": 7, "pc": 8}


@pytest.mark.parametrize("method", EVALUATIONS)
def test_evaluations_of_the_denoiser(method):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], sagd.white((4,)))
    seen = []

    def denoiser(x, t):
        assert t.shape == (2,)
        jax.debug.callback(lambda t: seen.append(tuple(t.tolist())), t)
        return 0 * x

    churn = 1.0 if method == "sde" else 0.0
    settings = {"num_steps": 4, "method": method, "prediction": "v", "churn": churn}
    sample(jax.random.key(0), denoiser, diffusion, (2, 4, 1), **settings).block_until_ready()
    jax.effects_barrier()
    assert len(seen) == EVALUATIONS[method]
    assert all(first == second and first > 0 for first, second in seen)
    if method != "sde":
        assert {first for first, _ in seen} == {1.0, 0.75, 0.5, 0.25}


# --- Start, trajectory, singular covariances --------------------------------------------------


def test_trajectory_runs_from_the_prior_to_the_sample():
    diffusion = sagd.Diffusion(SCHEDULES["edm"], SPECTRA["low"]((8,)))
    arguments = (jax.random.key(1), network, diffusion, (3, 8, 1))
    states = sample(*arguments, num_steps=5, prediction="x0", trajectory=True)
    assert states.shape == (6, 3, 8, 1)
    np.testing.assert_array_equal(states[0], diffusion.prior_sample(jax.random.key(1), (3, 8, 1)))
    np.testing.assert_allclose(
        states[-1], sample(*arguments, num_steps=5, prediction="x0"), rtol=1e-6, atol=1e-6
    )
    # Each state is where a run that starts from the one before arrives.
    predict = samplers.predictor(network, diffusion, "x0")
    times = np.linspace(1, 0, 6)
    np.testing.assert_allclose(
        samplers.ddim_step(predict, diffusion, states[2], times[2], times[3]),
        states[3], rtol=1e-5, atol=1e-5,
    )  # fmt: skip


def test_a_run_can_be_continued_from_a_state():
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], SPECTRA["low"]((8,)))
    arguments = (jax.random.key(1), network, diffusion, (3, 8, 1))
    times = np.linspace(1, 0, 9)
    states = sample(*arguments, times=times, method="heun", trajectory=True)
    rest = sample(*arguments, times=times[3:], method="heun", start=states[3])
    np.testing.assert_allclose(rest, states[-1], rtol=1e-5, atol=1e-5)


def test_a_late_grid_starts_with_the_noise_of_its_time():
    diffusion = sagd.Diffusion(SCHEDULES["edm"], SPECTRA["low"]((8,)))
    states = sample(
        jax.random.key(1), network, diffusion, (3, 8, 1), times=[0.5, 0.1, 0], trajectory=True
    )
    prior = diffusion.prior_sample(jax.random.key(1), (3, 8, 1))
    np.testing.assert_allclose(states[0], prior * 0.5**7, rtol=1e-5)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_off_the_range_of_a_singular_covariance_data_are_kept(variant, prediction):
    """Whatever the network says there, x_t = alpha_t x_0 exactly."""
    covariance = SPECTRA["hole"]((8, 8))
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], covariance)
    data = jax.random.normal(jax.random.key(1), (4, 8, 8, 1)).at[0].set(0)
    start, _ = diffusion.diffuse(jax.random.key(2), data, 0.75)
    settings = {"times": np.linspace(0.75, 0, 6), "prediction": prediction, **options(variant)}
    x = sample(jax.random.key(0), network, diffusion, (4, 8, 8, 1), start=start, **settings)
    off = data - covariance.project(data)
    np.testing.assert_allclose(x - covariance.project(x), off, atol=1e-5)
    assert np.std(covariance.project(x)[0]) > 0.1


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("prediction", ["epsilon", "score", "white_epsilon"])
def test_predictions_of_noise_alone_are_refused_at_alpha_zero(prediction):
    diffusion = sagd.Diffusion(SCHEDULES["rectified_flow"], sagd.white((4,)))
    arguments = (jax.random.key(0), network, diffusion, (2, 4, 1))
    with pytest.raises(ValueError, match=f"{prediction}.*x0, v or velocity"):
        jax.jit(lambda: sample(*arguments, prediction=prediction))()
    sample(*arguments, prediction=prediction, times=[0.99, 0.5, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "plms"}, "method='plms'.*'ddim', 'euler'"),
        ({"prediction": "noise"}, "prediction='noise'.*'epsilon'"),
        ({"eta": 1.5}, r"eta=1.5: expected a number in \[0, 1\]"),
        ({"eta": 0.5, "method": "heun"}, "eta=0.5.*unless method='ddim'"),
        ({"eta": 0.5, "method": "euler"}, "eta=0.5.*unless method='ddim'"),
        ({"churn": -1.0, "method": "sde"}, "churn=-1.0.*>= 0"),
        ({"churn": 1.0}, "churn=1.0.*unless method='sde'"),
        ({"snr": 0.9}, "snr=0.9: method='ddim' has no option snr .*unless method='pc'"),
        ({"churn": 2.0, "method": "heun"}, "churn=2.0: method='heun' has no option churn .*none"),
        ({"noise": 2.0}, "noise=2.0: method='ddim' has no option noise .*it has: eta"),
        ({"eta": float("nan")}, "eta=nan: expected a number"),
        ({"method": Ddim(0.5), "eta": 0.5}, "eta: method=Ddim"),
        ({"method": Ddim}, "method=<class .*Ddim'>: expected one of ddim, .*or a Sampler"),
        ({"method": 3}, "method=3: expected one of ddim"),
        ({"eta": "much"}, "eta=much: expected a number"),
        ({"snr": 1.0, "method": "pc"}, r"snr=1.0: expected a number in \[0, 1\)"),
        ({"num_steps": 0}, "num_steps=0: expected an integer >= 1"),
        ({"times": [1.0, 0.5]}, "times=.*the last one 0"),
        ({"start": np.zeros((2, 5, 1))}, r"start: its shape \(2, 5, 1\).*\(2, 4, 1\)"),
        ({"denoiser": lambda x, t: x[..., 0]}, r"denoiser.*\(2, 4\).*\(2, 4, 1\)"),
        ({"shape": (2, 5, 1)}, r"expected \(\.\.\., \*spatial, channels\)"),
    ],
)
def test_bad_arguments(options, message):
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], sagd.white((4,)))
    arguments = {"denoiser": network, "diffusion": diffusion, "shape": (2, 4, 1), **options}
    with pytest.raises(ValueError, match=message):
        sample(jax.random.key(0), **arguments)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sampler_is_a_value(variant):
    given = options(variant)
    method = given.pop("method", "ddim")
    value = named(method, **given)
    assert value == named(method, **given) and hash(value) == hash(named(method, **given))
    diffusion = sagd.Diffusion(SCHEDULES["cosine"], sagd.power_law((8,), -0.5))
    arguments = (jax.random.key(0), network, diffusion, (2, 8, 1))
    by_name = sample(*arguments, method=method, num_steps=3, prediction="v", **given)
    by_value = sample(*arguments, method=value, num_steps=3, prediction="v")
    np.testing.assert_array_equal(by_name, by_value)


def test_another_methods_option_at_its_default_changes_nothing():
    assert named("heun", eta=0.0, churn=0.0, snr=0.16) == named("heun")


def test_a_sampler_of_ones_own_needs_no_entry():
    @dataclasses.dataclass(frozen=True)
    class Half(Sampler):
        def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
            return x / 2, memory

    diffusion = sagd.Diffusion(SCHEDULES["cosine"], sagd.white((4,)))
    start = np.ones((2, 4, 1), np.float32)
    x = sample(
        jax.random.key(0), network, diffusion, (2, 4, 1), method=Half(), num_steps=3, start=start
    )
    np.testing.assert_array_equal(x, start / 8)
