"""Data distributions whose denoisers are known exactly: to check code without training anything.

(11) For data N(mu, S), S diagonal in the Fourier basis, with x_t = alpha x_0 + sigma e:
         E[e | x_t](f)   = sigma lambda / (alpha^2 S + sigma^2 lambda) (x_t - alpha mu)(f)
         E[x_0 | x_t](f) = mu + alpha S / (alpha^2 S + sigma^2 lambda) (x_t - alpha mu)(f)
     with 0/0 = 0. A sampler is then a linear recursion per frequency.

(23) With a coefficient per coordinate, for S diagonal in the schedule's basis and V_t = a_t^2 S + s_t^2:
         x0_hat = mu + (a_t S / V_t) (x_t - a_t mu),  z_hat = (s_t / V_t) (x_t - a_t mu),
     and the probability-flow map is x_r - a_r mu = sqrt(V_r / V_t) (x_t - a_t mu); to t = 0, where it is
     the consistency function of (30) in `consistency.py`, f(x, t) = mu + sqrt(S / V_t) (x - a_t mu).

For a mixture of Gaussians N(mu_k, S_k) with weights p_k and any dense S_k, on small grids:
    q_t = sum_k p_k N(alpha mu_k, M_k),  M_k = alpha^2 S_k + sigma^2 Sigma,
    E[e | x_t]   = sum_k r_k sigma Sigma M_k^{-1} (x_t - alpha mu_k)
    E[x_0 | x_t] = sum_k r_k (mu_k + alpha S_k M_k^{-1} (x_t - alpha mu_k))
    score        = -sum_k r_k M_k^{-1} (x_t - alpha mu_k),
r_k the posterior probability of component k given x_t.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Denoiser
from sagd_jax.spectral import bases, transform
from sagd_jax.spectral.bases import Basis
from sagd_jax.spectral.covariance import Covariance, FourierCovariance
from sagd_jax.spectral.diagonal import DiagonalCovariance
from sagd_jax.spectral.half_grid import half_grid_shape, whole_from_half


@dataclasses.dataclass(frozen=True, eq=False)
class FourierGaussian:
    """Stationary Gaussian data N(mean, S), S diagonal in the Fourier basis.

    Attributes:
      mean: `(*spatial, channels)`.
      variance: S on the half grid (see `spectral/half_grid.py`), power per frequency in absolute units
        (it is not normalised), `(*spatial[:-1], spatial[-1] // 2 + 1, 1 or channels)`; zeros are
        allowed.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import oracle
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((8,)))
    >>> data = oracle.FourierGaussian(jnp.zeros((8, 1)), jnp.full((5, 1), 0.25))
    >>> denoiser = data.denoiser(diffusion, "x0")
    >>> x = jnp.ones((2, 8, 1))
    >>> round(float(denoiser(x, jnp.array([0.5, 0.5]))[0, 0, 0]), 4)  # 0.707 * 0.25 / 0.625
    0.2828
    """

    mean: jax.Array
    variance: jax.Array

    def __post_init__(self):
        *spatial, channels = jnp.shape(self.mean)
        half = half_grid_shape(spatial) if spatial else ()
        if not spatial or jnp.shape(self.variance) not in ((*half, 1), (*half, channels)):
            raise ValueError(
                f"variance: its shape is {jnp.shape(self.variance)}; expected {(*half, 1)} or "
                f"{(*half, channels)} for a mean of shape {jnp.shape(self.mean)}"
            )

    @property
    def covariance(self) -> FourierCovariance:
        """S as an operator."""
        return FourierCovariance(jnp.asarray(self.variance), jnp.shape(self.mean)[:-1])

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Draws data of shape `(count, *spatial, channels)`, by a `jax.random.key`."""
        return self.mean + self.covariance.sample(key, (count, *jnp.shape(self.mean)))

    def log_prob(self, x: jax.Array) -> jax.Array:
        """log N(x; mean, S) in nats per example, on the range of S."""
        return self.covariance.log_prob(x - self.mean)

    def denoiser(self, diffusion: Diffusion, prediction: str = "epsilon") -> Denoiser:
        """The exact denoiser, equation (11).

        Args:
          diffusion: the process; its covariance may be singular.
          prediction: kind of its output, as in `Diffusion.convert`.

        Returns:
          A function `(x_t, t) -> prediction`, t of shape `(batch,)`.
        """
        if diffusion.is_spectral or not isinstance(diffusion.covariance, FourierCovariance):
            return self._on_the_whole_grid().denoiser(diffusion, prediction)
        schedule, noise_variance = diffusion.schedule, diffusion.covariance.variance

        def one(x, t):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            total = alpha**2 * self.variance + sigma**2 * noise_variance
            inverse = jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1), 0)
            centred = (x - alpha * self.mean).astype(x.dtype)[None]
            x0 = self.mean + transform.multiply(centred, alpha * self.variance * inverse)[0]
            noise = transform.multiply(centred, sigma * noise_variance * inverse)[0]
            return x0, noise

        def denoiser(x, t):
            x0, noise = jax.vmap(one)(x, t)
            return diffusion.target(x0, noise, t, prediction)

        return denoiser

    def consistency(self, diffusion: Diffusion) -> Denoiser:
        """The exact consistency function `(x, t) -> x_0`, as that of `DiagonalGaussian`."""
        return self._on_the_whole_grid().consistency(diffusion)

    def _on_the_whole_grid(self) -> DiagonalGaussian:
        shape = jnp.shape(self.mean)[:-1]
        whole = whole_from_half(jnp.asarray(self.variance), shape)
        return DiagonalGaussian(bases.Fourier(shape), self.mean, whole)


