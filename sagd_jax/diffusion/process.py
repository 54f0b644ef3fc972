"""The forward process and what follows from it: marginals, prior, conversions, posterior.

(5) Forward: x_t = alpha_t x_0 + sigma_t e, e ~ N(0, Sigma), t in [0, 1], 0 data and 1 noise.
(7) Score: grad log q_t(x) = -(1 / sigma_t) Sigma^+ E[e | x_t = x]; where Sigma is singular this is
    the projection of the score on its range.
(8) Posterior, s < t: with a = alpha_t / alpha_s and v = sigma_t^2 - a^2 sigma_s^2,
    mean = (a sigma_s^2 / sigma_t^2) x_t + (alpha_s v / sigma_t^2) x_0,
    covariance = (v sigma_s^2 / sigma_t^2) Sigma.
    The scalars are the isotropic ones; only the noise changes.
(13) Predictions, for any schedule: v = alpha e - sigma x_0 and velocity = alpha' x_0 + sigma' e, so
    x_0 = (alpha x - sigma v) / (alpha^2 + sigma^2),  e = (alpha v + sigma x) / (alpha^2 + sigma^2),
    x_0 = (sigma u - sigma' x) / D,  e = (alpha' x - alpha u) / D,  D = alpha' sigma - sigma' alpha
    for a velocity u.
(14) On a singular Sigma noise lives on the range alone. Off the range x_t = alpha_t x_0 exactly, so
    every prediction is read as e_hat = Pi e_hat and (1 - Pi) x0_hat = (1 - Pi) x_t / alpha_t.

Source: SAGD (arXiv 2510.09660), equations 7 to 9, 19 to 35.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.checks import check_covariance, check_schedule, check_times
from sagd_jax.diffusion.schedules import Schedule
from sagd_jax.spectral import arguments
from sagd_jax.spectral.covariance import FourierCovariance
from sagd_jax.system.errors import check_choice

PREDICTIONS = ("epsilon", "x0", "v", "velocity", "score", "white_epsilon")
NEEDS_ALPHA = ("epsilon", "score", "white_epsilon")  # say nothing of x_0 where alpha = 0
NEEDS_SIGMA = ("x0",)  # says nothing of e where sigma = 0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Diffusion:
    """A diffusion process: a schedule and the covariance of its noise, as a frozen pytree.

    Times `t` are scalars or of shape `(batch,)`; signals are `(batch, *spatial, channels)`.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
    >>> x0, t = jnp.zeros((2, 8, 8, 1)), jnp.array([0.1, 0.9])
    >>> x_t, noise = diffusion.diffuse(jax.random.key(0), x0, t)
    >>> x_t.shape
    (2, 8, 8, 1)
    """

    schedule: Schedule = dataclasses.field(metadata={"static": True})
    covariance: FourierCovariance

    def __post_init__(self):
        check_schedule(self.schedule)
        check_covariance(self.covariance)

    def diffuse(self, key: jax.Array, x0: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Draws x_t given x_0, equation (5).

        Args:
          key: one `jax.random.key` for the whole batch.
          x0: `(batch, *spatial, channels)`.
          t: times, a scalar or `(batch,)`.

        Returns:
          `(x_t, noise)`, both like x0; `noise` is the coloured e ~ N(0, Sigma).
        """
        x0 = arguments.signal("x0", x0)
        check_times(t)
        noise = self.covariance.sample(key, x0.shape, x0.dtype)
        return self.alpha(t, x0) * x0 + self.sigma(t, x0) * noise, noise

    def prior_sample(
        self, key: jax.Array, shape: Sequence[int], offset: int | jax.Array = 0
    ) -> jax.Array:
        """Draws x_1 ~ N(0, sigma_1^2 Sigma), where sampling starts.

        Args:
          key: a `jax.random.key`; sample i is drawn with `fold_in(key, offset + i)`, so it depends
            on neither the batch size nor the device count.
          shape: `(n, *spatial, channels)`.
          offset: index of the first sample.
        """
        shape = arguments.shape("shape", shape)
        draws = self.covariance.sample(fold_in_range(key, offset, shape[0]), shape[1:])
        return self.schedule.sigma(1.0) * draws

    def prior_log_prob(self, x: jax.Array) -> jax.Array:
        """log N(x; 0, sigma_1^2 Sigma) in nats per example, on the range of Sigma."""
        sigma = self.schedule.sigma(1.0)
        rank = self.covariance.rank(x.shape[-1])
        return self.covariance.log_prob(x / sigma) - rank * jnp.log(sigma)

    def predict(
        self,
        prediction: jax.Array,
        x_t: jax.Array,
        t: ArrayLike,
        source: str = "epsilon",
        clean: jax.Array | float | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Reads a network's prediction as `(x0_hat, e_hat)`, equations (7), (13) and (14).

        Args:
          prediction: like x_t.
          x_t: `(batch, *spatial, channels)`.
          t: times, a scalar or `(batch,)`.
          source: kind of the prediction, one of `PREDICTIONS`.
          clean: x_0 off the range of a singular Sigma, where it is known (zero in its range); by
            default it is read from x_t, whose rounding is then divided by alpha.

        Returns:
          `(x0_hat, e_hat)` with x_t = alpha x0_hat + sigma e_hat and e_hat in the range of Sigma.

        Raises:
          ValueError: for an unknown kind, or where it does not determine both (x0 at sigma = 0;
            epsilon, score and white_epsilon at alpha = 0), as far as t is known at trace time.
        """
        self._check_kind("source", source, t)
        prediction = arguments.signal("prediction", prediction)
        x_t = arguments.signal("x_t", x_t)
        alpha, sigma = self.alpha(t, x_t), self.sigma(t, x_t)
        covariance = self.covariance
        if source in NEEDS_ALPHA:
            if source == "epsilon":
                noise = covariance.project(prediction)
            elif source == "score":
                noise = -sigma * covariance.apply(prediction)
            else:
                noise = covariance.sqrt(prediction)
            x0 = (x_t - sigma * noise) / alpha
            return (x0 if clean is None else clean + covariance.project(x0)), noise
        if source == "x0":
            x0, noise = prediction, (x_t - alpha * prediction) / sigma
        elif source == "v":
            square = alpha**2 + sigma**2
            x0 = (alpha * x_t - sigma * prediction) / square
            noise = (alpha * prediction + sigma * x_t) / square
        else:
            alpha_prime = _broadcast(self.schedule.alpha_prime(t), x_t)
            sigma_prime = _broadcast(self.schedule.sigma_prime(t), x_t)
            determinant = alpha_prime * sigma - sigma_prime * alpha
            x0 = (sigma * prediction - sigma_prime * x_t) / determinant
            noise = (alpha_prime * x_t - alpha * prediction) / determinant
        if covariance.is_full_rank:
            return x0, noise
        if clean is None:
            clean = self.off_range(x_t, t)
        return clean + covariance.project(x0), covariance.project(noise)

    def off_range(self, x_t: jax.Array, t: ArrayLike) -> jax.Array:
        """x_0 off the range of Sigma, which x_t determines: (1 - Pi) x_t / alpha, equation (14).

        At alpha = 0 nothing of the data is left there, and it is zero.
        """
        alpha = self.alpha(t, x_t)
        off = x_t - self.covariance.project(x_t)
        return jnp.where(alpha > 0, off / jnp.where(alpha > 0, alpha, 1), 0)

    def convert(
        self, prediction: jax.Array, x_t: jax.Array, t: ArrayLike, source: str, target: str
    ) -> jax.Array:
        """Converts a prediction from one kind to another, equations (7) and (13).

        Args:
          prediction: of kind `source`, like x_t.
          x_t: `(batch, *spatial, channels)`.
          t: times, a scalar or `(batch,)`.
          source: one of "epsilon", "x0", "v", "velocity", "score", "white_epsilon".
          target: likewise; "score" is Sigma^+ e / -sigma, "white_epsilon" Sigma^{+1/2} e.

        Returns:
          An array like x_t; noise-like kinds are projected on the range of a singular Sigma.

        Raises:
          ValueError: for an unknown kind, or a quantity that does not exist at this t (sigma = 0 or
            alpha = 0), as far as t is known at trace time.

        >>> import jax.numpy as jnp, sagd_jax as sagd
        >>> diffusion = sagd.Diffusion(sagd.schedules.rectified_flow(), sagd.white((4,)))
        >>> x = jnp.ones((1, 4, 1))
        >>> float(diffusion.convert(0 * x, x, 0.5, "x0", "epsilon")[0, 0, 0])
        2.0
        """
        self._check_kind("target", target, t)
        x_t = arguments.signal("x_t", x_t)
        x0, noise = self.predict(prediction, x_t, t, source)
        return self._express(x0, noise, t, target)

    def target(self, x0: jax.Array, noise: jax.Array, t: ArrayLike, kind: str) -> jax.Array:
        """What a network with this kind of prediction is trained on, given the true x_0 and e."""
        self._check_kind("kind", kind, t)
        x0, noise = arguments.signal("x0", x0), arguments.signal("noise", noise)
        return self._express(x0, noise, t, kind)

    def posterior(
        self, x0: jax.Array, x_t: jax.Array, s: ArrayLike, t: ArrayLike
    ) -> tuple[jax.Array, jax.Array]:
        """q(x_s | x_t, x_0) for s < t, equation (8).

        Returns:
          `(mean, scale)`: the mean, like x_t, and the scale, broadcastable to it; the covariance
          is scale^2 Sigma.
        """
        x0, x_t = arguments.signal("x0", x0), arguments.signal("x_t", x_t)
        alpha_s, sigma_s = self.alpha(s, x_t), self.sigma(s, x_t)
        alpha_t, sigma_t = self.alpha(t, x_t), self.sigma(t, x_t)
        ratio = alpha_t / alpha_s
        # v >= 0 as the log-SNR decreases; rounding must not make it negative.
        added = jnp.maximum(sigma_t**2 - (ratio * sigma_s) ** 2, 0)
        mean = (ratio * sigma_s**2 / sigma_t**2) * x_t + (alpha_s * added / sigma_t**2) * x0
        return mean, jnp.sqrt(added) * sigma_s / sigma_t

    def alpha(self, t: ArrayLike, x: jax.Array) -> jax.Array:
        """alpha_t, broadcastable against the signal x and of its dtype."""
        return _broadcast(self.schedule.alpha(t), x)

    def sigma(self, t: ArrayLike, x: jax.Array) -> jax.Array:
        """sigma_t, broadcastable against the signal x and of its dtype."""
        return _broadcast(self.schedule.sigma(t), x)

    def _express(self, x0: jax.Array, noise: jax.Array, t: ArrayLike, kind: str) -> jax.Array:
        if kind == "epsilon":
            return noise
        if kind == "x0":
            return x0
        if kind == "v":
            return self.alpha(t, x0) * noise - self.sigma(t, x0) * x0
        if kind == "velocity":
            alpha_prime = _broadcast(self.schedule.alpha_prime(t), x0)
            return alpha_prime * x0 + _broadcast(self.schedule.sigma_prime(t), x0) * noise
        if kind == "score":
            return -self.covariance.pinv(noise) / self.sigma(t, x0)
        return self.covariance.pinv_sqrt(noise)

    def _check_kind(self, name: str, kind: str, t: ArrayLike) -> None:
        check_choice(name, kind, PREDICTIONS)
        if isinstance(t, jax.core.Tracer):
            return
        check_times(t)
        with jax.ensure_compile_time_eval():
            alpha, sigma = np.asarray(self.schedule.alpha(t)), np.asarray(self.schedule.sigma(t))
        source = name == "source"
        if source and kind in NEEDS_ALPHA and np.any(alpha == 0):
            raise ValueError(
                f"{name}={kind!r}: at alpha = 0 (t = {_first(t, alpha == 0)}) it does not determine "
                "x_0; use a network that predicts x0, v or velocity"
            )
        if kind in (NEEDS_SIGMA if source else ("score",)) and np.any(sigma == 0):
            raise ValueError(
                f"{name}={kind!r}: it does not exist at sigma = 0 (t = {_first(t, sigma == 0)}); "
                "use t > 0"
            )
        if kind == "velocity":
            with jax.ensure_compile_time_eval():
                slope = np.asarray(self.schedule.sigma_prime(t))
            if not np.all(np.isfinite(slope)):
                raise ValueError(
                    f"{name}={kind!r}: sigma' is infinite at t = {_first(t, ~np.isfinite(slope))}; "
                    "use t > 0"
                )


def fold_in_range(key: jax.Array, start: int | jax.Array, count: int) -> jax.Array:
    """The keys `fold_in(key, start + i)` for i < count, one per sample: shape `(count,)`."""
    key = arguments.one_key("key", key)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(count))


def _broadcast(coefficient: ArrayLike, x: jax.Array) -> jax.Array:
    coefficient = jnp.asarray(coefficient)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else coefficient.dtype
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    if coefficient.ndim:
        if coefficient.size not in (1, x.shape[0]):
            raise ValueError(
                f"t: {coefficient.size} times for signals of shape {x.shape}; expected one time, or "
                "one for each"
            )
        coefficient = coefficient.reshape(-1, *(1,) * (x.ndim - 1))
    return coefficient.astype(dtype)


def _first(t: ArrayLike, where: np.ndarray) -> float:
    return float(np.broadcast_to(np.asarray(t), where.shape)[where].flat[0])
