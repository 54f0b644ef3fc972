"""A transformer denoiser for signals on one, two or three axes, channels last.

Tokens are patches of the signal; the time and the class act through the scale, shift and gate of
every layer norm, the gates starting at zero (adaLN-Zero), so that a new network predicts 0.

Source: Peebles and Xie 2023, Scalable Diffusion Models with Transformers (arXiv:2212.09748).
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagd_jax.models import checks
from sagd_jax.models.layers import (
    ClassEmbedding,
    Dtype,
    KindEmbedding,
    TimeEmbedding,
    dot_product_attention,
    sinusoidal_embedding,
)

# Width, depth and heads of table 1 of the DiT paper.
DIT_SIZES = {
    "S": {"hidden_size": 384, "depth": 12, "num_heads": 6},
    "B": {"hidden_size": 768, "depth": 12, "num_heads": 12},
    "L": {"hidden_size": 1024, "depth": 24, "num_heads": 16},
    "XL": {"hidden_size": 1152, "depth": 28, "num_heads": 16},
}


def dit_size(name: str) -> dict[str, int]:
    """Options of a network named as in the DiT paper, size/patch, such as "S/2" or "XL/4".

    Args:
      name: one of S, B, L, XL, a slash and the patch size.

    Returns:
      `hidden_size`, `depth`, `num_heads` and `patch_size`, to pass to `DiT`.

    Raises:
      ValueError: the name is of another form.

    Source: table 1 of arXiv:2212.09748.

    Example:
      >>> from sagd_jax.models import DiT, dit_size
      >>> DiT(**dit_size("B/4")).hidden_size
      768
    """
    size, _, patch = name.partition("/")
    valid = size in DIT_SIZES and patch.isdecimal() and int(patch) > 0
    checks.require(valid, "name", name, f"one of {', '.join(DIT_SIZES)}, a slash and a patch size")
    return {**DIT_SIZES[size], "patch_size": int(patch)}


def patchify(x: jax.Array, patch: Sequence[int]) -> jax.Array:
    """Cuts `(batch, *spatial, C)` into tokens, `(batch, *grid, prod(patch) * C)`.

    Within a token the order is that of the signal: first the axes of the patch, channels last.
    """
    axes = len(patch)
    grid = [side // p for side, p in zip(x.shape[1:-1], patch, strict=True)]
    split = [side for pair in zip(grid, patch, strict=True) for side in pair]
    x = x.reshape(x.shape[0], *split, x.shape[-1])
    order = (0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2), 2 * axes + 1)
    return x.transpose(order).reshape(x.shape[0], *grid, -1)


def unpatchify(tokens: jax.Array, patch: Sequence[int]) -> jax.Array:
    """The inverse of `patchify`, `(batch, *grid, prod(patch) * C)` to `(batch, *spatial, C)`."""
    axes = len(patch)
    grid = tokens.shape[1:-1]
    x = tokens.reshape(tokens.shape[0], *grid, *patch, -1)
    order = (0, *(a for i in range(axes) for a in (1 + i, 1 + axes + i)), 2 * axes + 1)
    spatial = [n * p for n, p in zip(grid, patch, strict=True)]
    return x.transpose(order).reshape(tokens.shape[0], *spatial, -1)


def position_embedding(grid: Sequence[int], features: int) -> jax.Array:
    """Sinusoids of each axis' index side by side, `(*grid, features)`, float32.

    Every axis gets the same even number of features; what is left over is zero.
    """
    per_axis = features // len(grid) // 2 * 2
    parts = [
        jnp.broadcast_to(
            jnp.expand_dims(
                sinusoidal_embedding(jnp.arange(side), per_axis, flip_sin_to_cos=False),
                [other for other in range(len(grid)) if other != axis],
            ),
            (*grid, per_axis),
        )
        for axis, side in enumerate(grid)
    ]
    rest = jnp.zeros((*grid, features - per_axis * len(grid)))
    return jnp.concatenate([*parts, rest], axis=-1)


def _dense(features: int, dtype: Dtype, name: str, zero: bool = False) -> nn.Dense:
    init = nn.initializers.zeros if zero else nn.initializers.xavier_uniform()
    return nn.Dense(features, dtype=dtype, kernel_init=init, name=name)


def _per_token(layer: nn.Dense, x: jax.Array) -> jax.Array:
    """A layer on tokens `(batch, tokens, features)`, as one matrix.

    XLA:CPU copies the transpose of three axes for the gradient of the weights, an eighth of the time of a block.
    """
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def _modulated_norm(x: jax.Array, shift: jax.Array, scale: jax.Array, dtype: Dtype) -> jax.Array:
    """Layer norm without parameters of its own; shift and scale are `(batch, features)`."""
    norm = nn.LayerNorm(epsilon=1e-6, use_scale=False, use_bias=False, dtype=dtype)
    return norm(x) * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    """Attention and a two-layer perceptron, each modulated and gated by the conditioning."""

    num_heads: int
    mlp_ratio: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, emb: jax.Array) -> jax.Array:
        features = x.shape[-1]
        modulation = _dense(6 * features, self.dtype, "modulation", zero=True)(nn.silu(emb))
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(modulation, 6, axis=-1)

        h = _modulated_norm(x, shift1, scale1, self.dtype)
        qkv = _per_token(_dense(3 * features, self.dtype, "qkv"), h)
        heads = (*x.shape[:2], 3, self.num_heads, features // self.num_heads)
        q, k, v = jnp.moveaxis(qkv.reshape(heads), 2, 0)
        h = dot_product_attention(q, k, v).reshape(x.shape)
        x = x + gate1[:, None] * _per_token(_dense(features, self.dtype, "attention_out"), h)

        h = _modulated_norm(x, shift2, scale2, self.dtype)
        h = _per_token(_dense(int(features * self.mlp_ratio), self.dtype, "mlp_in"), h)
        h = _per_token(_dense(features, self.dtype, "mlp_out"), nn.gelu(h))
        return x + gate2[:, None] * h


class DiT(nn.Module):
    """A diffusion transformer for `(batch, *spatial, channels)` with one to three spatial axes.

    Attributes:
      patch_size: sides of a patch, one for every axis or one for all; they divide the signal's.
      hidden_size: width of a token.
      depth: number of blocks.
      num_heads: attention heads; divides `hidden_size`.
      mlp_ratio: width of the perceptron's inner layer over `hidden_size`.
      num_classes: classes of the label; 0 for an unconditional network.
      num_kinds: kinds of examples, by their corruption; 0 where there are none.
      out_channels: channels of the output; None for those of the input.
      dtype: what it computes in; parameters, normalisation statistics, softmax and output are
        float32.
      remat: recompute each block's activations in the backward pass instead of keeping them.

    Called as `apply({"params": params}, x, timestep, label=None, train=False,
    kind=None)`:
      x: `(batch, *spatial, channels)`.
      timestep: `(batch,)`, in steps of a 1000-step process; may be fractional.
      label: int `(batch,)` in 0 ... num_classes; None and `num_classes` mean "no class".
      train: as for `UNet`, but without effect: there is no dropout.
      kind: int `(batch,)` in 0 ... num_kinds - 1; None means kind 0.
    and returns float32 `(batch, *spatial, out_channels)`, zero for a new network.

    Raises:
      ValueError: an option or a shape is not allowed; the message has its name, value and rule.

    Source: Peebles and Xie 2023 (arXiv:2212.09748), the adaLN-Zero variant; on two axes its
    positions, widths and parameter counts are the paper's.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from sagd_jax.models import DiT
      >>> model = DiT(patch_size=(4, 2), hidden_size=32, depth=2, num_heads=4)
      >>> x, timestep = jnp.ones((2, 8, 6, 1)), jnp.array([0.0, 999.0])
      >>> params = model.init(jax.random.key(0), x, timestep)["params"]
      >>> model.apply({"params": params}, x, timestep).shape
      (2, 8, 6, 1)
    """

    patch_size: int | Sequence[int] = 2
    hidden_size: int = 384
    depth: int = 12
    num_heads: int = 6
    mlp_ratio: float = 4.0
    num_classes: int = 0
    num_kinds: int = 0
    out_channels: int | None = None
    dtype: Any = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.patch_size, int):
            self.patch_size = tuple(self.patch_size)
        self.dtype = checks.compute_dtype(self.dtype)
        sides = self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size,)
        for side in sides:
            checks.positive_int("patch_size", side)
        checks.positive_int("hidden_size", self.hidden_size)
        checks.positive_int("depth", self.depth)
        checks.positive_int("num_heads", self.num_heads)
        checks.require(
            self.hidden_size % self.num_heads == 0,
            "num_heads",
            self.num_heads,
            f"a divisor of hidden_size={self.hidden_size}",
        )
        checks.require(self.mlp_ratio > 0, "mlp_ratio", self.mlp_ratio, "positive")
        checks.positive_int("num_classes", self.num_classes, minimum=0)
        checks.positive_int("num_kinds", self.num_kinds, minimum=0)
        if self.out_channels is not None:
            checks.positive_int("out_channels", self.out_channels)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        timestep: jax.Array,
        label: jax.Array | None = None,
        train: bool = False,
        kind: jax.Array | None = None,
    ) -> jax.Array:
        del train
        patch = self._patch(x)
        checks.call_arguments(x, timestep, label, self.num_classes, kind, self.num_kinds)
        out_channels = self.out_channels or x.shape[-1]
        normal = functools.partial(nn.Dense, kernel_init=nn.initializers.normal(0.02))

        emb = sinusoidal_embedding(timestep, 256)
        emb = TimeEmbedding(self.hidden_size, self.dtype, normal, name="time_embedding")(emb)
        if self.num_classes:
            embedding = ClassEmbedding(
                self.num_classes, self.hidden_size, 0.02, self.dtype, name="class_embedding"
            )
            emb = emb + embedding(label, x.shape[0])
        if self.num_kinds:
            width = emb.shape[-1]
            kinds = KindEmbedding(
                self.num_kinds, width, 0.02, dtype=self.dtype, name="kind_embedding"
            )
            emb = emb + kinds(kind, x.shape[0])

        h = patchify(x, patch)
        grid = h.shape[1:-1]
        h = _dense(self.hidden_size, self.dtype, "patch_in")(h)
        h = h + position_embedding(grid, self.hidden_size).astype(self.dtype)
        h = h.reshape(x.shape[0], -1, self.hidden_size)
        make_block = nn.remat(Block) if self.remat else Block
        for i in range(self.depth):
            h = make_block(self.num_heads, self.mlp_ratio, self.dtype, name=f"blocks_{i}")(h, emb)

        modulation = _dense(2 * self.hidden_size, self.dtype, "modulation", zero=True)
        shift, scale = jnp.split(modulation(nn.silu(emb)), 2, axis=-1)
        h = _modulated_norm(h, shift, scale, self.dtype)
        h = _dense(math.prod(patch) * out_channels, self.dtype, "patch_out", zero=True)(h)
        return unpatchify(h.reshape(x.shape[0], *grid, -1), patch).astype(jnp.float32)

    def _patch(self, x: jax.Array) -> tuple[int, ...]:
        """The patch's side on each axis of x, checked against it."""
        axes = x.ndim - 2
        checks.require(
            1 <= axes <= 3, "x.shape", x.shape, "(batch, *spatial, channels), 1 to 3 spatial axes"
        )
        sizes = self.patch_size
        patch = (sizes,) * axes if isinstance(sizes, int) else tuple(sizes)
        spatial = x.shape[1:-1]
        if len(patch) != axes or any(n % p for n, p in zip(spatial, patch, strict=True)):
            raise ValueError(
                f"x.shape={x.shape!r}: spatial sizes {spatial} must be multiples of "
                f"patch_size={self.patch_size!r}, axis by axis"
            )
        return patch
