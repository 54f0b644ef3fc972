"""Consistency models under any noise: data from noise in one step, or in a few.

(30) A consistency function D(x, t) is x_0 of the trajectory of the probability-flow ODE (9) that passes x
     at t. It is a network's prediction read as x0_hat (13): kinds v and velocity meet the boundary
     condition D = x / alpha at sigma = 0 by themselves, in each coordinate and off the range of a singular
     Sigma; epsilon, score and white_epsilon where alpha > 0; x0 meets it nowhere and is refused.

     Easy consistency tuning starts from a diffusion model and brings D at two times t > r of one example
     together. One draw e ~ N(0, Sigma) serves both, x_t = alpha_t x_0 + sigma_t e and
     x_r = alpha_r x_0 + sigma_r e; per example the loss is

         rho(|D(x_t, t) - stop_gradient D(x_r, r)|^2 / (d C)) / (theta_t - theta_r),

     theta = arctan(sigma / alpha) of the clock, rho the identity ("squared") or
     sqrt(. + c^2) - c ("pseudo_huber"). Where r = 0, D(x_r, r) is x_0.

     For N(mu, S) the exact function is f(x, t) = mu + sqrt(S / V_t) (x - alpha_t mu). On a grid
     0 = t_0 < ... < t_N the minimiser of the squared norm is linear, D(x, t_i) = c_i x for mu = 0, with
     c_N = prod_i (alpha_i alpha_{i-1} S + sigma_i sigma_{i-1} lambda) / V_i: steps too large lose variance,
     and first where S / lambda is small.

     Pairs: r is t with its position u multiplied by a factor 1 - n / q^(stage + 1), clipped at 0: later
     stages bring r closer to t. u is theta with n = 1, or sigma / alpha with n = 1 + 8 sigmoid(-u), which
     is the source's.

     In several steps each D(x, t) is noised again to the next time, with noise of Sigma.

Sources: consistency models, Song et al. 2023 (arXiv 2303.01469); the pseudo-Huber norm, Song & Dhariwal
2023 (arXiv 2310.14189); easy consistency tuning, Geng et al. 2024 (arXiv 2406.14548), which has c = 0 and
sigma / alpha in place of theta (`weighting="ratio"`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Denoiser, Sampler, check_prediction
from sagd_jax.diffusion.sampling import sample as sample_by
from sagd_jax.spectral import arguments
from sagd_jax.system.errors import check_choice

Function = Callable[[jax.Array, jax.Array], jax.Array]

NORMS = ("squared", "pseudo_huber")
POSITIONS = ("angle", "ratio")
WEIGHTINGS = (*POSITIONS, "uniform")
NUM_STEPS = 2  # of samples, unless said otherwise
_TIMES = np.linspace(1, 0, 33)


def check(diffusion: Diffusion, prediction: str) -> None:
    """Raises ValueError for a process or kind of prediction that makes no consistency function.

    Args:
      diffusion: the process.
      prediction: kind of the network's output, as of `function`.
    """
    if prediction == "x0":
        raise ValueError(
            "prediction='x0': it does not turn into x itself where the noise ends, as a consistency "
            "function must; use a network that predicts v, velocity or epsilon"
        )
    check_prediction(diffusion, prediction, _TIMES)


def function(denoiser: Denoiser, diffusion: Diffusion, prediction: str | None = None) -> Function:
    """The consistency function D of a denoiser, (30).

    Args:
      denoiser: `(x_t, t) -> prediction`, t of shape `(batch,)`.
      diffusion: the process.
      prediction: kind of its output; by default the one that it says itself, or "epsilon".

    Returns:
      `(x, t) -> x0_hat`, x of shape `(batch, *spatial, channels)` and t of `(batch,)`.

    Raises:
      ValueError: for the kind "x0", or one that does not determine x_0 at all times of the schedule.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> f = function(lambda x, t: 0 * x, diffusion, "v")
    >>> x = jnp.ones((1, 4, 1))
    >>> float(f(x, jnp.zeros(1))[0, 0, 0])  # without noise it is x
    1.0
    """
    prediction = kind_of(denoiser, prediction)
    check(diffusion, prediction)

    def consistent(x: jax.Array, t: jax.Array) -> jax.Array:
        return diffusion.predict(denoiser(x, t), x, t, prediction)[0]

    return consistent


def earlier(
    diffusion: Diffusion,
    t: ArrayLike,
    *,
    q: float = 2.0,
    stage: ArrayLike = 0,
    position: str = "angle",
) -> jax.Array:
    """The time r < t that t is paired with, (30).

    Args:
      t: times in (0, 1].
      q: > 1; the first stage has r at 1 - 1/q of the way to t.
      stage: 0, 1, ...; each brings r closer to t by a factor of q.
      position: what is multiplied: "angle", arctan(sigma / alpha) of the clock, or "ratio",
        sigma / alpha, whose factor has n of the source.

    Raises:
      ValueError: for another position, or q <= 1.

    >>> import sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> round(float(earlier(diffusion, 0.8, q=4)), 3), round(float(earlier(diffusion, 0.8, q=4, stage=1)), 3)
    (0.6, 0.75)
    """
    check_choice("position", position, POSITIONS)
    if not q > 1:
        raise ValueError(f"q={q}: expected a number > 1")
    clock = diffusion.schedule.clock
    t = jnp.asarray(t)
    share = jnp.float32(q) ** -(1 + jnp.asarray(stage, jnp.float32))
    alpha, sigma = clock.alpha(t), clock.sigma(t)
    if position == "angle":
        angle = jnp.arctan2(sigma, alpha) * (1 - share)
        log_snr = 2 * (jnp.log(jnp.cos(angle)) - jnp.log(jnp.sin(angle)))
    else:
        ratio = sigma / alpha
        factor = jnp.maximum(1 - (1 + 8 * jax.nn.sigmoid(-ratio)) * share, 0)
        log_snr = -2 * (jnp.log(ratio) + jnp.log(factor))
    r = clock.time(log_snr).astype(t.dtype)
    if position == "ratio":
        r = jnp.where(factor > 0, r, 0)
    return jnp.clip(r, 0, t)


def loss(
    function: Function,
    target_function: Function,
    diffusion: Diffusion,
    x0: jax.Array,
    noise: jax.Array,
    t: jax.Array,
    r: jax.Array,
    *,
    norm: str = "squared",
    c: float = 0.0,
    weighting: str = "angle",
) -> jax.Array:
    """The loss (30) of each example.

    Args:
      function: D, `(x, t) -> x0`, that learns.
      target_function: D that teaches, whose gradient is stopped; the same one, as a rule.
      diffusion: the process.
      x0: data, `(batch, *spatial, channels)`.
      noise: one draw e ~ N(0, Sigma) for both times, like x0.
      t: times in [0, 1], `(batch,)`.
      r: earlier ones, `(batch,)`; where r = 0 the target is x0 itself, and no function is asked.
      norm: "squared", or "pseudo_huber".
      c: of the pseudo-Huber norm, where it turns from a square into a distance; 0: a distance.
      weighting: what the loss is divided by: the difference of the clock's "angle"
        arctan(sigma / alpha), or "ratio" sigma / alpha, between t and r; or 1, "uniform".

    Returns:
      `(batch,)`, float32 or more.

    Raises:
      ValueError: for an unknown norm or weighting, or c < 0.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8,), alpha=-0.5))
    >>> f = function(lambda x, t: 0 * x, diffusion, "v")
    >>> x0, t = jnp.zeros((2, 8, 1)), jnp.array([0.4, 0.8])
    >>> noise = diffusion.covariance.sample(jax.random.key(0), x0.shape)
    >>> loss(f, f, diffusion, x0, noise, t, earlier(diffusion, t)).shape
    (2,)
    """
    check_choice("norm", norm, NORMS)
    check_choice("weighting", weighting, WEIGHTINGS)
    if not c >= 0:
        raise ValueError(f"c={c}: expected a number >= 0")
    x0, noise = arguments.signal("x0", x0), arguments.signal("noise", noise)
    t, r = jnp.asarray(t), jnp.asarray(r)
    asked = jnp.where(r > 0, r, t)  # a kind may say nothing at 0
    given = function(diffusion.noised(x0, noise, t)[0], t)
    target = target_function(diffusion.noised(x0, noise, asked)[0], asked)
    at_zero = (r == 0).reshape(-1, *(1,) * (x0.ndim - 1))
    target = jax.lax.stop_gradient(jnp.where(at_zero, x0, target))
    wide = jnp.promote_types(x0.dtype, jnp.float32)
    residual = given.astype(wide) - target.astype(wide)
    square = jnp.mean(jnp.square(residual), axis=tuple(range(1, x0.ndim)))
    if norm == "pseudo_huber":
        square = square + c**2
        # sqrt has no slope at 0, where the loss is least: it is 0 there.
        positive = square > 0
        square = jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0) - c
    distance = _distance(diffusion, t, r, weighting).astype(wide)
    apart = distance > 0  # times that rounding has made one teach nothing
    return jnp.where(apart, square / jnp.where(apart, distance, 1), 0)


def _distance(diffusion: Diffusion, t: jax.Array, r: jax.Array, weighting: str) -> jax.Array:
    if weighting == "uniform":
        return jnp.ones_like(t)
    clock = diffusion.schedule.clock
    alpha, sigma = clock.alpha(t), clock.sigma(t)
    alpha_r, sigma_r = clock.alpha(r), clock.sigma(r)
    if weighting == "ratio":
        return sigma / alpha - sigma_r / alpha_r
    # The angle between the two, rather than the difference of two angles.
    return jnp.arctan2(sigma * alpha_r - alpha * sigma_r, alpha * alpha_r + sigma * sigma_r)


@dataclasses.dataclass(frozen=True)
class Multistep(Sampler):
    """The sampler of consistency models: from x to D(x, t), and with noise of Sigma on to the next time.

    For `sagd.sample(..., method=consistency.Multistep(), num_steps=2)`, with the network that was tuned.

    >>> import jax, sagd_jax as sagd
    >>> process = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> options = dict(method=Multistep(), num_steps=2, prediction="v")
    >>> sagd.sample(jax.random.key(0), lambda x, t: 0 * x, process, (3, 4, 1), **options).shape
    (3, 4, 1)
    """

    def step(self, predict, diffusion, x, t, s, draw, memory, num_steps):
        x0 = predict(x, t)[0]
        noised = diffusion.alpha(s, x) * x0 + diffusion.sigma(s, x) * draw()
        return jnp.where(s > 0, noised, x0), memory


def sample(
    key: jax.Array,
    function: Function,
    diffusion: Diffusion,
    shape: Sequence[int],
    *,
    times: ArrayLike,
    offset: int | jax.Array = 0,
) -> jax.Array:
    """Draws samples by a consistency function, one evaluation for each time > 0.

    Sample i depends on `fold_in(key, offset + i)` alone.

    Args:
      key: a `jax.random.key`.
      function: D, `(x, t) -> x0`; see `function`.
      diffusion: its process.
      shape: `(n, *spatial, channels)`.
      times: decreasing from 1, with or without a final 0: (1,) is one step.
      offset: index of the first sample.

    Raises:
      ValueError: for times that do not decrease from 1, or a process whose end is not noise.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import consistency, oracle
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8,), alpha=-0.5))
    >>> data = oracle.FourierGaussian(jnp.zeros((8, 1)), jnp.full((5, 1), 0.3))
    >>> f = data.consistency(diffusion)
    >>> consistency.sample(jax.random.key(0), f, diffusion, (4, 8, 1), times=(1, 0.5)).shape
    (4, 8, 1)
    """
    grid = arguments.numbers("times", times)
    if grid.ndim == 1 and grid.size and grid[-1] > 0:
        grid = np.append(grid, 0.0)
    if grid.ndim != 1 or grid.size < 2 or grid[0] != 1:
        raise ValueError(
            f"times={times!r}: expected numbers that decrease from 1, such as (1, 0.5)"
        )
    return sample_by(
        key,
        function,
        diffusion,
        shape,
        method=Multistep(),
        times=grid,
        prediction="x0",
        offset=offset,
    )
