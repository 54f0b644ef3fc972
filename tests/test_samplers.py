import functools
import itertools
import random

import dense
import jax
import jax.numpy as jnp
import linear_recursion
import numpy as np
import pytest

import sagd_jax as sagd
import sagd_jax.times
from sagd_jax import oracle, samplers
from sagd_jax.diffusion import fold_in_range, sample_per_key
from sagd_jax.frequencies import conjugate, frequency_vectors, half_grid_shape
from sagd_jax.samplers import sample

SCHEDULES = {
    "linear_beta": sagd.schedules.linear_beta(),
    "cosine": sagd.schedules.cosine(),
    "rectified_flow": sagd.schedules.rectified_flow(),
    "edm": sagd.schedules.edm(),
}


def wedge(shape, floor=0.0):
    """Noise of frequencies near the last axis, and a floor elsewhere."""
    *leading, last = (np.abs(f) for f in frequency_vectors(shape))
    across = sum(leading, np.zeros_like(last))
    return sagd.from_variance(np.where(last >= across, 1.0, floor), shape)


SPECTRA = {
    "white": sagd.white,
    "low": lambda shape: sagd.power_law(shape, alpha=-0.5),
    "high": lambda shape: sagd.power_law(shape, alpha=0.5),
    "two_band": lambda shape: sagd.two_band(shape, gamma_low=0.2),
    "hole": lambda shape: sagd.band_pass(shape, [(0, 0.4), (0.7, 1)]),
    # On one axis the wedge is everything; a hole at the top takes its place there.
    "wedge": lambda shape: wedge(shape) if len(shape) > 1 else sagd.band_pass(shape, [(0, 0.8)]),
}
VARIANTS = {
    "ddim": {},
    "ddim with eta": {"method": "ddim", "eta": 0.6},
    "ddpm": {},
    "heun": {},
    "dpmpp_2m": {},
    "sde": {"churn": 3.0},
    "pc": {"snr": 0.3},
}
FACTORS = {
    "spatial": [(9,), (8, 8), (7, 10), (4, 5, 6)],
    "channels": [1, 3],
    "schedule": list(SCHEDULES),
    "variant": list(VARIANTS),
    "grid": ["uniform", "log_snr", "edm"],
}
PREDICTIONS = ["x0", "v", "velocity", "epsilon", "score", "white_epsilon"]


def options(variant):
    return {"method": variant, **VARIANTS[variant]}


def pairwise(factors, seed=0):
    """A short list of cases in which every pair of two factors' values occurs."""
    choose = random.Random(seed)
    missing = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(factors, 2)
        for i, j in itertools.product(factors[a], factors[b])
    }
    cases = []
    while missing:
        needed = choose.choice(sorted(missing, key=str))
        best = set()
        for _ in range(60):
            case = {name: choose.choice(values) for name, values in factors.items()}
            case.update(needed)
            covered = missing & set(itertools.combinations(case.items(), 2))
            if len(covered) > len(best):
                best, best_case = covered, case
        cases.append(best_case)
        missing -= best
    for index, case in enumerate(cases):
        kinds = {
            "rectified_flow": PREDICTIONS[:3],  # the others do not determine x_0 at alpha = 0
        }.get(case["schedule"], PREDICTIONS)
        case["prediction"] = kinds[index % len(kinds)]
    return cases


def case_id(case):
    return "-".join(str(value).replace(" ", "") for value in case.values())


def gaussian_data(shape, channels, seed=0):
    rng = np.random.default_rng(seed)
    variance = np.exp(rng.uniform(np.log(0.02), np.log(3), (*half_grid_shape(shape), channels)))
    variance = np.sqrt(variance * conjugate(variance, shape))
    mean = 0.5 * rng.normal(size=(*shape, channels))
    return oracle.FourierGaussian(
        jnp.asarray(mean, jnp.float32), jnp.asarray(variance, jnp.float32)
    )


