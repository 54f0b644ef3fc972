"""The U-Net of the paper: layer for layer the `UNet2DModel` of diffusers, channels last.

Submodules carry diffusers' names with underscores for dots (`down_blocks.0.resnets.1` is
`down_blocks_0_resnets_1`), so that reading published weights (`diffusers_weights.py`) is renaming
and transposing.

Sources: Ho et al. 2020 (arXiv:2006.11239) for the architecture; the widths, depths and defaults
are those of huggingface/diffusers, `models/unets/unet_2d.py`.
"""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from sagd_jax.models import checks
from sagd_jax.models.layers import (
    ClassEmbedding,
    Conv,
    Dense,
    Dtype,
    GroupNorm,
    KindEmbedding,
    TimeEmbedding,
    dot_product_attention,
    sinusoidal_embedding,
)


class ResnetBlock(nn.Module):
    """Two normalised convolutions with the time embedding added between them, and a skip."""

    features: int
    num_groups: int
    norm_eps: float
    dropout: float
    deterministic: bool
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array, emb: jax.Array) -> jax.Array:
        def norm(name: str) -> GroupNorm:
            return GroupNorm(self.num_groups, self.norm_eps, self.dtype, name=name)

        h = Conv(self.features, dtype=self.dtype, name="conv1")(nn.silu(norm("norm1")(x)))
        shift = Dense(self.features, self.dtype, name="time_emb_proj")(nn.silu(emb))
        h = nn.silu(norm("norm2")(h + shift[:, None, None, :]))
        h = nn.Dropout(self.dropout, deterministic=self.deterministic)(h)
        h = Conv(self.features, dtype=self.dtype, name="conv2")(h)
        if x.shape[-1] != self.features:
            x = Conv(self.features, size=1, padding=(0, 0), dtype=self.dtype, name="conv_shortcut")(
                x
            )
        return x + h


