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

With a coefficient per coordinate (`diffusion/schedules/spectral.py`) all of this holds elementwise on *states*, the
coordinates of signals, with guards where a coordinate is at an end:

(22) Posterior: with q = sigma_s^2 / sigma_t^2 (0 where sigma_t = 0) and A = alpha_t / alpha_s
    (sigma_t / sigma_s where alpha_s = 0, 1 where both are 0): mean = A q x_t + alpha_s (1 - A^2 q) x_0,
    standard deviation sigma_s sqrt(1 - A^2 q). Reading a prediction: where sigma_t = 0, e_hat = 0 and
    x0_hat = x_t / alpha_t whatever the network says; where alpha_t = 0, e_hat = x_t / sigma_t. Where
    sigma_t = 0 the draw is 0, so that no target holds noise that x_t does not.

(27) An example y = x_0 + n of a corrupted kind, n ~ N(0, N) per coordinate, teaches the clean x_0 at the
    levels of equation (26), `diffusion/schedules/caps.py`: with x_t = a y + k z', k^2 = s^2 - a^2 N and w = k / s,
    the pair x_0* = y - (a N / k) z', z* = (s / k) z' satisfies a x_0* + s z* = x_t and has the conditional
    means of (x_0, z) given x_t. So the loss of every kind of prediction is the mean over coordinates of
    w^2 |prediction - target(x_0*, z*)|^2. Clean: (x_0, z), w = 1; where N = inf: x_0* = 0, z* = z', w = 0.

All of `Diffusion` takes and gives signals but `posterior`, `alpha`, `sigma` and the step functions of
`samplers.py`, which act on states. Under a scalar schedule states are signals.

