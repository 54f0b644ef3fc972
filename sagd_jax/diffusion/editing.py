"""Editing: sampling with part of the signal given, as functions from denoiser to denoiser.

The part that is given is P x_0 = P y, for a signal y and an orthogonal projector P: a set of pixels
(`pixels`) or of frequencies (`frequencies_without_noise`).

Spectral inpainting, exact. Where lambda = 0, x_t carries alpha_t x_0 without noise (equation 14 of
`process.py`): a model trained so has learned E[e | x_t] given these frequencies of x_0. Hence

(16) e_hat(Pi x_t + alpha_t (1 - Pi) y, t), sampled from x_1 ~ N(0, sigma_1^2 Sigma),

draws the band on the range of Sigma from its distribution conditional on the others, up to the
errors of the network and the sampler that any sample has. One model fills its own band only.

With any model, approximate. Neither of these knows the distribution of the given part at time t:

(17) replacement: x0_hat + P (y - x0_hat) in place of x0_hat. The given part of x_t is then a
     diffused y, but the rest is conditioned on it as noisy as it is, and the seams show.
(18) reconstruction guidance: x0_hat + (sigma^2 / alpha) Sigma grad log p(y | x_t), where p(y | x_t)
     is taken for N(P y; P x0_hat, r^2 P) with r^2 = sigma^2 / (alpha^2 + sigma^2). It is exact for
     white data of unit variance under white noise.

Sources: (16) follows from SAGD (arXiv 2510.09660), section 2.3; (17), Song et al. 2021
(arXiv 2011.13456), section 5; (18), Ho et al. 2022 (arXiv 2204.03458) and, for r, Song et al. 2023
(pseudo-inverse guidance); the Sigma in it is that of equation (7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of, noted, of_kind
from sagd_jax.diffusion.guidance import map_x0
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Denoiser
from sagd_jax.diffusion.sampling import sample
from sagd_jax.spectral.covariance import Covariance

Projector = Callable[[jax.Array], jax.Array]


def spectral_inpaint(
    key: jax.Array, denoiser: Denoiser, diffusion: Diffusion, signal: jax.Array, **options: Any
) -> jax.Array:
    """Samples the band on the range of Sigma, given the signal's other frequencies, equation (16).

    Args:
      key: a `jax.random.key`.
      denoiser: of a model trained with this process on signals whose other frequencies are clean.
      diffusion: a process with a singular covariance: lambda > 0 on the band to fill alone.
      signal: `(n, *spatial, channels)`; what it holds in the band to fill is not used.
      options: of `samplers.sample`, but neither `start` nor `trajectory`.

    Returns:
      An array like `signal`, equal to it off the range of Sigma.

    Raises:
      ValueError: for a covariance of full rank, which leaves no frequency clean; as `sample`.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> covariance = sagd.band_pass((8, 8), [(0.5, 1)])
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), covariance)
    >>> signal = jnp.ones((2, 8, 8, 1))
    >>> filled = spectral_inpaint(jax.random.key(0), lambda x, t: x, diffusion, signal)
    >>> bool(jnp.allclose(filled - covariance.project(filled), signal, atol=1e-5))
    True
    """
    conditioned = condition_on_clean(denoiser, diffusion, signal)
    filled = sample(key, conditioned, diffusion, signal.shape, **options)
    return signal + diffusion.covariance.project(filled - signal)


def condition_on_clean(denoiser: Denoiser, diffusion: Diffusion, signal: jax.Array) -> Denoiser:
    """The denoiser of equation (16): it sees alpha_t times the signal off the range of Sigma.

    Args:
      denoiser: `(x_t, t) -> prediction`, of a network that was trained under `diffusion`.
      diffusion: a process of singular Sigma.
      signal: like x_t; what is kept of it is off the range.

    Raises:
      ValueError: for a covariance of full rank.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> hole = sagd.Diffusion(sagd.schedules.cosine(), sagd.band_pass((8,), [(0.2, 1)]))
    >>> see = condition_on_clean(lambda x, t: x, hole, jnp.ones((1, 8, 1)))
    >>> x = see(jnp.zeros((1, 8, 1)), jnp.full(1, 0.5))  # alpha = sqrt(1/2) of the constant
    >>> [round(float(value), 4) for value in (x.min(), x.max())]
    [0.7071, 0.7071]
    """
    covariance = diffusion.covariance
    if covariance.is_full_rank:
        raise ValueError(
            "diffusion.covariance has full rank: no frequency stays without noise to condition on; "
            "use a model trained with lambda = 0 there, or replacement or reconstruction_guidance"
        )
    clean = frequencies_without_noise(covariance)(signal)

    def conditioned(x, t):
        given = diffusion.alpha(t, x) * diffusion.encode(clean.astype(x.dtype))
        return denoiser(covariance.project(x) + diffusion.decode(given), t)

    return of_kind(conditioned, noted(denoiser))


def replacement(
    denoiser: Denoiser,
    diffusion: Diffusion,
    signal: jax.Array,
    given: Projector,
    prediction: str | None = None,
) -> Denoiser:
    """Puts the given part of `signal` into x0_hat, equation (17); approximate.

    Samples have that part exactly (to rounding). For a singular Sigma only what is on its range can
    be given this way.

    Args:
      denoiser: of any model.
      diffusion: the process it was trained for.
      signal: `(batch, *spatial, channels)`.
      given: projector on what is given, e.g. `pixels(mask)`.
      prediction: kind of the denoiser's output, which the result has too; by default the one that
        it says itself, or "epsilon".
    """
    return map_x0(denoiser, diffusion, lambda x0: x0 + given(signal - x0), prediction)


def reconstruction_guidance(
    denoiser: Denoiser,
    diffusion: Diffusion,
    signal: jax.Array,
    given: Projector,
    scale: float = 1.0,
    prediction: str | None = None,
) -> Denoiser:
    """Pulls x0_hat towards signals with the given part, equation (18); approximate.

    It differentiates the denoiser, and costs about three evaluations of it. Arguments and use are those
    of `replacement`; `scale` multiplies the pull, and 1 is equation (18).
    """
    kind = kind_of(denoiser, prediction)

    def guided(x, t):
        def reconstruct(x):
            output = denoiser(x, t)
            return diffusion.predict(output.astype(x.dtype), x, t, kind)[0], output.dtype

        x0, transpose, dtype = jax.vjp(reconstruct, x, has_aux=True)
        alpha, sigma = diffusion.alpha(t, x), diffusion.sigma(t, x)
        (pull,) = transpose(given(signal - x0))
        # At alpha = 0, x_t says nothing of x_0 and the gradient is zero.
        factor = scale * (alpha**2 + sigma**2) * jnp.where(alpha > 0, 1 / alpha, 0)
        x0 = x0 + diffusion.decode(factor * diffusion.encode(diffusion.covariance.apply(pull)))
        return diffusion.convert(x0, x, t, "x0", kind).astype(dtype)

    return of_kind(guided, kind)


def pixels(mask: ArrayLike) -> Projector:
    """Projector on the sites where `mask` (booleans that broadcast against signals) is true.

    >>> import jax.numpy as jnp
    >>> pixels(jnp.array([True, False])[:, None])(jnp.ones((1, 2, 1)))[0, :, 0]
    Array([1., 0.], dtype=float32)
    """
    return lambda x: jnp.where(jnp.asarray(mask, bool), x, 0)


def frequencies_without_noise(covariance: Covariance) -> Projector:
    """Projector on the frequencies where lambda = 0: the complement of the range of a `covariance`.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> given = frequencies_without_noise(sagd.band_pass((8,), [(0.2, 1)]))
    >>> bool(jnp.allclose(given(jnp.ones((1, 8, 1))), 1, atol=1e-6))  # the mean is among them
    True
    """
    return lambda x: x - covariance.project(x)
