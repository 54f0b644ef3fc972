"""Samplers: one pure step function for each method, and the methods as values with their options.

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

States are signals under a scalar schedule and their coordinates otherwise (`Diffusion.encode`); all
formulas are elementwise there, two of them with a form of their own:

(22a) Heun in the angle theta = arctan(sigma / alpha) instead of r: with (x0', e') read at the Euler step
      x*, x_s = x* + (alpha_t sigma_s - sigma_t alpha_s) [alpha_t (e' - e) - sigma_t (x0' - x0)]
      / (2 (alpha_t^2 + sigma_t^2)), and x* where sigma_s = 0. Nothing divides by an alpha that blur has
      made small.
(22c) DPM-Solver++(2M) takes one weight for all coordinates, from the log-SNR of the clock: one per
      coordinate would divide by almost nothing where a coordinate stands still while its x0_hat moves
      because others do. Churn goes back in time by the clock, too.

The posterior of equation (8) is `Diffusion.posterior`. Clipping or thresholding of x0_hat belongs
to the denoiser.

A method is a frozen dataclass, a `Sampler`, whose fields are its options. With its entry in the table
`SAMPLERS` it has a name for `sample(method=...)`, for `--method` of sample.py and for
`config.preview.method`, and its options are arguments, flags and fields there.

Sources: DDPM, Ho et al. 2020 (arXiv 2006.11239); DDIM, Song et al. 2021 (arXiv 2010.02502); Heun
and churn, Karras et al. 2022 (arXiv 2206.00364), algorithms 1 and 2; DPM-Solver++(2M), Lu et al.
2022 (arXiv 2211.01095); predictor-corrector, Song et al. 2021 (arXiv 2011.13456); for coloured
noise, SAGD (arXiv 2510.09660), equations 31 to 35. (The file is long by its docstrings.)
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import NEEDS_ALPHA, PREDICTIONS, Diffusion
from sagd_jax.spectral import arguments
from sagd_jax.system import kinds, schema
from sagd_jax.system.errors import check_choice

Denoiser = Callable[[jax.Array, jax.Array], jax.Array]
Predict = Callable[[jax.Array, ArrayLike], tuple[jax.Array, jax.Array]]
Draw = Callable[[], jax.Array]


def predictor(
    denoiser: Denoiser,
    diffusion: Diffusion,
    prediction: str = "epsilon",
    clean: jax.Array | float | None = None,
) -> Predict:
    """Turns a denoiser into the `predict` of the step functions: `(x, t) -> (x0_hat, e_hat)`.

    An example is that of `ddim_step`.

    Args:
      denoiser: `(x_t, t) -> prediction` of signals, t of shape `(batch,)`.
      diffusion: the process.
      prediction: kind of the denoiser's output, as in `Diffusion.predict`.
      clean: the state of x_0 off the range of a singular Sigma, where it is known.

    Returns:
      A function of the state and a scalar time; its results are states of the dtype of the state.
    """

    if not callable(denoiser):
        raise TypeError(f"denoiser={denoiser!r}: expected a function (x_t, t) -> prediction")

    def predict(x: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        output = denoiser(diffusion.decode(x), jnp.full(x.shape[:1], t, x.dtype))
        if jnp.shape(output) != x.shape:
            raise ValueError(
                f"denoiser: it returned shape {jnp.shape(output)} for an input of shape {x.shape}; "
                "expected the same"
            )
        if not jnp.issubdtype(jnp.result_type(output), jnp.floating):
            raise ValueError(
                f"denoiser: it returned {jnp.result_type(output)}; expected real floats"
            )
        return diffusion.read(diffusion.encode(output.astype(x.dtype)), x, t, prediction, clean)

    return predict


def check_prediction(diffusion: Diffusion, prediction: str, times: ArrayLike) -> None:
    """Raises ValueError unless `prediction` is a known kind that determines x_0 at all these times.

    Args:
      times: `(n,)`, decreasing; the last one may be 0, where nothing is asked.
    """
    if not isinstance(diffusion, Diffusion):
        raise TypeError(f"diffusion={arguments.quoted(diffusion)}: expected a sagd.Diffusion")
    check_choice("prediction", prediction, PREDICTIONS)
    if diffusion.is_spectral:
        asked = np.atleast_1d(np.asarray(times, np.float32))
        diffusion.check_readable(prediction, asked[asked > 0])
        return
    first = float(np.ravel(times)[0])
    with jax.ensure_compile_time_eval():
        alpha = float(diffusion.schedule.alpha(first))
    if alpha == 0 and prediction in NEEDS_ALPHA:
        raise ValueError(
            f"prediction={prediction!r}: at the first time (t = {first:g}) alpha is 0, where it says "
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
    """One ancestral step: a draw from the posterior q(x_s | x_t, x0_hat) of equation (8).

    Used as `ddim_step`.
    """
    mean, scale = diffusion.posterior(predict(x, t)[0], x, s, t)
    return mean + scale * noise


def heun_step(
    predict: Predict, diffusion: Diffusion, x: jax.Array, t: ArrayLike, s: ArrayLike
) -> jax.Array:
    """One step of Heun's method on du/dr = e_hat, equation (9); used as `ddim_step`.

    It is the DDIM step where sigma_s = 0 (e_hat cannot be read there) or alpha_t = 0 (r is
    infinite there; a single first-order step leaves the order 2 of the whole intact).
    """
    x0, e = predict(x, t)
    euler = diffusion.alpha(s, x) * x0 + diffusion.sigma(s, x) * e
    if diffusion.is_spectral:
        return _corrected_in_angle(predict, diffusion, euler, x0, e, t, s)

    def correct():
        alpha_t, alpha_s = diffusion.alpha(t, x), diffusion.alpha(s, x)
        # alpha_s times the change of r = sigma / alpha, from t to s
        change = diffusion.sigma(s, x) - alpha_s * diffusion.sigma(t, x) / alpha_t
        return euler + 0.5 * change * (predict(euler, s)[1] - e)

    has_slope = (diffusion.schedule.sigma(s) > 0) & (diffusion.schedule.alpha(t) > 0)
    return jax.lax.cond(has_slope, correct, lambda: euler)


def _corrected_in_angle(
    predict: Predict,
    diffusion: Diffusion,
    euler: jax.Array,
    x0: jax.Array,
    e: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
) -> jax.Array:
    """Heun's correction per coordinate, (22a)."""
    sigma_s = diffusion.sigma(s, euler)

    def correct():
        alpha_t, sigma_t = diffusion.alpha(t, euler), diffusion.sigma(t, euler)
        turn = alpha_t * sigma_s - sigma_t * diffusion.alpha(s, euler)
        x0_s, e_s = predict(euler, s)
        change = alpha_t * (e_s - e) - sigma_t * (x0_s - x0)
        corrected = euler + 0.5 * turn / (alpha_t**2 + sigma_t**2) * change
        return jnp.where(sigma_s > 0, corrected, euler)

    return jax.lax.cond(jnp.any(sigma_s > 0), correct, lambda: euler)


