"""The variational bound on -log p(x_0) of a denoiser, continuous and for T steps, under any process.

(31) With l_t(f) = log(a_t^2 / s_t^2) per coordinate, between times t_0 and t_1 with finite l,

         -log p(x_0) <= L + prior + decoder,
         L   = 1/2 E_t sum_f (-dl_t(f)/dt) E (z(f) - z_hat(f))^2,                        t uniform,
         L_T = 1/2 sum_i sum_f expm1(l_{i-1}(f) - l_i(f)) E (z(f) - z_hat(f))^2,         z_hat at t_i,
         prior   = KL(N(a_1 x_0, s_1^2) || the process' start): sum_f a_1^2 x_0^2 / (2 s_1^2) as a rule,
         decoder = -E log N(x_0; x_t / a_0, s_0^2 / a_0^2) at t_0; for discrete values the probability of
                   their bins under the same normal law of each value.

     L is the cost of the reversed process in its continuous limit, L_T that of T steps of it, DDPM's
     ancestral ones (8). For exact denoisers of any density L depends on the levels at the two ends alone,
     whatever lies between (I-MMSE): for Gaussian data it is 1/2 sum log((1 + S e^l0) / (1 + S e^l1)).
     So L measures a network and does not choose a path, since its gradient follows the network's errors
     only. L_T does depend on the path, and so does the variance of the one-sample estimate of L.

     With the error q of `losses.py`, z - z_hat = a q and x0 - x0_hat = -s q, the terms are
     -l' a^2 q^2 and (s_t^2 a_s^2 / s_s^2 - a_t^2) q^2, finite where a coordinate is at an end.

Sources: Kingma et al. 2021 (arXiv 2107.00630), equations 11 to 19; the independence of the path,
Kong et al. 2023 (arXiv 2302.03792). (The file is long by its docstrings.)
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion, fold_in_range
from sagd_jax.diffusion.samplers import Denoiser, check_prediction
from sagd_jax.spectral import arguments

LARGEST_LOG_SNR = 13.3  # noise of 1.3e-3: a third of half an 8-bit step of data in [-1, 1]


class Bound(NamedTuple):
    """The terms of (31) in nats, each `(batch,)`: their sum bounds -log p(x_0).

    >>> import jax.numpy as jnp
    >>> terms = Bound(jnp.ones(2), jnp.zeros(2), jnp.full(2, 0.5))
    >>> sum(terms).tolist()
    [1.5, 1.5]
    """

    diffusion: jax.Array
    prior: jax.Array
    decoder: jax.Array


def ends(diffusion: Diffusion, largest: float = LARGEST_LOG_SNR) -> tuple[jax.Array, jax.Array]:
    """The times t_0 and t_1 between which (31) is taken.

    They are 0 and 1 where the log-SNR of the clock is finite there; where it is not, the times at which
    it is `largest` and -`largest`.
    """
    clock = diffusion.schedule.clock
    zero, one = jnp.zeros((), jnp.result_type(float)), jnp.ones((), jnp.result_type(float))
    first, last = (clock.time(level).astype(zero.dtype) for level in (largest, -largest))
    return (
        jnp.where(jnp.isfinite(clock.log_snr(zero)), zero, first),
        jnp.where(jnp.isfinite(clock.log_snr(one)), one, last),
    )


def step_times(diffusion: Diffusion, num_steps: int) -> jax.Array:
    """The times t_0 < ... < t_T of L_T, (31): uniform in t, as samplers go, within `ends`.

    Args:
      diffusion: the process.
      num_steps: T.

    Returns:
      `(num_steps + 1,)`.

    >>> import sagd_jax as sagd
    >>> process = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> [round(float(t), 3) for t in step_times(process, 2)][1:]
    [0.5, 1.0]
    """
    first, last = ends(diffusion)
    return jnp.clip(jnp.linspace(0, 1, num_steps + 1, dtype=first.dtype), first, last)


def rate(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    noise: jax.Array,
    t: jax.Array,
    *,
    prediction: str | None = None,
) -> jax.Array:
    """The integrand of L at times t in [0, 1]: 1/2 sum_f (-dl_t/dt) (z - z_hat)^2 of each example, (31).

    Its mean over uniform t and the noise, times t_1 - t_0, is L.

    Args:
      denoiser: `(x_t, t) -> prediction`, t of shape `(batch,)`.
      diffusion: the process, of full rank.
      x0: data, `(batch, *spatial, channels)`.
      noise: a draw of N(0, Sigma), like x0.
      t: times, `(batch,)`, with finite log-SNR.
      prediction: kind of the denoiser's output, as in `sample`.

    Returns:
      Nats per unit of time, `(batch,)`.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> process = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> x0, t = jnp.ones((2, 4, 1)), jnp.array([0.3, 0.6])
    >>> noise = process.covariance.sample(jax.random.key(0), x0.shape)
    >>> rate(lambda x, t: 0 * x, process, x0, noise, t, prediction="v").shape
    (2,)
    """
    square, alpha, _ = _error(denoiser, diffusion, x0, noise, t, prediction)
    slope = jax.jvp(diffusion.schedule.log_snr, (t,), (jnp.ones_like(t),))[1]
    # Where alpha = 0 nothing is left to be lost.
    weight = jnp.where(alpha > 0, -_like(slope, alpha) * alpha**2, 0)
    return _total(weight * square) / 2


def step_cost(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    noise: jax.Array,
    t: jax.Array,
    s: jax.Array,
    *,
    prediction: str | None = None,
) -> jax.Array:
    """The term of L_T for the step from t to s < t: 1/2 sum_f expm1(l_s - l_t) (z - z_hat)^2, (31).

    It is KL(q(x_s | x_t, x_0) || q(x_s | x_t, x0_hat)). Arguments are those of `rate`, with s `(batch,)`.

    Returns:
      Nats, `(batch,)`.
    """
    square, alpha, sigma = _error(denoiser, diffusion, x0, noise, t, prediction)
    alpha_s, sigma_s = (f(s, square) for f in (diffusion.alpha, diffusion.sigma))
    change = diffusion.schedule.log_snr(s) - diffusion.schedule.log_snr(t)
    # By the change of the log-SNR, which knows small steps best, but where that is infinite.
    seen = alpha > 0
    change = jnp.where(seen, _like(change, alpha), 0)
    weight = jnp.where(
        seen, alpha**2 * jnp.expm1(change), diffusion.ratio(sigma * alpha_s, sigma_s) ** 2
    )
    return _total(weight * square) / 2


def estimate(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    noise: jax.Array,
    place: jax.Array,
    *,
    num_steps: int | None = None,
    prediction: str | None = None,
) -> jax.Array:
    """L, or L_T, of each example from one time: without bias for `place` uniform on [0, 1], (31).

    Args:
      denoiser, diffusion, x0, noise, prediction: as of `rate`.
      place: `(batch,)`: of the time, in the log-SNR of the clock from t_0 to t_1, where the integrand is
        of one size; or among the steps.
      num_steps: T; None: the continuous L.

    Returns:
      Nats, `(batch,)`.
    """
    if num_steps is not None:
        grid = step_times(diffusion, num_steps)
        index = jnp.minimum((place * num_steps).astype(jnp.int32), num_steps - 1)
        t, s = grid[index + 1], grid[index]
        return num_steps * step_cost(denoiser, diffusion, x0, noise, t, s, prediction=prediction)
    clock, (first, last) = diffusion.schedule.clock, ends(diffusion)
    high, low = clock.log_snr(first), clock.log_snr(last)
    t = jnp.clip(clock.time(high + (low - high) * place), first, last)
    pace = -jax.jvp(clock.log_snr, (t,), (jnp.ones_like(t),))[1]
    pace = jnp.where(pace > 0, (high - low) / jnp.where(pace > 0, pace, 1), 0)
    return rate(denoiser, diffusion, x0, noise, t, prediction=prediction) * pace


def bound_terms(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    *,
    num_times: int,
    num_steps: int | None = None,
    prediction: str | None = None,
    bin_width: float | None = None,
    offset: int | jax.Array = 0,
) -> Bound:
    """The terms of `bound`, which has the arguments and errors."""
    prediction = kind_of(denoiser, prediction)
    x0 = arguments.batch("x0", x0, diffusion.covariance.spatial_shape)
    x0 = x0.astype(jnp.result_type(float))
    num_times = _positive("num_times", num_times)
    num_steps = None if num_steps is None else _positive("num_steps", num_steps)
    first, last = ends(diffusion)
    _check(diffusion, prediction, bin_width)
    keys = fold_in_range(key, offset, x0.shape[0])
    shift = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, 0), (), x0.dtype))(keys)

    def draw(index: ArrayLike) -> jax.Array:
        own = jax.vmap(lambda k: jax.random.fold_in(k, index))(keys)
        return diffusion.covariance.sample(own, x0.shape[1:], x0.dtype)

    def add(total: jax.Array, index: jax.Array) -> tuple[jax.Array, None]:
        place = (index + shift) / num_times  # one in each of so many equal parts
        nats = estimate(
            denoiser,
            diffusion,
            x0,
            draw(index + 2),
            place,
            num_steps=num_steps,
            prediction=prediction,
        )
        return total + nats / num_times, None

    total, _ = jax.lax.scan(add, jnp.zeros(x0.shape[0], x0.dtype), jnp.arange(num_times))
    noise = draw(1)
    decoder = _decoder(diffusion, x0, noise, first, bin_width)
    return Bound(total, _prior(diffusion, x0, last), decoder)


def bound(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    *,
    num_times: int,
    num_steps: int | None = None,
    prediction: str | None = None,
    bin_width: float | None = None,
    offset: int | jax.Array = 0,
) -> jax.Array:
    """The variational bound on -log p(x0), equation (31): an unbiased estimate of it.

    Args:
      key: a `jax.random.key`; example i uses `fold_in(key, offset + i)`.
      denoiser: `(x_t, t) -> prediction`, t of shape `(batch,)`.
      diffusion: the process the denoiser was trained for, of full rank.
      x0: data, `(batch, *spatial, channels)`.
      num_times: times drawn per example, an evaluation of the denoiser each, one in each of so many
        equal parts: of the log-SNR, or of the steps. With `num_steps` as many, each step has one.
      num_steps: T of L_T, for as many ancestral steps uniform in t; None: the continuous L.
      prediction: kind of the denoiser's output, as in `sample`.
      bin_width: distance between the values of discrete data (`likelihood.PIXEL_WIDTH`), whose
        probability is then bounded; None: a density.
      offset: index of the first example.

    Returns:
      Nats per example, `(batch,)`: at least -log p(x0) on average. `bound_terms` has its parts.

    Raises:
      ValueError: for a singular covariance, a coordinate without noise at t_0, or a wrong argument.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import likelihood
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8,), alpha=-0.5))
    >>> denoiser = lambda x, t: 0 * x  # E[v | x_t] for data that are themselves N(0, Sigma)
    >>> x0 = diffusion.covariance.sample(jax.random.key(1), (256, 8, 1))
    >>> nats = likelihood.bound(
    ...     jax.random.key(0), denoiser, diffusion, x0, num_times=4, num_steps=4, prediction="v"
    ... )
    >>> bool(jnp.mean(nats) > -jnp.mean(diffusion.covariance.log_prob(x0)))
    True
    """
    terms = bound_terms(
        key,
        denoiser,
        diffusion,
        x0,
        num_times=num_times,
        num_steps=num_steps,
        prediction=prediction,
        bin_width=bin_width,
        offset=offset,
    )
    return terms.diffusion + terms.prior + terms.decoder


def path_terms(diffusion: Diffusion, x0: jax.Array) -> jax.Array:
    """Prior and decoder of a density, nats `(batch,)`: what of (31) depends on the levels at the ends.

    Constants for a path whose ends are fixed; a path whose ends move pays for them here.

    Args:
      diffusion: the process.
      x0: data, `(batch, *spatial, channels)`.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> process = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> path_terms(process, jnp.ones((2, 4, 1))).shape
    (2,)
    """
    first, last = ends(diffusion)
    return _prior(diffusion, x0, last) + _decoder(diffusion, x0, x0, first, None)


def check(diffusion: Diffusion, prediction: str) -> None:
    """Raises ValueError, one line, for a process that has no bound (31).

    Args:
      diffusion: the process.
      prediction: kind of a denoiser's output, as in `sample`.

    >>> import sagd_jax as sagd
    >>> hole = sagd.band_pass((8,), [(0, 0.5)])
    >>> try:
    ...     check(sagd.Diffusion(sagd.schedules.cosine(), hole), "v")
    ... except ValueError as error:
    ...     print(error)
    diffusion: its covariance is singular; the bound is that of a density, which it has not
    """
    if not diffusion.covariance.is_full_rank:
        raise ValueError(
            "diffusion: its covariance is singular; the bound is that of a density, which it has not"
        )
    if getattr(diffusion.covariance, "unit_draws", False):
        raise ValueError(
            "diffusion: noise with unit_draws is not Gaussian; the bound is of Gaussian noise"
        )
    with jax.ensure_compile_time_eval():
        first, last = (float(t) for t in ends(diffusion))
        sigma = np.asarray(diffusion.schedule.sigma(first))
    if np.any(sigma == 0):
        raise ValueError(
            f"diffusion: under {type(diffusion.schedule).__name__} a coordinate has no noise at "
            f"t = {first:.3g}, where the bound begins; it has none"
        )
    check_prediction(diffusion, prediction, np.array([last]))


def _check(diffusion: Diffusion, prediction: str, bin_width: float | None) -> None:
    if bin_width is not None and not 0 < bin_width < math.inf:
        raise ValueError(f"bin_width={bin_width}: expected a finite number > 0")
    if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(diffusion)):
        check(diffusion, prediction)


def _error(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    noise: jax.Array,
    t: jax.Array,
    prediction: str | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """q^2 of each coordinate, whitened, and alpha and sigma at t, as states."""
    kind = kind_of(denoiser, prediction)
    x_t, noise = diffusion.noised(x0, noise, t)
    x0_hat, noise_hat = diffusion.predict(denoiser(x_t, t).astype(x0.dtype), x_t, t, kind)
    data, drawn = diffusion.encode(x0 - x0_hat), diffusion.encode(noise - noise_hat)
    alpha, sigma = diffusion.alpha(t, data), diffusion.sigma(t, data)
    q = (alpha * drawn - sigma * data) / (alpha**2 + sigma**2)
    return jnp.square(diffusion.noise.pinv_sqrt(q)), alpha, sigma


def _prior(diffusion: Diffusion, x0: jax.Array, last: jax.Array) -> jax.Array:
    """KL of x_1 given x_0 from where sampling starts."""
    state = diffusion.encode(x0)
    alpha, sigma = diffusion.alpha(last, state), diffusion.sigma(last, state)
    known = diffusion.schedule.prior() if diffusion.is_spectral else None  # type: ignore[attr-defined]
    if known is None:
        return _total(jnp.square(alpha / sigma * diffusion.noise.pinv_sqrt(state))) / 2
    mean, variance = known
    own = sigma**2 * diffusion.noise.variance
    ratio = own / (own + variance)
    distance = jnp.square(alpha * state - mean) / (own + variance)
    terms = distance + ratio - 1 - jnp.log(ratio)
    return _total(jnp.broadcast_to(terms, state.shape)) / 2


def _decoder(
    diffusion: Diffusion, x0: jax.Array, noise: jax.Array, first: jax.Array, width: float | None
) -> jax.Array:
    state = diffusion.encode(x0)
    ratio = diffusion.sigma(first, state) / diffusion.alpha(first, state)
    if width is None:
        # E z^2 = 1 is known, and need not be drawn.
        log_scale = _total(jnp.broadcast_to(jnp.log(ratio), state.shape))
        size, channels = math.prod(x0.shape[1:]), x0.shape[-1]
        log_det = diffusion.covariance.log_det(channels)
        return log_scale + log_det / 2 + size * (1 + math.log(2 * math.pi)) / 2
    centre = diffusion.noised(x0, noise, first)[0]
    centre = diffusion.decode(diffusion.encode(centre) / diffusion.alpha(first, state))
    # The law of one value, by its variance over all: lambda has mean 1.
    variance = jnp.square(jnp.broadcast_to(ratio, state.shape))
    if diffusion.is_spectral:
        variance = variance * diffusion.noise.variance
    axes = tuple(range(1, x0.ndim))
    scale = jnp.sqrt(jnp.mean(variance, axis=axes, keepdims=True))
    return -_total(_log_bin((x0 - centre) / scale, width / scale, x0, width))


def _log_bin(z: jax.Array, width: jax.Array, x0: jax.Array, step: float) -> jax.Array:
    """log of the normal probability of a bin around z; those at the data's ends go on to infinity."""
    upper, lower = z + width / 2, z - width / 2
    upper = jnp.where(x0 > 1 - step / 2, jnp.inf, upper)
    lower = jnp.where(x0 < -1 + step / 2, -jnp.inf, lower)
    # On the side of the smaller tail, whose probabilities float32 can tell apart.
    flip = lower > 0
    high = jax.scipy.special.log_ndtr(jnp.where(flip, -lower, upper))
    low = jax.scipy.special.log_ndtr(jnp.where(flip, -upper, lower))
    return high + jnp.log1p(-jnp.exp(jnp.minimum(low - high, -1e-7)))


def _like(values: jax.Array, x: jax.Array) -> jax.Array:
    """Values of t, one for an example or one for a coordinate, against states."""
    return values.reshape(-1, *(1,) * (x.ndim - 1)) if values.ndim <= 1 else values


def _total(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=tuple(range(1, x.ndim)))


def _positive(name: str, value: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"{name}={value!r}: expected an integer >= 1")
    return count