def on_full_grid(data, covariance):
    """The same data and noise for `linear_recursion`."""
    spatial = covariance.spatial_shape
    return linear_recursion.Gaussian(
        np.fft.fftn(np.asarray(data.mean, np.float64), axes=range(len(spatial))),
        np.broadcast_to(dense.full_grid(data.variance, spatial), data.mean.shape),
        np.broadcast_to(dense.full_grid(covariance.variance, spatial), data.mean.shape),
    )


def draws(key, diffusion, shape, steps):
    """What `sample` documents: a sample's key draws its start; folded with n, step n's noise."""
    keys = fold_in_range(key, 0, shape[0])

    def noise(n):
        own = jax.vmap(lambda k: jax.random.fold_in(k, n))(keys)
        return sample_per_key(diffusion.covariance, own, shape[1:])

    return diffusion.prior_sample(key, shape), jax.lax.map(noise, jnp.arange(steps))


def check_against_recursion(case, steps=9, atol=2e-4):
    spatial, channels, kwargs = case["spatial"], case["channels"], options(case["variant"])
    schedule = SCHEDULES[case["schedule"]]
    data = gaussian_data(spatial, channels)
    times = {
        "uniform": lambda: sagd.times.uniform(steps),
        "log_snr": lambda: sagd.times.uniform_log_snr(schedule, steps),
        "edm": lambda: sagd.times.edm(schedule, steps),
    }[case["grid"]]()
    # The times that a float32 sampler is at: close to t = 1 their rounding alone changes the few
    # digits of alpha = 1 - t of the rectified flow.
    times = times.astype(np.float32).astype(np.float64)
    shape, axes = (2, *spatial, channels), tuple(range(1, len(spatial) + 1))

    @jax.jit
    def run(key, diffusion):
        denoiser = data.denoiser(diffusion, case["prediction"])
        settings = {"times": times, "prediction": case["prediction"], **kwargs}
        result = sample(key, denoiser, diffusion, shape, **settings)
        return result, *draws(key, diffusion, shape, steps)

    for name, build in SPECTRA.items():
        covariance = build(spatial)
        result, start, noises = run(jax.random.key(7), sagd.Diffusion(schedule, covariance))
        gaussian = on_full_grid(data, covariance)
        # The float32 draws, without their rounding off the range (1e-7, there exactly zero in the
        # product): as data of a tiny alpha, the recursion would make it 1e-4.
        start, *noises = (
            np.where(gaussian.noise > 0, np.fft.fftn(np.asarray(x, np.float64), axes=axes), 0)
            for x in (start, *noises)
        )
        expected = linear_recursion.run(
            gaussian, case["schedule"], times, start, noises=noises, **kwargs
        )
        expected = np.fft.ifftn(expected, axes=axes).real
        np.testing.assert_allclose(result, expected, atol=atol, err_msg=name)


@pytest.mark.parametrize("case", pairwise(FACTORS), ids=case_id)
def test_samplers_follow_the_linear_recursion_on_gaussian_data(case):
    check_against_recursion(case)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("spatial", FACTORS["spatial"], ids=str)
def test_samplers_follow_the_linear_recursion_everywhere(spatial, schedule, variant):
    for channels, grid in itertools.product(FACTORS["channels"], FACTORS["grid"]):
        case = {"spatial": spatial, "channels": channels, "schedule": schedule}
        case |= {"variant": variant, "grid": grid, "prediction": "x0"}
        check_against_recursion(case)


# --- Statistics of stochastic samplers -------------------------------------------------------

STOCHASTIC = ["ddim with eta", "ddpm", "sde", "pc"]


def impulse_responses(gaussian, schedule, times, **kwargs):
    """Mean of the result, and its derivatives by the start and by every step's noise."""
    steps, zero = len(times) - 1, np.zeros_like(gaussian.noise)
    one = np.ones_like(zero)

    def run(start, noises):
        return linear_recursion.run(gaussian, schedule, times, start, noises=noises, **kwargs)

    mean = run(zero, [zero] * steps)
    unit = [[one if m == n else zero for m in range(steps)] for n in range(steps)]
    return mean, [run(one, [zero] * steps) - mean] + [run(zero, noises) - mean for noises in unit]


