"""Samplers: from noise to data along a grid of times, one pure step function for each method.

(9) Probability-flow ODE: dx/dt = alpha' x0_hat + sigma' e_hat, with e_hat = E[e | x_t]. Where
    alpha > 0, in u = x / alpha and r = sigma / alpha, it is du/dr = e_hat. No Sigma appears, so
    deterministic samplers keep the coefficients of isotropic diffusion; Sigma enters through the
    start x_1 ~ N(0, sigma_1^2 Sigma) and through the noise of stochastic steps.

Every step reads the prediction as the pair (x0_hat, e_hat), whose e_hat lies in the range of Sigma
(equation 14), and forms x_s = alpha_s x0_hat + sigma_s e_hat (+ noise): nothing divides by
alpha(1) = 0. A step goes from time t to s < t; its arguments are

    predict    (x, t) -> (x0_hat, e_hat), see `predictor`
    diffusion  the process
    x          state at t, `(batch, *spatial, channels)`
    t, s       scalar times
    noise      a draw from N(0, Sigma) like x, for stochastic steps

The posterior of equation (8) is `Diffusion.posterior`. Clipping or thresholding of x0_hat belongs
to the denoiser.

Sources: DDPM, Ho et al. 2020 (arXiv 2006.11239); DDIM, Song et al. 2021 (arXiv 2010.02502); Heun
and churn, Karras et al. 2022 (arXiv 2206.00364), algorithms 1 and 2; DPM-Solver++(2M), Lu et al.
2022 (arXiv 2211.01095); predictor-corrector, Song et al. 2021 (arXiv 2011.13456); for coloured
noise, SAGD (arXiv 2510.09660), equations 31 to 35.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion import NEEDS_ALPHA, PREDICTIONS, Diffusion, fold_in_range, sample_per_key
from sagd_jax.system.errors import check_choice
from sagd_jax.times import check_times, uniform

METHODS = ("ddim", "euler", "ddpm", "heun", "dpmpp_2m", "sde", "pc")

Denoiser = Callable[[jax.Array, jax.Array], jax.Array]
Predict = Callable[[jax.Array, ArrayLike], tuple[jax.Array, jax.Array]]


def sample(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    shape: Sequence[int],
    *,
    method: str = "ddim",
    num_steps: int = 50,
    times: ArrayLike | None = None,
    prediction: str = "epsilon",
    eta: float = 0.0,
    churn: float = 0.0,
    snr: float = 0.16,
    offset: int | jax.Array = 0,
    start: ArrayLike | None = None,
    trajectory: bool = False,
) -> jax.Array:
    """Draws samples: a scan of one method's step over a grid of times.

    Sample i depends on `fold_in(key, offset + i)` alone, hence on neither the batch size nor the
    device count. Wrap the call in `jax.jit` to compile it once for many keys.

    Args:
      key: a `jax.random.key`.
      denoiser: `(x_t, t) -> prediction`, with t of shape `(n,)`; may compute in any precision.
      diffusion: the process the denoiser was trained for.
      shape: `(n, *spatial, channels)`.
      method: "ddim"; "euler" (ddim with eta 0); "ddpm" (ancestral, equation 8); "heun" and
        "dpmpp_2m" (second order); "sde" (heun with churn); "pc" (Langevin corrector, then ddim).
        "heun", "sde" and "pc" evaluate the denoiser twice a step, the others once.
      num_steps: number of intervals, uniform in t, where `times` is not given.
      times: explicit decreasing grid in [0, 1] that ends in 0; see `times.py`.
      prediction: kind of the denoiser's output, one of "epsilon", "x0", "v", "velocity", "score",
        "white_epsilon".
      eta: for "ddim", in [0, 1]: scale of the noise's standard deviation, 1 is "ddpm".
      churn: for "sde", >= 0: total noise added, as EDM's S_churn; 0 is "heun".
      snr: for "pc", in [0, 1): the corrector's signal-to-noise ratio r.
      offset: index of the first sample.
      start: state at the first time, of shape `shape`; by default a draw from N(0, sigma^2 Sigma).
        On a singular Sigma its part off the range is kept, as data without noise.
      trajectory: whether to return the states at all times.

    Returns:
      Samples of shape `shape`; with `trajectory`, the states of shape `(len(times), *shape)`, from
      the start to the samples. Float32, or float64 where JAX's x64 mode is on.

    Raises:
      ValueError: for an argument outside the values above, an option the method does not take, a
        denoiser that changes the shape, or a prediction of epsilon, score or white_epsilon where
        the grid starts at alpha = 0.

    >>> import jax, sagd_jax as sagd
    >>> from sagd_jax.samplers import sample
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
    >>> denoiser = lambda x, t: 0 * x  # E[v | x_t] for data that are themselves N(0, Sigma)
    >>> sample(jax.random.key(0), denoiser, diffusion, (4, 8, 8, 1), prediction="v").shape
    (4, 8, 8, 1)
    """
    _check_options(method, eta, churn, snr)
    grid = uniform(num_steps) if times is None else check_times(times)
    check_prediction(diffusion, prediction, grid[0])
    dtype = jnp.result_type(float)
    shape = tuple(shape)
    if start is None:
        # The prior is that of t = 1; a grid that starts later starts with the noise of its time.
        x = diffusion.prior_sample(key, shape, offset).astype(dtype)
        if grid[0] < 1:
            x = x * (diffusion.sigma(grid[0], x) / diffusion.sigma(1.0, x))
    else:
        x = jnp.asarray(start).astype(dtype)
        if x.shape != shape:
            raise ValueError(f"start: its shape {x.shape} is not shape={shape}")
    # A singular Sigma never changes the data off its range: read there once, at the start, since
    # reading it anew would divide the rounding of every state by a small alpha.
    clean = 0.0 if start is None else diffusion.off_range(x, grid[0])
    predict = predictor(denoiser, diffusion, prediction, clean)
    keys = fold_in_range(key, offset, shape[0])
    steps = len(grid) - 1

    def draw(index: jax.Array) -> jax.Array:
        # The sample's own key drew its start; the noise of step n comes from that key folded.
        own = jax.vmap(lambda k: jax.random.fold_in(k, index))(keys)
        return sample_per_key(diffusion.covariance, own, shape[1:], dtype)

    def advance(state, step):
        x, previous = state
        index, t, s = step
        if method == "ddpm":
            x = ddpm_step(predict, diffusion, x, t, s, draw(index))
        elif method == "heun" or (method == "sde" and churn == 0):
            x = heun_step(predict, diffusion, x, t, s)
        elif method == "sde":
            x = sde_step(predict, diffusion, x, t, s, draw(index), churn / steps)
        elif method == "pc":
            x = pc_step(predict, diffusion, x, t, s, draw(index), snr)
        elif method == "dpmpp_2m":
            x, x0 = dpmpp_2m_step(predict, diffusion, x, t, s, *previous)
            previous = (x0, t)
        elif eta == 0:
            x = ddim_step(predict, diffusion, x, t, s)
        else:
            x = ddim_step(predict, diffusion, x, t, s, draw(index), eta)
        return (x, previous), x if trajectory else None

    previous = (jnp.zeros_like(x), jnp.asarray(grid[0], dtype)) if method == "dpmpp_2m" else None
    steps_and_times = (np.arange(steps), grid[:-1].astype(dtype), grid[1:].astype(dtype))
    (final, _), states = jax.lax.scan(advance, (x, previous), steps_and_times)
    return jnp.concatenate([x[None], states]) if trajectory else final


def predictor(
    denoiser: Denoiser,
    diffusion: Diffusion,
    prediction: str = "epsilon",
    clean: jax.Array | float | None = None,
) -> Predict:
    """Turns a denoiser into the `predict` of the step functions: `(x, t) -> (x0_hat, e_hat)`.

    Args:
      denoiser: `(x_t, t) -> prediction`, t of shape `(batch,)`.
      diffusion: the process.
      prediction: kind of the denoiser's output, as in `Diffusion.predict`.
      clean: x_0 off the range of a singular Sigma, where it is known, as there.

    Returns:
      A function of the state and a scalar time, whose results have the dtype of the state.
    """

    def predict(x: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        output = denoiser(x, jnp.full(x.shape[:1], t, x.dtype))
        if jnp.shape(output) != x.shape:
            raise ValueError(
                f"denoiser: it returned shape {jnp.shape(output)} for an input of shape {x.shape}; "
                "expected the same"
            )
        return diffusion.predict(output.astype(x.dtype), x, t, prediction, clean)

    return predict


def check_prediction(diffusion: Diffusion, prediction: str, t: float) -> None:
    """Raises ValueError unless `prediction` is a known kind that determines x_0 at t, the start."""
    check_choice("prediction", prediction, PREDICTIONS)
    with jax.ensure_compile_time_eval():
        alpha = float(diffusion.schedule.alpha(t))
    if alpha == 0 and prediction in NEEDS_ALPHA:
        raise ValueError(
            f"prediction={prediction!r}: at the first time (t = {t:g}) alpha is 0, where it says "
            "nothing of the data; use a network that predicts x0, v or velocity"
        )


def ddim_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    noise: ArrayLike = 0.0,
    eta: float = 0.0,
) -> jax.Array:
    """One DDIM step: `eta` times the posterior's standard deviation of equation (8) is noise.

    eta = 0 is the first-order solver of equation (9), eta = 1 is `ddpm_step`.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import samplers
    >>> diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white((4,)))
    >>> predict = samplers.predictor(lambda x, t: 0 * x, diffusion, "x0")
    >>> float(samplers.ddim_step(predict, diffusion, jnp.ones((1, 4, 1)), 1.0, 0.5)[0, 0, 0])
    0.5
    """
    x0, e = predict(x, t)
    variance = diffusion.sigma(s, x) ** 2
    scale = eta * diffusion.posterior(x0, x, s, t)[1]
    # eta <= 1 keeps the difference >= 0; rounding must not make it negative.
    kept = jnp.sqrt(jnp.maximum(variance - scale**2, 0)) if eta else diffusion.sigma(s, x)
    return diffusion.alpha(s, x) * x0 + kept * e + scale * noise


def ddpm_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    noise: ArrayLike,
) -> jax.Array:
    """One ancestral step: a draw from the posterior q(x_s | x_t, x0_hat) of equation (8)."""
    mean, scale = diffusion.posterior(predict(x, t)[0], x, s, t)
    return mean + scale * noise


def heun_step(
    predict: Predict, diffusion: Diffusion, x: jax.Array, t: ArrayLike, s: ArrayLike
) -> jax.Array:
    """One step of Heun's method on du/dr = e_hat, equation (9).

    It is the DDIM step where sigma_s = 0 (e_hat cannot be read there) or alpha_t = 0 (r is
    infinite there; a single first-order step leaves the order 2 of the whole intact).
    """
    x0, e = predict(x, t)
    euler = diffusion.alpha(s, x) * x0 + diffusion.sigma(s, x) * e

    def correct():
        alpha_t, alpha_s = diffusion.alpha(t, x), diffusion.alpha(s, x)
        # alpha_s times the change of r = sigma / alpha, from t to s
        change = diffusion.sigma(s, x) - alpha_s * diffusion.sigma(t, x) / alpha_t
        return euler + 0.5 * change * (predict(euler, s)[1] - e)

    has_slope = (diffusion.schedule.sigma(s) > 0) & (diffusion.schedule.alpha(t) > 0)
    return jax.lax.cond(has_slope, correct, lambda: euler)


def dpmpp_2m_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    x0_previous: jax.Array,
    t_previous: ArrayLike,
) -> tuple[jax.Array, jax.Array]:
    """One step of DPM-Solver++(2M), which remembers x0_hat of the step before.

    It is the DDIM step with x0_hat extrapolated, linearly in the log-SNR, from the previous time
    and t to the middle of [t, s]. First order where there is nothing to extrapolate from
    (`t_previous` = t) or the log-SNR of an end is infinite.

    Args:
      x0_previous: x0_hat at `t_previous` > t; any value where `t_previous` = t.
      t_previous: scalar time of the step before.

    Returns:
      `(x_s, x0_hat)`: the state at s, and the x0_hat at t to give to the next step.
    """
    x0, e = predict(x, t)
    log_snr = diffusion.schedule.log_snr
    ahead, behind = log_snr(s) - log_snr(t), log_snr(t) - log_snr(t_previous)
    usable = (behind > 0) & jnp.isfinite(ahead)
    weight = jnp.where(usable, 0.5 * ahead / jnp.where(usable, behind, 1), 0).astype(x.dtype)
    shift = weight * (x0 - x0_previous)
    # The same x_t = alpha_t x0 + sigma_t e, split with the extrapolated x0.
    e = e - diffusion.alpha(t, x) / diffusion.sigma(t, x) * shift
    return diffusion.alpha(s, x) * (x0 + shift) + diffusion.sigma(s, x) * e, x0


def sde_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    noise: ArrayLike,
    churn: float,
) -> jax.Array:
    """One step of EDM's stochastic sampler: noise is added up to a later time, then a Heun step.

    Args:
      churn: sigma / alpha grows by the factor 1 + min(churn, sqrt(2) - 1), not beyond that of
        t = 1. (`sample` divides its own `churn` by the number of steps.)
    """
    factor = 1 + min(churn, math.sqrt(2) - 1)
    schedule = diffusion.schedule
    log_snr = schedule.log_snr(t) - 2 * math.log(factor)
    # At the noisy end of the schedule there is no later time; maximum() absorbs the rounding of
    # the inverse there.
    later = jnp.maximum(schedule.time(log_snr), t)
    alpha, alpha_later = diffusion.alpha(t, x), diffusion.alpha(later, x)
    ratio = jnp.where(alpha > 0, alpha_later / jnp.where(alpha > 0, alpha, 1), 1)
    added = diffusion.sigma(later, x) ** 2 - (ratio * diffusion.sigma(t, x)) ** 2
    x = ratio * x + jnp.sqrt(jnp.maximum(added, 0)) * noise
    return heun_step(predict, diffusion, x, later, s)


def pc_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    noise: ArrayLike,
    snr: float,
) -> jax.Array:
    """One predictor-corrector step: a Langevin step at t, then a deterministic DDIM step to s.

    The corrector is x - (delta / sigma) e_hat + sqrt(2 delta) noise with delta = 2 snr^2 sigma^2:
    Langevin dynamics preconditioned by Sigma, since e_hat = -sigma Sigma score. Its step has no
    norm of the batch in it, so that samples stay independent of each other.
    """
    sigma = diffusion.sigma(t, x)
    x = x - (2 * snr**2 * sigma) * predict(x, t)[1] + (2 * snr * sigma) * noise
    return ddim_step(predict, diffusion, x, t, s)


def _check_options(method: str, eta: float, churn: float, snr: float) -> None:
    check_choice("method", method, METHODS)
    if not 0 <= eta <= 1 or (eta and method != "ddim"):
        raise ValueError(f"eta={eta}: expected a number in [0, 1], and 0 unless method='ddim'")
    if not 0 <= churn < math.inf or (churn and method != "sde"):
        raise ValueError(f"churn={churn}: expected a number >= 0, and 0 unless method='sde'")
    if not 0 <= snr < 1:
        raise ValueError(f"snr={snr}: expected a number in [0, 1)")
