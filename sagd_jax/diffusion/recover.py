"""Clean examples of a model that learned from corrupted ones: finished samples, and restorations.

(28) Where no clean example was trained, the sampler runs the schedule of a corrupted kind i down to t = 0,
     where its capped coordinates still hold noise: `finish` replaces them by x0_hat = (x - s_0 z_hat) / a_0
     from one evaluation there. These are posterior means, whose energy is too low, for Gaussian data of
     variance S by S / (S + (1 + margin) N).
(29) `restore`: an example y of kind i is x_0 at level N. Without a restoring path: its posterior mean at
     the cap, of y plus noise of variance margin N, gain S / (S + (1 + margin) N) for Gaussian data. With
     one, y is its state at t = 1: E[x_0 | y] is one evaluation there, and the ancestral sampler from y on
     draws from p(x_0 | y). Draws are what a model may be trained on again: with means it collapses. Per
     mode, with the model's spectrum S_k,
         S_{k+1} = S_k^2 (S + N) / (S_k + N)^2                        for means, which goes to 0 or too low,
         S_{k+1} = S_k^2 (S + N) / (S_k + N)^2 + S_k N / (S_k + N)    for draws, whose fixed point is S.

The levels are those of `diffusion/schedules/caps.py`.

Source: EM by posterior draws, Rozet et al. 2024 (arXiv 2405.13712); the other equations are this
package's own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.denoisers import kind_of
from sagd_jax.diffusion.process import Diffusion, fold_in_range
from sagd_jax.diffusion.samplers import Denoiser, predictor
from sagd_jax.diffusion.sampling import sample
from sagd_jax.diffusion.schedules import Capped
from sagd_jax.spectral import arguments


def process_of(diffusion: Diffusion, kind: ArrayLike, num_steps: int = 0) -> Diffusion:
    """The process whose denoiser `restore` asks: at the kind, or on its restoring path where it draws.

    Args:
      diffusion: with a `Capped` schedule.
      kind: 1 to K, or K + 1 to 2 K, restoring paths; one, or `(batch,)`.
      num_steps: of `restore`.

    Raises:
      ValueError: for another schedule or kind, or steps where there is no restoring path.

    >>> import sagd_jax as sagd
    >>> schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((2,)), [[0.0, 4.0]])
    >>> path = process_of(sagd.Diffusion(schedule), 1, num_steps=10)
    >>> [float(s) for s in path.schedule.sigma(1.0)[:, 0]]  # y, as it is
    [0.0, 2.0]
    """
    schedule = _capped(diffusion)
    own = diffusion.at(kind)
    if not num_steps or _on_path(_capped(own)):
        return own
    return diffusion.at(schedule.restoring_path(kind))


def finish(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x: jax.Array,
    kind: ArrayLike,
    *,
    prediction: str | None = None,
) -> jax.Array:
    """Samples of a corrupted kind without its noise, equation (28).

    Args:
      denoiser: of the process `diffusion.at(kind)`, asked once, at t = 0.
      diffusion: with a `Capped` schedule.
      x: what `sample(..., diffusion.at(kind), ...)` gave, `(batch, *spatial, channels)`.
      kind: 0 to K, one or `(batch,)`; samples of kind 0 stay as they are.
      prediction: the kind of the denoiser's output; by default what it says of itself, else "v".

    Returns:
      x with x0_hat in its capped coordinates, and 0 in those where the kind is of no use (N = inf).

    Raises:
      ValueError: for another schedule or kind, or a prediction that does not tell x_0 there.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> basis = sagd.bases.fourier((8,))
    >>> noise = jnp.where(basis.radius > 0.4, 1.0, 0.0)
    >>> schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((8,)), noise)
    >>> diffusion = sagd.Diffusion(schedule)
    >>> data = sagd.oracle.DiagonalGaussian(basis, jnp.zeros((8, 1)), jnp.ones((8, 1)))
    >>> denoiser = data.denoiser(diffusion.at(1), "v")
    >>> x = sagd.sample(jax.random.key(0), denoiser, diffusion.at(1), (2, 8, 1), prediction="v")
    >>> finish(denoiser, diffusion, x, 1, prediction="v").shape
    (2, 8, 1)
    """
    _capped(diffusion)
    own = diffusion.at(kind)
    schedule = _capped(own)
    state = own.encode(arguments.signal("x", x))
    clean = _predicted(denoiser, own, state, 0.0, prediction)
    finished = jnp.where(schedule.capped, clean, state)
    return own.decode(jnp.where(schedule.useless, 0, finished))


def restore(
    key: jax.Array,
    denoiser: Denoiser,
    diffusion: Diffusion,
    y: jax.Array,
    kind: ArrayLike,
    *,
    prediction: str | None = None,
    num_steps: int = 0,
    times: ArrayLike | None = None,
    offset: int | jax.Array = 0,
) -> jax.Array:
    """Clean versions of corrupted examples, equation (29).

    Args:
      key: a `jax.random.key`; that of example i is `fold_in(key, offset + i)`.
      denoiser: of the process `process_of(diffusion, kind, num_steps)`.
      diffusion: with a `Capped` schedule.
      y: `(batch, *spatial, channels)`.
      kind: 1 to K, one or `(batch,)`; or K + 1 to 2 K, their restoring paths.
      prediction: the kind of the denoiser's output; by default what it says of itself, else "v".
      num_steps: 0: the posterior mean by one evaluation, on the restoring path if `kind` says so, else at
        the cap. More: a draw from p(x_0 | y) in so many steps along the restoring path.
      times: of these steps, as of `sample`, in place of their number; by default from where the path leaves y.
      offset: index of the first example.

    Raises:
      ValueError: for another schedule or kind, steps where there is no restoring path, or a prediction that
        does not tell x_0.

    >>> import jax, jax.numpy as jnp, sagd_jax as sagd
    >>> basis = sagd.bases.fourier((8,))
    >>> schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((8,)), jnp.ones((8, 1)))
    >>> diffusion = sagd.Diffusion(schedule)
    >>> data = sagd.oracle.DiagonalGaussian(basis, jnp.zeros((8, 1)), jnp.ones((8, 1)))
    >>> path = process_of(diffusion, 1, num_steps=20)
    >>> y = data.sample(jax.random.key(0), 4)
    >>> denoiser = data.denoiser(path, "v")
    >>> restore(jax.random.key(1), denoiser, diffusion, y, 1, prediction="v", num_steps=20).shape
    (4, 8, 1)
    """
    prediction = kind_of(denoiser, prediction, otherwise="v")
    if times is not None:
        num_steps = np.size(times) - 1
        if num_steps < 1:
            raise ValueError(f"times={arguments.quoted(times)}: expected at least two times")
    own = process_of(diffusion, kind, num_steps)
    schedule = _capped(own)
    on_path = _on_path(schedule)
    y = arguments.signal("y", y)
    # As `sample` draws: an example's own key for its start, that key folded for its steps.
    draws = own.covariance.sample(fold_in_range(key, offset, len(y)), y.shape[1:], y.dtype)
    state, white = own.encode(y), own.encode(draws)
    if not on_path:
        _, k, _ = schedule.corrupted(0.0)
        x = own.decode(own.alpha(0.0, y) * state + k.astype(y.dtype) * white)
        return finish(denoiser, diffusion, x, schedule.kind, prediction=prediction)
    state = jnp.where(schedule.nothing, own.sigma(1.0, y) * white, state)
    if not num_steps:
        return own.decode(_predicted(denoiser, own, state, 1.0, prediction))
    if times is None:
        times = _leaving(schedule) * np.linspace(1, 0, num_steps + 1)
    return sample(
        key,
        denoiser,
        own,
        y.shape,
        method="ddpm",
        times=times,
        prediction=prediction,
        offset=offset,
        start=own.decode(state),
    )


def _capped(diffusion: Diffusion) -> Capped:
    schedule = diffusion.schedule
    if not isinstance(schedule, Capped):
        raise ValueError(
            f"diffusion: its schedule {schedule!r} knows no corrupted kinds; expected that of "
            "sagd.schedules.capped"
        )
    return schedule


def _on_path(schedule: Capped) -> bool:
    """Whether the kinds of `at` are restoring paths; all or none of them have to be."""
    if isinstance(schedule.kind, jax.core.Tracer):
        raise ValueError(
            f"kind={schedule.kind}: traced; expected numbers, which say what is computed"
        )
    kind = np.asarray(schedule.kind)
    if np.any(kind == 0) or (np.any(kind >= schedule.kinds) and np.any(kind < schedule.kinds)):
        raise ValueError(
            f"kind={kind.tolist()}: expected corrupted kinds, all of them on restoring paths or none"
        )
    return bool(np.all(kind >= schedule.kinds))


def _predicted(
    denoiser: Denoiser, diffusion: Diffusion, state: jax.Array, t: float, prediction: str | None
) -> jax.Array:
    """x0_hat, as a state."""
    kind = kind_of(denoiser, prediction, otherwise="v")
    diffusion.check_readable(kind, np.asarray(t, np.float32))
    return predictor(denoiser, diffusion, kind)(state, t)[0]


def _leaving(schedule: Capped) -> float:
    """The time from which on all coordinates of a restoring path still are at y."""
    if schedule.base.basis is not None:
        return 1.0
    ratio = np.asarray(schedule.corruption) / np.where(
        np.asarray(schedule.variance) > 0, np.asarray(schedule.variance), 1
    )
    if np.any(np.isinf(ratio)):
        return 1.0
    with jax.ensure_compile_time_eval():
        return float(schedule.base.time(-np.log(np.max(ratio))))