def dpmpp_2m_step(
    predict: Predict,
    diffusion: Diffusion,
    x: jax.Array,
    t: ArrayLike,
    s: ArrayLike,
    x0_previous: jax.Array,
    t_previous: ArrayLike,
) -> tuple[jax.Array, jax.Array]:
    """One step of DPM-Solver++(2M), which remembers x0_hat of the step before; used as `ddim_step`.

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
    log_snr = diffusion.schedule.clock.log_snr
    ahead, behind = log_snr(s) - log_snr(t), log_snr(t) - log_snr(t_previous)
    usable = (behind > 0) & jnp.isfinite(ahead)
    weight = jnp.where(usable, 0.5 * ahead / jnp.where(usable, behind, 1), 0).astype(x.dtype)
    shift = weight * (x0 - x0_previous)
    # The same x_t = alpha_t x0 + sigma_t e, split with the extrapolated x0.
    ratio = diffusion.ratio(diffusion.alpha(t, x), diffusion.sigma(t, x))
    e = e - ratio * shift
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

    Used as `ddim_step`.

    Args:
      churn: sigma / alpha grows by the factor 1 + min(churn, sqrt(2) - 1), not beyond that of
        t = 1. (`sample` divides its own `churn` by the number of steps.)
    """
    factor = 1 + min(churn, math.sqrt(2) - 1)
    schedule = diffusion.schedule.clock
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

    Used as `ddim_step`.

    The corrector is x - (delta / sigma) e_hat + sqrt(2 delta) noise with delta = 2 snr^2 sigma^2:
    Langevin dynamics preconditioned by Sigma, since e_hat = -sigma Sigma score. Its step has no
    norm of the batch in it, so that samples stay independent of each other.
    """
    sigma = diffusion.sigma(t, x)
    x = x - (2 * snr**2 * sigma) * predict(x, t)[1] + (2 * snr * sigma) * noise
    return ddim_step(predict, diffusion, x, t, s)


@dataclasses.dataclass(frozen=True)
class Sampler(abc.ABC):
    """A method of sampling, with its options as fields made by `schema.field`.

    >>> Ddim(eta=0.5) == named("ddim", eta=0.5)
    True
    """

    def __post_init__(self) -> None:
        schema.check(self)

    def check(self, diffusion: Diffusion) -> None:  # noqa: B027
        """Raises ValueError for a process that the method cannot sample."""

    def memory(self, x: jax.Array, t: jax.Array) -> Any:
        """What the first step is given to remember, for a start x at time t in [0, 1]: a pytree."""
        return None

    @abc.abstractmethod
    def step(
        self,
        predict: Predict,
        diffusion: Diffusion,
        x: jax.Array,
        t: jax.Array,
        s: jax.Array,
        draw: Draw,
        memory: Any,
        num_steps: int,
    ) -> tuple[jax.Array, Any]:
        """One step from t to s, in [0, 1], as described at the top of this module.

        Args:
          draw: gives this step's draw from N(0, Sigma), like x; one that is not called costs nothing.
          memory: from the step before, or from `memory`.
          num_steps: steps in all.

        Returns:
          `(x_s, memory)`, the memory of the same shapes and dtypes as the one given.
        """


@dataclasses.dataclass(frozen=True)
class Ddim(Sampler):
    """`ddim_step`: eta = 0 is the first-order solver of equation (9), 1 the ancestral sampler."""

    eta: float = schema.field(0.0, "scale of the noise's standard deviation", low=0, high=1)

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        if self.eta == 0:
            return ddim_step(predict, diffusion, x, t, s), memory
        return ddim_step(predict, diffusion, x, t, s, draw(), self.eta), memory


@dataclasses.dataclass(frozen=True)
class Euler(Sampler):
    """`ddim_step` without noise."""

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        return ddim_step(predict, diffusion, x, t, s), memory


@dataclasses.dataclass(frozen=True)
class Ddpm(Sampler):
    """`ddpm_step`: ancestral sampling."""

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        return ddpm_step(predict, diffusion, x, t, s, draw()), memory


@dataclasses.dataclass(frozen=True)
class Heun(Sampler):
    """`heun_step`: second order, two evaluations a step."""

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        return heun_step(predict, diffusion, x, t, s), memory


@dataclasses.dataclass(frozen=True)
class DpmSolver2M(Sampler):
    """`dpmpp_2m_step`: second order, one evaluation a step; it remembers x0_hat and its time."""

    def memory(self, x, t):
        return jnp.zeros_like(x), t

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        x, x0 = dpmpp_2m_step(predict, diffusion, x, t, s, *memory)
        return x, (x0, t)


@dataclasses.dataclass(frozen=True)
class Sde(Sampler):
    """`sde_step`: EDM's stochastic sampler; churn = 0 is `heun_step`."""

    churn: float = schema.field(0.0, "total noise added, as EDM's S_churn", low=0)

    def check(self, diffusion):
        if self.churn and diffusion.finishes_early:
            raise ValueError(
                f"churn={self.churn:g}: under {type(diffusion.schedule).__name__} some coordinates are "
                "finished before t = 0, and churn would noise them again and again; use churn=0"
            )

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        if self.churn == 0:
            return heun_step(predict, diffusion, x, t, s), memory
        return sde_step(predict, diffusion, x, t, s, draw(), self.churn / num_steps), memory


