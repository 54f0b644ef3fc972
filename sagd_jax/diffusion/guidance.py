"""Guidance: functions from denoiser to denoiser.

A denoiser is `(x_t, t) -> prediction`, t of shape `(batch,)`; what these functions return is one
too, of the same kind of prediction, for any sampler.

Guidance extrapolates from one prediction through another, b + scale (a - b), whose weights sum to
one. At given (x_t, t) all kinds of prediction are affine functions of each other (equation 13 of
`process.py`), and such combinations commute with affine functions: guiding any kind is guiding
all. No Sigma appears, since e_hat and the score differ by a fixed matrix. Clipping is not affine:
it needs x0_hat, hence the process and the kind.

Sources: classifier-free guidance, Ho & Salimans 2022 (arXiv 2207.12598), with scale = 1 + w;
interval, Kynkaanniemi et al. 2024 (arXiv 2404.07724); autoguidance, Karras et al. 2024
(arXiv 2406.02507); dynamic thresholding, Saharia et al. 2022 (arXiv 2205.11487).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of, noted, of_kind
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.samplers import Denoiser
from sagd_jax.spectral.covariance import Covariance


def classifier_free(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: ArrayLike,
    interval: tuple[float, float] | None = None,
) -> Denoiser:
    """unconditional + scale (conditional - unconditional).

    Args:
      conditional, unconditional: denoisers of one kind of prediction.
      scale: scalar or `(batch,)`; 1 is `conditional`, 0 `unconditional`, more is guidance.
      interval: (low, high), times in which to guide; elsewhere the result is `conditional`, and
        `unconditional` is not evaluated. By default all times.

    Raises:
      ValueError: unless 0 <= low < high <= 1.

    >>> import jax.numpy as jnp
    >>> guided = classifier_free(lambda x, t: x, lambda x, t: 0 * x, 3.0, interval=(0.2, 0.8))
    >>> x = jnp.ones((1, 4, 1))
    >>> [float(guided(x, jnp.array([t]))[0, 0, 0]) for t in (0.1, 0.5)]
    [1.0, 3.0]
    """
    return _extrapolated(conditional, unconditional, scale, interval)


def autoguidance(
    denoiser: Denoiser,
    weaker: Denoiser,
    scale: ArrayLike,
    interval: tuple[float, float] | None = None,
) -> Denoiser:
    """weaker + scale (denoiser - weaker): away from the errors of a weaker model of the same data.

    Args:
      denoiser: the model.
      weaker: a smaller or less trained one (an earlier checkpoint), of the same kind of prediction
        and trained under the same process.
      scale, interval: as for `classifier_free`.
    """
    return _extrapolated(denoiser, weaker, scale, interval)


def clip_x0(
    denoiser: Denoiser,
    diffusion: Diffusion,
    prediction: str | None = None,
    low: float = -1.0,
    high: float = 1.0,
    target: str | None = None,
) -> Denoiser:
    """Clips x0_hat to the range of the data's values; e_hat follows, x_t being what it is.

    On a singular Sigma what is off the range of Sigma stays x_t / alpha, so that values may exceed
    the bounds by that part. What is not finite stays so: an overflow must not look like a bound.

    Args:
      denoiser: any denoiser.
      diffusion: the process it was trained for.
      prediction: kind of its output; by default the one that it says itself, or "epsilon".
      low, high: bounds.
      target: kind of the result; by default that of the denoiser.

    Raises:
      ValueError: unless low < high; at times where x0_hat cannot be read (`Diffusion.predict`).

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((4,)))
    >>> clipped = clip_x0(lambda x, t: 5 * x, diffusion, "x0")
    >>> float(clipped(jnp.ones((1, 4, 1)), jnp.array([0.5]))[0, 0, 0])
    1.0
    """
    if not low < high:
        raise ValueError(f"low={low}, high={high}: expected low < high")

    def clip(x0):
        return jnp.where(jnp.isfinite(x0), jnp.clip(x0, low, high), x0)

    return map_x0(denoiser, diffusion, clip, prediction, target)


def dynamic_threshold(
    denoiser: Denoiser,
    diffusion: Diffusion,
    prediction: str | None = None,
    quantile: float = 0.995,
    bound: float = 1.0,
) -> Denoiser:
    """Scales each x0_hat so that a quantile of |x0_hat| is within `bound`, and clips it there.

    With q the quantile of an example's absolute values and m = max(q, bound), x0_hat becomes
    clip(x0_hat, -m, m) bound / m. For data in [-bound, bound]; other arguments as for `clip_x0`.

    Raises:
      ValueError: unless 0 < quantile <= 1 and bound > 0.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile={quantile}: expected a number in (0, 1]")
    if not bound > 0:
        raise ValueError(f"bound={bound}: expected a number > 0")

    def threshold(x0):
        axes = tuple(range(1, x0.ndim))
        limit = jnp.quantile(jnp.abs(x0), quantile, axis=axes, keepdims=True)
        limit = jnp.maximum(limit, bound)
        return jnp.clip(x0, -limit, limit) * (bound / limit)

    return map_x0(denoiser, diffusion, threshold, prediction)


