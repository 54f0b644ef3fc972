"""Noise levels for corrupted examples: none claims to be cleaner than it is.

Data y = x_0 + n with n ~ N(0, diag N_i) in a basis, independent of x_0, N_i known per *kind* i of example:
kind 0 is clean, kinds 1 to K are corrupted, N = inf is of no use there. x_0 has to be independent of the
kind; where kinds differ in content, the content has to be a class of its own.

(26) Capped levels: a_i = a and s_i^2 = max(s_t^2, (1 + margin) a_t^2 N_i), with (a, s) the levels of clean
     examples. Drawn from y, x_t = a_t y + k z' with k^2 = s_i^2 - a_t^2 N_i, computed as
     max(s_t^2 - a_t^2 N_i, margin a_t^2 N_i): exactly the law of the clean process at these levels. Where
     N = inf, or (1 + margin) N > s_1^2 / a_1^2, which no level of the process reaches: a = 0, s = s_1 at
     all t.
(28) A network has to know the levels, up to scale. They are a function of (t, kind), so the kind is a
     label of the network, beside the class: `Capped.label`, the kind, or 0 where its levels at t are those
     of clean examples in every coordinate. It sees x_t / sqrt(a^2 + s^2) per coordinate, and gives v in the
     same units.
(28b) With S, the data's mean square per coordinate, the network is asked for what a Gaussian of that spectrum does
     not tell. With r^2 = a^2 S + s^2 it sees x_t / r and gives F,
         v = (a s (1 - S) / r^2) x_t + ((a^2 + s^2) sqrt(S) / r) F,
     where F has variance 1 at all levels, and F = 0 is the best linear denoiser: of a band of N it gives the
     Wiener filter from the first step on, and an error of F is one of the size of S, not of N. The loss is that of F
     times S / (S + N): so much noise has what an example with N teaches of it, at all its levels. With S = 1
     it is (28).
(29) The restoring path of kind i, from data at t = 0 to y at t = 1: levels max(l_t(f), -log N_i(f)), that
     is a = 1, s^2 = min(s_t^2 / a_t^2, N_i); where N = inf, those of clean examples. Clean examples are
     diffused along it, under labels of their own, K + 1 to 2 K.

N is absolute: variance per orthonormal coordinate of data in [-1, 1].

Sources: the pair that corrupted examples teach is Ambient-Tweedie's, Daras et al. 2024
(arXiv 2404.10177), with a variance per coordinate (27 in `diffusion/process.py`). (28b) is Karras et al. 2022
(arXiv 2206.00364), table 1, with a variance of the data per coordinate.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from sagd_jax.diffusion.schedules.base import Schedule
from sagd_jax.diffusion.schedules.spectral import (
    SpectralSchedule,
    checked,
    on_grid,
    spectral,
    static_field,
)
from sagd_jax.spectral import bases
from sagd_jax.spectral.bases import Basis, Fourier, check_grid
from sagd_jax.spectral.covariance import Covariance
from sagd_jax.spectral.diagonal import DiagonalCovariance


@spectral
class Capped(SpectralSchedule):
    """Levels per kind of example; see `capped`. As it is made, those of kind 0, clean.

    Attributes:
      base: the schedule of clean examples.
      variance: lambda of their noise on the grid of the basis.
      corruption: N of kinds 1 to K, `(K, *spatial, 1 or channels)`; inf where a kind is of no use.
      kind: of all examples, or `(batch,)`, one of each.
      margin: of (26).
      restoring: whether there are restoring paths, (29).
      spectrum: S of (28b), `(*spatial, 1 or channels)`; None: the network is not told.
    """

    base: Schedule
    variance: ArrayLike
    corruption: ArrayLike
    basis: Basis
    kind: Any
    margin: float = static_field()
    restoring: bool = static_field()
    spectrum: Any = None
    contains_spectrum = True

    @property
    def clock(self):
        return self.base.clock

    @property
    def kinds(self) -> int:
        """K + 1: kind 0, clean, and kinds 1 to K."""
        return jnp.shape(self.corruption)[0] + 1

    @property
    def labels(self) -> int:
        """Values of `label`: the kinds and, where there are any, their restoring paths."""
        return self.kinds + self.restoring * (self.kinds - 1)

    def at(self, kind: ArrayLike) -> Capped:
        """The levels of examples of these kinds.

        Args:
          kind: integers `(batch,)`, or one for all: 0 clean, 1 to K capped, K + 1 to 2 K the restoring
            paths of 1 to K (`restoring_path`).

        Raises:
          ValueError: for what is no such integer, as far as it is known.
        """
        # What is known stays so under jit, where `jnp.asarray` would trace it.
        values = kind if isinstance(kind, jax.core.Tracer) else np.asarray(kind)
        if not jnp.issubdtype(values.dtype, jnp.integer) or values.ndim > 1:
            raise ValueError(f"kind: {values.dtype}{values.shape}; expected integers (batch,)")
        known = values if isinstance(values, np.ndarray) else np.zeros(0)
        if known.size and (known.min() < 0 or known.max() >= self.labels):
            raise ValueError(
                f"kind: values {known.min()} to {known.max()}; expected 0 to {self.labels - 1}"
            )
        return Capped(
            base=self.base,
            variance=self.variance,
            corruption=self.corruption,
            basis=self.basis,
            kind=values.astype(np.int32),
            margin=self.margin,
            restoring=self.restoring,
            spectrum=self.spectrum,
        )

    def input_scale(self, t):
        if self.spectrum is None:
            return super().input_scale(t)
        return jax.lax.rsqrt(self.alpha(t) ** 2 * self.spectrum + self.sigma(t) ** 2)

    def output_scale(self, t: ArrayLike) -> tuple[ArrayLike, jax.Array]:
        """(skip, scale) on the grid: v of a network at times t in [0, 1] is skip x_t + scale times what it gives."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        total = alpha**2 + sigma**2
        if self.spectrum is None:
            return 0.0, jnp.sqrt(total)
        scale = self.input_scale(t)
        skip = alpha * sigma * (1 - self.spectrum) * scale**2
        return skip, total * jnp.sqrt(self.spectrum) * scale

    def loss_scale(self, t: ArrayLike) -> jax.Array:
        """What the squared error of v at times t in [0, 1] is multiplied by, on the grid, (28), (28b)."""
        if self.spectrum is None:
            return self.input_scale(t) ** 2
        corruption = jnp.where(self._is_corrupted, self._finite, 0)
        share = self.spectrum / (self.spectrum + corruption)
        return share / self.output_scale(t)[1] ** 2

    def restoring_path(self, kind: Any) -> Any:
        """The kind of the restoring path (29) of kinds 1 to K.

        Raises:
          ValueError: there is none, or for a kind that has none, as far as it is known.
        """
        if not self.restoring:
            raise ValueError(
                "kind: this process has no restoring path, so that it gives no draws, only posterior "
                "means: train with config.schedule.restoring_share > 0"
            )
        if not isinstance(kind, jax.core.Tracer):
            values = np.asarray(kind)
            if values.size and (values.min() < 1 or values.max() >= self.kinds):
                raise ValueError(
                    f"kind: values {values.min()} to {values.max()}; expected 1 to {self.kinds - 1}"
                )
        return kind + (self.kinds - 1)

    def label(self, t: ArrayLike, kind: ArrayLike | None = None) -> jax.Array:
        """What a network is told of the kind at times t, (28): int32, like t and kind together.

        Args:
          t: times, a scalar or `(batch,)`.
          kind: a scalar or `(batch,)`; None: those of `at`.
        """
        own = self if kind is None else self.at(kind)
        capped = own._is_capped(t)
        axes = tuple(range(-len(self.basis.spatial_shape) - 1, 0))
        same = ~jnp.any(capped, axis=axes) & (jnp.asarray(own.kind) < self.kinds)
        return jnp.where(same, 0, own.kind).astype(jnp.int32)

    def alpha(self, t):
        alpha, _ = self._clean(t)
        useless = self._useless
        corrupted = jnp.where(useless, 0, alpha)
        path = jnp.where(useless, alpha, 1)
        return self._chosen(alpha, corrupted, path)

    def sigma(self, t):
        alpha, sigma = self._clean(t)
        useless, variance = self._useless, self._finite
        last = self._clean(jnp.ones_like(jnp.asarray(t, alpha.dtype)))[1]
        capped = jnp.sqrt(jnp.maximum(sigma**2, (1 + self.margin) * alpha**2 * variance))
        corrupted = jnp.where(useless, last, capped)
        ratio = sigma / jnp.where(alpha > 0, alpha, 1)
        on_path = jnp.where(alpha > 0, jnp.minimum(ratio**2, variance), variance)
        return self._chosen(
            sigma, corrupted, jnp.where(useless, sigma, _root(on_path.astype(sigma.dtype)))
        )

    def corrupted(self, t: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What training on y at t in [0, 1] needs, (26), (27): `(N, k, useless)`, on the grid.

        Of clean examples, restoring paths included, N is 0 and k is sigma.
        """
        alpha, sigma = self._clean(t)
        own = self._is_corrupted
        variance = jnp.where(own, self._finite, 0)
        added = jnp.maximum(sigma**2 - alpha**2 * variance, self.margin * alpha**2 * variance)
        useless = own & self._useless
        added = jnp.where(own & (self._finite > 0) & ~useless, jnp.sqrt(added), self.sigma(t))
        return variance, added, useless

    @property
    def capped(self) -> jax.Array:
        """Where, on the grid, examples of this kind never get as clean as clean ones."""
        return self._is_capped(0.0)

    @property
    def nothing(self) -> jax.Array:
        """Where, on the grid, N = inf for this kind or that of this restoring path."""
        return self._per_example(jnp.asarray(self.kind) > 0) & self._useless

    @property
    def useless(self) -> jax.Array:
        """Where, on the grid, examples of this kind say nothing of the data."""
        return self._is_corrupted & self._useless

    def prior(self):
        known = self.base.prior() if isinstance(self.base, SpectralSchedule) else None
        if known is None:
            return None
        mean, variance = known
        return jnp.where(self.useless, 0, mean), jnp.where(self.useless, 0, variance)

    def _clean(self, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """alpha and sigma of clean examples, on the grid."""
        alpha, sigma = self.base.alpha(t), self.base.sigma(t)
        if self.base.basis is None:
            alpha, sigma = on_grid(alpha, self.basis), on_grid(sigma, self.basis)
        variance = jnp.asarray(self.variance)
        sigma = sigma * _root(variance).astype(sigma.dtype)
        return jnp.broadcast_to(alpha, sigma.shape), sigma

    def _is_capped(self, t: ArrayLike) -> jax.Array:
        alpha, sigma = self._clean(t)
        cap = (1 + self.margin) * alpha**2 * self._finite
        return self._is_corrupted & (self._useless | (cap > sigma**2))

    def _chosen(self, clean: jax.Array, corrupted: jax.Array, path: jax.Array) -> jax.Array:
        if not self.restoring:
            return jnp.where(self._is_corrupted, corrupted, clean)
        on_path = self._per_example(jnp.asarray(self.kind) >= self.kinds)
        return jnp.where(on_path, path, jnp.where(self._is_corrupted, corrupted, clean))

    @property
    def _own(self) -> jax.Array:
        """N of each example; of clean ones any."""
        index = (jnp.asarray(self.kind) - 1) % (self.kinds - 1)
        return jnp.asarray(self.corruption)[index]

    @property
    def _useless(self) -> jax.Array:
        return jnp.isinf(self._own)

    @property
    def _finite(self) -> jax.Array:
        own = self._own
        return jnp.where(jnp.isinf(own), 0, own)

    @property
    def _is_corrupted(self) -> jax.Array:
        kind = jnp.asarray(self.kind)
        return self._per_example((kind > 0) & (kind < self.kinds))

    def _per_example(self, values: jax.Array) -> jax.Array:
        """A value per example, so that it broadcasts against a grid of each."""
        return values.reshape(*values.shape, *(1,) * (len(self.basis.spatial_shape) + 1))


def capped(
    base: Schedule,
    covariance: Covariance,
    corruption: ArrayLike,
    margin: float = 0.1,
    *,
    basis: Basis | None = None,
    restoring: bool = True,
    spectrum: ArrayLike | None = None,
) -> Schedule:
    """The schedule of a data set with corrupted examples, (26).

    Args:
      base: of clean examples; scalar, or in the same basis.
      covariance: of their noise, which the result contains: `Diffusion` takes it without one.
      corruption: N on the grid of the basis, `(*spatial, 1 or channels)`, absolute: of kind 1; with one
        axis more in front, `(K, ...)`, of kinds 1 to K. `inf` where examples are of no use.
      margin: > 0. At the cap the target's variance over that of a clean example's is about 19 at 0.3,
        48 at 0.1 and 149 at 0.03.
      basis: of the corruption; by default that of `base` or of the covariance, or Fourier's.
      restoring: whether it has restoring paths, (29).
      spectrum: S of (28b) on the grid of the basis, the clean data's mean square per coordinate, > 0; it need not
        be exact. None: networks are not preconditioned by it.

    Returns:
      A `Capped` schedule; `base` itself where N is 0 throughout.

    Raises:
      ValueError: for another shape, N < 0 or not a number, S that is not > 0, N > 0 where the noise has no variance, a
        margin <= 0, or a base or covariance that is not diagonal in the basis.

    >>> import numpy as np, sagd_jax as sagd
    >>> noise = np.where(np.arange(8) == 4, 2.0, 0.0)  # a hum at Nyquist
    >>> schedule = sagd.schedules.capped(sagd.schedules.cosine(), sagd.white((8,)), noise)
    >>> [round(float(s), 3) for s in schedule.at(1).sigma(0.0)[3:5, 0]]  # sqrt(1.1 * 2)
    [0.0, 1.483]
    >>> schedule.kinds, [int(schedule.label(t, 1)) for t in (0.1, 0.9)]
    (2, [1, 0])
    """
    if not isinstance(base, Schedule) or isinstance(base, Capped):
        raise ValueError(f"base={base!r}: expected a schedule, such as sagd.schedules.cosine()")
    if not isinstance(covariance, Covariance):
        raise ValueError(f"covariance={covariance!r}: expected a covariance, such as sagd.white")
    if not 0 < margin < np.inf:
        raise ValueError(f"margin={margin}: expected a finite number > 0")
    basis = _basis_of(base, covariance, basis)
    levels = _levels_of(corruption, basis)
    if not np.any(levels > 0):
        return base
    variance = np.asarray(covariance.coefficients(basis), np.float64)
    if base.contains_spectrum and not covariance.is_white:
        raise ValueError(
            f"covariance: {type(base).__name__} contains the spectrum of its noise; give a white one"
        )
    if np.any((levels > 0) & (variance == 0)):
        raise ValueError(
            "corruption: it is > 0 in coordinates that the noise of the process leaves out "
            "(lambda = 0), where no level reaches it; give noise with full support"
        )
    made = Capped(
        base=base,
        variance=np.asarray(variance, np.float32),
        corruption=np.asarray(levels, np.float32),
        basis=basis,
        kind=np.int32(0),
        margin=float(margin),
        restoring=bool(restoring),
        spectrum=None if spectrum is None else _spectrum_of(spectrum, basis),
    )
    with jax.ensure_compile_time_eval():
        alpha, sigma = (np.asarray(c, np.float64) for c in made._clean(1.0))
    beyond = (1 + margin) * alpha**2 * np.where(np.isinf(levels), 0, levels) > sigma**2
    levels = np.where(beyond, np.inf, levels)
    made = Capped(**{**vars(made), "corruption": np.asarray(levels, np.float32)})
    for kind in range(made.labels):
        checked(made.at(kind))
    return made


def _basis_of(base: Schedule, covariance: Covariance, basis: Basis | None) -> Basis:
    if basis is None:
        own = covariance.basis if isinstance(covariance, DiagonalCovariance) else None
        basis = base.basis or own or Fourier(covariance.spatial_shape)
    if base.basis is not None and not bases.same(base.basis, basis):
        raise ValueError(f"base: it is in {base.basis}, the corruption in {basis}")
    return basis


def _levels_of(corruption: ArrayLike, basis: Basis) -> np.ndarray:
    """N as `(K, *spatial, 1 or channels)`, float64."""
    values = np.asarray(corruption, np.float64)
    if np.any(np.isnan(values)) or np.any(values < 0):
        raise ValueError("corruption: expected variances >= 0, inf where examples are of no use")
    axes = len(basis.spatial_shape)
    several = values.ndim == axes + 2 or (
        values.ndim == axes + 1 and values.shape[:axes] != basis.spatial_shape
    )
    members = list(values) if several else [values]
    if not members:
        raise ValueError(f"corruption.shape={values.shape}: expected at least one kind")
    return np.stack([check_grid("corruption", one, basis) for one in members])


def _spectrum_of(spectrum: ArrayLike, basis: Basis) -> np.ndarray:
    values = np.asarray(check_grid("spectrum", np.asarray(spectrum, np.float64), basis), np.float32)
    if not (np.all(np.isfinite(values)) and np.all(values > 0)):
        raise ValueError("spectrum: expected finite numbers > 0, the data's mean squares")
    return values


def _root(variance: jax.Array) -> jax.Array:
    """The square root, with a finite slope at 0."""
    positive = variance > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1)), 0)
