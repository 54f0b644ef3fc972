"""The isotropic case against Hugging Face diffusers: same network, start and noise, 50 steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sagd_jax as sagd
from sagd_jax.diffusion.process import fold_in_range
from sagd_jax.diffusion.sampling import sample

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

SHAPE, STEPS = (2, 8, 8, 3), 50
DIFFUSION = sagd.Diffusion(sagd.schedules.linear_beta(), sagd.white(SHAPE[1:3]))
COMMON = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
WEIGHTS = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32) / 3


def network(x, timestep, xp):
    """An epsilon network of NumPy-like operations, for channels last; `timestep` is 0 to 999."""
    first, second = (xp.asarray(w) for w in WEIGHTS)
    hidden = xp.tanh(x @ first + 0.002 * timestep)
    return 0.7 * x + 0.3 * (hidden @ second)


def denoiser(x, t):
    return network(x, (1000 * t - 1).reshape(-1, 1, 1, 1), jnp)


def draws(key):
    keys = fold_in_range(key, 0, SHAPE[0])

    def step(n):
        own = jax.vmap(lambda k: jax.random.fold_in(k, n))(keys)
        return DIFFUSION.covariance.sample(own, SHAPE[1:])

    return DIFFUSION.prior_sample(key, SHAPE), [step(n) for n in range(STEPS)]


def channels_first(x):
    return torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)


def run_diffusers(scheduler, key, monkeypatch=None, **settings):
    scheduler.set_timesteps(STEPS)
    assert scheduler.timesteps.tolist() == list(range(999, 0, -20))
    start, noises = draws(key)
    x = channels_first(start)
    for n, timestep in enumerate(scheduler.timesteps):
        noise = channels_first(noises[n])
        step = dict(settings)
        if settings.get("eta"):
            step["variance_noise"] = noise
        if isinstance(scheduler, diffusers.DDPMScheduler):
            module = "diffusers.schedulers.scheduling_ddpm.randn_tensor"
            monkeypatch.setattr(module, lambda *a, noise=noise, **k: noise)
        e = network(x.permute(0, 2, 3, 1), float(timestep), torch).permute(0, 3, 1, 2)
        x = scheduler.step(e, timestep, x, **step).prev_sample
    return x.permute(0, 2, 3, 1).numpy()


def run_package(key, **settings):
    return sample(key, denoiser, DIFFUSION, SHAPE, num_steps=STEPS, **settings)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim(eta):
    scheduler = diffusers.DDIMScheduler(
        **COMMON, clip_sample=False, timestep_spacing="trailing", set_alpha_to_one=True
    )
    key = jax.random.key(0)
    expected = run_diffusers(scheduler, key, eta=eta)
    np.testing.assert_allclose(run_package(key, eta=eta), expected, atol=1e-4)


def test_ddpm(monkeypatch):
    scheduler = diffusers.DDPMScheduler(**COMMON, clip_sample=False, timestep_spacing="trailing")
    key = jax.random.key(1)
    expected = run_diffusers(scheduler, key, monkeypatch)
    np.testing.assert_allclose(run_package(key, method="ddpm"), expected, atol=1e-4)


def test_dpmpp_2m():
    scheduler = diffusers.DPMSolverMultistepScheduler(
        **COMMON,
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        timestep_spacing="trailing",
        final_sigmas_type="zero",
    )
    key = jax.random.key(2)
    expected = run_diffusers(scheduler, key)
    np.testing.assert_allclose(run_package(key, method="dpmpp_2m"), expected, atol=1e-4)