def project_input(denoiser: Denoiser, covariance: Covariance) -> Denoiser:
    """Shows the network the projection of x_t on the range of Sigma, that of `covariance`.

    For networks trained so: what they see of data with a corrupted band is then what they see in
    sampling. Right for any kind of prediction, since `Diffusion.predict` reads only what the
    prediction has on the range, and takes the rest of x_0 from x_t itself.

    >>> import jax.numpy as jnp, sagd_jax as sagd
    >>> seen = project_input(lambda x, t: x, sagd.band_pass((8,), [(0.2, 1)]))
    >>> bool(jnp.allclose(seen(jnp.ones((1, 8, 1)), jnp.ones(1)), 0, atol=1e-6))
    True
    """
    return of_kind(lambda x, t: denoiser(covariance.project(x), t), noted(denoiser))


def map_x0(
    denoiser: Denoiser,
    diffusion: Diffusion,
    function: Callable[[jax.Array], jax.Array],
    prediction: str | None = None,
    target: str | None = None,
) -> Denoiser:
    """Applies `function` to x0_hat and returns to the same kind of prediction, or to `target`.

    `denoiser`, `diffusion` and `prediction` are as for `clip_x0`, which is made of this. Raises ValueError
    for a target that does not exist.

    The computation has the dtype of x_t, the result that of the denoiser's output. A target of "v"
    can be read at every time without loss; the way through "score" and "white_epsilon" applies the
    inverse of Sigma.
    """
    source = kind_of(denoiser, prediction)
    kind = target or source

    def mapped(x, t):
        output = denoiser(x, t)
        if jnp.shape(output) != x.shape:  # it might be broadcast in silence
            raise ValueError(
                f"denoiser: it returned shape {jnp.shape(output)} for an input of shape {x.shape}; "
                "expected the same"
            )
        x0, _ = diffusion.predict(output.astype(x.dtype), x, t, source)
        changed = diffusion.convert(function(x0), x, t, "x0", kind)
        return changed.astype(output.dtype)

    return of_kind(mapped, kind)


def _extrapolated(
    first: Denoiser, second: Denoiser, scale: ArrayLike, interval: tuple[float, float] | None
) -> Denoiser:
    low, high = (0.0, 1.0) if interval is None else interval
    if not 0 <= low < high <= 1:
        raise ValueError(f"interval={interval}: expected (low, high) with 0 <= low < high <= 1")

    def guided(x, t):
        prediction = first(x, t)
        # prediction + (scale - 1) (prediction - other): exactly `first` where the weight is zero.
        weight = jnp.asarray(scale, prediction.dtype) - 1
        if interval is None:
            other = second(x, t)
        else:
            inside = (t >= low) & (t <= high)
            other = jax.lax.cond(jnp.any(inside), lambda: second(x, t), lambda: prediction)
            weight = jnp.where(inside, weight, 0)
        weight = weight.reshape(-1, *(1,) * (x.ndim - 1))
        return prediction + weight * (prediction - other)

    return of_kind(guided, noted(first, second))