@dataclasses.dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """`pc_step`: a Langevin corrector, then a deterministic step; two evaluations a step."""

    snr: float = schema.field(0.16, "the corrector's signal-to-noise ratio", low=0, below=1)

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        return pc_step(predict, diffusion, x, t, s, draw(), self.snr), memory


SAMPLERS = {
    "ddim": kinds.kind(Ddim),
    "euler": kinds.kind(Euler),
    "ddpm": kinds.kind(Ddpm),
    "heun": kinds.kind(Heun),
    "dpmpp_2m": kinds.kind(DpmSolver2M),
    "sde": kinds.kind(Sde),
    "pc": kinds.kind(PredictorCorrector),
}
METHODS = tuple(SAMPLERS)


def named(method: str, **options: Any) -> Sampler:
    """The sampler of a name in `SAMPLERS`, with these options.

    Another method's option may be given at its default, which changes nothing.

    Raises:
      ValueError: for an unknown method, an option that it does not have, or a value out of bounds.

    >>> named("ddim", snr=0.9)
    Traceback (most recent call last):
    sagd_jax.system.schema.ConfigError: snr=0.9: method='ddim' has no option snr (it has: eta); leave it out unless method='pc'
    """
    check_choice("method", method, METHODS)
    return kinds.choose(SAMPLERS, method, options, "method")