@dataclasses.dataclass(frozen=True, eq=False)
class DiagonalGaussian:
    """Gaussian data N(mean, S), S diagonal in any basis, equation (23).

    Attributes:
      basis: of `spectral/bases.py`.
      mean: a signal, `(*spatial, channels)`.
      variance: S on the grid of the basis, absolute, `(*spatial, 1 or channels)`; zeros are allowed.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import oracle
    >>> basis = sagd.bases.cosine((8,))
    >>> diffusion = sagd.Diffusion(sagd.schedules.blurring(sagd.schedules.cosine(), basis))
    >>> data = oracle.DiagonalGaussian(basis, jnp.zeros((8, 1)), 1 / (0.1 + basis.radius))
    >>> samples = sagd.sample(
    ...     jax.random.key(0), data.denoiser(diffusion, "v"), diffusion, (2, 8, 1), prediction="v"
    ... )
    >>> samples.shape
    (2, 8, 1)
    """

    basis: Basis
    mean: jax.Array
    variance: jax.Array

    def __post_init__(self):
        shape, channels = self.basis.spatial_shape, jnp.shape(self.mean)[-1]
        if jnp.shape(self.mean)[:-1] != shape or jnp.shape(self.variance) not in (
            (*shape, 1),
            (*shape, channels),
        ):
            raise ValueError(
                f"mean, variance: shapes {jnp.shape(self.mean)}, {jnp.shape(self.variance)}; expected "
                f"{(*shape, 'channels')} and {(*shape, '1 or channels')}"
            )

    @property
    def covariance(self) -> DiagonalCovariance:
        """S as an operator."""
        return DiagonalCovariance(self.basis, jnp.asarray(self.variance))

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """Draws data of shape `(count, *spatial, channels)`, by a `jax.random.key`."""
        return self.mean + self.covariance.sample(key, (count, *jnp.shape(self.mean)))

    def log_prob(self, x: jax.Array) -> jax.Array:
        """log N(x; mean, S) in nats per example, on the range of S."""
        return self.covariance.log_prob(x - self.mean)

    def denoiser(self, diffusion: Diffusion, prediction: str = "epsilon") -> Denoiser:
        """The exact denoiser, equation (23).

        Raises:
          ValueError: for a schedule or covariance that is not diagonal in this basis.
        """
        basis, variance, noise, parts = self._parts(diffusion)

        def denoiser(x, t):
            alpha, sigma, mean, centred, inverse = parts(x, t)
            x0 = mean + alpha * variance * inverse * centred
            e = sigma * noise * inverse * centred
            return diffusion.target(basis.inverse(x0), basis.inverse(e), t, prediction)

        return denoiser

    def consistency(self, diffusion: Diffusion) -> Denoiser:
        """The exact consistency function `(x, t) -> x_0`: the probability-flow map to t = 0, (23).

        Where the noise has no support it is x / alpha, which is x_0.

        Raises:
          ValueError: as `denoiser`.

        >>> import jax.numpy as jnp, sagd_jax as sagd
        >>> from sagd_jax import oracle
        >>> diffusion = sagd.Diffusion(sagd.schedules.edm(sigma_max=3.0, rho=1.0), sagd.white((1,)))
        >>> data = oracle.FourierGaussian(jnp.zeros((1, 1)), jnp.full((1, 1), 0.3))
        >>> f = data.consistency(diffusion)
        >>> round(float(f(jnp.ones((1, 1, 1)), jnp.ones(1))[0, 0, 0]), 4)  # sqrt(0.3 / 9.3)
        0.1796
        """
        basis, variance, _, parts = self._parts(diffusion)

        def function(x, t):
            _, _, mean, centred, inverse = parts(x, t)
            return basis.inverse(mean + jnp.sqrt(variance * inverse) * centred)

        return function

    def _parts(self, diffusion: Diffusion):
        """The basis, S, lambda, and a function of (x, t): a, s, the mean, x - a mean, and 1 / V."""
        schedule, basis = diffusion.schedule, self.basis
        if schedule.basis is not None and not bases.same(schedule.basis, basis):
            raise ValueError(f"diffusion: its schedule is in {schedule.basis}, the data in {basis}")
        variance, noise = jnp.asarray(self.variance), diffusion.covariance.coefficients(basis)

        def parts(x, t):
            alpha, sigma = (
                c if diffusion.is_spectral else c.reshape(-1, *(1,) * (x.ndim - 1))
                for c in (schedule.alpha(t), schedule.sigma(t))
            )
            total = alpha**2 * variance + sigma**2 * noise
            inverse = jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1), 0)
            mean = basis.forward(jnp.asarray(self.mean, x.dtype))
            return alpha, sigma, mean, basis.forward(x) - alpha * mean, inverse

        return basis, variance, noise, parts


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of K Gaussians with dense covariances, for grids of a few dozen values.

    Attributes:
      weights: `(K,)`, positive, of sum 1.
      means: `(K, *spatial, channels)`.
      covariances: `(K, D, D)` with D = sites x channels, in the order of `mean.reshape(-1)`;
        positive definite (semi-definite is enough where t > 0 and the noise has full support).

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> from sagd_jax import oracle
    >>> means = jnp.stack([jnp.full((2, 2, 1), -1.0), jnp.full((2, 2, 1), 1.0)])
    >>> covariances = 0.1 * jnp.stack([jnp.eye(4), jnp.eye(4)])
    >>> data = oracle.GaussianMixture(jnp.array([0.5, 0.5]), means, covariances)
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((2, 2), alpha=-0.5))
    >>> bool(jnp.allclose(data.score(jnp.zeros((1, 2, 2, 1)), diffusion, 0.5), 0, atol=1e-6))
    True
    """

    weights: jax.Array
    means: jax.Array
    covariances: jax.Array

    def __post_init__(self):
        count = jnp.shape(self.means)[0]
        size = math.prod(jnp.shape(self.means)[1:])
        for name, expected in [("weights", (count,)), ("covariances", (count, size, size))]:
            if jnp.shape(getattr(self, name)) != expected:
                raise ValueError(
                    f"{name}: its shape is {jnp.shape(getattr(self, name))}; expected {expected} "
                    f"for means of shape {jnp.shape(self.means)}"
                )

    def sample(self, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Draws data `(count, *spatial, channels)` and the components `(count,)` they come from, by `key`."""
        key_component, key_value = jax.random.split(key)
        component = jax.random.choice(
            key_component, self.weights.shape[0], (count,), p=jnp.asarray(self.weights)
        )
        white = jax.random.normal(key_value, (count, self.covariances.shape[-1]))
        roots = jnp.linalg.cholesky(self.covariances)
        values = jnp.einsum("nij,nj->ni", roots[component], white)
        return self.means[component] + values.reshape(count, *self.means.shape[1:]), component

    def log_prob(
        self, x: jax.Array, diffusion: Diffusion | None = None, t: ArrayLike = 0.0
    ) -> jax.Array:
        """log density in nats per example: of the data, or of x_t, t in [0, 1], of a diffusion."""
        return jax.nn.logsumexp(self._posterior(x, diffusion, t)[0], axis=-1)

    def responsibilities(
        self, x: jax.Array, diffusion: Diffusion | None = None, t: ArrayLike = 0.0
    ) -> jax.Array:
        """Posterior probabilities of the components at t in [0, 1], `(batch, K)`."""
        return jax.nn.softmax(self._posterior(x, diffusion, t)[0], axis=-1)

    def score(
        self, x: jax.Array, diffusion: Diffusion | None = None, t: ArrayLike = 0.0
    ) -> jax.Array:
        """grad log density with respect to x, of the data or of x_t, t in [0, 1]; not projected."""
        log_joint, residual, *_ = self._posterior(x, diffusion, t)
        return -jnp.einsum("bk,bkd->bd", jax.nn.softmax(log_joint, -1), residual).reshape(x.shape)

    def denoiser(self, diffusion: Diffusion, prediction: str = "epsilon") -> Denoiser:
        """The exact denoiser `(x_t, t) -> prediction`, t of shape `(batch,)`."""

        if diffusion.is_spectral:
            return self._in_coordinates(diffusion, prediction)

        def denoiser(x, t):
            log_joint, residual, alpha, _ = self._posterior(x, diffusion, t)
            posterior = jax.nn.softmax(log_joint, axis=-1)
            means = self.means.reshape(self.weights.shape[0], -1)
            alpha = alpha[:, None]
            x0 = posterior @ means + alpha * jnp.einsum(
                "bk,kde,bke->bd", posterior, self.covariances, residual
            )
            weighted = jnp.einsum("bk,bkd->bd", posterior, residual).reshape(x.shape)
            noise = diffusion.sigma(t, x) * diffusion.covariance.apply(weighted)
            return diffusion.target(x0.reshape(x.shape), noise, t, prediction)

        return denoiser

    def _in_coordinates(self, diffusion: Diffusion, prediction: str) -> Denoiser:
        """`denoiser` where alpha and sigma are diagonal matrices in coordinates."""
        shape, size = jnp.shape(self.means)[1:], self.covariances.shape[-1]
        rows = diffusion.encode(jnp.eye(size).reshape(size, *shape)).reshape(size, size).T
        means = diffusion.encode(self.means).reshape(-1, size)
        covariances = rows @ self.covariances @ rows.T

        def one(x, alpha, sigma):
            total = alpha[:, None] * covariances * alpha + jnp.diag(sigma**2)
            centred = x - alpha * means
            root = jnp.linalg.cholesky(total)
            residual = jax.scipy.linalg.cho_solve((root, True), centred[..., None])[..., 0]
            log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
            log_joint = jnp.log(self.weights) - 0.5 * (jnp.sum(centred * residual, -1) + log_det)
            r = jax.nn.softmax(log_joint)
            x0 = r @ (means + jnp.einsum("kde,ke->kd", covariances, alpha * residual))
            return x0, sigma * (r @ residual)

        def denoiser(x, t):
            state = diffusion.encode(x)
            root = jnp.sqrt(diffusion.covariance.variance)
            alpha, sigma = (
                jnp.broadcast_to(c, x.shape).reshape(-1, size)
                for c in (diffusion.alpha(t, x), diffusion.sigma(t, x) * root)
            )
            x0, z = jax.vmap(one)(state.reshape(-1, size), alpha, sigma)
            e = root * z.reshape(x.shape)
            x0 = diffusion.decode(x0.reshape(x.shape))
            return diffusion.target(x0, diffusion.decode(e), t, prediction)

        return denoiser

    def _posterior(self, x: jax.Array, diffusion: Diffusion | None, t: ArrayLike):
        """`log p_k N(x; alpha mu_k, M_k)`, `M_k^{-1} (x - alpha mu_k)`, alpha and sigma.

        Their shapes are `(batch, K)`, `(batch, K, D)`, `(batch,)` and `(batch,)`.
        """
        batch, size = x.shape[0], self.covariances.shape[-1]
        if diffusion is None:
            alpha, sigma = jnp.ones(batch, x.dtype), jnp.zeros(batch, x.dtype)
            noise_covariance = jnp.zeros((size, size), x.dtype)
        else:
            t = jnp.broadcast_to(jnp.asarray(t, x.dtype), (batch,))
            alpha, sigma = diffusion.schedule.alpha(t), diffusion.schedule.sigma(t)
            noise_covariance = dense(diffusion.covariance, x.shape[-1], x.dtype)

        def one(x, alpha, sigma):
            total = alpha**2 * self.covariances + sigma**2 * noise_covariance
            root = jnp.linalg.cholesky(total)
            centred = x.reshape(-1) - alpha * self.means.reshape(-1, size)
            white = jax.scipy.linalg.solve_triangular(root, centred[..., None], lower=True)
            residual = jax.scipy.linalg.solve_triangular(root, white, lower=True, trans=1)
            log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)
            square = jnp.sum(white[..., 0] ** 2, axis=-1)
            log_normal = -0.5 * (square + log_det + size * math.log(2 * math.pi))
            return jnp.log(self.weights) + log_normal, residual[..., 0]

        return *jax.vmap(one)(x, alpha, sigma), alpha, sigma


def dense(covariance: Covariance, channels: int, dtype=jnp.float32) -> jax.Array:
    """Sigma of a covariance as a `(D, D)` matrix of `dtype`, D = sites x channels, as `x.reshape(-1)`.

    >>> import sagd_jax as sagd
    >>> from sagd_jax import oracle
    >>> float(oracle.dense(sagd.power_law((2, 2), alpha=1.0), channels=1).trace())
    4.0
    """
    size = math.prod(covariance.spatial_shape) * channels
    basis = jnp.eye(size, dtype=dtype).reshape(size, *covariance.spatial_shape, channels)
    return covariance.apply(basis).reshape(size, size)
