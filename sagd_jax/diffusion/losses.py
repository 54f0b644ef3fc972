"""Training losses: times to train at, and the weighted squared error of a prediction.

(6) L = E |r|^2 / (d C) with the residual r = prediction - target. The norm is plain l2 on the
    coloured noise, or the Mahalanobis norm |Sigma^{+1/2} r|^2, which sees the range of Sigma alone.

A weighting multiplies |r|^2 by a function of t. Given x_t, the errors of all kinds of prediction
are one error q in disguise: r_epsilon = alpha q, r_x0 = -sigma q, r_v = (alpha^2 + sigma^2) q,
r_velocity = -D q with D = alpha' sigma - sigma' alpha (equation 13 of `process.py`). A weighting
that its authors define for one kind therefore is a weight W of |q|^2, and k^-2 W for the kind whose
error is k q:

(6a) min_snr: min(SNR, gamma) |r_x0|^2, hence W = min(alpha^2, gamma sigma^2).
(6b) sigmoid: (-d log-SNR / dt) sigmoid(bias - log-SNR) |r_epsilon|^2, the integral over log-SNR at
     uniformly drawn t, hence W = -2 D alpha sigma / (alpha^2 e^-bias + sigma^2).
(6c) edm: (s^2 + sigma_data^2) / (s sigma_data)^2 |r_x0|^2 at s = sigma / alpha, hence
     W = alpha^2 + sigma^2 / sigma_data^2.

Score and white_epsilon are epsilon behind a filter: k is that of a white Sigma, alpha / sigma and
alpha. None of this depends on Sigma otherwise. Under a spectral schedule they are those of its clock.

Sources: loss, SAGD (arXiv 2510.09660), equation 9; min_snr, Hang et al. 2023 (arXiv 2303.09556);
sigmoid, Kingma & Gao 2023 (arXiv 2303.00848) and Hoogeboom et al. 2024 (arXiv 2410.19324); edm,
Karras et al. 2022 (arXiv 2206.00364); logit-normal times, Esser et al. 2024 (arXiv 2403.03206);
stratified times, Kingma et al. 2021 (arXiv 2107.00630).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import PREDICTIONS, Diffusion
from sagd_jax.spectral import arguments
from sagd_jax.system.errors import check_choice

TIME_DRAWS = ("uniform", "stratified", "logit_normal")
NORMS = ("l2", "mahalanobis")
WEIGHTINGS = ("uniform", "min_snr", "sigmoid", "edm")
_WHITENED = ("score", "white_epsilon")


def sample_times(
    key: jax.Array, batch: int, *, method: str = "uniform", mean: float = 0.0, std: float = 1.0
) -> jax.Array:
    """Draws the times that one batch is trained at.

    Args:
      key: a `jax.random.key`.
      batch: number of times.
      method: `"uniform"`; `"stratified"`, one uniform draw in each of `batch` equal intervals, in
        increasing order; or `"logit_normal"`, the logistic function of a normal draw.
      mean, std: of the normal draw of `logit_normal`; the other methods do not use them.

    Returns:
      A float32 array of shape `(batch,)` with values in (0, 1]; 0, where sigma = 0, is never drawn.

    Raises:
      ValueError: for an unknown method, batch < 1, a non-finite mean or std, or std <= 0.

    >>> import jax
    >>> times = sample_times(jax.random.key(0), 4, method="stratified")
    >>> [int(4 * float(t)) for t in times]
    [0, 1, 2, 3]
    """
    check_choice("method", method, TIME_DRAWS)
    if batch < 1:
        raise ValueError(f"batch={batch}: expected a number >= 1")
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(f"mean={mean}, std={std}: expected finite numbers, std > 0")
    key = arguments.one_key("key", key)
    if method == "logit_normal":
        times = jax.nn.sigmoid(mean + std * jax.random.normal(key, (batch,), jnp.float32))
        return jnp.maximum(times, jnp.finfo(jnp.float32).eps)
    # The draw is in [0, 1); its complement, in (0, 1], is added last, so that no rounding gives 0.
    uniform = 1 - jax.random.uniform(key, (batch,), jnp.float32)
    return uniform if method == "uniform" else (jnp.arange(batch) + uniform) / batch


def denoising_loss(
    diffusion: Diffusion,
    prediction: jax.Array,
    x0: jax.Array,
    noise: jax.Array,
    t: ArrayLike,
    *,
    kind: str = "epsilon",
    norm: str = "l2",
    weighting: str = "uniform",
    gamma: float = 5.0,
    bias: float = 0.0,
    sigma_data: float = 0.5,
    weight: ArrayLike | None = None,
) -> jax.Array:
    """The loss (6) of each example.

    Args:
      diffusion: the process that gave `x_t, noise = diffusion.diffuse(key, x0, t)`.
      prediction: the network's output at (x_t, t), like x0.
      x0: clean signals, `(batch, *spatial, channels)`.
      noise: the coloured noise e in x_t, like x0.
      t: times, a scalar or `(batch,)`, > 0.
      kind: what the network predicts, one of `diffusion.PREDICTIONS`.
      norm: `"l2"` or `"mahalanobis"`.
      weighting: `"uniform"` (1 for the kind predicted), `"min_snr"`, `"sigmoid"` or `"edm"`.
      gamma: largest SNR that `min_snr` weighs, (6a).
      bias: log-SNR at which the weight of `sigmoid` has fallen by half, (6b).
      sigma_data: standard deviation of the data in `edm`, (6c).
      weight: of the squared residual in each coordinate, like x0 or broadcastable to it: that of
        `Diffusion.diffuse_corrupted`. With l2 alone.

    Returns:
      `(batch,)`: the weighted squared norm divided by the number of entries of a signal. It is
      float32 (float64 for float64 signals), as the residual is, whatever the network's dtype.

    Raises:
      ValueError: for signals of other shapes than these; an unknown kind, norm or weighting; gamma or sigma_data <= 0; the Mahalanobis
        norm of a score or white_epsilon, which are whitened already, or with a weight.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
    >>> x0, t = jnp.zeros((2, 8, 8, 1)), jnp.array([0.1, 0.9])
    >>> x_t, noise = diffusion.diffuse(jax.random.key(0), x0, t)
    >>> denoising_loss(diffusion, noise + 0.5, x0, noise, t)
    Array([0.25, 0.25], dtype=float32)
    """
    check_choice("norm", norm, NORMS)
    if norm == "mahalanobis" and kind in _WHITENED:
        raise ValueError(
            f"norm={norm!r}: a {kind} is whitened already; use norm='l2', or another kind"
        )
    if norm == "mahalanobis" and weight is not None:
        raise ValueError(f"norm={norm!r}: not with a weight per coordinate; use norm='l2'")
    named = {"x0": x0, "noise": noise, "prediction": prediction}
    x0, noise, prediction = (
        x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for x in (
            arguments.batch(n, x, diffusion.covariance.spatial_shape) for n, x in named.items()
        )
    )
    for name, x in (("noise", noise), ("prediction", prediction)):
        if x.shape != x0.shape:  # it would be broadcast
            raise ValueError(f"{name}: shape {x.shape}; expected that of x0, {x0.shape}")
    residual = prediction - diffusion.target(x0, noise, t, kind)
    if norm == "mahalanobis":
        residual = diffusion.covariance.pinv_sqrt(residual)
    square = jnp.square(residual)
    if weight is not None:
        square = jnp.asarray(weight) * jnp.square(diffusion.encode(residual))
        if square.shape != residual.shape:  # it would be averaged over the wrong axes
            raise ValueError(
                f"weight: shape {jnp.shape(weight)} for signals of shape {residual.shape}; expected "
                "the same"
            )
    square = jnp.mean(square, axis=tuple(range(1, residual.ndim)))
    of_time = loss_weight(
        diffusion, t, kind, weighting, gamma=gamma, bias=bias, sigma_data=sigma_data
    )
    return of_time.astype(square.dtype) * square


def loss_weight(
    diffusion: Diffusion,
    t: ArrayLike,
    kind: str,
    weighting: str = "uniform",
    *,
    gamma: float = 5.0,
    bias: float = 0.0,
    sigma_data: float = 0.5,
) -> jax.Array:
    """The weight of |r|^2 at times t for a network that predicts `kind`, (6a) to (6c).

    Arguments and errors are those of `denoising_loss`; the result has the shape of t.

    >>> import sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white((8,)))
    >>> float(loss_weight(diffusion, 0.25, "x0", "min_snr"))  # the SNR, 9, capped at 5
    5.0
    """
    check_choice("weighting", weighting, WEIGHTINGS)
    check_choice("kind", kind, PREDICTIONS)
    for name, value in (("gamma", gamma), ("sigma_data", sigma_data)):
        if not value > 0:
            raise ValueError(f"{name}={value}: expected a number > 0")
    schedule = diffusion.schedule.clock
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if weighting == "uniform":
        return jnp.ones_like(alpha)
    determinant = schedule.alpha_prime(t) * sigma - schedule.sigma_prime(t) * alpha
    # alpha / k and sigma / k rather than W / k^2: what cancels is finite at alpha = 0.
    data, noise = {
        "epsilon": (jnp.ones_like(alpha), sigma / alpha),
        "white_epsilon": (jnp.ones_like(alpha), sigma / alpha),
        "score": (sigma, sigma**2 / alpha),
        "x0": (alpha / sigma, jnp.ones_like(sigma)),
        "v": (alpha / (alpha**2 + sigma**2), sigma / (alpha**2 + sigma**2)),
        "velocity": (alpha / determinant, sigma / determinant),
    }[kind]
    if weighting == "min_snr":
        return jnp.minimum(data**2, gamma * noise**2)
    if weighting == "edm":
        return data**2 + (noise / sigma_data) ** 2
    return -2 * determinant * data * noise / (alpha**2 * jnp.exp(-bias) + sigma**2)
