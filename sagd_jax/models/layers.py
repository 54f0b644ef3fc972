"""Layers that both networks are built from. Channels last, parameters in float32.

Each layer takes the `dtype` it computes in. Whatever that is, normalisation statistics and
softmax are computed in float32: in bfloat16 a mean over an image loses all but 8 bits.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

# Pairs of tokens: below, all heads at once; above, as many at a time. 64 MB of float32 for four examples.
_SHORT, _LONG = 128**2, 2**22

Dtype = Any

_BY_PATCHES = contextvars.ContextVar("by_patches", default=False)


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
    """Uniform on +-1/sqrt(fan_in), for kernels and biases alike: what PyTorch's layers start from.

    The diffusers network is trained from these values, so a run that is to be compared with it
    starts from the same distribution.
    """
    bound = 1 / math.sqrt(fan_in)

    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32, *_: Any) -> jax.Array:
        # Number i of a draw is a function of the key and of i, however long the draw is; and draws of one
        # length are compiled once (`training/fresh.py`): a handful, where there are dozens of shapes.
        size = math.prod(shape)
        drawn = jax.random.uniform(key, (_length(size),), dtype, -bound, bound)
        return drawn[:size].reshape(shape)

    return init


def _length(size: int) -> int:
    """The next power of two, from 256 on."""
    return max(256, 1 << (size - 1).bit_length())


class Dense(nn.Module):
    """Affine map of the last axis, `(..., in) -> (..., features)`, starting as PyTorch's does."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = uniform_fan_in(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = (jnp.asarray(a, self.dtype) for a in (x, kernel, bias))
        return x @ kernel + bias


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Two-dimensional convolution by whichever of two equal ways is the faster on CPU.

    XLA:CPU leaves its fast path where an image has fewer output pixels than the kernel has taps,
    and is then 3 to 50 times slower than gathering the patches and multiplying matrices
    (`benchmarks/conv.py`); on larger images it is the faster. Accelerators do either well.

    Args:
      x: `(batch, height, width, in)`.
      kernel: `(size, size, in, out)`.
      stride: step between outputs, in pixels.
      padding: zeros before and after each spatial axis.

    Returns:
      `(batch, height', width', out)`.
    """
    size = kernel.shape[0]
    pixels = math.prod((n + sum(padding) - size) // stride + 1 for n in x.shape[1:3])
    if size == 1 or pixels < size**2 or _BY_PATCHES.get():
        return convolve_by_patches(x, kernel, stride, padding)
    return convolve_by_xla(x, kernel, stride, padding)


@contextlib.contextmanager
def by_patches() -> Iterator[None]:
    """What is traced within has no convolution but by patches.

    For functions that are mapped over kernels too (`jax.vmap`): products of matrices are then one product of
    stacks of them, convolutions one with groups, which no platform does well.
    """
    token = _BY_PATCHES.set(True)
    try:
        yield
    finally:
        _BY_PATCHES.reset(token)


def convolve_by_xla(
    x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> jax.Array:
    """`convolve` as one XLA convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (padding, padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def convolve_by_patches(
    x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]
) -> jax.Array:
    """`convolve` as one matrix product with the shifted copies of x side by side (im2col)."""
    size = kernel.shape[0]
    x = jnp.pad(x, ((0, 0), padding, padding, (0, 0)))
    height, width = (n - size + 1 for n in x.shape[1:3])
    shifts = [
        x[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(shifts, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


class Conv(nn.Module):
    """Two-dimensional convolution, `(batch, h, w, in) -> (batch, h', w', features)`.

    Attributes:
      features: output channels.
      size: side of the square kernel.
      stride: step between outputs, in pixels.
      padding: zeros before and after each spatial axis.
      dtype: what it computes in.
    """

    features: int
    size: int = 3
    stride: int = 1
    padding: tuple[int, int] = (1, 1)
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        init = uniform_fan_in(math.prod(shape[:3]))
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.features,))
        x, kernel, bias = (jnp.asarray(a, self.dtype) for a in (x, kernel, bias))
        return convolve(x, kernel, self.stride, self.padding) + bias


class GroupNorm(nn.Module):
    """Group normalisation over the axes between batch and channels, and the group's channels.

    The statistics are taken per channel first and merged over the channels of a group after: the
    large reduction then runs over contiguous memory, and reshaping the image into groups (slow on
    CPU) is avoided. The variance is that of centred values, so a large mean cancels nothing.
    """

    num_groups: int
    epsilon: float = 1e-5
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        x32 = jnp.asarray(x, jnp.float32)
        axes = tuple(range(1, x.ndim - 1))

        def per_group(a: jax.Array) -> jax.Array:
            groups = a.reshape(a.shape[0], self.num_groups, -1).mean(-1)
            groups = jnp.repeat(groups, channels // self.num_groups, axis=-1)
            return jnp.expand_dims(groups, axes)

        mean = per_group(x32.mean(axes))
        variance = per_group(jnp.square(x32 - mean).mean(axes))
        y = (x32 - mean) * (scale * lax.rsqrt(variance + self.epsilon)) + bias
        return y.astype(self.dtype)


def dot_product_attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Softmax attention, all of shape `(batch, tokens, heads, head_dim)`.

    Of many tokens one head is computed after the other, in pieces of its queries, and once more in the backward
    pass: all weights at once are the largest array of a network by far. A CPU, whose caches hold one head, is
    faster so from fewer tokens on.
    """
    q = q / math.sqrt(q.shape[-1])
    rows, size = q.shape[1], q.shape[1] * k.shape[1]
    if size < (_SHORT if jax.default_backend() == "cpu" else _LONG):
        return jnp.swapaxes(_attention(*(jnp.swapaxes(a, 1, 2) for a in (q, k, v))), 1, 2)
    pieces = next((p for p in range(1, rows + 1) if rows % p == 0 and size <= p * _LONG), rows)
    attention = jax.checkpoint(_attention)

    def of_head(qkv: tuple[jax.Array, ...]) -> jax.Array:
        q, k, v = qkv
        if pieces == 1:
            return attention(q, k, v)
        parts = jnp.moveaxis(q.reshape(q.shape[0], pieces, -1, q.shape[-1]), 1, 0)
        done = lax.map(lambda part: attention(part, k, v), parts)
        return jnp.moveaxis(done, 0, 1).reshape(q.shape)

    return jnp.moveaxis(lax.map(of_head, tuple(jnp.moveaxis(a, 2, 0) for a in (q, k, v))), 0, 2)


def _attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """Of `(..., tokens, head_dim)`, q scaled.

    The sums of the softmax divide the output, not the weights: with many small heads the weights
    are by far the largest array, and each pass over them counts.
    """
    scores = jnp.einsum("...qd,...kd->...qk", q, k, preferred_element_type=jnp.float32)
    # The output does not depend on the shift, so neither does the gradient.
    weights = jnp.exp(scores - lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    total = weights.sum(axis=-1, keepdims=True)
    h = jnp.einsum(
        "...qk,...kd->...qd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    return (h / total).astype(v.dtype)


def sinusoidal_embedding(
    position: jax.Array, features: int, *, freq_shift: float = 0.0, flip_sin_to_cos: bool = True
) -> jax.Array:
    """Sinusoids of a position, `(...) -> (..., features)`, in float32.

    Angular frequencies are 10000^(-i / (features/2 - freq_shift)), i = 0 ... features/2 - 1.

    Args:
      position: any shape; may be fractional. For a diffusion time, in steps out of 1000.
      features: length of the embedding, even.
      freq_shift: 1 makes the last frequency exactly 1/10000 (the original DDPM), 0 stops short.
      flip_sin_to_cos: cosines first.

    Returns:
      float32 array `(*position.shape, features)`.

    Source: Vaswani et al. 2017, section 3.5; Ho et al. 2020 (arXiv:2006.11239).
    """
    half = features // 2
    exponent = jnp.arange(half, dtype=jnp.float32) / (half - freq_shift)
    frequencies = jnp.exp(-math.log(10_000.0) * exponent)
    angles = jnp.asarray(position, jnp.float32)[..., None] * frequencies
    waves = [jnp.cos(angles), jnp.sin(angles)]
    return jnp.concatenate(waves if flip_sin_to_cos else waves[::-1], axis=-1)


class TimeEmbedding(nn.Module):
    """Two dense layers with a silu between them, `(batch, in) -> (batch, features)`."""

    features: int
    dtype: Dtype = jnp.float32
    dense: Callable[..., nn.Module] = Dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.dense(self.features, dtype=self.dtype, name="linear_1")(x)
        return self.dense(self.features, dtype=self.dtype, name="linear_2")(nn.silu(x))


class ClassEmbedding(nn.Module):
    """One row per class and a last row, index `num_classes`, that means "no class".

    The extra row is what classifier-free guidance trains by dropping labels, and what `label=None`
    selects. A label above `num_classes` gives NaN: under jit no error can be raised for it.
    """

    num_classes: int
    features: int
    stddev: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, label: jax.Array | None, batch: int) -> jax.Array:
        init = nn.initializers.normal(self.stddev)
        table = self.param("embedding", init, (self.num_classes + 1, self.features))
        if label is None:
            label = jnp.full((batch,), self.num_classes, jnp.int32)
        return jnp.take(table, label, axis=0, mode="fill").astype(self.dtype)


class KindEmbedding(nn.Module):
    """One row per kind of example, kind 0 where none is given: which levels the network is asked at."""

    num_kinds: int
    features: int
    stddev: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, kind: jax.Array | None, batch: int) -> jax.Array:
        init = nn.initializers.normal(self.stddev)
        table = self.param("embedding", init, (self.num_kinds, self.features))
        if kind is None:
            kind = jnp.zeros((batch,), jnp.int32)
        return jnp.take(table, kind, axis=0, mode="fill").astype(self.dtype)