class AttentionBlock(nn.Module):
    """Normalised self-attention over all pixels, and a skip."""

    head_dim: int
    num_groups: int
    norm_eps: float
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        tokens = x.reshape(x.shape[0], -1, channels)
        h = GroupNorm(self.num_groups, self.norm_eps, self.dtype, name="group_norm")(tokens)
        heads = (x.shape[0], -1, channels // self.head_dim, self.head_dim)
        q, k, v = (
            Dense(channels, self.dtype, name=name)(h).reshape(heads)
            for name in ("to_q", "to_k", "to_v")
        )
        h = dot_product_attention(q, k, v).reshape(tokens.shape)
        return x + Dense(channels, self.dtype, name="to_out_0")(h).reshape(x.shape)


class Resample(nn.Module):
    """A convolution that halves each side, or one after repeating every pixel 2x2."""

    up: bool
    padding: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.up:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            return Conv(x.shape[-1], dtype=self.dtype, name="conv")(x)
        # Padding 0 is the original DDPM's: one row below and one column right, none before.
        padding = (self.padding, max(self.padding, 1))
        return Conv(x.shape[-1], stride=2, padding=padding, dtype=self.dtype, name="conv")(x)


class UNet(nn.Module):
    """The U-Net of the paper, for images of shape `(batch, height, width, channels)`.

    The defaults are the paper's network: 15,890,753 parameters for one channel, 15,891,907 for
    three. Every published `UNet2DModel` with convolutional resampling and the default time shift
    (google/ddpm-cifar10-32, google/ddpm-celebahq-256 and their like) is a choice of options.

    Attributes:
      block_out_channels: channels of each level, finest first; each level halves the image.
      layers_per_block: residual blocks per level on the way down; one more on the way up.
      attention: for each level, whether a self-attention follows each residual block. None: on
        every level but the finest.
      mid_attention: whether the middle has one.
      attention_head_dim: channels of a head; None for a single head.
      norm_num_groups: groups of every group normalisation; divides every level's channels.
      norm_eps: added to the variance in every group normalisation, the attention's included.
      downsample_padding: 1, or 0 to pad only below and to the right, as the original DDPM.
      freq_shift, flip_sin_to_cos: see `layers.sinusoidal_embedding`.
      dropout: rate inside residual blocks, applied with `train=True` from the rng "dropout".
      num_classes: classes of the label; 0 for an unconditional network.
      num_kinds: kinds of examples, by their corruption; 0 where there are none.
      out_channels: channels of the output; None for those of the input.
      dtype: what it computes in; parameters, normalisation statistics, softmax and output are
        float32.
      remat: recompute each block's activations in the backward pass instead of keeping them.

    Called as `apply({"params": params}, x, timestep, label=None, train=False,
    kind=None)`:
      x: `(batch, height, width, channels)`; sides divisible by 2^(levels - 1).
      timestep: `(batch,)`, in steps of a 1000-step process (diffusers' unit); may be fractional.
      label: int `(batch,)` in 0 ... num_classes; None and `num_classes` mean "no class".
      train: whether to apply dropout.
      kind: int `(batch,)` in 0 ... num_kinds - 1; None means kind 0.
    and returns float32 `(batch, height, width, out_channels)`.

    Raises:
      ValueError: an option or a shape is not allowed; the message has its name, value and rule.

    Source: Ho et al. 2020 (arXiv:2006.11239); huggingface/diffusers `models/unets/unet_2d.py`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from sagd_jax.models import UNet
      >>> model = UNet(block_out_channels=(8,), layers_per_block=1, norm_num_groups=4)
      >>> x, timestep = jnp.zeros((2, 8, 8, 1)), jnp.array([0.0, 999.0])
      >>> params = model.init(jax.random.key(0), x, timestep)["params"]
      >>> model.apply({"params": params}, x, timestep).shape
      (2, 8, 8, 1)
    """

    block_out_channels: Sequence[int] = (32, 64, 128, 256)
    layers_per_block: int = 2
    attention: Sequence[bool] | None = None
    mid_attention: bool = True
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    downsample_padding: int = 1
    freq_shift: float = 0.0
    flip_sin_to_cos: bool = True
    dropout: float = 0.0
    num_classes: int = 0
    num_kinds: int = 0
    out_channels: int | None = None
    dtype: Any = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        self.block_out_channels = tuple(self.block_out_channels)
        levels = len(self.block_out_channels)
        if self.attention is None:
            self.attention = (False,) + (True,) * (levels - 1)
        self.attention = tuple(self.attention)
        self.dtype = checks.compute_dtype(self.dtype)

        checks.require(levels > 0, "block_out_channels", self.block_out_channels, "not empty")
        for channels in self.block_out_channels:
            checks.positive_int("block_out_channels", channels)
        checks.require(
            len(self.attention) == levels and all(isinstance(a, bool) for a in self.attention),
            "attention",
            self.attention,
            f"{levels} booleans, one for each of block_out_channels={self.block_out_channels}",
        )
        checks.positive_int("layers_per_block", self.layers_per_block)
        checks.positive_int("norm_num_groups", self.norm_num_groups)
        common = math.gcd(*self.block_out_channels)
        checks.require(
            common % self.norm_num_groups == 0,
            "norm_num_groups",
            self.norm_num_groups,
            f"a divisor of {common}, the greatest common divisor of "
            f"block_out_channels={self.block_out_channels}",
        )
        checks.require(self.norm_eps > 0, "norm_eps", self.norm_eps, "positive")
        if self.attention_head_dim is not None:
            checks.positive_int("attention_head_dim", self.attention_head_dim)
            levels_attended = zip(self.block_out_channels, self.attention, strict=True)
            attended = [channels for channels, has_attention in levels_attended if has_attention]
            attended += [self.block_out_channels[-1]] * self.mid_attention
            checks.require(
                all(channels % self.attention_head_dim == 0 for channels in attended),
                "attention_head_dim",
                self.attention_head_dim,
                f"None or a divisor of the channels of levels with attention, {attended}",
            )
        checks.require(
            self.downsample_padding in (0, 1),
            "downsample_padding",
            self.downsample_padding,
            "0 or 1",
        )
        checks.require(
            self.block_out_channels[0] % 2 == 0,
            "block_out_channels",
            self.block_out_channels,
            "even in its first entry, half of which are sines and half cosines of the time",
        )
        checks.require(
            self.freq_shift < self.block_out_channels[0] // 2,
            "freq_shift",
            self.freq_shift,
            f"below {self.block_out_channels[0] // 2}, half of block_out_channels[0]",
        )
        checks.probability("dropout", self.dropout)
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
        channels = tuple(self.block_out_channels)
        attention = tuple(self.attention or ())
        levels = len(channels)
        last = levels - 1
        divisor = 2**last
        checks.require(
            x.ndim == 4,
            "x.shape",
            x.shape,
            "(batch, height, width, channels); for one or three spatial axes there is the DiT "
            "(config.model.kind='dit')",
        )
        checks.require(
            x.shape[1] % divisor == 0 and x.shape[2] % divisor == 0,
            "x.shape",
            x.shape,
            f"(batch, height, width, channels) with sides divisible by {divisor}, as {levels} levels "
            f"(block_out_channels) need; for other sides: config.data.image_size={_near(x, divisor)} "
            "crops images to that, fewer levels, or the DiT (config.model.kind='dit')",
        )
        checks.call_arguments(x, timestep, label, self.num_classes, kind, self.num_kinds)
        out_channels = self.out_channels or x.shape[-1]
        make_resnet = nn.remat(ResnetBlock) if self.remat else ResnetBlock
        make_attention = nn.remat(AttentionBlock) if self.remat else AttentionBlock

        def resnet(name: str, features: int, h: jax.Array) -> jax.Array:
            block = make_resnet(
                features,
                self.norm_num_groups,
                self.norm_eps,
                self.dropout,
                deterministic=not train,
                dtype=self.dtype,
                name=name,
            )
            return block(h, emb)

        def attend(name: str, h: jax.Array) -> jax.Array:
            head_dim = self.attention_head_dim or h.shape[-1]
            block = make_attention(
                head_dim, self.norm_num_groups, self.norm_eps, dtype=self.dtype, name=name
            )
            return block(h)

        emb = sinusoidal_embedding(
            timestep,
            channels[0],
            freq_shift=self.freq_shift,
            flip_sin_to_cos=self.flip_sin_to_cos,
        )
        width = 4 * channels[0]
        emb = TimeEmbedding(width, self.dtype, name="time_embedding")(emb)
        if self.num_classes:
            embedding = ClassEmbedding(
                self.num_classes, width, dtype=self.dtype, name="class_embedding"
            )
            emb = emb + embedding(label, x.shape[0])
        if self.num_kinds:
            width = emb.shape[-1]
            kinds = KindEmbedding(self.num_kinds, width, dtype=self.dtype, name="kind_embedding")
            emb = emb + kinds(kind, x.shape[0])

        h = Conv(channels[0], dtype=self.dtype, name="conv_in")(x)
        skips = [h]
        for i, features in enumerate(channels):
            for j in range(self.layers_per_block):
                h = resnet(f"down_blocks_{i}_resnets_{j}", features, h)
                if attention[i]:
                    h = attend(f"down_blocks_{i}_attentions_{j}", h)
                skips.append(h)
            if i < last:
                name = f"down_blocks_{i}_downsamplers_0"
                h = Resample(False, self.downsample_padding, self.dtype, name=name)(h)
                skips.append(h)

        h = resnet("mid_block_resnets_0", channels[-1], h)
        if self.mid_attention:
            h = attend("mid_block_attentions_0", h)
        h = resnet("mid_block_resnets_1", channels[-1], h)

        for i, features in enumerate(reversed(channels)):
            for j in range(self.layers_per_block + 1):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = resnet(f"up_blocks_{i}_resnets_{j}", features, h)
                if attention[last - i]:
                    h = attend(f"up_blocks_{i}_attentions_{j}", h)
            if i < last:
                h = Resample(True, 1, self.dtype, name=f"up_blocks_{i}_upsamplers_0")(h)

        norm = GroupNorm(self.norm_num_groups, self.norm_eps, self.dtype, name="conv_norm_out")
        h = Conv(out_channels, dtype=self.dtype, name="conv_out")(nn.silu(norm(h)))
        return h.astype(jnp.float32)


def _near(x: jax.Array, divisor: int) -> int:
    """The largest side that fits within both of x's, and into so many halvings."""
    return max(min(x.shape[1:3]) // divisor, 1) * divisor
