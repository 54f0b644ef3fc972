"""Sampling: one method's step (`samplers.py`), scanned over a grid of times (`time_grids.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion import guidance
from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion, fold_in_range
from sagd_jax.diffusion.samplers import (
    METHODS,
    Denoiser,
    Sampler,
    check_prediction,
    named,
    predictor,
)
from sagd_jax.diffusion.time_grids import check_times, uniform
from sagd_jax.spectral import arguments


def sample(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    shape: Sequence[int],
    *,
    method: str | Sampler = "ddim",
    num_steps: int = 50,
    times: ArrayLike | None = None,
    prediction: str | None = None,
    offset: int | jax.Array = 0,
    start: ArrayLike | None = None,
    trajectory: bool = False,
    clip: tuple[float, float] | None = None,
    **options: float,
) -> jax.Array:
    """Draws samples: a scan of one method's step over a grid of times.

    Sample i depends on `fold_in(key, offset + i)` alone, hence on neither the batch size nor the
    device count. Wrap the call in `jax.jit` to compile it once for many keys.

    Args:
      key: a `jax.random.key`.
      denoiser: `(x_t, t) -> prediction`, with t of shape `(n,)`; may compute in any precision.
      diffusion: the process the denoiser was trained for.
      shape: `(n, *spatial, channels)`.
      method: "ddim"; "euler" (ddim with eta 0); "ddpm" (ancestral, equation 8); "heun" and
        "dpmpp_2m" (second order); "sde" (heun with churn); "pc" (Langevin corrector, then ddim).
        "heun", "sde" and "pc" evaluate the denoiser twice a step, the others once. Or a `Sampler`.
      num_steps: number of intervals, uniform in t, where `times` is not given.
      times: explicit decreasing grid in [0, 1] that ends in 0; see `time_grids.py`.
      prediction: kind of the denoiser's output, one of "epsilon", "x0", "v", "velocity", "score",
        "white_epsilon"; by default the one that the denoiser says itself, as that of `sagd.load`
        does, or "epsilon".
      offset: index of the first sample.
      start: signal at the first time, of shape `shape`; by default a draw from N(0, sigma^2 Sigma).
        On a singular Sigma its part off the range is kept, as data without noise.
      trajectory: whether to return the states at all times.
      clip: (low, high) of the data's values, to which x0_hat is clipped at every step
        (`guidance.clip_x0`): (-1, 1) for images. On a singular Sigma clipped values are projected
        on its range, beyond the bounds if need be.
      **options: of the method. For "ddim" `eta` in [0, 1], the scale of the noise's standard
        deviation: 0, the default, adds none, 1 is "ddpm". For "sde" `churn` >= 0, the total noise
        added (EDM's S_churn): 0, the default, is "heun". For "pc" `snr` in [0, 1), the corrector's
        signal-to-noise ratio, by default 0.16.

    Returns:
      Samples of shape `shape`; with `trajectory`, the states of shape `(len(times), *shape)`, from
      the start to the samples. Float32, or float64 where JAX's x64 mode is on.

    Raises:
      ValueError: for an argument outside the values above, an option the method does not take, a
        denoiser that changes the shape, a prediction of epsilon, score or white_epsilon where
        alpha = 0 (in any coordinate), churn under a schedule that finishes coordinates early, or no
        `start` under one that does not end in noise.

    >>> import jax, sagd_jax as sagd
    >>> diffusion = sagd.Diffusion(sagd.schedules.cosine(), sagd.power_law((8, 8), alpha=-0.5))
    >>> denoiser = lambda x, t: 0 * x  # E[v | x_t] for data that are themselves N(0, Sigma)
    >>> sagd.sample(jax.random.key(0), denoiser, diffusion, (4, 8, 8, 1), prediction="v").shape
    (4, 8, 8, 1)
    """
    sampler = named(method, **options) if isinstance(method, str) else method
    if not isinstance(sampler, Sampler):
        raise ValueError(f"method={method!r}: expected one of {', '.join(METHODS)}, or a Sampler")
    if options and sampler is method:
        raise ValueError(f"{', '.join(options)}: method={method!r} brings its own options")
    grid = uniform(num_steps) if times is None else check_times(times)
    prediction = kind_of(denoiser, prediction)
    check_prediction(diffusion, prediction, grid)
    sampler.check(diffusion)
    if clip is not None:
        if np.shape(clip) != (2,) or not np.isfinite(clip).all():
            raise ValueError(f"clip={clip!r}: expected two finite numbers, (low, high)")
        low, high = clip
        # As v, which can be read at all times and without Sigma.
        denoiser = guidance.clip_x0(denoiser, diffusion, prediction, low, high, target="v")
        prediction = "v"
    dtype = jnp.result_type(float)
    shape = arguments.shape("shape", shape)
    if start is None:
        # The prior is that of t = 1; a grid that starts later starts with the noise of its time.
        x = diffusion.encode(diffusion.prior_sample(key, shape, offset).astype(dtype))
        if grid[0] < 1:
            x = x * diffusion.ratio(diffusion.sigma(grid[0], x), diffusion.sigma(1.0, x))
    else:
        x = arguments.signal("start", start).astype(dtype)
        if x.shape != shape:
            raise ValueError(f"start: its shape {x.shape} is not shape={shape}")
        x = diffusion.encode(x)
    # A singular Sigma never changes the data off its range: read there once, at the start, since
    # reading it anew would divide the rounding of every state by a small alpha.
    clean = (
        0.0
        if start is None
        else diffusion.encode(diffusion.off_range(diffusion.decode(x), grid[0]))
    )
    predict = predictor(denoiser, diffusion, prediction, clean)
    keys = fold_in_range(key, offset, shape[0])
    steps = len(grid) - 1

    def advance(state, step):
        x, memory = state
        index, t, s = step

        def draw() -> jax.Array:
            # The sample's own key drew its start; the noise of step n comes from that key folded.
            own = jax.vmap(lambda k: jax.random.fold_in(k, index))(keys)
            return diffusion.encode(diffusion.covariance.sample(own, shape[1:], dtype))

        x, memory = sampler.step(predict, diffusion, x, t, s, draw, memory, steps)
        return (x, memory), x if trajectory else None

    memory = sampler.memory(x, jnp.asarray(grid[0], dtype))
    steps_and_times = (np.arange(steps), grid[:-1].astype(dtype), grid[1:].astype(dtype))
    (final, _), states = jax.lax.scan(advance, (x, memory), steps_and_times)
    return diffusion.decode(jnp.concatenate([x[None], states]) if trajectory else final)