Source: SAGD (arXiv 2510.09660), equations 7 to 9, 19 to 35; with coefficients per frequency, Hoogeboom &
Salimans 2022 (arXiv 2209.05557); (27) for white corruption, Daras et al. 2024 (arXiv 2404.10177). (The file is long by its docstrings.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.checks import (
    check_covariance,
    check_schedule,
    check_times,
    check_velocity,
    first,
    known,
)
from sagd_jax.diffusion.schedules import Capped, Schedule
from sagd_jax.spectral import arguments, bases
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import DiagonalCovariance, identity
from sagd_jax.spectral.stacks import CovarianceStack
from sagd_jax.system.errors import check_choice

PREDICTIONS = ("epsilon", "x0", "v", "velocity", "score", "white_epsilon")
NEEDS_ALPHA = ("epsilon", "score", "white_epsilon")  # say nothing of x_0 where alpha = 0
NEEDS_SIGMA = ("x0",)  # says nothing of e where sigma = 0
_KEYS = 2**32  # that can be folded into one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Diffusion:
    """A diffusion process: a schedule and the covariance of its noise, as a frozen pytree.

    Times `t` are scalars or of shape `(batch,)`; signals are `(batch, *spatial, channels)`.

    Attributes:
      schedule: scalar, or with a coefficient per coordinate.
      covariance: of the noise; with a spectral schedule it may be left out, which means white, has to be
        diagonal in the schedule's basis, and is kept in it. A `CovarianceStack` has to be chosen from by
        `at` first.

    Raises:
      ValueError: for a covariance that is not diagonal in the schedule's basis, or not white with a
        schedule that contains the spectrum of its noise.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
    >>> x0, t = jnp.zeros((2, 8, 8, 1)), jnp.array([0.1, 0.9])
    >>> x_t, noise = diffusion.diffuse(jax.random.key(0), x0, t)
    >>> x_t.shape
    (2, 8, 8, 1)
    """

    schedule: Schedule
    covariance: Any = None

    def __post_init__(self) -> None:
        # A pytree is made anew with leaves of any kind, and by then all has been checked.
        schedule, given = self.schedule, self.covariance
        check_schedule(schedule)
        if not isinstance(given, CovarianceStack):
            check_covariance(given)
        if not isinstance(schedule, Schedule):
            return
        if schedule.basis is None:
            if given is None:
                raise ValueError(
                    f"covariance: {schedule!r} does not say of what shape its noise is; expected a "
                    "covariance, such as sagd.white((32, 32))"
                )
            return
        if given is None:
            object.__setattr__(self, "covariance", identity(schedule.basis))
            return
        members = given.members if isinstance(given, CovarianceStack) else given
        if not isinstance(members, Covariance) or not hasattr(members.variance, "dtype"):
            return
        if schedule.contains_spectrum and not (members.is_white or _is_traced(members.variance)):
            raise ValueError(
                f"covariance: {type(schedule).__name__} contains the spectrum of its noise; leave the "
                "covariance out, or give a white one"
            )
        if not isinstance(members, DiagonalCovariance) or members.basis is not schedule.basis:
            # In any case kept with the schedule's own basis, so that there is one of it.
            coefficients = members.coefficients(schedule.basis)
            members = DiagonalCovariance(schedule.basis, coefficients)
            stacked = isinstance(given, CovarianceStack)
            object.__setattr__(self, "covariance", CovarianceStack(members) if stacked else members)

    @property
    def is_spectral(self) -> bool:
        """Whether coefficients are per coordinate, so that states are not signals."""
        return self.schedule.basis is not None

    def encode(self, x: jax.Array) -> jax.Array:
        """The state of a signal: its coordinates, or itself under a scalar schedule."""
        return x if self.schedule.basis is None else self.schedule.basis.forward(x)

    def decode(self, state: jax.Array) -> jax.Array:
        """The signal of a state."""
        return state if self.schedule.basis is None else self.schedule.basis.inverse(state)

    @property
    def noise(self) -> Covariance:
        """Sigma as it acts on states."""
        if self.schedule.basis is None:
            return self.covariance
        return DiagonalCovariance(
            bases.Sites(self.covariance.spatial_shape), self.covariance.variance
        )

    def at(self, index: ArrayLike) -> Diffusion:
        """The process of examples of these kinds, where they differ.

        Args:
          index: integers `(batch,)`, or one; see `CovarianceStack.at` for a covariance that is a stack,
            `Capped.at` for a schedule of corrupted examples.
        """
        if isinstance(self.schedule, Capped) and not isinstance(self.covariance, CovarianceStack):
            return dataclasses.replace(self, schedule=self.schedule.at(index))
        if not isinstance(self.covariance, CovarianceStack):
            raise ValueError(f"covariance: {self.covariance!r} is one for all; expected a stack")
        return dataclasses.replace(self, covariance=self.covariance.at(index))

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
        key = arguments.one_key("key", key)
        check_times(t)
        return self.noised(x0, self.covariance.sample(key, x0.shape, x0.dtype), t)

    def noised(self, x0: jax.Array, noise: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """`diffuse` with a given draw: one draw for several times of one example, say.

        Args:
          x0: `(batch, *spatial, channels)`.
          noise: of N(0, Sigma), like x0.
          t: times, a scalar or `(batch,)`.

        Returns:
          `(x_t, noise)`, the noise 0 in coordinates that have none at t.
        """
        if not self.is_spectral:
            return self.alpha(t, x0) * x0 + self.sigma(t, x0) * noise, noise
        sigma = self.sigma(t, x0)
        drawn = jnp.where(sigma > 0, self.encode(noise), 0)
        return self.decode(self.alpha(t, x0) * self.encode(x0) + sigma * drawn), self.decode(drawn)

    def diffuse_corrupted(
        self, key: jax.Array, y: jax.Array, t: ArrayLike, kind: ArrayLike
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Draws x_t given examples of some kinds, and what they teach of clean ones, equation (27).

        Args:
          key: as of `diffuse`, whose draw of noise this is too.
          y: `(batch, *spatial, channels)`; on restoring paths clean examples.
          t: times, a scalar or `(batch,)`.
          kind: of each example, `(batch,)`, or of all; see `Capped.at`. Under a schedule that knows no
            kinds all are clean.

        Returns:
          `(x_t, x0, noise, weight)`: x_0* and z* of (27) as signals, like y, for
          `denoising_loss(diffusion.at(kind), ..., weight=weight)`, and w^2 in coordinates.

        >>> import jax, jax.numpy as jnp, sagd_jax as sagd
        >>> schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((4,)), [[0.0, 0, 9, 0]])
        >>> y, kind = jnp.ones((2, 4, 1)), jnp.array([0, 1])
        >>> parts = sagd.Diffusion(schedule).diffuse_corrupted(jax.random.key(0), y, 0.1, kind)
        >>> [round(float(w), 3) for w in parts[3][:, 2, 0]]  # margin / (1 + margin) at the cap
        [1.0, 0.091]
        """
        y = arguments.signal("y", y)
        if not isinstance(self.schedule, Capped):
            x_t, noise = self.diffuse(key, y, t)
            return x_t, y, noise, jnp.ones_like(y)
        check_times(t)
        own = self.at(kind)
        variance, k, useless = own.schedule.corrupted(t)  # type: ignore[attr-defined]
        k = _broadcast(k, y)
        alpha, sigma = own.alpha(t, y), own.sigma(t, y)
        state = self.encode(y)
        white = jnp.where(k > 0, self.encode(self.covariance.sample(key, y.shape, y.dtype)), 0)
        x_t = alpha * state + k * white
        x0 = jnp.where(useless, 0, state - self.ratio(alpha * _broadcast(variance, y), k) * white)
        noise = jnp.where(useless, white, self.ratio(sigma, k) * white)
        weight = jnp.where(sigma > 0, self.ratio(k, sigma) ** 2, 1)
        weight = jnp.broadcast_to(jnp.where(useless, 0, weight), y.shape)
        return self.decode(x_t), self.decode(x0), self.decode(noise), weight

    def prior_sample(
        self, key: jax.Array, shape: Sequence[int], offset: int | jax.Array = 0
    ) -> jax.Array:
        """Draws x_1 ~ N(0, sigma_1^2 Sigma), where sampling starts.

        A schedule whose end is not noise draws what it knows of x_1 (`heat` with a spectrum).

        Args:
          key: a `jax.random.key`; sample i is drawn with `fold_in(key, offset + i)`, so it depends
            on neither the batch size nor the device count.
          shape: `(n, *spatial, channels)`.
          offset: index of the first sample.

        Raises:
          ValueError: for a schedule whose end is not noise and unknown.
        """
        shape = arguments.shape("shape", shape)
        draws = self.covariance.sample(fold_in_range(key, offset, shape[0]), shape[1:])
        if not self.is_spectral:
            return self.schedule.sigma(1.0) * draws
        mean, scale = self._prior()
        return self.decode(mean + scale.astype(draws.dtype) * self.encode(draws))

    def prior_log_prob(self, x: jax.Array) -> jax.Array:
        """log density of `prior_sample`'s law in nats per example, on the range of Sigma.

        Raises:
          ValueError: as `prior_sample`.
        """
        if self.is_spectral:
            mean, scale = self._prior()
            variance = self.covariance.variance * scale**2
            return self.noise.with_variance(variance).log_prob(self.encode(x) - mean)
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
        if self.is_spectral:
            states = self.encode(prediction), self.encode(x_t)
            if clean is not None and jnp.ndim(clean):
                clean = self.encode(jnp.asarray(clean))
            x0, noise = self.read(*states, t, source, clean)
            return self.decode(x0), self.decode(noise)
        return self.read(prediction, x_t, t, source, clean)

    def read(
        self,
        prediction: jax.Array,
        x_t: jax.Array,
        t: ArrayLike,
        source: str = "epsilon",
        clean: jax.Array | float | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """`predict` on states, as the step functions of `samplers.py` ask it."""
        self._check_kind("source", source, t)
        prediction = arguments.signal("prediction", prediction)
        x_t = arguments.signal("x_t", x_t)
        alpha, sigma = self.alpha(t, x_t), self.sigma(t, x_t)
        covariance = self.noise
        if source in NEEDS_ALPHA:
            if source == "epsilon":
                noise = covariance.project(prediction)
            elif source == "score":
                noise = -sigma * covariance.apply(prediction)
            else:
                noise = covariance.sqrt(prediction)
            noise = self._where_noisy(sigma, noise)
            x0 = (x_t - sigma * noise) / alpha
            return (x0 if clean is None else clean + covariance.project(x0)), noise
        if source == "x0":
            x0, noise = prediction, self.ratio(x_t - alpha * prediction, sigma)
            if self.is_spectral:
                x0 = jnp.where(sigma > 0, x0, self.ratio(x_t, alpha))
        elif source == "v":
            square = alpha**2 + sigma**2
            x0 = (alpha * x_t - sigma * prediction) / square
            noise = (alpha * prediction + sigma * x_t) / square
        else:
            alpha_prime, sigma_prime = self._slopes(t, x_t)
            determinant = alpha_prime * sigma - sigma_prime * alpha
            x0 = (sigma * prediction - sigma_prime * x_t) / determinant
            noise = (alpha_prime * x_t - alpha * prediction) / determinant
            if self.is_spectral:
                x0 = jnp.where(sigma > 0, x0, self.ratio(x_t, alpha))
        noise = self._where_noisy(sigma, noise)
        if covariance.is_full_rank:
            return x0, noise
        if clean is None:
            clean = self._off_range(x_t, t)
        return clean + covariance.project(x0), covariance.project(noise)

    def off_range(self, x_t: jax.Array, t: ArrayLike) -> jax.Array:
        """x_0 off the range of Sigma, which x_t determines: (1 - Pi) x_t / alpha, equation (14).

        At alpha = 0 nothing of the data is left there, and it is zero.
        """
        return self.decode(self._off_range(self.encode(x_t), t))

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
        x_t = self.encode(arguments.signal("x_t", x_t))
        prediction = arguments.signal("prediction", prediction)
        x0, noise = self.read(self.encode(prediction), x_t, t, source)
        return self.decode(self._express(x0, noise, t, target))

    def target(self, x0: jax.Array, noise: jax.Array, t: ArrayLike, kind: str) -> jax.Array:
        """What a network with this kind of prediction is trained on, given the true x_0 and e."""
        self._check_kind("kind", kind, t)
        x0, noise = arguments.signal("x0", x0), arguments.signal("noise", noise)
        if kind == "epsilon":
            return noise
        if kind == "x0":
            return x0
        return self.decode(self._express(self.encode(x0), self.encode(noise), t, kind))

    def posterior(
        self, x0: jax.Array, x_t: jax.Array, s: ArrayLike, t: ArrayLike
    ) -> tuple[jax.Array, jax.Array]:
        """q(x_s | x_t, x_0) for s < t, equation (8) or (22), on states.

        Returns:
          `(mean, scale)`: the mean, like x_t, and the scale, broadcastable to it; the covariance
          is scale^2 Sigma.
        """
        x0, x_t = arguments.signal("x0", x0), arguments.signal("x_t", x_t)
        alpha_s, sigma_s = self.alpha(s, x_t), self.sigma(s, x_t)
        alpha_t, sigma_t = self.alpha(t, x_t), self.sigma(t, x_t)
        if self.is_spectral:
            q = self.ratio(sigma_s, sigma_t) ** 2
            without_data = jnp.where(sigma_s > 0, self.ratio(sigma_t, sigma_s), 1)
            ratio = jnp.where(alpha_s > 0, self.ratio(alpha_t, alpha_s), without_data)
            rest = jnp.maximum(1 - ratio**2 * q, 0)
            return ratio * q * x_t + alpha_s * rest * x0, sigma_s * jnp.sqrt(rest)
        ratio = alpha_t / alpha_s
        # v >= 0 as the log-SNR decreases; rounding must not make it negative.
        added = jnp.maximum(sigma_t**2 - (ratio * sigma_s) ** 2, 0)
        mean = (ratio * sigma_s**2 / sigma_t**2) * x_t + (alpha_s * added / sigma_t**2) * x0
        return mean, jnp.sqrt(added) * sigma_s / sigma_t

    def alpha(self, t: ArrayLike, x: jax.Array) -> jax.Array:
        """alpha_t, broadcastable against the state x and of its dtype."""
        return _broadcast(self.schedule.alpha(t), x)

    def sigma(self, t: ArrayLike, x: jax.Array) -> jax.Array:
        """sigma_t, broadcastable against the state x and of its dtype."""
        return _broadcast(self.schedule.sigma(t), x)

    def ratio(self, above: jax.Array, below: jax.Array) -> jax.Array:
        """above / below; 0 where a coordinate has 0 below."""
        if not self.is_spectral:
            return above / below
        return jnp.where(below != 0, above / jnp.where(below != 0, below, 1), 0)

    def check_readable(self, prediction: str, times: np.ndarray) -> None:
        """Raises ValueError unless a prediction of this kind determines x_0 at all these times."""
        self._check_kind("source", prediction, times)

    @property
    def finishes_early(self) -> bool:
        """Whether a coordinate that has noise at t = 1 has none at some t > 0."""
        if not self.is_spectral or _is_traced(self.schedule):
            return False
        if self._is_mixed:
            return any(one.finishes_early for one in self._alone)
        sigma = known(self.schedule.sigma, np.linspace(0, 1, 257, dtype=np.float32)[1:])
        return bool(np.any((sigma == 0) & (sigma[-1] > 0)))

    def check_prior(self) -> None:
        """Raises ValueError for a schedule that does not end in noise and knows nothing of its end."""
        schedule = self.schedule
        if not self.is_spectral or schedule.prior() is not None or _is_traced(schedule):  # type: ignore[attr-defined]
            return
        if not schedule.ends_in_noise():  # type: ignore[attr-defined]
            raise ValueError(
                f"schedule: {type(schedule).__name__} does not end in noise (at t = 1 the data "
                "outweigh it in a coordinate); give start=, or the data's spectrum to the schedule"
            )

    def _express(self, x0: jax.Array, noise: jax.Array, t: ArrayLike, kind: str) -> jax.Array:
        if kind == "epsilon":
            return noise
        if kind == "x0":
            return x0
        if kind == "v":
            return self.alpha(t, x0) * noise - self.sigma(t, x0) * x0
        if kind == "velocity":
            alpha_prime, sigma_prime = self._slopes(t, x0)
            return alpha_prime * x0 + sigma_prime * noise
        if kind == "score":
            return self.ratio(-self.noise.pinv(noise), self.sigma(t, x0))
        return self.noise.pinv_sqrt(noise)

    def _slopes(self, t: ArrayLike, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        schedule = self.schedule
        return _broadcast(schedule.alpha_prime(t), x), _broadcast(schedule.sigma_prime(t), x)

    def _off_range(self, x_t: jax.Array, t: ArrayLike) -> jax.Array:
        alpha = self.alpha(t, x_t)
        off = x_t - self.noise.project(x_t)
        return jnp.where(alpha > 0, off / jnp.where(alpha > 0, alpha, 1), 0)

    def _where_noisy(self, sigma: jax.Array, noise: jax.Array) -> jax.Array:
        return jnp.where(sigma > 0, noise, 0) if self.is_spectral else noise

    def _prior(self) -> tuple[Any, jax.Array]:
        """Mean of x_1, and what a draw from N(0, Sigma) is multiplied by, as states."""
        schedule = self.schedule
        told = schedule.prior()  # type: ignore[attr-defined]
        sigma = schedule.sigma(1.0)
        if told is not None:
            mean, variance = told
            support = self.covariance.variance > 0
            noise = jnp.where(support, self.covariance.variance, 1)
            return mean, jnp.sqrt(jnp.where(support, variance / noise, 0) + sigma**2)
        self.check_prior()
        return 0.0, sigma

    def _check_kind(self, name: str, kind: str, t: ArrayLike) -> None:
        check_choice(name, kind, PREDICTIONS)
        if isinstance(t, jax.core.Tracer):
            return
        check_times(t)
        if _is_traced(self.schedule):
            return
        if self._is_mixed:
            for one in self._alone:
                one._check_kind(name, kind, t)
            return
        alpha, sigma = known(self.schedule.alpha, t), known(self.schedule.sigma, t)
        source = name == "source"
        # One coordinate without data is enough to leave x_0 unknown; one without noise is guarded.
        gone, clean = np.any(alpha == 0, axis=-1), np.all(sigma == 0, axis=-1)
        if source and kind in NEEDS_ALPHA and np.any(gone):
            raise ValueError(
                f"{name}={kind!r}: at alpha = 0 (t = {first(t, gone)}) it does not determine "
                "x_0; use a network that predicts x0, v or velocity"
            )
        needs_noise = NEEDS_SIGMA if source else ("score",)
        if kind in needs_noise and np.any(clean) and not (source and self.is_spectral):
            raise ValueError(
                f"{name}={kind!r}: it does not exist at sigma = 0 (t = {first(t, clean)}); use t > 0"
            )
        if kind == "velocity":
            check_velocity(name, self.schedule, t)

    @property
    def _is_mixed(self) -> bool:
        """Whether examples have kinds each, so that a schedule knows no times but theirs."""
        return isinstance(self.schedule, Capped) and np.ndim(self.schedule.kind) > 0

    @property
    def _alone(self) -> list[Diffusion]:
        """The process of each kind that there is, for many times."""
        return [self.at(int(kind)) for kind in np.unique(np.asarray(self.schedule.kind))]  # type: ignore[attr-defined]


def fold_in_range(key: jax.Array, start: int | jax.Array, count: int) -> jax.Array:
    """The keys `fold_in(key, start + i)` for i < count, one per sample: shape `(count,)`.

    Raises:
      ValueError: for numbers outside [0, 2^32), as far as they are known, which would be other samples'.
    """
    key = arguments.one_key("key", key)
    if not isinstance(start, jax.core.Tracer) and not 0 <= int(start) <= _KEYS - count:
        raise ValueError(f"offset={start}: expected 0 to {_KEYS - count}")
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(start + jnp.arange(count))


def _broadcast(coefficient: ArrayLike, x: jax.Array) -> jax.Array:
    coefficient = jnp.asarray(coefficient)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else coefficient.dtype
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    # One axis is that of a batch of times; a coefficient per coordinate has its own and broadcasts.
    if coefficient.ndim == 1:
        if coefficient.size not in (1, x.shape[0]):
            raise ValueError(
                f"t: {coefficient.size} times for signals of shape {x.shape}; expected one time, or "
                "one for each"
            )
        coefficient = coefficient.reshape(coefficient.size, *(1,) * (x.ndim - 1))
    return coefficient.astype(dtype)


def _is_traced(tree: Any) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