@pytest.mark.parametrize("variant", STOCHASTIC)
def test_stochastic_samplers_have_the_exact_mean_and_variance(variant):
    steps, count, spatial = 6, 4000, (6, 7)
    data, kwargs = gaussian_data(spatial, 1), options(variant)

    @jax.jit
    def run(key, diffusion):
        denoiser = data.denoiser(diffusion)
        return sample(key, denoiser, diffusion, (count, *spatial, 1), num_steps=steps, **kwargs)

    for name in ("low", "hole"):
        covariance = SPECTRA[name](spatial)
        diffusion = sagd.Diffusion(SCHEDULES["edm"], covariance)
        x = np.fft.fftn(np.asarray(run(jax.random.key(3), diffusion), np.float64), axes=(1, 2))
        gaussian = on_full_grid(data, covariance)
        times = np.linspace(1, 0, steps + 1)
        mean, (by_start, *by_noise) = impulse_responses(gaussian, "edm", times, **kwargs)
        squares = (80 * by_start) ** 2 + sum(np.square(derivative) for derivative in by_noise)
        variance = squares * gaussian.noise * np.prod(spatial)  # of the unnormalised transform
        on = np.broadcast_to(gaussian.noise > 0, variance.shape)
        power = np.mean(np.abs(x - mean) ** 2, axis=0)
        real = dense.is_own_conjugate(spatial)[..., None]
        error = np.sqrt(np.where(real, 2, 1) / count)
        assert np.max(np.abs(power / np.where(on, variance, 1) - 1)[on] / error[on]) < 5, name
        z = np.abs(np.mean(x, axis=0) - mean)[on] / np.sqrt(variance[on] / count)
        assert np.max(z) < 5, name
        assert np.max(power[~on], initial=0) < 1e-8 * np.max(power), name


def test_eta_one_is_ddpm():
    covariance = SPECTRA["low"]((8,))
    diffusion = sagd.Diffusion(SCHEDULES["linear_beta"], covariance)
    denoiser = gaussian_data((8,), 1).denoiser(diffusion)
    arguments = (jax.random.key(0), denoiser, diffusion, (3, 8, 1))
    np.testing.assert_allclose(
        sample(*arguments, eta=1.0), sample(*arguments, method="ddpm"), atol=2e-5
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_churn_never_passes_the_noisy_end_of_the_schedule(schedule):
    covariance = SPECTRA["low"]((8,))
    diffusion = sagd.Diffusion(SCHEDULES[schedule], covariance)
    data = gaussian_data((8,), 1)
    predict = samplers.predictor(data.denoiser(diffusion, "x0"), diffusion, "x0")
    x = 5 * covariance.sample(jax.random.key(0), (2, 8, 1))
    noise = covariance.sample(jax.random.key(1), (2, 8, 1))
    # At the end itself nothing can be added: the step is Heun's, whatever the noise.
    for factor in (0.0, 3.0):
        step = samplers.sde_step(predict, diffusion, x, 1.0, 0.6, factor * noise, churn=0.3)
        np.testing.assert_allclose(
            step, samplers.heun_step(predict, diffusion, x, 1.0, 0.6), rtol=1e-4, atol=1e-4
        )
    if schedule != "rectified_flow":  # whose end is infinitely far away in sigma / alpha
        alpha, sigma = linear_recursion.alpha_sigma(schedule, np.array([0.9925, 0.6]))
        ratio, last = sigma / alpha, np.divide(*linear_recursion.alpha_sigma(schedule, 1.0)[::-1])
        assert last < 1.4 * ratio[0]
        u, z = (np.fft.fft(np.asarray(v, np.float64), axis=1) for v in (x / alpha[0], noise))
        u = linear_recursion._step(
            on_full_grid(data, covariance), u, *ratio, "sde", z, 0, churn=0.4, snr=0, limit=last
        )
        step = samplers.sde_step(predict, diffusion, x, 0.9925, 0.6, noise, churn=0.4)
        np.testing.assert_allclose(
            step, alpha[1] * np.fft.ifft(u, axis=1).real, rtol=1e-4, atol=1e-4
        )


# --- Independence of the batch, precision, memory --------------------------------------------


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
