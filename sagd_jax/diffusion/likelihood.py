"""Log-likelihood of data, by integrating the probability-flow ODE with its divergence.

(10) log p_0(x_0) = log N(x_1; 0, sigma_1^2 Sigma) + integral over t of tr(d(dx/dt) / dx).

The ODE (9) is solved for y = x / sqrt(alpha^2 + sigma^2) as a function of the angle
theta = arctan(sigma / alpha), where it reads

    dy/dtheta = cos(theta) e_hat - sin(theta) x0_hat,

with no division by alpha or sigma, for any schedule. Since y_0 = x_0, and y_1 is x_1 divided by
n_1 = sqrt(alpha_1^2 + sigma_1^2),

    log p_0(x_0) = log N(x_1; 0, sigma_1^2 Sigma) + d C log n_1
                   + integral over theta of tr(d(dy/dtheta) / dy),

d C log n_1 being the change of scale. It is the density of what the model generates. The density of
the data differs from it by what taking N(0, sigma_1^2 Sigma) for the law of x_1 leaves out, where
alpha_1 > 0: for data of power S and mean mu, about alpha_1^2 S / (2 sigma_1^2 lambda) nats per mode
from the variance, and alpha_1 |mu| / (sigma_1 sqrt(lambda)) from the mean.

The steps are classical fourth-order Runge-Kutta, uniform in tau = r^(1/3) / (1 + r^(1/3)) with
r = sigma / alpha, which refines both ends; where sigma = 0 the derivative is zero and the denoiser
is not asked.

With a coefficient per coordinate (`diffusion/schedules/spectral.py`) all of this holds in coordinates, with an
angle theta_f for each:

(25) log p_0(x_0) = log N(x_1; 0, s_1^2) + sum_f log n_1(f) - sum_f log n_0(f)
                    + integral of sum_f d(dy/dt)_f / dy_f,

over the coordinates with s_1 > 0. The solver's tau is that of the clock, and
d theta_f / dtau = [sin 2 theta_f / sin 2 theta_clock] [dl_f / dl_clock] d theta_clock / dtau, which is 0
where a coordinate stands still. n_0 = 1 but for `heat`, whose density is that just after t = 0.

On a singular Sigma the density exists on its range only: that of Pi x_0, for a denoiser that sees
Pi x_t.

The variational bound (31), which needs no derivative of the network, is in `bound.py`.

Sources: Song et al. 2021 (arXiv 2011.13456), section 4.3; the trace estimator, Hutchinson 1990 and
Grathwohl et al. 2019 (arXiv 1810.01367); dequantisation, Theis et al. 2016 (arXiv 1511.01844).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.bound import Bound, bound, bound_terms, rate, step_cost
from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion, fold_in_range
from sagd_jax.diffusion.samplers import Denoiser, check_prediction, predictor
from sagd_jax.diffusion.time_grids import check_times, uniform
from sagd_jax.spectral import arguments
from sagd_jax.system.errors import check_choice

__all__ = [
    "EXACT_UP_TO",
    "PIXEL_WIDTH",
    "Bound",
    "bits_per_dim",
    "bound",
    "bound_terms",
    "default_divergence",
    "dequantize",
    "log_likelihood",
    "rate",
    "step_cost",
]

DIVERGENCES = ("exact", "hutchinson")
PROBES = ("rademacher", "gaussian")
PIXEL_WIDTH = 2 / 255  # distance between the values of 8-bit pixels scaled to [-1, 1]

EXACT_UP_TO = 256  # values of a signal: beyond, "exact" costs minutes an example and more

_POWER = 3
_JUST_AFTER_0 = 1e-12
_CHUNK = 32  # columns of the Jacobian computed together


def log_likelihood(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    x0: jax.Array,
    *,
    num_steps: int = 32,
    times: ArrayLike | None = None,
    prediction: str | None = None,
    divergence: str | None = None,
    probe: str = "rademacher",
    num_probes: int = 1,
    offset: int | jax.Array = 0,
    on_range: bool = False,
) -> jax.Array:
    """Log density of x0 under the model, equation (10).

    For data of variance between 1e-4 and 10 times that of the noise, 32 steps are enough for 1e-3
    nats per dimension.

    Args:
      key: a `jax.random.key` for the probes; example i uses `fold_in(key, offset + i)`.
      denoiser: `(x_t, t) -> prediction`, t of shape `(batch,)`; it must treat every example on its
        own and be differentiable in x_t.
      diffusion: the process the denoiser was trained for.
      x0: data, `(batch, *spatial, channels)`.
      num_steps: Runge-Kutta steps, of four evaluations each, where `times` is not given.
      times: explicit grid of times in [0, 1], decreasing from 1 to 0 as in `sample`; the ODE is solved upwards on it.
      prediction: kind of the denoiser's output, as in `sample`.
      divergence: "exact" (one Jacobian product per dimension) or "hutchinson" (an unbiased
        estimate, from `num_probes` products); by default exact for signals of up to 256 values
        (`EXACT_UP_TO`), which costs hours for images of 32 x 32.
      probe: law of the white probes of "hutchinson", "rademacher" or "gaussian".
      num_probes: probes per example.
      offset: index of the first example.
      on_range: for a singular Sigma: the density of Pi x0 on the range of Sigma, with respect to
        the Lebesgue measure there; the denoiser's input is projected on the range, too.

    Returns:
      Nats per example, `(batch,)`; under `heat`, whose noise begins with a jump, of the density just after
      t = 0, which is that of blurred data with noise, at x0. NaN where Sigma is singular and traced, without `on_range`.

    Raises:
      ValueError: for x0 of another shape, an unknown option, a grid that does not start at 1, a singular covariance
        without `on_range`, or a prediction that does not exist at t = 1.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8,), alpha=-0.5))
    >>> denoiser = lambda x, t: 0 * x  # E[v | x_t] for data that are themselves N(0, Sigma)
    >>> x0 = jnp.ones((1, 8, 1))
    >>> value = sagd.log_likelihood(jax.random.key(0), denoiser, diffusion, x0, prediction="v")
    >>> bool(jnp.allclose(value, diffusion.covariance.log_prob(x0), atol=1e-4))
    True
    """
    x0 = arguments.batch("x0", x0, diffusion.covariance.spatial_shape)
    divergence = divergence or default_divergence(x0.shape[1:])
    prediction = kind_of(denoiser, prediction)
    check_choice("divergence", divergence, DIVERGENCES)
    check_choice("probe", probe, PROBES)
    if num_probes < 1:
        raise ValueError(f"num_probes={num_probes}: expected an integer >= 1")
    check_prediction(diffusion, prediction, 1.0)
    covariance = diffusion.covariance
    if not (on_range or covariance.is_full_rank or _is_traced(covariance.variance)):
        raise ValueError(
            "on_range=False: the covariance of the noise is singular, so the model has a density "
            "on its range only; pass on_range=True"
        )
    diffusion.check_prior()
    stages = _stages(diffusion, num_steps, times)
    check_prediction(diffusion, prediction, np.append(1.0, stages[0].ravel()))
    predict = predictor(denoiser, diffusion, prediction)

    def slope(y: jax.Array, t: jax.Array) -> jax.Array:
        """dy/dtheta; y -> Pi y is part of it, so its trace is that on the range."""
        alpha, sigma = diffusion.alpha(t, y), diffusion.sigma(t, y)
        norm = jnp.sqrt(alpha**2 + sigma**2)
        x0_hat, e_hat = predict(norm * (diffusion.noise.project(y) if on_range else y), t)
        derivative = (alpha * e_hat - sigma * x0_hat) / norm
        return _turn(diffusion, t, y) * derivative if diffusion.is_spectral else derivative

    y = diffusion.encode(x0.astype(jnp.result_type(float)))
    if diffusion.is_spectral:
        first = _norm(diffusion, _JUST_AFTER_0, y)
        y = y / first
    if divergence == "exact":
        trace = _exact_trace
    else:
        keys = fold_in_range(key, offset, y.shape[0])
        probes = _probes(keys, probe, num_probes, y)

        def trace(product, y):
            return _estimated_trace(product, probes)

    def stage(carry, inputs):
        # k is the derivative with respect to tau at the stage before.
        y, k, y_next, total = carry
        t, rate, lead, weight = inputs

        def evaluate():
            value, product = jax.linearize(lambda y: slope(y, t), y + lead * k)
            return rate * value, rate * trace(product, y)

        def skip():
            return jnp.zeros_like(y), jnp.zeros_like(total)

        k, change = jax.lax.cond(rate > 0, evaluate, skip)
        return (y, k, y_next + weight * k, total + weight * change), None

    def step(carry, inputs):
        y, total = carry
        (_, _, y, total), _ = jax.lax.scan(stage, (y, jnp.zeros_like(y), y, total), inputs)
        return (y, total), None

    inputs = tuple(np.asarray(values, y.dtype) for values in stages)
    (y, total), _ = jax.lax.scan(step, (y, jnp.zeros(y.shape[0], y.dtype)), inputs)
    scale = _norm(diffusion, 1.0, y)
    rank = covariance.rank(y.shape[-1])
    if diffusion.is_spectral:
        noisy = (covariance.variance > 0) & (diffusion.sigma(1.0, y) > 0)
        stretch = jnp.where(noisy, jnp.log(scale) - jnp.log(first), 0)
        stretch = jnp.sum(jnp.broadcast_to(stretch, y.shape), axis=tuple(range(1, y.ndim)))
        result = diffusion.prior_log_prob(diffusion.decode(scale * y)) + stretch + total
    else:
        result = diffusion.prior_log_prob(scale * y) + rank * jnp.log(scale) + total
    if on_range or not _is_traced(covariance.variance):
        return result
    return jnp.where(rank == math.prod(y.shape[1:]), result, jnp.nan)


def default_divergence(shape: Sequence[int]) -> str:
    """How the trace is taken, unless said otherwise, for signals of `shape`, `(*spatial, channels)`.

    >>> default_divergence((8, 8, 1)), default_divergence((32, 32, 3))
    ('exact', 'hutchinson')
    """
    return "exact" if math.prod(shape) <= EXACT_UP_TO else "hutchinson"


def bits_per_dim(
    log_likelihood: ArrayLike, shape: Sequence[int], bin_width: float = PIXEL_WIDTH
) -> jax.Array:
    """Bits per dimension of discrete data, from the density of their dequantised values.

    With x = pixel + bin_width * u, u uniform on [-1/2, 1/2] (`dequantize`), the expectation of
    -(log p(x) + D log(bin_width)) / (D log 2) over u is an upper bound on the bits that the model
    spends on a pixel's value.

    Args:
      log_likelihood: nats per example, of dequantised data.
      shape: of one example, `(*spatial, channels)`, D values.
      bin_width: distance between neighbouring values in the units of x: 2/255 for 8-bit pixels
        scaled to [-1, 1], where 0 is -1 and 255 is 1.

    Raises:
      ValueError: unless bin_width is finite and > 0.

    >>> import math
    >>> from sagd_jax.likelihood import bits_per_dim
    >>> float(bits_per_dim(12 * math.log(255 / 2 / 256), (2, 2, 3)))  # uniform over 256 values
    8.0
    """
    _check_bin_width(bin_width)
    nats = jnp.asarray(log_likelihood) / math.prod(shape) + math.log(bin_width)
    return -nats / math.log(2)


def dequantize(
    key: jax.Array, x: jax.Array, bin_width: float = PIXEL_WIDTH, offset: int | jax.Array = 0
) -> jax.Array:
    """Adds uniform noise of width `bin_width`, centred, to discrete data.

    Args:
      key: a `jax.random.key`; example i uses `fold_in(key, offset + i)`.
      x: `(batch, *spatial, channels)`.
      bin_width: as in `bits_per_dim`, in units of x.
      offset: index of the first example.

    Raises:
      ValueError: unless bin_width is finite and > 0.

    >>> import jax, jax.numpy as jnp
    >>> x = dequantize(jax.random.key(0), jnp.zeros((2, 4, 4, 1)), bin_width=0.5)
    >>> bool(jnp.all(jnp.abs(x) <= 0.25))
    True
    """
    _check_bin_width(bin_width)
    x = arguments.signal("x", x)
    keys = fold_in_range(key, offset, x.shape[0])
    draw = jax.vmap(lambda k: jax.random.uniform(k, x.shape[1:], minval=-0.5, maxval=0.5))(keys)
    return x + bin_width * draw


def _stages(diffusion: Diffusion, num_steps: int, times: ArrayLike | None):
    """Runge-Kutta stages of every step: `(t, d theta / d tau, lead, weight)`, each `(steps, 4)`.

    A stage is evaluated at y + lead * k, k the derivative of the stage before; the step adds the
    sum of weight * k.
    """
    with jax.ensure_compile_time_eval():
        schedule = diffusion.schedule.clock  # that of a learned one is computed
        if times is None:
            # A schedule that begins with some noise has the density of what it begins with.
            start, end = (_position(float(schedule.log_snr(t))) for t in (0.0, 1.0))
            nodes = start + (end - start) * uniform(num_steps)[::-1]
        else:
            grid = check_times(times)[::-1]
            if grid[-1] != 1:
                raise ValueError(f"times: the first one is {grid[-1]:g}; expected 1")
            nodes = _position(np.asarray(schedule.log_snr(grid), np.float64))
        left, right = nodes[:-1, None], nodes[1:, None]
        tau = left + (right - left) * np.array([0, 0.5, 0.5, 1])
        with np.errstate(divide="ignore"):
            log_snr = 2 * _POWER * (np.log1p(-tau) - np.log(tau))
        t = np.asarray(schedule.time(log_snr), np.float64)
    rate = (
        _POWER
        * (tau * (1 - tau)) ** (_POWER - 1)
        / (tau ** (2 * _POWER) + (1 - tau) ** (2 * _POWER))
    )
    step = right - left
    return t, rate, step * np.array([0, 0.5, 0.5, 1]), step * np.array([1, 2, 2, 1]) / 6


def _norm(diffusion: Diffusion, t: ArrayLike, y: jax.Array) -> jax.Array:
    return jnp.sqrt(diffusion.alpha(t, y) ** 2 + diffusion.sigma(t, y) ** 2)


def _turn(diffusion: Diffusion, t: jax.Array, y: jax.Array) -> jax.Array:
    """d theta_f / d theta_clock per coordinate, equation (25)."""
    schedule = diffusion.schedule

    def parts(of) -> tuple[jax.Array, jax.Array]:
        """sin 2 theta / 2, and the slope of the log-SNR."""
        alpha, sigma = of.alpha(t), of.sigma(t)
        slope = jax.jvp(of.log_snr, (t,), (jnp.ones_like(t),))[1]
        return alpha * sigma / (alpha**2 + sigma**2), slope

    (own, own_slope), (clock, clock_slope) = parts(schedule), parts(schedule.clock)
    turn = (own / clock) * (own_slope / clock_slope)
    return jnp.where(jnp.isfinite(turn) & (own > 0), turn, 0).astype(y.dtype)


def _position(log_snr):
    """tau of the module's docstring: 0 at the data, 1 at log-SNR = -infinity."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(log_snr / (2 * _POWER)))


