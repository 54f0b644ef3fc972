"""A toy of two dimensions: where samples come from, and which way the score points, by the noise.

The toy is a signal of two sites. A covariance over two sites has variance lambda(0) along (1, 1), which is
the zero frequency, and lambda(1/2) along (1, -1): anisotropic noise stretches along one of the diagonals.
The exact denoiser and score are those of `diffusion/oracle.py`.

Source: Figures D.1 and D.2 of SAGD, arXiv 2510.09660.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sagd_jax.diffusion.oracle import GaussianMixture
from sagd_jax.diffusion.process import Diffusion
from sagd_jax.diffusion.sampling import sample
from sagd_jax.show import palette
from sagd_jax.show.plots.frame import WORDS, new_figure, small_ticks

_DATA = 400  # points of the data that are drawn
_SITES = (2, 1)


def trajectories(
    data: GaussianMixture,
    diffusions: Diffusion | Mapping[str, Diffusion],
    *,
    count: int = 40,
    num_steps: int = 60,
    key: jax.Array | None = None,
) -> Any:
    """The ways of samples from noise to data, in the plane of a two-dimensional toy; a panel per process.

    Deterministic steps ("ddim") from one white draw for all processes, with the exact denoiser. Crosses are
    the starts, points the samples, over a cloud of data; all panels have one scale.

    Args:
      data: the toy, of means `(K, 2, 1)`.
      diffusions: the processes by name, of signals of two sites; or one.
      count: of samples.
      num_steps: of sampling.
      key: of the starts and the cloud.

    Returns:
      The figure.

    Raises:
      ValueError: for data or processes of other signals.

    >>> import sagd_jax as sagd
    >>> means = jnp.array([[[-1.0], [-1.0]], [[1.0], [1.0]]])
    >>> toy = GaussianMixture(jnp.full(2, 0.5), means, jnp.stack([0.02 * jnp.eye(2)] * 2))
    >>> tilted = sagd.Diffusion(sagd.schedules.cosine(), sagd.from_variance([[1.6], [0.4]], (2,)))
    >>> trajectories(toy, {"tilted": tilted}, count=4, num_steps=5).axes[0].get_title()
    'tilted'
    """
    given = _checked(data, diffusions)
    key = jax.random.key(0) if key is None else key
    cloud = np.asarray(data.sample(jax.random.fold_in(key, 1), _DATA)[0])[..., 0]
    ways = {
        name: np.asarray(
            sample(
                key,
                data.denoiser(diffusion, "v"),
                diffusion,
                (count, *_SITES),
                num_steps=num_steps,
                prediction="v",
                trajectory=True,
            )
        )[..., 0]
        for name, diffusion in given.items()
    }
    limit = 1.05 * max(float(np.abs(points).max()) for points in (cloud, *ways.values()))
    figure, axes = _panels(1, len(given), limit)
    for axis, (name, way) in zip(axes[0], ways.items(), strict=True):
        axis.plot(*cloud.T, ".", color=palette.SKY, ms=2.5, alpha=0.6, label="data")
        for i in range(count):
            label = "way of a sample" if not i else None
            axis.plot(*way[:, i].T, color=palette.GREY, lw=0.6, alpha=0.8, label=label)
        axis.plot(*way[0].T, "x", color=palette.VERMILION, ms=4, label="start, t = 1")
        axis.plot(*way[-1].T, "o", color=palette.BLUE, ms=3, label="sample, t = 0")
        axis.set_title(name, fontsize=WORDS)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9
    )
    return figure


def score_fields(
    data: GaussianMixture,
    diffusions: Diffusion | Mapping[str, Diffusion],
    *,
    times: Sequence[float] = (0.1, 0.4, 0.8),
    limit: float = 2.5,
    side: int = 17,
) -> Any:
    """The score of x_t over the plane of a two-dimensional toy: a row per process, a column per time.

    Arrows have the direction of the score and the length of its logarithm, on one scale; behind them is the
    density of x_t, of which each panel has its own scale.

    Args:
      data: the toy, of means `(K, 2, 1)`.
      diffusions: the processes by name, of signals of two sites; or one.
      times: in (0, 1].
      limit: of both axes.
      side: arrows along each axis.

    Returns:
      The figure.

    Raises:
      ValueError: for data or processes of other signals, or a process with a coefficient per coordinate.

    >>> import sagd_jax as sagd
    >>> means = jnp.array([[[-1.0], [-1.0]], [[1.0], [1.0]]])
    >>> toy = GaussianMixture(jnp.full(2, 0.5), means, jnp.stack([0.02 * jnp.eye(2)] * 2))
    >>> white = sagd.Diffusion(sagd.schedules.cosine(), sagd.white((2,)))
    >>> [axis.get_title() for axis in score_fields(toy, white, times=(0.2, 0.9), side=5).axes]
    ['t = 0.2', 't = 0.9']
    """
    given = _checked(data, diffusions)
    for name, diffusion in given.items():
        if diffusion.is_spectral:
            raise ValueError(
                f"diffusions[{name!r}]: a coefficient per coordinate; expected a scalar schedule"
            )
    figure, axes = _panels(len(given), len(times), limit)
    arrows, fine = _grid(limit, side), _grid(limit, 80)
    for row, (name, diffusion) in zip(axes, given.items(), strict=True):
        for axis, t in zip(row, times, strict=True):
            density = np.exp(np.asarray(data.log_prob(fine, diffusion, t)).reshape(80, 80))
            axis.imshow(
                density,
                origin="lower",
                extent=(-limit, limit, -limit, limit),
                cmap="Blues",
                vmax=1.6 * density.max(),
            )
            score = np.asarray(data.score(arrows, diffusion, t))[..., 0]
            length = np.linalg.norm(score, axis=-1, keepdims=True)
            shown = score / np.maximum(length, 1e-9) * np.log1p(length)
            axis.quiver(
                *np.asarray(arrows)[..., 0].T,
                *shown.T,
                color=palette.BLACK,
                scale=60,
                width=0.005,
                pivot="mid",
            )
        if name:
            row[0].set_ylabel(f"{name}\n\n{row[0].get_ylabel()}", fontsize=WORDS)
    for axis, t in zip(axes[0], times, strict=True):
        axis.set_title(f"t = {t:g}", fontsize=WORDS)
    return figure


def _panels(rows: int, columns: int, limit: float) -> tuple[Any, Any]:
    figure = new_figure((2.7 * columns + 0.4, 2.6 * rows + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.ravel():
        axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        small_ticks(axis)
    for axis in axes[-1]:
        axis.set_xlabel("value at site 1", fontsize=WORDS)
    for axis in axes[:, 0]:
        axis.set_ylabel("value at site 2", fontsize=WORDS)
    return figure, axes


def _grid(limit: float, side: int) -> jax.Array:
    line = jnp.linspace(-limit, limit, side)
    second, first = jnp.meshgrid(line, line, indexing="ij")
    return jnp.stack([first.ravel(), second.ravel()], axis=-1)[..., None]


def _checked(
    data: GaussianMixture, diffusions: Diffusion | Mapping[str, Diffusion]
) -> Mapping[str, Diffusion]:
    if jnp.shape(data.means)[1:] != _SITES:
        raise ValueError(f"data: means of shape {jnp.shape(data.means)}; expected (K, 2, 1)")
    given = diffusions if isinstance(diffusions, Mapping) else {"": diffusions}
    for name, diffusion in given.items():
        covariance: Any = diffusion.covariance
        if tuple(covariance.spatial_shape) != (2,):
            raise ValueError(
                f"diffusions[{name!r}]: of signals of shape {tuple(covariance.spatial_shape)}; expected (2,)"
            )
    return given