Product = Callable[[jax.Array], jax.Array]  # Jacobian-vector product


def _exact_trace(product: Product, y: jax.Array) -> jax.Array:
    size = math.prod(y.shape[1:])

    def diagonal(index: jax.Array) -> jax.Array:
        # The same basis vector for every example, since examples do not mix.
        direction = jax.nn.one_hot(index, size, dtype=y.dtype).reshape(y.shape[1:])
        return product(jnp.broadcast_to(direction, y.shape)).reshape(y.shape[0], size)[:, index]

    columns = jax.lax.map(diagonal, jnp.arange(size), batch_size=min(size, _CHUNK))
    return jnp.sum(columns, axis=0)


def _estimated_trace(product: Product, probes: jax.Array) -> jax.Array:
    axes = tuple(range(1, probes.ndim - 1))
    return jnp.mean(jax.lax.map(lambda v: jnp.sum(v * product(v), axis=axes), probes), axis=0)


def _probes(keys: jax.Array, probe: str, count: int, y: jax.Array) -> jax.Array:
    """White probes `(count, *y.shape)`; each example's come from its own key."""
    law = jax.random.rademacher if probe == "rademacher" else jax.random.normal
    return jax.vmap(lambda k: law(k, (count, *y.shape[1:]), y.dtype), out_axes=1)(keys)


def _check_bin_width(bin_width: float) -> None:
    if not 0 < bin_width < math.inf:
        raise ValueError(f"bin_width={bin_width}: expected a finite number > 0")


def _is_traced(value) -> bool:
    return isinstance(value, jax.core.Tracer)
